"""From a DICOM server and back to it: a phantom series goes in, comes back, is segmented, and its SEG is kept there."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from pydicom import dcmread
from pydicom.uid import CTImageStorage

from KidneySegLib import pipeline
from KidneySegLib.ct import read_ct
from KidneySegLib.ct.source_series import read_source_series
from KidneySegLib.export.dicom_seg import write_dicom_seg
from KidneySegLib.export.dicom_seg_read import read_dicom_seg
from KidneySegLib.phantom.output import write_case
from KidneySegLib.phantom.protocol import Protocol
from Testing.dicom_server.orthanc import Orthanc, program, running_orthanc

pynetdicom = pytest.importorskip("pynetdicom")
pytestmark = [
    pytest.mark.skipif(program() is None, reason="the system package orthanc is missing"),
    pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture(scope="module")
def phantom(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A phantom of a whole abdomen, coarse, as a DICOM series."""
    folder = tmp_path_factory.mktemp("phantom") / "case"
    protocol = Protocol(pixel_mm=2.2, matrix=170, slice_thickness_mm=5.0, slice_spacing_mm=5.0)
    write_case(folder, 3, "normal", protocol, dicom=True, phase="arterial")
    return folder


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Orthanc]:
    with running_orthanc(tmp_path_factory.mktemp("orthanc") / "server") as running:
        yield running


@pytest.fixture(scope="module")
def fetched(phantom: Path, server: Orthanc, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The series after a journey through the server."""
    files = sorted((phantom / "dicom").iterdir())
    assert set(server.store(files)) == {0x0000}
    folder = tmp_path_factory.mktemp("fetched") / "series"
    back = server.fetch(folder, CTImageStorage, str(dcmread(files[0]).SeriesInstanceUID))
    assert len(back) == len(files)
    return folder


@pytest.fixture(scope="module")
def results(fetched: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("results") / "case"
    pipeline.segment_case(fetched, folder)
    return folder


def test_the_server_understood_the_series(fetched: Path, phantom: Path, server: Orthanc) -> None:
    (series,) = (one for one in server.series() if one["MainDicomTags"]["Modality"] == "CT")
    assert len(series["Instances"]) == len(list((phantom / "dicom").iterdir()))
    tags = server.rest(f"/instances/{series['Instances'][0]}/simplified-tags")
    assert tags["RescaleIntercept"] == "-1024"
    assert tags["ImageOrientationPatient"] == "1\\0\\0\\0\\1\\0"


def test_the_scan_is_the_same_before_and_after(fetched: Path, phantom: Path) -> None:
    before, after = read_ct(phantom / "dicom"), read_ct(fetched)
    assert after.sha256 == before.sha256
    assert after.patient == before.patient
    # And the same as the phantom's NIfTI file, voxel for voxel.
    nifti = read_ct(phantom / "ct.nii.gz").image
    np.testing.assert_array_equal(_lps(after.image), _lps(nifti))


def test_the_fetched_series_is_segmented(results: Path, phantom: Path) -> None:
    found = _lps(sitk.ReadImage(str(results / "segmentation.nii.gz")))
    truth = _lps(sitk.ReadImage(str(phantom / "labels.nii.gz")))
    for ids in ((1, 2), (3, 4)):
        mine, theirs = np.isin(found, ids), np.isin(truth, ids)
        dice = 2 * (mine & theirs).sum() / (mine.sum() + theirs.sum())
        # Coarse pixels; the sides must be right and the organ found.
        assert dice > 0.85, ids


def test_dicom_seg_goes_through_the_server(results: Path, fetched: Path, server: Orthanc, tmp_path: Path) -> None:
    labels = sitk.ReadImage(str(results / "segmentation.nii.gz"))
    path = tmp_path / "segmentation.dcm"
    write_dicom_seg(path, labels, read_ct(fetched).image, read_source_series(fetched))
    written = dcmread(path)
    assert server.store([path]) == [0x0000]
    (series,) = (one for one in server.series() if one["MainDicomTags"]["Modality"] == "SEG")
    # The server sorts it under the study of the CT.
    (ct,) = (one for one in server.series() if one["MainDicomTags"]["Modality"] == "CT")
    assert series["ParentStudy"] == ct["ParentStudy"]
    (back,) = server.fetch(tmp_path / "back", written.SOPClassUID, str(written.SeriesInstanceUID))
    read, _ = read_dicom_seg(back)
    np.testing.assert_array_equal(_on(read, labels), sitk.GetArrayFromImage(labels))
    # What it refers to is what the server holds.
    held = {server.rest(f"/instances/{one}")["MainDicomTags"]["SOPInstanceUID"] for one in ct["Instances"]}
    referenced = {
        str(instance.ReferencedSOPInstanceUID)
        for item in dcmread(back).ReferencedSeriesSequence
        for instance in item.ReferencedInstanceSequence
    }
    assert referenced
    assert referenced <= held
    assert hashlib.sha256(dcmread(back).PixelData).digest() == hashlib.sha256(written.PixelData).digest()


def _lps(image: sitk.Image) -> np.ndarray:
    return sitk.GetArrayFromImage(sitk.DICOMOrient(image, "LPS"))


def _on(image: sitk.Image, grid: sitk.Image) -> np.ndarray:
    """An image on another grid, voxel by voxel; what it does not cover is background."""
    return sitk.GetArrayFromImage(sitk.Resample(image, grid, sitk.Transform(), sitk.sitkNearestNeighbor, 0))
