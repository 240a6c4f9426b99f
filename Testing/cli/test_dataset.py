"""``kidneyseg dataset``, ``kidneyseg export`` and who corrected what, as a user runs them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from pydicom import dcmread

from KidneySegLib.export.dataset import DataSet, Origin
from KidneySegLib.export.dicom_seg_read import read_dicom_seg
from Testing.cli.conftest import Finished
from Testing.ct.dicom_series import SeriesSpec, write_series

Run = Callable[..., Finished]


@pytest.fixture(scope="module")
def corrected(results: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny scan's labels, with a slab of right medulla painted cortex."""
    image = sitk.ReadImage(str(results / "segmentation.nii.gz"))
    voxels = sitk.GetArrayFromImage(image)
    voxels[20][voxels[20] == 2] = 1
    changed = sitk.GetImageFromArray(voxels)
    changed.CopyInformation(image)
    path = tmp_path_factory.mktemp("corrected") / "corrected.nii.gz"
    sitk.WriteImage(changed, str(path))
    return path


def count(labels: Path, other: Path) -> int:
    first, second = (sitk.GetArrayFromImage(sitk.ReadImage(str(path))) for path in (labels, other))
    return int((first != second).sum())


def test_from_results_to_a_training_set(
    kidneyseg: Run, scan: Path, results: Path, corrected: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "our-kidneys"
    common = ("--image", scan, "--dataset", folder, "-q")
    done = kidneyseg("dataset", "add", results, *common, "--status", "unreviewed", "--split", "train")
    assert done.status == 0, done.err
    assert "new case, train): unreviewed" in done.out
    assert "0 voxels differ" in done.out
    assert "burnt into the pictures" in done.out.replace("\n", " ")
    assert "not reviewed" in kidneyseg("dataset", "list", folder, "--next").out

    done = kidneyseg(
        "dataset", "add", corrected, "--automatic", results, *common, "--reader", "Dr. A", "--seconds", "90"
    )
    changed = count(corrected, results / "segmentation.nii.gz")
    assert changed > 10
    assert f"{changed} voxels differ" in done.out
    assert "right_medulla" in done.out
    (case,) = DataSet.open(folder).cases()
    assert case.best is not None
    assert (case.best.reader, case.best.origin, case.best.seconds_spent) == ("Dr. A", Origin.CORRECTED, 90.0)
    assert case.best.model["name"] == "fine"
    assert len(case.best.model["sha256"]) == 64
    listed = kidneyseg("dataset", "list", folder).out
    assert "Dr. A (accepted)" in listed
    assert "Every case was reviewed" in kidneyseg("dataset", "list", folder, "--next").out

    done = kidneyseg(
        "dataset", "export", folder, "--format", "nnunet", "-o", tmp_path / "Dataset601_Kidneys", "--readers", "Dr. A"
    )
    assert "1 cases to train on in 1 folds, 0 held out" in done.out
    done = kidneyseg("dataset", "export", folder, "--format", "monai", "-o", tmp_path / "monai")
    assert json.loads((tmp_path / "monai" / "dataset.json").read_text(encoding="utf-8"))["numTraining"] == 1


def test_results_that_were_corrected_carry_their_reader(
    kidneyseg: Run, scan: Path, results: Path, corrected: Path, tmp_path: Path
) -> None:
    out = tmp_path / "corrected"
    done = kidneyseg(
        "measure",
        corrected,
        "--image",
        scan,
        "-o",
        out,
        "--automatic",
        results,
        "--reader",
        "Dr. A",
        "--comment",
        "pole",
    )
    assert done.status == 0, done.err
    facts = json.loads((out / "provenance.json").read_text(encoding="utf-8"))
    assert facts["source"] == "corrected"
    assert facts["review"]["reader"] == "Dr. A"
    assert facts["review"]["changed_voxels"] == count(corrected, results / "segmentation.nii.gz")
    assert facts["model"]["name"] == "fine"
    assert facts["model"]["sha256"]
    assert (out / "volumes.csv").read_text(encoding="utf-8").splitlines()[1].split(",")[14:16] == ["fine", "corrected"]
    page = (out / "report.html").read_text(encoding="utf-8")
    assert "Corrected by Dr. A, 20" in page
    assert "starting from the automatic result of the model fine" in page
    kidneyseg("dataset", "add", out, "--image", scan, "--dataset", tmp_path / "set", "-q")
    (case,) = DataSet.open(tmp_path / "set").cases()
    assert case.latest.reader == "Dr. A"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("add", "{corrected}", "--image", "{scan}", "--dataset", "{out}"), "need the name of the reader"),
        (("add", "{out}/none", "--image", "{scan}", "--dataset", "{out}", "--reader", "A"), "is not a file"),
        (("list", "{out}"), "no data set"),
        (("export", "{out}", "--format", "monai", "-o", "{out}/x"), "no data set"),
    ],
)
def test_what_the_user_can_mend_is_one_line(
    kidneyseg: Run, arguments: tuple[str, ...], message: str, scan: Path, corrected: Path, tmp_path: Path
) -> None:
    given = [one.format(scan=scan, corrected=corrected, out=tmp_path / "set") for one in arguments]
    done = kidneyseg("dataset", *given)
    assert done.status == 2
    assert message in done.err.splitlines()[-1]
    assert done.out == ""


def test_dicom_seg_at_every_door(kidneyseg: Run, model: Path, tmp_path: Path) -> None:
    from Testing.cli.conftest import a_scan

    scan = a_scan()
    stored = sitk.GetArrayFromImage(scan)

    class Spec(SeriesSpec):
        def slice_hu(self, index: int) -> np.ndarray:
            return stored[index].astype(float)

    dicom = tmp_path / "dicom"
    spec = Spec(
        rows=80,
        columns=96,
        positions_mm=tuple(4.0 * n for n in range(40)),
        origin_mm=scan.GetOrigin(),
        pixel_mm=(3.0, 3.0),
        thickness_mm=4.0,
        tags={"FrameOfReferenceUID": "1.2.826.0.1.3680043.8.498.7"},
    )
    write_series(dicom, spec)
    out = tmp_path / "out"
    done = kidneyseg("segment", dicom, "-o", out, "--model", model, "--dicom-seg", "-q")
    assert done.status == 0, done.err
    voxels = sitk.GetArrayFromImage(sitk.ReadImage(str(out / "segmentation.nii.gz")))
    seg, info = read_dicom_seg(out / "segmentation.dcm")
    assert (info.source, info.model, info.reader) == ("automatic", "fine", "")
    assert dcmread(out / "segmentation.dcm").PatientID == "secret-id"
    assert (sitk.GetArrayFromImage(seg) > 0).sum() == (voxels > 0).sum() > 1000

    # Back from an archive: corrected there, measured here, and written again.
    again = tmp_path / "again"
    done = kidneyseg(
        "measure", out / "segmentation.dcm", "--image", dicom, "-o", again, "--reader", "B", "--automatic", out,
        "--dicom-seg", "-q",
    )  # fmt: skip
    assert done.status == 0, done.err
    assert np.array_equal(sitk.GetArrayFromImage(sitk.ReadImage(str(again / "segmentation.nii.gz"))), voxels)
    info = read_dicom_seg(again / "segmentation.dcm")[1]
    assert (info.source, info.model, info.reader) == ("corrected", "fine", "B")

    done = kidneyseg("export", "dicom-seg", out, "--image", dicom, "-o", tmp_path / "kidneys.dcm", "-q")
    assert done.status == 0, done.err
    assert np.array_equal(
        sitk.GetArrayFromImage(read_dicom_seg(tmp_path / "kidneys.dcm")[0]), sitk.GetArrayFromImage(seg)
    )

    # A patient stays in one part of a data set, and his number is not in it.
    kidneyseg("dataset", "add", out, "--image", dicom, "--dataset", tmp_path / "set", "--reader", "B", "-q")
    (case,) = DataSet.open(tmp_path / "set").cases()
    assert case.subject not in case.case_id
    assert all(b"secret-id" not in path.read_bytes() for path in (tmp_path / "set").rglob("*.json"))


def test_dicom_seg_needs_dicom_and_says_so_before_the_work(kidneyseg: Run, scan: Path, tmp_path: Path) -> None:
    done = kidneyseg("segment", scan, "-o", tmp_path / "out", "--dicom-seg")
    assert done.status == 2
    assert "holds no DICOM" in done.err
    assert not (tmp_path / "out").exists()
