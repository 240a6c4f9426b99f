"""Commands of the panel's Re-training section and of its DICOM SEG button, asked of a session in this process."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from KidneySegLib.ct import read_ct
from KidneySegLib.errors import InputError
from KidneySegLib.export.dataset import DataSet
from KidneySegLib.export.dicom_seg_read import read_dicom_seg
from KidneySegLib.progress import Progress
from KidneySegLib.worker_parts import arrays, protocol
from KidneySegLib.worker_parts.commands import Session
from KidneySegLib.worker_parts.dataset_commands import HANDLERS
from Testing.ct.dicom_series import SeriesSpec, write_series
from Testing.export.dataset_case import corrected, labels, scan

TAGS = {"FrameOfReferenceUID": "1.2.826.0.1.3680043.8.498.7"}


@pytest.fixture
def session(tmp_path: Path) -> Session:
    (tmp_path / "work").mkdir()
    return Session(tmp_path / "work")


def ask(session: Session, command: str, **fields: object) -> dict:
    return session.obey(command, {"id": 7, "command": command, **fields}, Progress())


def sent(session: Session, name: str, image: sitk.Image) -> dict:
    return arrays.write_image(session.workspace, f"{name}.npy", image)


def received(session: Session, reply: dict, shape: tuple[int, ...]) -> np.ndarray:
    whole = np.zeros(shape, np.uint8)
    box = np.load(session.workspace / reply["array"])
    x, y, z = reply["index"]
    whole[z : z + box.shape[0], y : y + box.shape[1], x : x + box.shape[2]] = box
    return whole


def test_the_protocol_knows_every_command() -> None:
    assert set(HANDLERS) <= set(protocol.COMMANDS)


def test_add_list_load_export(session: Session, tmp_path: Path) -> None:
    folder = str(tmp_path / "set")
    volume = sent(session, "volume", scan().image)
    common = {"dataset": folder, "volume": volume, "automatic": sent(session, "automatic", labels())}
    first = ask(
        session, "dataset_add", **common, labels=sent(session, "one", corrected()), reader="A", status="accepted",
        comment="pole", seconds_spent=12.5, model_facts={"name": "m", "version": "1"}, flags=["kidney_small"],
        uncertainty={"traffic_light": "red"}, subject="4711",
    )  # fmt: skip
    assert first["is_new_case"]
    assert "burnt" in first["notice"]
    second = ask(session, "dataset_add", **common, labels=sent(session, "two", labels()), reader="B", status="rejected")
    assert (second["revision"], second["case"]["case_id"]) == (2, first["case"]["case_id"])

    listed = ask(session, "dataset_list", dataset=folder)
    assert listed["next"] == []
    (case,) = listed["cases"]
    assert [(one["reader"], one["status"], one["changed_voxels"]) for one in case["revisions"]] == [
        ("A", "accepted", 8),
        ("B", "rejected", 0),
    ]

    loaded = ask(session, "dataset_load", dataset=folder, case=case["case_id"], revision=1)
    shape = sitk.GetArrayFromImage(labels()).shape
    assert np.array_equal(received(session, loaded["labels"], shape), sitk.GetArrayFromImage(corrected()))
    assert np.array_equal(received(session, loaded["automatic"], shape), sitk.GetArrayFromImage(labels()))
    assert loaded["revision"]["comment"] == "pole"
    row = dict(zip(loaded["table"]["columns"], loaded["table"]["rows"][0], strict=True))
    assert row["side"] == "right"
    assert float(row["cortex_ml"]) == pytest.approx(48 * 0.7 * 0.9 * 2.5 / 1000, abs=5e-4)
    newest = ask(session, "dataset_load", dataset=folder, case=case["case_id"], revision=None)
    assert newest["revision"]["reader"] == "B"

    # The image as it was stored, in whatever precision another program read it.
    again = read_ct(Path(loaded["image"])).image
    again.SetOrigin([value + 1e-4 for value in again.GetOrigin()])
    third = ask(
        session, "dataset_add", dataset=folder, volume=sent(session, "again", again), reader="C", status="accepted",
        labels={**sent(session, "three", labels()), "origin_mm": list(again.GetOrigin())}, based_on=1,
        dataset_case=case["case_id"],
    )  # fmt: skip
    assert third["revision"] == 3

    split = DataSet.open(Path(folder)).cases()[0].split.value
    if split == "test":
        with pytest.raises(InputError, match="no case to train on"):
            ask(session, "dataset_export", dataset=folder, output=str(tmp_path / "out"), format="monai")
    else:
        reply = ask(session, "dataset_export", dataset=folder, output=str(tmp_path / "out"), format="monai")
        assert (reply["train"], reply["test"]) == (1, 0)


@pytest.mark.parametrize("flip", [(False, False, False), (False, False, True), (True, True, False)])
def test_dicom_seg_of_labels_in_another_programs_order(
    flip: tuple[bool, bool, bool], session: Session, tmp_path: Path
) -> None:
    files = write_series(tmp_path / "dicom", SeriesSpec(tags=TAGS))
    image = read_ct(tmp_path / "dicom").image
    voxels = np.zeros(image.GetSize()[::-1], np.uint8)
    voxels[3:6, 4:9, 5:20] = 1
    voxels[4, 5:7, 6:9] = 2
    made = sitk.GetImageFromArray(voxels)
    made.CopyInformation(image)
    turned = sitk.Flip(made, flip)
    reply = ask(
        session, "dicom_seg", labels=sent(session, "labels", turned), files=[str(path) for path in files],
        output=str(tmp_path / "seg.dcm"),
        provenance={"source": "corrected", "model": {"name": "m"}, "review": {"reader": "A"}},
    )  # fmt: skip
    assert reply == {"file": str(tmp_path / "seg.dcm"), "notes": []}
    again, info = read_dicom_seg(tmp_path / "seg.dcm")
    assert np.array_equal(sitk.GetArrayFromImage(again), voxels[3:6])
    assert (info.source, info.reader) == ("corrected", "A")


def test_labels_of_a_moved_volume_are_refused(session: Session, tmp_path: Path) -> None:
    files = write_series(tmp_path / "dicom", SeriesSpec(tags=TAGS))
    image = read_ct(tmp_path / "dicom").image
    made = sitk.Cast(image * 0 + 1, sitk.sitkUInt8)
    made.SetOrigin([value + 0.5 for value in image.GetOrigin()])
    with pytest.raises(InputError, match="does not lie on the grid of the DICOM series"):
        ask(
            session, "dicom_seg", labels=sent(session, "labels", made), files=[str(path) for path in files],
            output=str(tmp_path / "seg.dcm"),
        )  # fmt: skip
    assert not (tmp_path / "seg.dcm").exists()


@pytest.mark.parametrize(
    ("command", "fields"),
    [
        ("dataset_list", {}),
        ("dataset_export", {"dataset": "x", "format": "csv", "output": "y"}),
        ("dicom_seg", {"files": []}),
    ],
)
def test_requests_that_are_not_of_the_protocol(command: str, fields: dict, session: Session) -> None:
    with pytest.raises(protocol.ProtocolError):
        ask(session, command, **fields)
