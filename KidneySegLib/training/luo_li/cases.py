"""What a data set for the protocol holds: one scan and its labels for each patient.

These layouts are read:

* a folder of cases. Each case is a folder with a scan (``ct.nii.gz``, ``image.nii.gz``, its only other image file, or a
  DICOM series at any depth) and labels: ``labels.*`` or ``segmentation.*`` with the ids of a label scheme, a
  ``*.seg.nrrd`` of 3D Slicer, or, as the paper's readers drew them, two masks ``parenchyma.*`` and ``cortex.*``;
* a growing data set of ours (``kidneyseg dataset``): the newest accepted labels of each case, with its held-out cases;
* a data set of nnU-Net (``dataset.json``, ``imagesTr``, ``labelsTr``) with training ids.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path

from KidneySegLib.ct.entries import IMAGE_SUFFIXES, Kind, kind_of, walk
from KidneySegLib.errors import InputError

LABEL_STEMS = ("labels", "label", "segmentation")
MASK_STEMS = ("parenchyma", "cortex")
IMAGE_STEMS = ("ct", "image")
#: nnU-Net takes a file's channel from its name's last ``_0000``, and a case's name from the rest.
CASE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_SHOWN = 5


@dataclass(frozen=True)
class LabelledCase:
    """One patient of a data set.

    Attributes:
        case_id: name of its folder or file.
        image: the scan: an image file, or a folder with one DICOM series.
        labels: label map with the ids of `scheme`, or the parenchyma mask if `cortex` is given.
        cortex: mask of the cortex, where parenchyma and cortex were drawn as two masks.
        scheme: of the label map, one of `measurement.SCHEMES`.
        subject: whose scan it is, where that is known; all scans of a patient stay together.
        split: ``train`` or ``test`` where the data set has settled that.
    """

    case_id: str
    image: Path
    labels: Path
    cortex: Path | None = None
    scheme: str = "kidneyseg"
    subject: str = ""
    split: str = ""


def find_cases(dataset: Path, scheme: str | None = None) -> tuple[LabelledCase, ...]:
    """The cases of a data set, sorted by name.

    Args:
        dataset: its folder.
        scheme: of the label maps; None takes ``training`` for a data set of nnU-Net and ``kidneyseg`` otherwise.

    Raises:
        InputError: no folder, no cases, or cases without scan or labels; the message names them.
    """
    dataset = Path(dataset).expanduser()
    if not dataset.is_dir():
        raise InputError(f"A data set must be a folder of cases, but {dataset} is none. Check the path.")
    if (dataset / "dataset.json").is_file() and (dataset / "imagesTr").is_dir():
        return _nnunet_cases(dataset, scheme or "training")
    if (dataset / "dataset.json").is_file() and (dataset / "cases").is_dir():
        return _growing_cases(dataset)
    folders = sorted(folder for folder in dataset.iterdir() if folder.is_dir() and not folder.name.startswith("."))
    if not folders:
        raise InputError(
            f"{dataset} holds no case folders. A data set is a folder with a folder for each patient, in it the scan "
            "(ct.nii.gz or DICOM) and its labels (labels.nii.gz)."
        )
    cases, problems = [], []
    for folder in folders:
        found = _case_of(folder, scheme or "kidneyseg")
        if isinstance(found, str):
            problems.append(f"{folder.name}: {found}")
        else:
            cases.append(found)
    _refuse(problems, dataset, len(folders))
    return tuple(cases)


def signature(cases: tuple[LabelledCase, ...]) -> str:
    """SHA-256 of the files' names and sizes: tells quickly whether a data set is still the same one."""
    digest = hashlib.sha256()
    for case in cases:
        for source in (case.image, case.labels, case.cortex):
            files = [] if source is None else [e.path for e in walk(source)] if source.is_dir() else [source]
            for file in files:
                digest.update(f"{case.case_id} {file.name} {file.stat().st_size} {case.scheme}\n".encode())
    return digest.hexdigest()


def _case_of(folder: Path, scheme: str) -> LabelledCase | str:
    """A case, or what is wrong with it."""
    if not CASE_ID.fullmatch(folder.name):
        return "a case's name must be letters, digits, '.', '_' or '-'"
    files = sorted(file for file in folder.iterdir() if file.is_file() and file.name.lower().endswith(IMAGE_SUFFIXES))
    stems = {file: _stem(file) for file in files}
    masks = {stem: [f for f in files if stems[f] == stem] for stem in (*MASK_STEMS, *LABEL_STEMS)}
    slicer = [f for f in files if f.name.lower().endswith(".seg.nrrd")]
    drawn = [f for stem in LABEL_STEMS for f in masks[stem] if f not in slicer] or slicer
    image = _image_of(folder, [f for f in files if stems[f] not in masks and f not in slicer])
    if isinstance(image, str):
        return image
    if drawn:
        return LabelledCase(folder.name, image, drawn[0], scheme=scheme)
    pair = [masks[stem][:1] for stem in MASK_STEMS]
    if all(pair):
        return LabelledCase(folder.name, image, pair[0][0], pair[1][0])
    if any(pair):
        missing = MASK_STEMS[0] if not pair[0] else MASK_STEMS[1]
        return f"no {missing}.nii.gz beside the other mask; parenchyma and cortex are both needed"
    return "no labels (labels.nii.gz, segmentation.nii.gz, or parenchyma.nii.gz and cortex.nii.gz)"


def _image_of(folder: Path, images: list[Path]) -> Path | str:
    """The scan of a case folder, or what is wrong."""
    named = [file for stem in IMAGE_STEMS for file in images if _stem(file) == stem]
    if named or len(images) == 1:
        return (named or images)[0]
    if images:
        return f"{len(images)} images ({', '.join(f.name for f in images[:3])}); call the scan ct.nii.gz"
    if any(kind_of(entry) is Kind.DICOM for entry in walk(folder)):
        return folder
    return "no scan (ct.nii.gz or a DICOM series)"


def _growing_cases(dataset: Path) -> tuple[LabelledCase, ...]:
    """Of a data set of ours the cases that can be trained on; it lists itself what it leaves out."""
    from KidneySegLib.export.dataset import DataSet
    from KidneySegLib.export.dataset.choice import choose

    chosen, left_out = choose(DataSet.open(dataset))
    if not chosen:
        reasons = "; ".join(f"{case_id}: {why}" for case_id, why in sorted(left_out.items())[:_SHOWN])
        raise InputError(f"{dataset} has no case with accepted labels ({reasons or 'it is empty'}). Accept some.")
    return tuple(
        LabelledCase(
            one.case.case_id,
            one.case.image_path,
            one.revisions[-1].labels_path,
            subject=one.case.subject,
            split=one.case.split.value,
        )
        for one in sorted(chosen, key=lambda one: one.case.case_id)
    )


def _nnunet_cases(dataset: Path, scheme: str) -> tuple[LabelledCase, ...]:
    try:
        ending = str(json.loads((dataset / "dataset.json").read_text(encoding="utf-8"))["file_ending"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{dataset / 'dataset.json'} is no description of a data set of nnU-Net: {error}.") from error
    cases, problems = [], []
    images = sorted((dataset / "imagesTr").glob(f"*_0000{ending}"))
    for image in images:
        case_id = image.name[: -len(f"_0000{ending}")]
        labels = dataset / "labelsTr" / f"{case_id}{ending}"
        if labels.is_file():
            cases.append(LabelledCase(case_id, image, labels, scheme=scheme))
        else:
            problems.append(f"{case_id}: no label map {labels.name} in labelsTr")
    _refuse(problems, dataset, len(images))
    if not cases:
        raise InputError(f"{dataset / 'imagesTr'} holds no scans (*_0000{ending}).")
    return tuple(cases)


def _stem(file: Path) -> str:
    name = file.name.lower()
    suffix = next(s for s in (".seg.nrrd", *IMAGE_SUFFIXES) if name.endswith(s))
    return name[: -len(suffix)]


def _refuse(problems: list[str], dataset: Path, count: int) -> None:
    if problems:
        more = f"; and {len(problems) - _SHOWN} more" if len(problems) > _SHOWN else ""
        raise InputError(
            f"{len(problems)} of {count} cases of {dataset} cannot be trained on: {'; '.join(problems[:_SHOWN])}{more}."
            " Complete them, or take their folders out of the data set."
        )
