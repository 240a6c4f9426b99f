"""From the data set to nnUNet_raw: two data sets with the same scans, one for parenchyma and one for cortex.

Both are trained with one sigmoid output, as in the paper. nnU-Net does that for "regions": parenchyma is the region
{1, 2} of the training ids (1 medulla, 2 cortex). A region of one id alone is no region to nnU-Net, and ids may have no
gap, so the data set for cortex holds cortex as 1, named as the region [1, 1].
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from KidneySegLib.errors import InputError, KidneySegError
from KidneySegLib.files import write_json
from KidneySegLib.labels import LABELS, Structure, TrainingLabel
from KidneySegLib.progress import Progress
from KidneySegLib.training.luo_li.cases import LabelledCase

if TYPE_CHECKING:
    import SimpleITK as sitk

#: The dataset folders; numbers above 500 are unlikely to be taken by a user's own sets.
DATASET_NAMES = {"parenchyma": "Dataset501_LuoLiParenchyma", "cortex": "Dataset502_LuoLiCortex"}
_LABELS: dict[str, dict[str, Any]] = {
    "parenchyma": {"background": 0, "parenchyma": [1, 2]},
    "cortex": {"background": 0, "cortex": [1, 1]},
}
FILE_ENDING = ".nii.gz"
_SHOWN = 5
HELD_OUT_FILE = "test_cases.csv"
#: nnU-Net takes z-score normalisation for a channel of this name.
CHANNEL = "zscore"
#: Training ids by result id. Cysts and masses are background: the paper's readers left them out.
_TRAINING_IDS = np.zeros(256, dtype=np.uint8)
for _label in LABELS:
    if _label.structure in (Structure.MEDULLA, Structure.CORTEX):
        _TRAINING_IDS[_label.id] = TrainingLabel[_label.structure.name].value
_UNDIVIDED_IDS = [label.id for label in LABELS if label.structure is Structure.UNDIVIDED]


@dataclass(frozen=True)
class RawFacts:
    """What was written.

    Attributes:
        sha256: of every scan's HU and geometry and every label map, by case name: what data were trained on.
        cases: for each case its group, whether it is held out, and the size of its structures in mL.
    """

    sha256: str
    cases: Mapping[str, Mapping[str, Any]]


def write_raw(
    cases: Sequence[LabelledCase],
    groups: Mapping[str, str],
    test: Sequence[str],
    splits: Sequence[Mapping[str, Sequence[str]]],
    folder: Path,
    progress: Progress = Progress(),
) -> RawFacts:
    """Write both nnU-Net data sets.

    Held-out cases go to ``imagesTs`` and ``labelsTs``, which nnU-Net's training does not read, and are listed in
    ``test_cases.csv`` beside the folder.

    Args:
        cases: of the data set.
        groups: of each case, for the facts.
        test: names of held-out cases.
        splits: the folds, written as ``splits_final.json`` beside ``dataset.json``.
        folder: ``nnUNet_raw``; data sets of an earlier attempt in it are replaced.
        progress: stage ``read``.

    Raises:
        InputError: scans or label maps that cannot be used; all cases are looked at, and the message names the first.
    """
    import SimpleITK as sitk

    roots = {structure: folder / name for structure, name in DATASET_NAMES.items()}
    for root in roots.values():
        shutil.rmtree(root, ignore_errors=True)
        for part in ("imagesTr", "labelsTr", *(("imagesTs", "labelsTs") if test else ())):
            (root / part).mkdir(parents=True)
    digest = hashlib.sha256()
    facts: dict[str, dict[str, Any]] = {}
    problems: list[str] = []
    for number, case in enumerate(cases):
        progress.report("read", number / len(cases), case.case_id)
        try:
            scan, labels = read_case(case)
        except InputError as error:
            problems.append(str(error))
            continue
        part = "Ts" if case.case_id in test else "Tr"
        first, second = (roots[s] / f"images{part}" / f"{case.case_id}_0000{FILE_ENDING}" for s in DATASET_NAMES)
        sitk.WriteImage(scan.image, str(first), True)
        _link(first, second)
        ids = sitk.GetArrayFromImage(labels)
        for structure, values in (("parenchyma", ids), ("cortex", (ids == TrainingLabel.CORTEX).astype(np.uint8))):
            image = sitk.GetImageFromArray(values)
            image.CopyInformation(scan.image)
            sitk.WriteImage(image, str(roots[structure] / f"labels{part}" / f"{case.case_id}{FILE_ENDING}"), True)
        digest.update(f"{case.case_id} {scan.sha256} ".encode() + np.ascontiguousarray(ids).tobytes())
        voxel_ml = float(np.prod(scan.image.GetSpacing())) / 1000
        facts[case.case_id] = {
            "group": groups[case.case_id],
            "held_out": case.case_id in test,
            "parenchyma_ml": round(float(np.count_nonzero(ids)) * voxel_ml, 2),
            "cortex_ml": round(float(np.count_nonzero(ids == TrainingLabel.CORTEX)) * voxel_ml, 2),
        }
    if problems:
        few = " ".join(problems[:_SHOWN]) + (f" And {len(problems) - _SHOWN} more." if len(problems) > _SHOWN else "")
        raise InputError(few if len(problems) == 1 else f"{len(problems)} of {len(cases)} cases: {few}")
    if test:
        _list_held_out(folder, roots["parenchyma"], test)
    for structure, root in roots.items():
        write_json(root / "dataset.json", _description(structure, len(cases) - len(test)), ascii_only=True)
        write_json(root / "splits_final.json", list(splits), ascii_only=True)
    progress.report("read", 1.0)
    return RawFacts(digest.hexdigest(), facts)


def read_case(case: LabelledCase) -> tuple[Any, sitk.Image]:
    """A case's scan (`ct.CtScan`) and its training label map (1 medulla, 2 cortex) on the scan's grid.

    Raises:
        InputError: naming the case, what was expected and what came.
    """
    import SimpleITK as sitk

    from KidneySegLib.ct import read_ct

    try:
        scan = read_ct(case.image)
        if case.cortex is None:
            ids = _label_map(case, scan.image)
            undivided = [i for i in _UNDIVIDED_IDS if (ids == i).any()]
            if undivided:
                raise InputError(
                    f"its labels {case.labels.name} do not tell cortex from medulla (ids {undivided}), and the "
                    "protocol trains both. Draw the cortex."
                )
            ids = _TRAINING_IDS[ids]
        else:
            parenchyma, cortex = (_mask(path, scan.image) for path in (case.labels, case.cortex))
            # What was drawn as cortex is parenchyma, even where the other outline is a voxel tighter.
            ids = np.where(cortex, TrainingLabel.CORTEX, np.where(parenchyma, TrainingLabel.MEDULLA, 0))
            ids = ids.astype(np.uint8)
        for value, name in ((TrainingLabel.CORTEX, "cortex"), (TrainingLabel.MEDULLA, "medulla")):
            if not (ids == value).any():
                raise InputError(f"its labels hold no {name}. Label it, or take the case out of the data set.")
    except KidneySegError as error:
        raise InputError(f"Case {case.case_id} cannot be trained on: {error}") from error
    labels = sitk.GetImageFromArray(ids)
    labels.CopyInformation(scan.image)
    return scan, labels


def _list_held_out(folder: Path, root: Path, test: Sequence[str]) -> None:
    """A cohort for ``kidneyseg batch`` beside ``nnUNet_raw``, whose paths count from where it lies."""
    images = (root / "imagesTs").relative_to(folder.parent).as_posix()
    lines = [f"{case_id},{images}/{case_id}_0000{FILE_ENDING}" for case_id in sorted(test)]
    (folder.parent / HELD_OUT_FILE).write_text("\n".join(["case_id,path", *lines, ""]), encoding="utf-8")


def _label_map(case: LabelledCase, scan: sitk.Image) -> NDArray[np.uint8]:
    """Ids 1-15 on the scan's whole grid."""
    from KidneySegLib.measurement import read_labels
    from KidneySegLib.measurement.seg_nrrd import is_seg_nrrd, read_seg_nrrd

    labels = read_seg_nrrd(case.labels) if is_seg_nrrd(case.labels) else read_labels(case.labels, case.scheme)
    return _on_grid(labels, scan, case.labels.name)


def _mask(path: Path, scan: sitk.Image) -> NDArray[np.bool_]:
    from KidneySegLib.ct.image_file import read_image_file

    return _on_grid(read_image_file(path, path.name), scan, path.name) != 0


def _on_grid(labels: sitk.Image, scan: sitk.Image, name: str) -> NDArray[Any]:
    """A label map's voxels on its scan's grid, of which it may be a part.

    Programs that make NIfTI of DICOM (dcm2nii) turn rows or slices over; the voxels are the same ones, so such a map is
    turned back.
    """
    import SimpleITK as sitk

    from KidneySegLib.measurement import check_same_grid
    from KidneySegLib.postprocessing.grid import VoxelGrid, offset_in

    orientation = sitk.DICOMOrientImageFilter_GetOrientationFromDirectionCosines
    wanted = orientation(scan.GetDirection())
    if orientation(labels.GetDirection()) != wanted:
        labels = sitk.DICOMOrient(labels, wanted)
    check_same_grid(labels, scan, name)
    x, y, z = offset_in(VoxelGrid.of(labels), VoxelGrid.of(scan)) or (0, 0, 0)
    voxels = sitk.GetArrayFromImage(labels)
    whole = np.zeros(scan.GetSize()[::-1], dtype=voxels.dtype)
    depth, rows, columns = voxels.shape
    whole[z : z + depth, y : y + rows, x : x + columns] = voxels
    return whole


def _description(structure: str, training_cases: int) -> dict[str, Any]:
    """``dataset.json``. nnU-Net reads the order of labels as the order of outputs: do not sort."""
    return {
        "channel_names": {"0": CHANNEL},
        "labels": _LABELS[structure],
        "regions_class_order": [1],
        "numTraining": training_cases,
        "file_ending": FILE_ENDING,
        "overwrite_image_reader_writer": "SimpleITKIO",
        "name": DATASET_NAMES[structure],
        "description": f"Renal {structure} on arterial-phase CT, for the protocol of Luo and Li (2025)",
        "converted_by": "KidneySeg",
    }


def _link(first: Path, second: Path) -> None:
    """The same file under a second name; a copy where the disk has no hard links."""
    try:
        os.link(first, second)
    except OSError:
        shutil.copyfile(first, second)
