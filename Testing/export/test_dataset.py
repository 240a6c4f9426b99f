"""The growing data set: what is added is there exactly, and says nothing about the patient."""

from __future__ import annotations

import gzip
import json
import shutil
from dataclasses import replace
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk

from KidneySegLib.errors import InputError, OutputError
from KidneySegLib.export.dataset import Addition, DataSet, Origin, Split, Status, training_labels
from KidneySegLib.export.dataset.records import Change
from KidneySegLib.export.dataset.splits import FOLDS, folds
from KidneySegLib.postprocessing.grid import VoxelGrid, offset_in
from Testing.export.dataset_case import VOXEL_ML, check_whole, corrected, image_of, labels, scan

TOLD = Addition(reader="Dr. A", comment="upper pole", seconds_spent=81.5, model={"name": "m", "version": "1"})


@pytest.fixture
def data_set(tmp_path: Path) -> DataSet:
    return DataSet.create(tmp_path / "set", "Our kidneys")


def voxels(image: sitk.Image) -> np.ndarray:
    return np.asarray(sitk.GetArrayFromImage(image))


def test_a_case_is_there_exactly(data_set: DataSet) -> None:
    added = data_set.add(scan(), corrected(), replace(TOLD, flags=("kidney_small",)), automatic=labels())
    (case,) = data_set.cases()
    assert added.is_new_case
    assert added.case == case
    revision = case.best
    assert revision is not None
    assert revision == added.revision
    assert np.array_equal(voxels(case.image()), voxels(scan().image))
    assert np.array_equal(voxels(revision.labels()), voxels(corrected()))
    assert revision.automatic_path is not None
    assert np.array_equal(voxels(sitk.ReadImage(str(revision.automatic_path))), voxels(labels()))
    assert offset_in(VoxelGrid.of(case.image()), VoxelGrid.of(scan().image)) == (0, 0, 0)
    assert (revision.reader, revision.status, revision.origin) == ("Dr. A", Status.ACCEPTED, Origin.CORRECTED)
    assert (revision.comment, revision.seconds_spent, revision.flags) == ("upper pole", 81.5, ("kidney_small",))
    assert revision.model == {"name": "m", "version": "1"}


def test_changes_are_counted(data_set: DataSet) -> None:
    revision = data_set.add(scan(), corrected(), TOLD, automatic=labels()).revision
    assert revision.changed_voxels == 8
    assert revision.changes == {
        "right_cortex": Change(6, 0, pytest.approx(48 * VOXEL_ML), pytest.approx(54 * VOXEL_ML)),
        "right_medulla": Change(0, 6, pytest.approx(24 * VOXEL_ML), pytest.approx(18 * VOXEL_ML)),
        "right_cyst": Change(0, 2, pytest.approx(8 * VOXEL_ML), pytest.approx(6 * VOXEL_ML)),
    }
    assert revision.volumes_ml["left_cortex"] == pytest.approx(24 * VOXEL_ML)


@pytest.mark.parametrize(
    ("automatic", "origin", "changed"),
    [(None, Origin.MANUAL, None), (labels(), Origin.AUTOMATIC, 0), (corrected(), Origin.CORRECTED, 8)],
)
def test_origin(data_set: DataSet, automatic: sitk.Image | None, origin: Origin, changed: int | None) -> None:
    revision = data_set.add(scan(), labels(), TOLD, automatic=automatic).revision
    assert (revision.origin, revision.changed_voxels) == (origin, changed)


def test_labels_on_a_part_of_the_grid(data_set: DataSet) -> None:
    part = sitk.RegionOfInterest(corrected(), [18, 12, 10], [1, 1, 1])
    case = data_set.add(scan(), part, TOLD, automatic=part).case
    assert case.best is not None
    assert np.array_equal(voxels(case.best.labels()), voxels(corrected()))


def test_again_is_a_new_revision_and_nothing_is_overwritten(data_set: DataSet) -> None:
    data_set.add(scan(), labels(), TOLD)
    before = {path: path.read_bytes() for path in data_set.folder.rglob("*") if path.is_file()}
    second = data_set.add(scan(), corrected(), TOLD)
    third = data_set.add(scan(), labels(), replace(TOLD, reader="B", status=Status.REJECTED))
    assert not second.is_new_case
    assert [one.number for one in third.case.revisions] == [1, 2, 3]
    assert {path: path.read_bytes() for path in before} == before
    assert len(data_set.cases()) == 1


def test_readers_side_by_side(data_set: DataSet) -> None:
    for reader, status in (("A", "accepted"), ("B", "accepted"), ("C", "rejected"), ("A", "accepted")):
        data_set.add(scan(), labels(), Addition(reader=reader, status=Status(status)))
    (case,) = data_set.cases()
    assert {name: one.number for name, one in case.by_reader().items()} == {"A": 4, "B": 2, "C": 3}
    assert [one.number for one in case.accepted()] == [2, 4]
    assert case.best is not None
    assert case.best.number == 4


def test_who_rejects_later_takes_back(data_set: DataSet) -> None:
    data_set.add(scan(), labels(), Addition(reader="A"))
    data_set.add(scan(), labels(), Addition(reader="A", status=Status.REJECTED))
    (case,) = data_set.cases()
    assert case.accepted() == ()
    assert case.best is None
    assert case.reviewed


def test_unreviewed_labels_are_nobodys(data_set: DataSet) -> None:
    case = data_set.add(scan(), labels(), Addition(reader="", status=Status.UNREVIEWED)).case
    assert not case.reviewed
    assert case.best is None


def test_nothing_of_the_patient_is_kept(data_set: DataSet) -> None:
    image = scan().image
    image.SetMetaData("descrip", "DOE^JANE 4711")
    image.SetMetaData("aux_file", "DOE^JANE")
    image.SetMetaData("0010|0010", "DOE^JANE")
    data_set.add(replace(scan(), image=image), labels(), replace(TOLD, subject="4711"), automatic=labels())
    (case,) = data_set.cases()
    header = nibabel.load(case.image_path).header
    assert bytes(header["descrip"]).strip(b"\0") == b""
    for path in data_set.folder.rglob("*"):
        content = path.read_bytes() if path.is_file() else b""
        content = gzip.decompress(content) if path.suffix == ".gz" else content
        for word in (b"DOE", b"JANE", b"4711"):
            assert word not in content
            assert word not in path.name.encode()
    assert "burnt" in json.loads((data_set.folder / "dataset.json").read_text(encoding="utf-8"))["deidentification"]


def test_names_are_stable_in_a_data_set_and_differ_between_two(data_set: DataSet, tmp_path: Path) -> None:
    other = DataSet.create(tmp_path / "other")
    copy = tmp_path / "copy"
    shutil.copytree(data_set.folder, copy)
    name = data_set.add(scan(), labels(), TOLD).case.case_id
    assert data_set.add(scan(), labels(), TOLD).case.case_id == name
    assert DataSet.open(copy).add(scan(), labels(), TOLD).case.case_id == name
    assert other.add(scan(), labels(), TOLD).case.case_id != name


def test_a_case_that_was_loaded_from_the_data_set_is_known_again(data_set: DataSet) -> None:
    from KidneySegLib.ct import read_ct

    case = data_set.add(scan(), labels(), TOLD).case
    again = read_ct(case.image_path)
    assert again.sha256 == case.image_sha256
    assert data_set.add(again, corrected(), replace(TOLD, reader="B", based_on=1)).case.case_id == case.case_id


def test_another_image_is_refused_under_a_cases_name(data_set: DataSet) -> None:
    case = data_set.add(scan(), labels(), TOLD).case
    with pytest.raises(InputError, match="not that of case_"):
        data_set.add(scan(1), labels(), replace(TOLD, case_id=case.case_id))
    assert len(data_set.cases()) == 1


def test_without_its_key_a_shared_copy_takes_revisions_but_no_new_cases(data_set: DataSet) -> None:
    data_set.add(scan(), labels(), TOLD)
    (data_set.folder / "private.key").unlink()
    assert data_set.add(scan(), corrected(), TOLD).revision.number == 2
    with pytest.raises(InputError, match=r"private\.key is missing"):
        data_set.add(scan(1), labels(), TOLD)


@pytest.mark.parametrize(
    ("told", "match"),
    [
        (Addition(reader=" "), "name of the reader"),
        (Addition(reader="A", seconds_spent=-1.0), "number of seconds"),
        (Addition(reader="A", seconds_spent=float("nan")), "number of seconds"),
        (Addition(reader="A", flags=("nonsense",)), "not known: nonsense"),
        (Addition(reader="A", case_id="case_none"), "no case case_none"),
    ],
)
def test_what_is_refused(data_set: DataSet, told: Addition, match: str) -> None:
    with pytest.raises(InputError, match=match):
        data_set.add(scan(), labels(), told)
    assert data_set.cases() == ()
    assert list((data_set.folder / ".staging").glob("*")) == []


def test_labels_of_another_grid_or_with_unknown_ids_are_refused(data_set: DataSet) -> None:
    elsewhere = labels()
    elsewhere.SetOrigin((0, 0, 0))
    with pytest.raises(InputError, match="grid"):
        data_set.add(scan(), elsewhere, TOLD)
    strange = voxels(labels())
    strange[0, 0, 0] = 77
    with pytest.raises(InputError, match="ids 77"):
        data_set.add(scan(), image_of(strange), TOLD)
    with pytest.raises(InputError, match="ids 77"):
        data_set.add(scan(), labels(), TOLD, automatic=image_of(strange))
    assert data_set.cases() == ()


def test_folders_of_others_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.docx").write_text("years of work")
    with pytest.raises(InputError, match=r"holds thesis\.docx"):
        DataSet.create(tmp_path)
    with pytest.raises(InputError, match="is a file"):
        DataSet.create(tmp_path / "thesis.docx")
    with pytest.raises(InputError, match="no data set"):
        DataSet.open(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.docx"]


def test_a_damaged_file_is_noticed_and_named(data_set: DataSet) -> None:
    case = data_set.add(scan(), labels(), TOLD).case
    assert case.best is not None
    path = case.best.labels_path
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(InputError, match=r"labels\.nii\.gz is not what was written"):
        case.best.labels()
    (case.best.folder / "revision.json").write_text("{}")
    with pytest.raises(InputError, match=r"revision\.json is missing or damaged"):
        data_set.cases()


def test_no_permission_is_said(data_set: DataSet, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("KidneySegLib.export.dataset.folders.os.rename", refuse)
    with pytest.raises(OutputError, match="may not write there"):
        data_set.add(scan(), labels(), TOLD)
    check_whole(data_set.folder)
    assert data_set.cases() == ()


def test_one_case_in_five_is_held_out_for_ever(data_set: DataSet) -> None:
    seen: dict[str, Split] = {}
    for seed in range(10):
        data_set.add(scan(seed), labels(), TOLD)
        now = {case.case_id: case.split for case in data_set.cases()}
        assert all(now[case_id] is split for case_id, split in seen.items())
        seen = now
    assert sorted(split.value for split in seen.values()) == ["test"] * 2 + ["train"] * 8


def test_a_patient_is_never_in_both_parts(data_set: DataSet) -> None:
    first = data_set.add(scan(0), labels(), replace(TOLD, subject="4711", split=Split.TEST)).case
    assert data_set.add(scan(1), labels(), replace(TOLD, subject="4711")).case.split is Split.TEST
    # As if two people had added two scans of one patient at the same moment.
    data_set.add(scan(2), labels(), replace(TOLD, subject="4711", split=Split.TRAIN))
    assert {case.split for case in data_set.cases()} == {Split.TRAIN}
    assert data_set.case(first.case_id).split is Split.TRAIN


def test_folds_are_fair_and_keep_patients_together() -> None:
    strata = {f"c{n:02d}": n % 3 == 0 for n in range(30)}
    subjects = {name: name if int(name[1:]) >= 4 else "same" for name in strata}
    parts = folds(strata, subjects)
    assert sorted(name for part in parts for name in part) == sorted(strata)
    assert len(parts) == FOLDS
    assert max(map(len, parts)) - min(map(len, parts)) <= 3
    assert all(1 <= sum(strata[name] for name in part) <= 3 for part in parts)
    assert sum("c00" in part or "c03" in part for part in parts) == 1
    assert folds(strata, subjects) == parts
    assert folds({"a": 0, "b": 0}, {"a": "a", "b": "b"}) == [["a"], ["b"]]


def test_training_labels_have_no_sides() -> None:
    source = labels()
    target = training_labels(source)
    assert [int((voxels(target) == value).sum()) for value in range(1, 5)] == [48, 72, 8, 0]
    assert target.GetDirection() == source.GetDirection()
    assert [int((voxels(training_labels(source, parenchyma_only=True)) == n).sum()) for n in (1, 2, 3)] == [120, 0, 8]
