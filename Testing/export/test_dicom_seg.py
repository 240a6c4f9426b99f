"""DICOM SEG: read back it is what was written, and it says all that a viewer and a colleague need."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
from pydicom import Dataset, dcmread
from pydicom.uid import ImplicitVRLittleEndian

from KidneySegLib.ct import CtScan, read_ct
from KidneySegLib.ct.source_series import SourceSeries, read_source_series
from KidneySegLib.errors import InputError, OutputError
from KidneySegLib.export.dicom_seg import RESAMPLED_NOTE, _complete, write_dicom_seg
from KidneySegLib.export.dicom_seg_read import is_dicom_seg, read_dicom_seg
from KidneySegLib.labels import LABELS
from KidneySegLib.measurement import measure
from KidneySegLib.measurement.table import cells
from KidneySegLib.postprocessing.grid import VoxelGrid, offset_in
from Testing.ct.dicom_series import SeriesSpec, write_enhanced, write_series, zip_folder

FRAME = "1.2.826.0.1.3680043.8.498.7"
TAGS = {"FrameOfReferenceUID": FRAME, "SeriesNumber": 3, "StudyID": "7", "AccessionNumber": "A1"}
NAME = "Dr. Žofie Ř"
FACTS: dict[str, Any] = {
    "source": "corrected",
    "version": "0.1.0",
    "created": "2026-11-21T08:00:00+00:00",
    "model": {"name": "kidneyseg-arterial", "version": "1.0", "sha256": "ab" * 32},
    "review": {"reader": NAME, "time": "2026-11-21T09:15:30+01:00", "status": "accepted", "changed_voxels": 12},
}
_A, _B = np.radians(20), np.radians(-15)
OBLIQUE = {
    "row": (np.cos(_A), np.sin(_A), 0.0),
    "column": (-np.sin(_A) * np.cos(_B), np.cos(_A) * np.cos(_B), np.sin(_B)),
}
GEOMETRIES: dict[str, SeriesSpec] = {
    "axial": SeriesSpec(tags=TAGS),
    "anisotropic": SeriesSpec(tags=TAGS, pixel_mm=(0.7, 1.9), positions_mm=tuple(5.0 * n for n in range(9))),
    "oblique": SeriesSpec(tags=TAGS, **OBLIQUE),  # type: ignore[arg-type]
    "numbered from below": SeriesSpec(tags=TAGS, positions_mm=tuple(-2.0 * n for n in range(12))),
    "feet first": SeriesSpec(tags=TAGS, row=(-1.0, 0.0, 0.0), column=(0.0, 1.0, 0.0)),
    "coronal": SeriesSpec(tags=TAGS, row=(1.0, 0.0, 0.0), column=(0.0, 0.0, -1.0)),
    "implicit": SeriesSpec(tags=TAGS, syntax=ImplicitVRLittleEndian),
}


def all_labels(image: sitk.Image) -> sitk.Image:
    """Every id in a pattern without symmetry, in the middle slices only."""
    voxels = np.zeros(image.GetSize()[::-1], dtype=np.uint8)
    for n, label in enumerate(LABELS):
        z, y, x = 2 + n % 4, 3 + n, 4 + n
        voxels[z : z + 2, y, x : x + 3] = label.id
    voxels[3, 1, 1] = 1
    labels: sitk.Image = sitk.GetImageFromArray(voxels)
    labels.CopyInformation(image)
    return labels


def whole(part: sitk.Image, image: sitk.Image) -> np.ndarray:
    """Voxels of a part on the scan's grid."""
    offset = offset_in(VoxelGrid.of(part), VoxelGrid.of(image))
    assert offset is not None
    voxels = np.zeros(image.GetSize()[::-1], dtype=np.uint8)
    x, y, z = offset
    found = sitk.GetArrayFromImage(part)
    voxels[z : z + found.shape[0], y : y + found.shape[1], x : x + found.shape[2]] = found
    return voxels


def written(
    folder: Path, spec: SeriesSpec, facts: dict[str, Any] | None = None
) -> tuple[Path, CtScan, SourceSeries, sitk.Image]:
    write_series(folder / "dicom", spec)
    scan, series = read_ct(folder / "dicom"), read_source_series(folder / "dicom")
    labels = all_labels(scan.image)
    path = folder / "segmentation.dcm"
    assert write_dicom_seg(path, labels, scan.image, series, provenance=FACTS if facts is None else facts) == ()
    return path, scan, series, labels


@pytest.fixture(scope="module")
def seg(tmp_path_factory: pytest.TempPathFactory) -> tuple[Dataset, SourceSeries]:
    path, _, series, _ = written(tmp_path_factory.mktemp("seg"), GEOMETRIES["axial"])
    return dcmread(path), series


@pytest.mark.parametrize("name", GEOMETRIES)
def test_read_back_it_is_what_was_written(name: str, tmp_path: Path) -> None:
    path, scan, _, labels = written(tmp_path, GEOMETRIES[name])
    again, info = read_dicom_seg(path)
    assert np.array_equal(whole(again, scan.image), sitk.GetArrayFromImage(labels))
    assert info.source == "corrected"
    assert (info.model, info.model_version) == ("kidneyseg-arterial", "1.0")
    assert (info.reader, info.created) == (NAME, "2026-11-21T09:15:30+01:00")
    assert info.series_uid == scan.series_uid
    assert "12 voxels changed" in info.description
    tables = [[cells(row) for row in measure(one, scan.image)] for one in (labels, again)]
    assert tables[0] == tables[1]


def test_labels_on_a_part_of_the_grid(tmp_path: Path) -> None:
    path, scan, series, labels = written(tmp_path, GEOMETRIES["oblique"])
    part = sitk.RegionOfInterest(labels, [30, 30, 9], [1, 1, 1])
    write_dicom_seg(path, part, scan.image, series, provenance=FACTS)
    assert np.array_equal(whole(read_dicom_seg(path)[0], scan.image), sitk.GetArrayFromImage(labels))


def test_a_single_slice(tmp_path: Path) -> None:
    path, scan, series, labels = written(tmp_path, GEOMETRIES["anisotropic"])
    voxels = sitk.GetArrayFromImage(labels)
    voxels[:4] = voxels[5:] = 0
    one = sitk.GetImageFromArray(voxels)
    one.CopyInformation(labels)
    write_dicom_seg(path, one, scan.image, series, provenance=FACTS)
    assert np.array_equal(whole(read_dicom_seg(path)[0], scan.image), voxels)


def test_multi_frame_source(tmp_path: Path) -> None:
    source = write_enhanced(tmp_path / "enhanced.dcm", GEOMETRIES["oblique"])
    scan, series = read_ct(source), read_source_series(source)
    assert series.is_multiframe
    labels = all_labels(scan.image)
    write_dicom_seg(tmp_path / "seg.dcm", labels, scan.image, series, provenance=FACTS)
    again, info = read_dicom_seg(tmp_path / "seg.dcm")
    assert np.array_equal(whole(again, scan.image), sitk.GetArrayFromImage(labels))
    assert info.series_uid == scan.series_uid


def test_from_a_zip(tmp_path: Path) -> None:
    series = written(tmp_path, GEOMETRIES["axial"])[2]
    zipped = read_source_series(zip_folder(tmp_path / "dicom", tmp_path / "study.zip"))
    assert [one.SOPInstanceUID for one in zipped.headers] == [one.SOPInstanceUID for one in series.headers]


@pytest.mark.parametrize(
    "spec",
    [
        SeriesSpec(tags=TAGS, step=(0.0, float(np.sin(0.3)), float(np.cos(0.3)))),
        SeriesSpec(tags=TAGS, positions_mm=(0.0, 2.0, 4.0, 6.0, 10.0, 12.0, 14.0, 16.0, 18.0, 20.0)),
    ],
    ids=["tilted gantry", "missing slice"],
)
def test_a_resampled_scan_keeps_its_own_grid_and_says_so(spec: SeriesSpec, tmp_path: Path) -> None:
    write_series(tmp_path / "dicom", spec)
    scan, series = read_ct(tmp_path / "dicom"), read_source_series(tmp_path / "dicom")
    labels = all_labels(scan.image)
    notes = write_dicom_seg(tmp_path / "seg.dcm", labels, scan.image, series, provenance=FACTS)
    assert notes == (RESAMPLED_NOTE,)
    assert np.array_equal(whole(read_dicom_seg(tmp_path / "seg.dcm")[0], scan.image), sitk.GetArrayFromImage(labels))


def test_each_frame_refers_to_the_slice_that_it_lies_on(seg: tuple[Dataset, SourceSeries]) -> None:
    ds, series = seg
    by_uid = {str(one.SOPInstanceUID): one for one in series.headers}
    assert ds.ReferencedSeriesSequence[0].SeriesInstanceUID == series.headers[0].SeriesInstanceUID
    assert {
        str(item.ReferencedSOPInstanceUID) for item in ds.ReferencedSeriesSequence[0].ReferencedInstanceSequence
    } == (set(by_uid))
    assert (ds.Rows, ds.Columns) == (36, 40)
    order = []
    for group in ds.PerFrameFunctionalGroupsSequence:
        source = group.DerivationImageSequence[0].SourceImageSequence[0].ReferencedSOPInstanceUID
        position = group.PlanePositionSequence[0].ImagePositionPatient
        assert list(position) == list(by_uid[str(source)].ImagePositionPatient)
        order.append((group.SegmentIdentificationSequence[0].ReferencedSegmentNumber, -float(position[2])))
    # Segment by segment, slices in order, as viewers go through them; empty frames are left out.
    assert order == sorted(order)
    indices = [tuple(one.FrameContentSequence[0].DimensionIndexValues) for one in ds.PerFrameFunctionalGroupsSequence]
    assert indices == sorted(set(indices))
    assert len(order) < len(LABELS) * len(series.headers)


def test_what_viewers_need(seg: tuple[Dataset, SourceSeries]) -> None:
    ds, series = seg
    source = series.headers[0]
    assert ds.SegmentationType == "BINARY"
    assert (ds.BitsAllocated, ds.BitsStored, ds.Modality) == (1, 1, "SEG")
    assert ds.SegmentsOverlap == "NO"
    for keyword in (
        "PatientID",
        "PatientName",
        "StudyInstanceUID",
        "FrameOfReferenceUID",
        "StudyID",
        "AccessionNumber",
    ):
        assert ds[keyword].value == source[keyword].value
    assert ds.SeriesInstanceUID != source.SeriesInstanceUID
    assert ds.SeriesNumber == 1003
    assert ds.SpecificCharacterSet == "ISO_IR 192"
    assert str(ds.ContentCreatorName) == f"{NAME}^"
    assert (ds.ContentDate, ds.ContentTime, ds.TimezoneOffsetFromUTC) == ("20261121", "091530", "+0100")
    assert ds.ContentDescription == f"Kidneys, corrected by {NAME}"
    assert ds.SeriesDescription == "KidneySeg kidneys, corrected"


def test_codes_sides_and_colours(seg: tuple[Dataset, SourceSeries]) -> None:
    ds, _ = seg
    assert [int(one.SegmentNumber) for one in ds.SegmentSequence] == list(range(1, len(LABELS) + 1))
    by_name = {one.SegmentLabel: one for one in ds.SegmentSequence}
    cortex = by_name["Left renal cortex"]
    type_ = cortex.SegmentedPropertyTypeCodeSequence[0]
    assert (type_.CodeValue, type_.CodingSchemeDesignator) == ("50403003", "SCT")
    assert type_.SegmentedPropertyTypeModifierCodeSequence[0].CodeValue == "7771000"
    assert cortex.SegmentedPropertyCategoryCodeSequence[0].CodeValue == "91723000"
    cyst = by_name["Right renal cyst"]
    assert cyst.SegmentedPropertyTypeCodeSequence[0].CodeValue == "367643001"
    assert cyst.AnatomicRegionSequence[0].CodeValue == "64033007"
    assert cyst.AnatomicRegionSequence[0].AnatomicRegionModifierSequence[0].CodeValue == "24028007"
    assert "AnatomicRegionModifierSequence" not in by_name["Unsided renal mass"].AnatomicRegionSequence[0]
    assert by_name["Right renal medulla"].SegmentedPropertyTypeCodeSequence[0].CodingSchemeDesignator == "99KIDNEYSEG"
    assert ds.CodingSchemeIdentificationSequence[0].CodingSchemeDesignator == "99KIDNEYSEG"
    assert len({tuple(one.RecommendedDisplayCIELabValue) for one in ds.SegmentSequence}) == len(LABELS)
    assert len({one.TrackingUID for one in ds.SegmentSequence}) == len(LABELS)


@pytest.mark.parametrize(
    ("facts", "kind", "source"),
    [
        (FACTS, "SEMIAUTOMATIC", "corrected"),
        ({**FACTS, "source": "automatic", "review": None}, "AUTOMATIC", "automatic"),
        ({"source": "corrected"}, "MANUAL", "corrected"),
        ({}, "MANUAL", "corrected"),
    ],
)
def test_automatic_corrected_or_drawn(facts: dict[str, Any], kind: str, source: str, tmp_path: Path) -> None:
    path, _, _, _ = written(tmp_path, GEOMETRIES["axial"], facts)
    segment = dcmread(path).SegmentSequence[0]
    assert segment.SegmentAlgorithmType == kind
    assert ("SegmentationAlgorithmIdentificationSequence" in segment) == (kind != "MANUAL")
    if kind != "MANUAL":
        assert segment.SegmentAlgorithmName == "kidneyseg-arterial"
        algorithm = segment.SegmentationAlgorithmIdentificationSequence[0]
        assert algorithm.AlgorithmVersion == "1.0"
        assert algorithm.AlgorithmParameters == "model_sha256=" + "ab" * 32
    info = read_dicom_seg(path)[1]
    assert info.source == source
    assert info.reader == (NAME if facts is FACTS else "")


def test_modules_of_the_standard(seg: tuple[Dataset, SourceSeries]) -> None:
    """Every attribute that the Segmentation IOD requires, by highdicom's copy of the standard's tables."""
    from highdicom._standard_utils import check_required_attributes

    for module in (
        "patient",
        "general-study",
        "general-series",
        "segmentation-series",
        "frame-of-reference",
        "general-equipment",
        "enhanced-general-equipment",
        "image-pixel",
        "segmentation-image",
        "multi-frame-functional-groups",
        "multi-frame-dimension",
        "sop-common",
    ):
        check_required_attributes(seg[0], module)


def test_other_readers(tmp_path: Path) -> None:
    """ITK reads the frames as they are: their number, size and sum."""
    path, _, _, labels = written(tmp_path, GEOMETRIES["axial"])
    ds = dcmread(path)
    image = sitk.ReadImage(str(path))
    assert image.GetSize() == (ds.Columns, ds.Rows, ds.NumberOfFrames)
    assert (sitk.GetArrayViewFromImage(image) > 0).sum() == (sitk.GetArrayViewFromImage(labels) > 0).sum()
    assert np.array_equal(ds.pixel_array > 0, sitk.GetArrayViewFromImage(image) > 0)


def test_archives_that_dropped_what_may_be_empty(tmp_path: Path) -> None:
    dropped = dict.fromkeys(("StudyID", "AccessionNumber", "PatientID", "StudyDate", "PatientSex"))
    spec = replace(GEOMETRIES["axial"], tags={"FrameOfReferenceUID": FRAME, **dropped})
    path, _, _, _ = written(tmp_path, spec)
    assert dcmread(path).PatientID == ""


def test_names_in_an_older_character_set(tmp_path: Path) -> None:
    spec = replace(
        GEOMETRIES["axial"], tags={**TAGS, "SpecificCharacterSet": "ISO_IR 100", "PatientName": "Müller^Jürgen"}
    )
    path, _, _, _ = written(tmp_path, spec)
    assert str(dcmread(path).PatientName) == "Müller^Jürgen"


def test_labelmap_kind_of_other_programs(tmp_path: Path) -> None:
    import highdicom as hd

    path, scan, _, labels = written(tmp_path, GEOMETRIES["axial"])
    old = hd.seg.segread(path)
    headers = [_complete(one) for one in read_source_series(tmp_path / "dicom").headers]
    made = hd.seg.Segmentation(
        headers, sitk.GetArrayFromImage(labels), "LABELMAP", list(old.SegmentSequence), hd.UID(), 9, hd.UID(), 1,
        "Other", "Other", "1", "1",
    )  # fmt: skip
    made.save_as(path)
    assert np.array_equal(whole(read_dicom_seg(path)[0], scan.image), sitk.GetArrayFromImage(labels))


def test_codes_of_other_programs(tmp_path: Path) -> None:
    path, scan, _, _ = written(tmp_path, GEOMETRIES["axial"])
    ds = dcmread(path)
    for segment in ds.SegmentSequence:
        segment.SegmentLabel = f"Segment {segment.SegmentNumber}"
        del segment.TrackingID
    ds.SegmentSequence[12].SegmentedPropertyTypeCodeSequence[0].CodeValue = "9846003"  # right kidney
    del ds.SegmentSequence[12].AnatomicRegionSequence
    ds.save_as(path)
    again, _ = read_dicom_seg(path)
    assert np.array_equal(whole(again, scan.image), sitk.GetArrayFromImage(all_labels(scan.image)))
    ds.SegmentSequence[0].SegmentedPropertyTypeCodeSequence[0].CodeValue = "10200004"  # liver
    ds.save_as(path)
    with pytest.raises(InputError, match="not known: Segment 1"):
        read_dicom_seg(path)


def test_what_is_refused(tmp_path: Path) -> None:
    path, scan, series, labels = written(tmp_path, GEOMETRIES["axial"])
    with pytest.raises(InputError, match="nothing to write"):
        write_dicom_seg(path, labels * 0, scan.image, series)
    elsewhere = sitk.Image(labels)
    elsewhere.SetOrigin((0, 0, 0))
    with pytest.raises(InputError, match="grid"):
        write_dicom_seg(path, elsewhere, scan.image, series)
    with pytest.raises(OutputError, match="could not be written"):
        write_dicom_seg(tmp_path / "missing" / "seg.dcm", labels, scan.image, series)
    for header in series.headers:
        del header.FrameOfReferenceUID
    with pytest.raises(InputError, match="Frame Of Reference UID"):
        write_dicom_seg(path, labels, scan.image, series)
    sitk.WriteImage(scan.image, str(tmp_path / "ct.nii.gz"))
    with pytest.raises(InputError, match="holds no DICOM"):
        read_source_series(tmp_path / "ct.nii.gz")
    with pytest.raises(InputError, match="no DICOM SEG"):
        read_dicom_seg(tmp_path / "ct.nii.gz")
    assert not is_dicom_seg(next((tmp_path / "dicom").iterdir()))
    whole_file = path.read_bytes()
    path.write_bytes(whole_file[: len(whole_file) // 2])
    with pytest.raises(InputError):
        read_dicom_seg(path)
    assert sorted(one.name for one in tmp_path.iterdir()) == ["ct.nii.gz", "dicom", "segmentation.dcm"]
