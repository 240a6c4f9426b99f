"""Cases on disk: a small real scene, read back with the readers that the program uses."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from analytic import BallScene, draw

from KidneySegLib.errors import OutputError
from KidneySegLib.flags import FLAGS
from KidneySegLib.labels import Side
from KidneySegLib.phantom import output, scanner
from KidneySegLib.phantom.grid import Grid
from KidneySegLib.phantom.protocol import Protocol, named
from KidneySegLib.phantom.scanner import Acquisition
from KidneySegLib.phantom.subject import creatinine_for

#: Quick to render: coarse pixels, thick slices.
QUICK = named("luo-li-2025", pixel_mm=4.0, matrix=100, slice_thickness_mm=8.0, slice_spacing_mm=8.0)


@pytest.fixture
def balls(monkeypatch: pytest.MonkeyPatch) -> None:
    """A ball in water instead of a patient, where only files matter."""

    def acquire(_: object, protocol: Protocol, seed: int, **__: object) -> Acquisition:
        return scanner.acquire(BallScene(half_height_mm=45.0), protocol, seed, renderer=draw)

    monkeypatch.setattr(output, "acquire", acquire)


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("phantom") / "case_0007"
    output.write_case(folder, 7, "normal", QUICK, True, phase="arterial")
    return folder


def truth_of(folder: Path) -> dict:
    return json.loads((folder / "truth.json").read_text(encoding="utf-8"))


def test_a_case_is_what_the_design_says(case: Path) -> None:
    assert sorted(path.name for path in case.iterdir()) == ["ct.nii.gz", "dicom", "labels.nii.gz", "truth.json"]
    assert [path.name for path in case.parent.iterdir()] == [case.name]
    ct, labels = sitk.ReadImage(str(case / "ct.nii.gz")), sitk.ReadImage(str(case / "labels.nii.gz"))
    assert ct.GetPixelID() == sitk.sitkInt16
    assert labels.GetPixelID() == sitk.sitkUInt8
    assert ct.GetSize() == labels.GetSize() == tuple(truth_of(case)["grid"]["size_xyz"])
    np.testing.assert_allclose(ct.GetSpacing(), (4.0, 4.0, 8.0), atol=1e-6)
    np.testing.assert_allclose(ct.GetOrigin(), truth_of(case)["grid"]["origin_mm_xyz"], atol=1e-4)
    assert {1, 2, 3, 4} <= set(np.unique(sitk.GetArrayViewFromImage(labels))) <= set(range(16))


def test_truth_agrees_with_the_labels_and_with_where_sides_lie(case: Path) -> None:
    truth = truth_of(case)
    image = sitk.ReadImage(str(case / "labels.nii.gz"))
    labels = sitk.GetArrayFromImage(image)
    voxel_ml = np.prod(image.GetSpacing()) / 1000
    for side, ids in (("right", (1, 2)), ("left", (3, 4))):
        (kidney,) = [k for k in truth["kidneys"] if k["side"] == side]
        assert np.isin(labels, ids).sum() * voxel_ml == pytest.approx(kidney["voxel_parenchyma_ml"], rel=1e-5)
        assert kidney["voxel_parenchyma_ml"] == pytest.approx(kidney["parenchyma_ml"], rel=0.06)
        assert kidney["cortex_ml"] + kidney["medulla_ml"] == pytest.approx(kidney["parenchyma_ml"])
        z, y, x = (float(np.mean(v)) for v in np.nonzero(np.isin(labels, ids)))
        point = image.TransformContinuousIndexToPhysicalPoint((x, y, z))
        assert (point[0] > 0) == (side == "left")
    assert truth["phase"]["name"] == "arterial"
    assert truth["protocol"]["slice_thickness_mm"] == 8.0
    assert set(truth["flags_expected"]) == {"slices_thick_for_cortex", "pixels_coarse_for_cortex"}
    assert set(truth["flags_expected"]) <= set(FLAGS)


def test_simpleitk_reads_the_dicom_as_the_nifti(case: Path) -> None:
    reader = sitk.ImageSeriesReader()
    (series,) = reader.GetGDCMSeriesIDs(str(case / "dicom"))
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(case / "dicom"), series))
    dicom, nifti = reader.Execute(), sitk.ReadImage(str(case / "ct.nii.gz"))
    np.testing.assert_allclose(dicom.GetSpacing(), nifti.GetSpacing(), atol=1e-5)
    np.testing.assert_allclose(dicom.GetOrigin(), nifti.GetOrigin(), atol=1e-4)
    np.testing.assert_allclose(dicom.GetDirection(), nifti.GetDirection(), atol=1e-6)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(dicom), sitk.GetArrayFromImage(nifti))


def test_pydicom_reads_the_dicom_as_the_nifti(case: Path) -> None:
    files = [pydicom.dcmread(path) for path in sorted((case / "dicom").iterdir())]
    nifti = sitk.ReadImage(str(case / "ct.nii.gz"))
    array = sitk.GetArrayFromImage(nifti)
    assert len(files) == len(array)
    uids = {ds.SOPInstanceUID for ds in files}
    assert len(uids) == len(files)
    for ds in files:
        assert ds.file_meta.MediaStorageSOPInstanceUID == ds.SOPInstanceUID
        assert all(pydicom.uid.UID(uid).is_valid for uid in (ds.SOPInstanceUID, ds.StudyInstanceUID))
        index = nifti.TransformPhysicalPointToIndex([float(v) for v in ds.ImagePositionPatient])
        assert index[:2] == (0, 0)
        hu = ds.pixel_array * float(ds.RescaleSlope) + float(ds.RescaleIntercept)
        np.testing.assert_array_equal(hu, array[index[2]])
    first = files[0]
    assert first.InstanceNumber == 1
    assert float(first.ImagePositionPatient[2]) > float(files[-1].ImagePositionPatient[2])
    assert [float(v) for v in first.PixelSpacing] == [4.0, 4.0]
    assert float(first.SliceThickness) == 8.0
    assert first.ImageOrientationPatient == [1, 0, 0, 0, 1, 0]


def test_dicom_tells_the_patient_and_the_contrast_but_no_person(case: Path) -> None:
    truth, ds = truth_of(case), pydicom.dcmread(case / "dicom" / "IM0001.dcm")
    assert ds.PatientName == "Phantom^case_0007"
    assert ds.QualityControlImage == "YES"
    assert ds.PatientSex == truth["subject"]["sex"].upper()
    assert ds.PatientAge == f"{truth['subject']['age_years']:03d}Y"
    assert float(ds.PatientSize) == pytest.approx(truth["subject"]["height_cm"] / 100)
    assert float(ds.PatientWeight) == pytest.approx(truth["subject"]["weight_kg"])
    assert float(ds.ContrastFlowRate) == truth["phase"]["injection"]["rate_ml_s"]
    assert float(ds.ContrastBolusVolume) == truth["phase"]["injection"]["volume_ml"]

    def seconds(time: str) -> float:
        return int(time[:2]) * 3600 + int(time[2:4]) * 60 + float(time[4:])

    delay = seconds(ds.AcquisitionTime) - seconds(ds.ContrastBolusStartTime)
    assert delay == pytest.approx(truth["phase"]["seconds_after_injection"], abs=0.01)


def test_same_seed_same_files(tmp_path: Path, case: Path) -> None:
    output.write_case(tmp_path / case.name, 7, "normal", QUICK, True, phase="arterial")
    for name in ("ct.nii.gz", "labels.nii.gz", "truth.json", "dicom/IM0003.dcm"):
        assert (tmp_path / case.name / name).read_bytes() == (case / name).read_bytes(), name


@pytest.mark.usefixtures("balls")
def test_cases_are_numbered_and_each_can_be_made_alone(tmp_path: Path) -> None:
    seen = []
    folders = output.write_cases(
        tmp_path / "out",
        2,
        70,
        protocol=QUICK,
        variants=("single", "mass"),
        phase="unenhanced",
        done=lambda folder, _: seen.append(folder.name),
    )
    assert [folder.name for folder in folders] == seen == ["case_0001", "case_0002"]
    assert [truth_of(folder)["variant"] for folder in folders] == ["single", "mass"]
    assert {"phase_unenhanced", "one_kidney"} <= set(truth_of(folders[0])["flags_expected"])
    assert not (folders[0] / "dicom").exists()
    alone = output.write_case(tmp_path / "case_0002", 71, "mass", QUICK, phase="unenhanced")
    assert alone == truth_of(folders[1])
    with pytest.raises(ValueError, match="negative"):
        output.write_cases(tmp_path, -1, 0)


@pytest.mark.usefixtures("balls")
def test_what_is_not_ours_is_never_touched(tmp_path: Path) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter1.txt").write_text("years of work")
    with pytest.raises(OutputError, match="holds no phantom"):
        output.write_case(tmp_path / "thesis", 1, protocol=QUICK)
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="is a file"):
        output.write_case(tmp_path / "file", 1, protocol=QUICK)
    with pytest.raises(OutputError, match="cannot be written"):
        output.write_case(tmp_path / "file" / "case", 1, protocol=QUICK)
    assert (tmp_path / "thesis" / "chapter1.txt").read_text() == "years of work"


@pytest.mark.usefixtures("balls")
def test_a_failure_leaves_the_old_case_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "case_0001"
    first = output.write_case(folder, 8, "single", QUICK)

    def full_disk(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(output, "write_series", full_disk)
        with pytest.raises(OutputError, match="No space left"):
            output.write_case(folder, 9, "single", QUICK, True)
    assert truth_of(folder) == first
    assert [path.name for path in tmp_path.iterdir()] == ["case_0001"]
    output.write_case(folder, 9, "single", QUICK)
    assert truth_of(folder)["seed"] == 9
    assert [path.name for path in tmp_path.iterdir()] == ["case_0001"]


def test_flags_of_numbers_and_places_of_kidneys() -> None:
    right, left, none = Side.RIGHT, Side.LEFT, Side.UNSIDED
    assert output.scene_flags([(right, 0.0), (left, 5.0)]) == ()
    assert output.scene_flags([(left, 5.0)]) == ("one_kidney",)
    assert output.scene_flags([(none, -40.0), (none, -45.0)]) == ("fused_kidneys",)
    assert output.scene_flags([(right, 0.0), (left, 0.0), (none, -150.0)]) == ("more_than_two_kidneys", "pelvic_kidney")
    assert output.scene_flags([(right, 0.0), (none, -150.0)]) == ("pelvic_kidney",)
    assert output.scene_flags([]) == ()


def test_creatinine_undoes_the_ckd_epi_equation() -> None:
    # CKD-EPI 2021: 0.9 mg/dL at 55 years, woman, is 75.5; 2.5 mg/dL at 70, man, is 27.0.
    assert creatinine_for(75.5, 55, "f") == pytest.approx(0.9, abs=0.003)
    assert creatinine_for(27.0, 70, "m") == pytest.approx(2.5, abs=0.01)
    assert creatinine_for(123.8, 30, "f") == pytest.approx(0.6, abs=0.003)


def test_a_series_on_another_grid_is_refused(tmp_path: Path) -> None:
    from KidneySegLib.phantom.dicom import write_series

    grid = Grid((2, 2, 2), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0))
    with pytest.raises(ValueError, match="shape"):
        write_series(
            tmp_path,
            np.zeros((1, 2, 2), np.int16),
            grid,
            seed=0,
            case_id="a",
            protocol=QUICK,
            enhancement=None,
            subject=None,
        )
