"""The data set as nnU-Net v2 wants it: ``nnUNet_raw/DatasetNNN_Name`` with region labels, splits and a test list."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from KidneySegLib.errors import InputError
from KidneySegLib.export.dataset.choice import NEWEST
from KidneySegLib.export.dataset.dataset import DataSet
from KidneySegLib.export.dataset.exporting import ENDING, Export, export, label_names
from KidneySegLib.files import write_json
from KidneySegLib.progress import Progress

_NAME = re.compile(r"Dataset\d{3}_\w+")


def export_nnunet(
    data_set: DataSet,
    output: Path,
    *,
    readers: str = NEWEST,
    parenchyma_only: bool | None = None,
    progress: Progress = Progress(),
) -> Export:
    """Write a folder that ``nnUNetv2_plan_and_preprocess --verify_dataset_integrity`` accepts as it is.

    Beside what nnU-Net asks for there are ``splits_final.json`` (five folds with equal shares of thick slices, sick
    and small kidneys; nnU-Net takes it from here), ``test.json`` (held-out cases, in ``imagesTs`` and ``labelsTs``)
    and ``provenance.json``.

    Args:
        data_set: where cases are.
        output: ``.../DatasetNNN_Name``, missing or an older export.
        readers: see `choice.choose`.
        parenchyma_only: cortex and medulla as one label; None does so where no case has cortex.
        progress: told the stage ``write``; looked at for cancelling.

    Raises:
        InputError: another name, or nothing to train on.
        OutputError: the folder is not ours, or cannot be written.
        Cancelled: nothing was written.
    """
    if not _NAME.fullmatch(Path(output).expanduser().resolve().name):
        raise InputError(
            f"The folder {output} must be named DatasetNNN_Name, such as Dataset601_KidneySeg: nnU-Net finds it by "
            "that name."
        )

    def write_index(place: Path, exported: Export) -> None:
        write_json(place / "dataset.json", dataset_json(data_set, exported), ascii_only=True)
        splits = [
            {"train": sorted(set(exported.train) - set(fold)), "val": list(fold)} for fold in exported.folds if fold
        ]
        write_json(place / "splits_final.json", splits, ascii_only=True)
        write_json(place / "test.json", list(exported.test), ascii_only=True)

    return export(
        data_set,
        output,
        kind="nnunet",
        image_name=lambda case_id: f"{case_id}_0000{ENDING}",
        write_index=write_index,
        readers=readers,
        parenchyma_only=parenchyma_only,
        progress=progress,
    )


def dataset_json(data_set: DataSet, exported: Export) -> dict[str, Any]:
    """nnU-Net's ``dataset.json``. The order of regions is the order of the network's outputs, so it is kept."""
    labels: dict[str, int | list[int]] = {"background": 0}
    names = label_names(exported)
    order = []
    for name, value in names.items():
        if name == "medulla":
            labels["parenchyma"] = [names["medulla"], names["cortex"]]
        else:
            labels[name] = value
        order.append(value)
    facts: dict[str, Any] = {"channel_names": {"0": "CT"}, "labels": labels}
    if not exported.parenchyma_only:
        # Later regions are written over earlier ones: parenchyma first, cortex into it.
        facts["regions_class_order"] = order
    return {
        **facts,
        "numTraining": len(exported.train),
        "file_ending": ENDING,
        "overwrite_image_reader_writer": "SimpleITKIO",
        "name": data_set.title,
        "description": "Kidneys on CT. "
        + (
            "No cortex labels: 1 is all parenchyma."
            if exported.parenchyma_only
            else "Label 1 is parenchyma other than cortex, 2 is cortex."
        ),
        "converted_by": "KidneySeg",
    }
