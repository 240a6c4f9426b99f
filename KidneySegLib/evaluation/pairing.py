"""Which files are cases, and which prediction belongs to which reference: the one of the same name."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from KidneySegLib.errors import InputError

#: Longest first, so that ``a.seg.nrrd`` is called ``a``.
SUFFIXES = (".seg.nrrd", ".nii.gz", ".nii", ".nrrd", ".mha", ".mhd", ".dcm")
#: Names of a label map in a case's folder, in the order in which they are looked for.
_IN_PREDICTION = ("segmentation.nii.gz", "labels.nii.gz", "segmentation.seg.nrrd", "segmentation.dcm")
_IN_REFERENCE = ("labels.nii.gz", "segmentation.nii.gz", "segmentation.seg.nrrd", "labels.nrrd", "segmentation.dcm")
_SHOWN = 6


@dataclass(frozen=True)
class CasePaths:
    """One case that has both.

    Attributes:
        case_id: its name.
        prediction, reference: label maps.
        prediction_folder, reference_folder: folder of the case alone, with what stands beside the map; else None.
    """

    case_id: str
    prediction: Path
    reference: Path
    prediction_folder: Path | None = None
    reference_folder: Path | None = None


@dataclass(frozen=True)
class Pairing:
    """All cases of two folders.

    Attributes:
        cases: those that both have, by name.
        only_prediction, only_reference: names that one of them lacks.
        problems: sentences about entries that cannot be told (two maps of one name).
    """

    cases: tuple[CasePaths, ...]
    only_prediction: tuple[str, ...] = ()
    only_reference: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()


def pair_cases(prediction: Path, reference: Path) -> Pairing:
    """Find the cases of two folders and pair them by name.

    A case is ``NAME.nii.gz`` (or another image file) or a folder ``NAME/`` with ``segmentation.nii.gz`` or
    ``labels.nii.gz`` in it; the output folder of ``kidneyseg batch`` will do. Two single files, or two folders of one
    case each, are one case whatever their names.

    Raises:
        InputError: a path does not exist, holds no case, or no name is in both.
    """
    problems: list[str] = []
    alone = [_single(Path(path), names) for path, names in ((prediction, _IN_PREDICTION), (reference, _IN_REFERENCE))]
    if alone[0] is not None and alone[1] is not None:
        (name, found, folder), (_, wanted, beside) = alone[0], alone[1]
        return Pairing((CasePaths(name, found, wanted, folder, beside),))
    predictions = _cases(Path(prediction), _IN_PREDICTION, "prediction", problems)
    references = _cases(Path(reference), _IN_REFERENCE, "reference", problems)
    shared = [name for name in references if name in predictions]
    only_prediction = tuple(name for name in predictions if name not in references)
    only_reference = tuple(name for name in references if name not in predictions)
    if not shared:
        raise InputError(
            f"No case has a prediction and a reference of the same name. Predictions: {listed(only_prediction)}. "
            f"References: {listed(only_reference)}. Rename one side so that the names agree."
        )
    cases = (
        CasePaths(name, predictions[name][0], references[name][0], predictions[name][1], references[name][1])
        for name in shared
    )
    return Pairing(tuple(cases), only_prediction, only_reference, tuple(problems))


def find_maps(path: Path, *, whose: str = "reader") -> dict[str, Path]:
    """Label maps of a folder of cases, or of one file, by name.

    Raises:
        InputError: the path does not exist or holds no case.
    """
    alone = _single(path, _IN_PREDICTION)
    if alone is not None:
        return {alone[0]: alone[1]}
    return {name: found for name, (found, _) in _cases(path, _IN_PREDICTION, whose, []).items()}


def listed(names: tuple[str, ...]) -> str:
    """Names in a sentence, the first few of many."""
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more if names else "none"


def _single(path: Path, names: tuple[str, ...]) -> tuple[str, Path, Path | None] | None:
    """A path that is one case: a file, or a folder with a label map in it."""
    if path.is_file():
        return _stem(path) or path.name, path, None
    found = next((path / name for name in names if (path / name).is_file()), None)
    if found is None and path.is_dir():
        others = [*path.glob("*.seg.nrrd"), *path.glob("*.dcm")]
        found = others[0] if len(others) == 1 else None
    return None if found is None else (path.resolve().name, found, path)


def _cases(
    folder: Path, names: tuple[str, ...], whose: str, problems: list[str]
) -> dict[str, tuple[Path, Path | None]]:
    if not folder.exists():
        raise InputError(f"{folder} does not exist. Give a folder of cases, or one label map, as the {whose}.")
    alone = _single(folder, names)
    if alone is not None:
        return {alone[0]: (alone[1], alone[2])}
    if (folder / "cases").is_dir() and (folder / "volumes.csv").is_file():
        folder = folder / "cases"
    found: dict[str, tuple[Path, Path | None]] = {}
    for entry in sorted(folder.iterdir()):
        name = entry.name if entry.is_dir() else _stem(entry)
        if name is None or entry.name.startswith("."):
            continue
        case = _single(entry, names)
        if case is None:
            continue
        if name in found:
            problems.append(f"{name} is there twice among the {whose}s; {found[name][0].name} was taken.")
            continue
        found[name] = (case[1], case[2])
    if not found:
        raise InputError(
            f"{folder} holds no {whose}. A case is NAME.nii.gz, or a folder NAME with {names[0]} or {names[1]} in it."
        )
    return found


def _stem(path: Path) -> str | None:
    lower = path.name.lower()
    suffix = next((suffix for suffix in SUFFIXES if lower.endswith(suffix)), None)
    return None if suffix is None else path.name[: -len(suffix)]
