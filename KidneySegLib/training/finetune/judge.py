"""Before and after: what a model finds on cases that it never learnt from, through the whole pipeline."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from KidneySegLib.files import write_json
from KidneySegLib.labels import LABELS, PARENCHYMA, Structure
from KidneySegLib.progress import Progress

if TYPE_CHECKING:
    import SimpleITK as sitk

    from KidneySegLib.models import Bundle

#: Fewer held-out cases than this say little; the result then says so.
FEW_CASES = 3
#: Volumes are what is reported: where the Dice did not clearly rise, their mean absolute error may grow by this many
#: percentage points at the most. (A mask in the wrong place can have the right volume by chance.)
MOST_ERROR_GROWTH = {"parenchyma": 1.0, "cortex": 2.0}
CLEAR_GAIN = 0.02
_CORTEX = (Structure.CORTEX,)


@dataclass(frozen=True)
class JudgedCase:
    """A case with its true labels.

    Attributes:
        case_id: its name.
        image: CT in HU.
        labels: ids 1-15 on its grid, (z, y, x).
    """

    case_id: str
    image: Callable[[], sitk.Image]
    labels: Callable[[], NDArray[np.uint8]]


@dataclass(frozen=True)
class Figures:
    """One case, one model. Cortex is None where a kidney is not divided; an error where there is nothing to measure."""

    case_id: str
    parenchyma_dice: float
    cortex_dice: float | None
    parenchyma_error_percent: float | None
    cortex_error_percent: float | None


@dataclass(frozen=True)
class Judgement:
    """Both models on both kinds of cases, in the same order.

    Attributes:
        held_out_before, held_out_after: on held-out cases of the data set.
        original_before, original_after: on phantoms, as the shipped model was made for.
        refused: why the new model may not replace the old one; empty if it may.
        notes: what else a person should know.
    """

    held_out_before: tuple[Figures, ...]
    held_out_after: tuple[Figures, ...]
    original_before: tuple[Figures, ...]
    original_after: tuple[Figures, ...]
    refused: str
    notes: tuple[str, ...]

    def content(self) -> dict[str, Any]:
        """For ``model.json``: means, every case, and the verdict."""
        kinds = {
            name: getattr(self, name)
            for name in ("held_out", "original")
            for name in (f"{name}_before", f"{name}_after")
        }
        return {
            **{name: {**means(cases), "each": [asdict(one) for one in cases]} for name, cases in kinds.items()},
            "refused": self.refused,
            "notes": list(self.notes),
        }


def figures(case_id: str, truth: NDArray[np.uint8], found: NDArray[np.uint8]) -> Figures:
    """Dice and volume errors of one case from two label maps (ids 1-15) of one shape."""
    divided = not (_mask(truth, (Structure.UNDIVIDED,)).any() or _mask(found, (Structure.UNDIVIDED,)).any())
    parenchyma = _mask(truth, tuple(PARENCHYMA)), _mask(found, tuple(PARENCHYMA))
    cortex = _mask(truth, _CORTEX), _mask(found, _CORTEX)
    return Figures(
        case_id,
        _dice(*parenchyma),
        _dice(*cortex) if divided else None,
        _error_percent(*parenchyma),
        _error_percent(*cortex) if divided else None,
    )


def judge_model(bundle: Bundle, cases: Sequence[JudgedCase], folder: Path, progress: Progress) -> tuple[Figures, ...]:
    """Segment each case as ``kidneyseg segment`` does, and compare; cases that were judged before are not done again.

    Args:
        folder: for results and figures, by the model's digest.
    """
    from KidneySegLib.ct import read_ct
    from KidneySegLib.pipeline import load_engine, segment_case

    place = folder / bundle.digest[:16]
    place.mkdir(parents=True, exist_ok=True)
    engine = None
    all_figures = []
    for number, case in enumerate(cases):
        progress.report("judge", number / len(cases), f"{bundle.name}: {case.case_id}")
        kept = place / f"{case.case_id}.json"
        if kept.exists():
            all_figures.append(Figures(**json.loads(kept.read_text(encoding="utf-8"))))
            continue
        image = case.image()
        scan_file = place / f"{case.case_id}.nii.gz"
        _write(image, scan_file)
        engine = engine or load_engine(bundle.path, progress=progress)
        result = segment_case(
            read_ct(scan_file), place / case.case_id, engine=engine, progress=Progress(None, progress.token)
        )
        scan_file.unlink()
        one = figures(case.case_id, case.labels(), on_grid_of(result.labels, image))
        write_json(kept, asdict(one))
        all_figures.append(one)
    return tuple(all_figures)


def verdict(
    held_out: tuple[tuple[Figures, ...], tuple[Figures, ...]],
    original: tuple[tuple[Figures, ...], tuple[Figures, ...]],
    loss_points: float,
) -> Judgement:
    """Whether the new model may replace the old one.

    It may not if the mean Dice of parenchyma, or that of parenchyma and cortex together, fell on held-out cases; if
    parenchyma or cortex lost more than ``loss_points`` hundredths on phantoms; if the volume error of either grew by
    more than `MOST_ERROR_GROWTH` on held-out cases or on phantoms, its Dice not rising by `CLEAR_GAIN`; or if there is
    no held-out case.

    Args:
        held_out, original: figures before and after.
    """
    reasons, notes = [], []
    if not held_out[0]:
        reasons.append("the data set has no held-out case, so nobody can tell whether it is better")
    elif len(held_out[0]) < FEW_CASES:
        notes.append(f"Only {len(held_out[0])} held-out case(s): the comparison says little.")
    if not original[0]:
        notes.append("It was not tried on phantoms, so what it forgot is not known.")
    for name, before, after in dice_changes(*held_out):
        if after < before:
            reasons.append(f"on held-out cases the Dice of {name} fell from {before:.4f} to {after:.4f}")
    for name, before, after in dice_changes(*original, together=False):
        if 100 * (before - after) > loss_points:
            reasons.append(f"on phantoms the Dice of {name} fell from {before:.4f} to {after:.4f}")
    for where, cases in (("held-out cases", held_out), ("phantoms", original)):
        old, new = means(cases[0]), means(cases[1])
        for name, most in MOST_ERROR_GROWTH.items():
            first, second = old[f"{name}_abs_error_percent"], new[f"{name}_abs_error_percent"]
            gain = (new[f"{name}_dice"] or 0.0) - (old[f"{name}_dice"] or 0.0)
            if first is not None and second is not None and second - first > most and gain < CLEAR_GAIN:
                reasons.append(f"on {where} the volume error of {name} grew from {first:.1f} to {second:.1f} %")
    return Judgement(*held_out, *original, "; ".join(reasons), tuple(notes))


def means(cases: Sequence[Figures]) -> dict[str, float | None]:
    """Mean Dice and mean absolute volume errors; None where no case has any."""
    return {
        "cases": len(cases),
        "parenchyma_dice": _mean([one.parenchyma_dice for one in cases]),
        "cortex_dice": _mean([one.cortex_dice for one in cases]),
        "parenchyma_abs_error_percent": _mean([_abs(one.parenchyma_error_percent) for one in cases]),
        "cortex_abs_error_percent": _mean([_abs(one.cortex_error_percent) for one in cases]),
    }


def on_grid_of(labels: sitk.Image, image: sitk.Image) -> NDArray[np.uint8]:
    """A label map of a part of a scan as an array (z, y, x) on the whole scan's grid."""
    import SimpleITK as sitk

    whole = np.zeros(image.GetSize()[::-1], np.uint8)
    x, y, z = image.TransformPhysicalPointToIndex(labels.GetOrigin())
    part = sitk.GetArrayViewFromImage(labels)
    whole[z : z + part.shape[0], y : y + part.shape[1], x : x + part.shape[2]] = part
    return whole


def dice_changes(
    before: Sequence[Figures], after: Sequence[Figures], *, together: bool = True
) -> list[tuple[str, float, float]]:
    """Name, mean before and mean after of the Dices that count."""
    pairs: list[tuple[str, float, float]] = []
    old, new = means(before), means(after)
    for name in ("parenchyma", "cortex"):
        first, second = old[f"{name}_dice"], new[f"{name}_dice"]
        if first is not None and second is not None:
            pairs.append((name, first, second))
    if together and len(pairs) == 2:
        _, *both = zip(*pairs, strict=True)
        return [pairs[0], ("parenchyma and cortex together", sum(both[0]) / 2, sum(both[1]) / 2)]
    return pairs


def _mask(labels: NDArray[np.uint8], structures: Sequence[Structure]) -> NDArray[np.bool_]:
    return np.isin(labels, [label.id for label in LABELS if label.structure in structures])


def _dice(truth: NDArray[np.bool_], found: NDArray[np.bool_]) -> float:
    total = int(truth.sum()) + int(found.sum())
    return 2 * int((truth & found).sum()) / total if total else 1.0


def _error_percent(truth: NDArray[np.bool_], found: NDArray[np.bool_]) -> float | None:
    return 100 * (int(found.sum()) - int(truth.sum())) / int(truth.sum()) if truth.any() else None


def _abs(value: float | None) -> float | None:
    return None if value is None else abs(value)


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def _write(image: sitk.Image, path: Path) -> None:
    import SimpleITK as sitk

    sitk.WriteImage(image, str(path), False)
