"""Exports are exact, and accepted by those who will read them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk

from KidneySegLib.errors import InputError, OutputError
from KidneySegLib.export.dataset import Addition, DataSet, Split, Status
from KidneySegLib.export.dataset.monai import export_monai
from KidneySegLib.export.dataset.nnunet import export_nnunet
from Testing.export.dataset_case import corrected, labels, scan

A, B = Addition(reader="A"), Addition(reader="B")
NAME = "Dataset601_Kidneys"


def load(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def voxels(path: Path) -> np.ndarray:
    return np.asarray(sitk.GetArrayFromImage(sitk.ReadImage(str(path))))


@pytest.fixture(scope="module")
def data_set(tmp_path_factory: pytest.TempPathFactory) -> DataSet:
    """Six cases to train on, two held out, one rejected, one without kidney, one undivided."""
    made = DataSet.create(tmp_path_factory.mktemp("data") / "set", "Our kidneys")
    for seed in range(8):
        told = replace(A, split=Split.TEST if seed > 5 else Split.TRAIN)
        made.add(scan(seed), corrected() if seed == 0 else labels(cyst=seed % 2 == 0), told, automatic=labels())
    made.add(scan(8), labels(), replace(A, status=Status.REJECTED, split=Split.TRAIN))
    made.add(scan(9), sitk.Image(labels()) * 0, replace(A, split=Split.TRAIN))
    made.add(scan(10), labels(undivided=True), replace(A, split=Split.TRAIN))
    return made


def test_nnunet_by_its_own_check(data_set: DataSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"):
        monkeypatch.setenv(name, str(tmp_path))
    pytest.importorskip("nnunetv2")
    from nnunetv2.experiment_planning import verify_dataset_integrity as check
    from nnunetv2.utilities.label_handling.label_handling import LabelManager

    out = tmp_path / NAME
    exported = export_nnunet(data_set, out)
    monkeypatch.setattr(check.multiprocessing, "get_context", lambda _: _InThisProcess)
    check.verify_dataset_integrity(str(out), num_processes=1)
    facts = load(out / "dataset.json")
    manager = LabelManager(facts["labels"], facts["regions_class_order"])
    assert manager.has_regions
    assert list(facts["labels"]) == ["background", "parenchyma", "cortex", "cyst"]
    assert manager.foreground_regions == [(1, 2), 2, 3]
    assert facts["regions_class_order"] == [1, 2, 3]
    assert facts["channel_names"] == {"0": "CT"}
    assert facts["numTraining"] == len(exported.train) == 6
    assert len(exported.test) == 2
    assert sorted(exported.left_out.values()) == [
        "a kidney of it is not divided into cortex and medulla",
        "no accepted labels",
        "no kidney in its labels",
    ]


class _InThisProcess:
    """A process pool without processes: spawning one takes longer than all else here."""

    @staticmethod
    def Pool(_: int) -> _InThisProcess:  # noqa: N802
        return _InThisProcess()

    def __enter__(self) -> _InThisProcess:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def starmap(self, function: Any, arguments: Any) -> list[Any]:
        return [function(*one) for one in arguments]


def test_geometry_and_labels_are_exact(data_set: DataSet, tmp_path: Path) -> None:
    out = tmp_path / NAME
    exported = export_nnunet(data_set, out)
    by_id = {case.case_id: case for case in data_set.cases()}
    for part, ids in (("Tr", exported.train), ("Ts", exported.test)):
        for case_id in ids:
            case = by_id[case_id]
            image, target = (
                out / f"images{part}" / f"{case_id}_0000.nii.gz",
                out / f"labels{part}" / f"{case_id}.nii.gz",
            )
            assert image.read_bytes() == case.image_path.read_bytes()
            first, second = nibabel.load(image), nibabel.load(target)
            assert np.array_equal(first.affine, second.affine)
            assert first.header.get_zooms() == second.header.get_zooms()
            assert case.best is not None
            ids_1_15 = sitk.GetArrayFromImage(case.best.labels())
            expected = np.select([np.isin(ids_1_15, (1, 3)), np.isin(ids_1_15, (2, 4)), ids_1_15 == 5], [2, 1, 3], 0)
            assert np.array_equal(voxels(target), expected)
    assert not (out / "imagesTr" / f"{exported.test[0]}_0000.nii.gz").exists()


def test_splits_and_provenance(data_set: DataSet, tmp_path: Path) -> None:
    out = tmp_path / NAME
    exported = export_nnunet(data_set, out)
    splits = load(out / "splits_final.json")
    assert len(splits) == 5
    assert sorted(name for split in splits for name in split["val"]) == list(exported.train)
    for split in splits:
        assert sorted(split["train"] + split["val"]) == list(exported.train)
    assert load(out / "test.json") == list(exported.test)
    facts = load(out / "provenance.json")
    assert facts["data_set"] == {"id": data_set.data_set_id, "title": "Our kidneys"}
    first = facts["cases"][data_set.cases()[0].case_id]
    assert first["revisions"][0]["reader"] == "A"
    assert first["revisions"][0]["origin"] == "corrected"
    assert len(first["source_sha256"]) == 64


@pytest.mark.filterwarnings("ignore:NvImgCodec")
def test_monai_reads_it(data_set: DataSet, tmp_path: Path) -> None:
    pytest.importorskip("monai")
    from monai.data import load_decathlon_datalist
    from monai.transforms import LoadImaged

    out = tmp_path / "monai"
    exported = export_monai(data_set, out)
    training = load_decathlon_datalist(out / "dataset.json", True, "training")
    assert [entry["fold"] for entry in training].count(0) in (1, 2)
    assert {entry["fold"] for entry in training} == set(range(5))
    assert len(load_decathlon_datalist(out / "dataset.json", True, "test")) == 2
    facts = load(out / "dataset.json")
    assert facts["labels"] == {"0": "background", "1": "medulla", "2": "cortex", "3": "cyst"}
    assert (facts["numTraining"], facts["numTest"]) == (6, 2)
    entry = next(one for one in training if exported.train[0] in one["image"])
    loaded = LoadImaged(["image", "label"], image_only=True)(entry)
    assert np.array_equal(np.asarray(loaded["image"].affine), np.asarray(loaded["label"].affine))
    assert np.array_equal(np.asarray(loaded["label"]).T, voxels(Path(entry["label"])))


def test_parenchyma_only(data_set: DataSet, tmp_path: Path) -> None:
    exported = export_nnunet(data_set, tmp_path / NAME, parenchyma_only=True)
    facts = load(tmp_path / NAME / "dataset.json")
    assert facts["labels"] == {"background": 0, "parenchyma": 1, "cyst": 2}
    assert "regions_class_order" not in facts
    assert "No cortex labels" in facts["description"]
    assert len(exported.train) == 7
    target = voxels(tmp_path / NAME / "labelsTr" / f"{data_set.cases()[0].case_id}.nii.gz")
    assert [int((target == n).sum()) for n in (1, 2)] == [120, 6]


def test_a_data_set_without_any_cortex_says_so_by_itself(tmp_path: Path) -> None:
    made = DataSet.create(tmp_path / "set")
    made.add(scan(), labels(undivided=True, cyst=False), replace(A, split=Split.TRAIN))
    exported = export_nnunet(made, tmp_path / NAME)
    assert exported.parenchyma_only
    assert load(tmp_path / NAME / "dataset.json")["labels"] == {"background": 0, "parenchyma": 1}
    assert exported.folds == (exported.train,)


def test_one_readers_labels(tmp_path: Path) -> None:
    made = DataSet.create(tmp_path / "set")
    made.add(scan(), corrected(), replace(A, split=Split.TRAIN))
    case_id = made.add(scan(), labels(), B).case.case_id
    for reader, cortex in (("A", 78), ("B", 72), ("newest", 72)):
        export_nnunet(made, tmp_path / NAME, readers=reader)
        assert (voxels(tmp_path / NAME / "labelsTr" / f"{case_id}.nii.gz") == 2).sum() == cortex
    with pytest.raises(InputError, match="Readers are: A, B"):
        export_nnunet(made, tmp_path / NAME, readers="C")
    with pytest.raises(InputError, match="consensus must be one of"):
        export_nnunet(made, tmp_path / NAME, readers="consensus:dice")


@pytest.mark.parametrize(("method", "cortex"), [("intersection", 72), ("majority", 78)])
def test_consensus_of_readers(method: str, cortex: int, tmp_path: Path) -> None:
    made = DataSet.create(tmp_path / "set")
    made.add(scan(), corrected(), replace(A, split=Split.TRAIN))
    made.add(scan(), labels(), B)
    case_id = made.add(scan(), corrected() if method == "majority" else labels(), replace(A, reader="C")).case.case_id
    export_nnunet(made, tmp_path / NAME, readers=f"consensus:{method}")
    target = voxels(tmp_path / NAME / "labelsTr" / f"{case_id}.nii.gz")
    assert (target == 2).sum() == cortex
    assert (target == 3).sum() == 6
    facts = load(tmp_path / NAME / "provenance.json")["cases"][case_id]
    assert facts["method"] == method
    assert [one["reader"] for one in facts["revisions"]] == ["A", "B", "C"]


def test_what_is_refused_leaves_nothing(data_set: DataSet, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="DatasetNNN_Name"):
        export_nnunet(data_set, tmp_path / "kidneys")
    with pytest.raises(InputError, match="no case to train on"):
        export_monai(DataSet.create(tmp_path / "empty"), tmp_path / "out")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.docx").write_text("years of work")
    with pytest.raises(OutputError, match="holds no results"):
        export_monai(data_set, tmp_path / "mine")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty", "mine"]
