"""The data set as MONAI reads it: a JSON list as in the Medical Segmentation Decathlon, with folds."""

from __future__ import annotations

from pathlib import Path

from KidneySegLib.export.dataset.choice import NEWEST
from KidneySegLib.export.dataset.dataset import DEIDENTIFICATION_NOTICE, DataSet
from KidneySegLib.export.dataset.exporting import ENDING, Export, export, label_names
from KidneySegLib.files import write_json
from KidneySegLib.progress import Progress


def export_monai(
    data_set: DataSet,
    output: Path,
    *,
    readers: str = NEWEST,
    parenchyma_only: bool | None = None,
    progress: Progress = Progress(),
) -> Export:
    """Write a folder with ``dataset.json`` for ``monai.data.load_decathlon_datalist`` and Auto3DSeg.

    ``training`` entries have ``image``, ``label`` and ``fold``; held-out cases are in ``test``, with labels.

    Args and raises: as `nnunet.export_nnunet`, but any folder name will do.
    """

    def write_index(place: Path, exported: Export) -> None:
        fold_of = {case_id: number for number, fold in enumerate(exported.folds) for case_id in fold}
        training = [{**_entry(case_id, "Tr"), "fold": fold_of[case_id]} for case_id in exported.train]
        write_json(
            place / "dataset.json",
            {
                "name": data_set.title,
                "description": "Kidneys on CT",
                "reference": "",
                "licence": "",
                "release": "",
                "deidentification": DEIDENTIFICATION_NOTICE,
                "tensorImageSize": "3D",
                "modality": {"0": "CT"},
                "labels": {"0": "background", **{str(v): name for name, v in label_names(exported).items()}},
                "numTraining": len(exported.train),
                "numTest": len(exported.test),
                "training": training,
                "test": [_entry(case_id, "Ts") for case_id in exported.test],
            },
        )

    return export(
        data_set,
        output,
        kind="monai",
        image_name=lambda case_id: f"{case_id}{ENDING}",
        write_index=write_index,
        readers=readers,
        parenchyma_only=parenchyma_only,
        progress=progress,
    )


def _entry(case_id: str, part: str) -> dict[str, str]:
    return {"image": f"images{part}/{case_id}{ENDING}", "label": f"labels{part}/{case_id}{ENDING}"}
