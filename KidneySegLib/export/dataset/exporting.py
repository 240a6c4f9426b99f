"""What both exports share: images and labels copied exactly, held-out cases apart, and where all of it came from."""

from __future__ import annotations

import gzip
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from KidneySegLib.errors import InputError
from KidneySegLib.export.dataset.choice import Chosen, choose, parts
from KidneySegLib.export.dataset.dataset import DEIDENTIFICATION_NOTICE, DataSet, now
from KidneySegLib.export.dataset.splits import folds, stratum
from KidneySegLib.export.dataset.training_labels import training_table
from KidneySegLib.export.results_folder import PROVENANCE, new_results_folder
from KidneySegLib.files import write_json
from KidneySegLib.labels import TrainingLabel
from KidneySegLib.progress import Progress

FORMAT = "kidneyseg-dataset-export"
ENDING = ".nii.gz"
_NIFTI_OFFSET = slice(108, 112)


@dataclass(frozen=True)
class Export:
    """What was exported.

    Attributes:
        folder: where it lies.
        train, test: ids of cases to train on, and of held-out ones; sorted.
        folds: validation cases of each fold.
        left_out: ids of other cases, and why.
        parenchyma_only: whether cortex and medulla are one label.
        largest_label: of the label maps.
    """

    folder: Path
    train: tuple[str, ...]
    test: tuple[str, ...]
    folds: tuple[tuple[str, ...], ...]
    left_out: Mapping[str, str]
    parenchyma_only: bool
    largest_label: int


def export(
    data_set: DataSet,
    output: Path,
    *,
    kind: str,
    image_name: Callable[[str], str],
    write_index: Callable[[Path, Export], None],
    readers: str,
    parenchyma_only: bool | None,
    progress: Progress,
) -> Export:
    """Write ``imagesTr``, ``labelsTr``, ``imagesTs``, ``labelsTs``, an index and ``provenance.json``, or nothing.

    Args:
        kind: ``nnunet`` or ``monai``, for provenance.
        image_name: file name of a case's image.
        write_index: writes what the format wants beside the images.
        readers: see `choose`.
        parenchyma_only: cortex and medulla as one label; None does so where no case has cortex.

    Raises:
        InputError: there is nothing to train on.
        OutputError: the folder is not ours, or cannot be written.
        Cancelled: nothing was written.
    """
    chosen, left_out = choose(data_set, readers)
    if parenchyma_only is None:
        parenchyma_only = not any(one.divided for one in chosen)
    if not parenchyma_only:
        for one in chosen:
            if not one.divided:
                left_out[one.case.case_id] = "a kidney of it is not divided into cortex and medulla"
        chosen = tuple(one for one in chosen if one.divided)
    train, test = parts(chosen)
    if not train:
        reasons = "; ".join(f"{case_id}: {why}" for case_id, why in sorted(left_out.items())[:5])
        raise InputError(
            f"{data_set.folder} has no case to train on" + (f" ({reasons})" if reasons else "") + ". Accept labels of "
            "at least one case that is not held out."
        )
    with new_results_folder(output) as place:
        largest = _write_cases(place, train, test, image_name, parenchyma_only, progress)
        exported = Export(
            output,
            tuple(sorted(one.case.case_id for one in train)),
            tuple(sorted(one.case.case_id for one in test)),
            tuple(map(tuple, _folds(train))),
            left_out,
            parenchyma_only,
            largest,
        )
        write_index(place, exported)
        write_json(place / PROVENANCE, _provenance(data_set, exported, kind, readers, (*train, *test)), allow_nan=False)
        progress.report("write", 1.0)
    return exported


def label_names(exported: Export) -> dict[str, int]:
    """Names of the label maps' values, without background."""
    names = ("parenchyma", "cyst", "mass") if exported.parenchyma_only else ("medulla", "cortex", "cyst", "mass")
    return {name: value for value, name in enumerate(names, start=1) if value <= max(exported.largest_label, 1)}


def with_voxels(template: Path, voxels: NDArray[np.uint8]) -> bytes:
    """A label map file with other voxels: its header, and so its geometry, stays the same to the last bit.

    Args:
        template: NIfTI-1, gzip, uint8.
        voxels: (z, y, x) in its shape.
    """
    raw = gzip.decompress(template.read_bytes())
    start = int(np.frombuffer(raw[_NIFTI_OFFSET], "<f4")[0])
    data = np.ascontiguousarray(voxels, dtype=np.uint8).tobytes()
    if len(raw) - start != len(data):
        raise InputError(f"{template} is not what was written: its size differs. Restore it from a copy.")
    return gzip.compress(raw[:start] + data, compresslevel=6, mtime=0)


def _write_cases(
    place: Path,
    train: Sequence[Chosen],
    test: Sequence[Chosen],
    image_name: Callable[[str], str],
    parenchyma_only: bool,
    progress: Progress,
) -> int:
    table = _target_table(parenchyma_only)
    largest = done = 0
    for ending, cases in (("Tr", train), ("Ts", test)):
        if not cases:
            continue
        images, labels = place / f"images{ending}", place / f"labels{ending}"
        images.mkdir()
        labels.mkdir()
        for one in cases:
            progress.report("write", done / (len(train) + len(test)), one.case.case_id)
            one.case.image()  # compares it with its SHA-256
            shutil.copyfile(one.case.image_path, images / image_name(one.case.case_id))
            target = table[one.voxels()]
            largest = max(largest, int(target.max()))
            (labels / f"{one.case.case_id}{ENDING}").write_bytes(with_voxels(one.revisions[-1].labels_path, target))
            done += 1
    return largest


def _target_table(parenchyma_only: bool) -> NDArray[np.uint8]:
    """The exported label of each id. Labels have no gaps, so without cortex cyst and mass move up."""
    table = training_table(parenchyma_only=parenchyma_only)
    if parenchyma_only:
        table[table > TrainingLabel.CORTEX] -= 1
    return table


def _folds(train: Sequence[Chosen]) -> list[list[str]]:
    return folds(
        {one.case.case_id: stratum(one.case, one.volumes_ml) for one in train},
        {one.case.case_id: one.case.subject for one in train},
    )


def _provenance(
    data_set: DataSet, exported: Export, kind: str, readers: str, chosen: Sequence[Chosen]
) -> dict[str, Any]:
    from KidneySegLib import __version__

    return {
        "format": FORMAT,
        "format_version": 1,
        "kind": kind,
        "created": now(),
        "program": f"KidneySeg {__version__}",
        "data_set": {"id": data_set.data_set_id, "title": data_set.title},
        "readers": readers,
        "labels": {"background": 0, **label_names(exported)},
        "deidentification": DEIDENTIFICATION_NOTICE,
        "train": list(exported.train),
        "test": list(exported.test),
        "folds": [list(fold) for fold in exported.folds],
        "left_out": dict(sorted(exported.left_out.items())),
        "cases": {
            one.case.case_id: {
                "split": one.case.split.value,
                "subject": one.case.subject,
                "source_sha256": one.case.source_sha256,
                "image_sha256": one.case.image_sha256,
                "method": one.method or None,
                "revisions": [
                    {
                        "number": revision.number,
                        "reader": revision.reader,
                        "created": revision.created,
                        "origin": revision.origin.value,
                        "model": dict(revision.model),
                        "files": dict(revision.files),
                    }
                    for revision in one.revisions
                ],
            }
            for one in sorted(chosen, key=lambda one: one.case.case_id)
        },
    }
