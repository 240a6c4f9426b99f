"""Label maps: the scan's own grid in the file, the same voxels at the same places, for every reader."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk

from KidneySegLib.errors import InputError
from KidneySegLib.export.label_maps import on_whole_grid, write_image
from KidneySegLib.export.seg_nrrd import terminology_entry, write_seg_nrrd
from KidneySegLib.labels import LABEL_BY_KEY, LABELS, Side, Structure, label_id
from KidneySegLib.postprocessing.grid import VoxelGrid, offset_in
from Testing.export.conftest import Case, make_case
from Testing.postprocessing.patient import DIRECTIONS

directions = pytest.mark.parametrize("direction", DIRECTIONS.values(), ids=DIRECTIONS.keys())


def expected_whole(case: Case) -> np.ndarray:
    values = np.zeros(case.scan.image.GetSize()[::-1], dtype=np.uint8)
    offset = offset_in(VoxelGrid.of(case.labels), VoxelGrid.of(case.scan.image))
    assert offset is not None
    part = sitk.GetArrayFromImage(case.labels)
    values[tuple(slice(o, o + n) for o, n in zip(offset[::-1], part.shape, strict=True))] = part
    return values


@directions
def test_segmentation_nii_has_the_scans_grid(direction: np.ndarray, tmp_path: Path) -> None:
    case = make_case(direction)
    image = case.scan.image
    whole = on_whole_grid(case.labels, image)
    assert (whole.GetOrigin(), whole.GetSpacing(), whole.GetDirection(), whole.GetSize()) == (
        image.GetOrigin(),
        image.GetSpacing(),
        image.GetDirection(),
        image.GetSize(),
    )
    write_image(whole, tmp_path / "segmentation.nii.gz")
    back = sitk.ReadImage(str(tmp_path / "segmentation.nii.gz"))
    np.testing.assert_array_equal(sitk.GetArrayFromImage(back), expected_whole(case))
    # NIfTI holds single precision.
    np.testing.assert_allclose(VoxelGrid.of(back).corners(), VoxelGrid.of(image).corners(), atol=1e-3)
    assert back.GetPixelID() == sitk.sitkUInt8


def test_another_reader_sees_the_same_world(case: Case, tmp_path: Path) -> None:
    write_image(on_whole_grid(case.labels, case.scan.image), tmp_path / "segmentation.nii.gz")
    loaded = nibabel.load(tmp_path / "segmentation.nii.gz")
    found = np.argwhere(np.asarray(loaded.dataobj) == label_id(Structure.CORTEX, Side.LEFT))
    ras = nibabel.affines.apply_affine(loaded.affine, found).mean(axis=0)
    values = expected_whole(case)
    lps = VoxelGrid.of(case.scan.image).world(np.argwhere(values == label_id(Structure.CORTEX, Side.LEFT))).mean(axis=0)
    np.testing.assert_allclose(ras, lps * [-1, -1, 1], atol=1e-3)
    assert ras[0] < -40  # the patient's left


def test_labels_off_the_grid_are_refused(case: Case) -> None:
    moved = sitk.Image(case.labels)
    moved.SetOrigin([mm + 1 for mm in moved.GetOrigin()])
    with pytest.raises(InputError, match="grid"):
        on_whole_grid(moved, case.scan.image)


def _with_a_wrong_byte(packed: bytes) -> bytes:
    return packed[:-6] + bytes([packed[-6] ^ 1]) + packed[-5:]  # in the checksum


@pytest.mark.parametrize(
    "spoilt",
    [
        lambda packed: packed[:-200],
        lambda packed: packed[:-1],
        lambda packed: b"",
        lambda packed: gzip.compress(gzip.decompress(packed)[:-500]),
        _with_a_wrong_byte,
        lambda packed: b"no gzip at all",
    ],
    ids=["cut", "cut by a byte", "empty", "fewer voxels", "a wrong byte", "something else"],
)
def test_a_file_that_is_not_whole_is_noticed(
    case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spoilt: Callable[[bytes], bytes]
) -> None:
    whole = on_whole_grid(case.labels, case.scan.image)
    real = sitk.WriteImage

    def spoil(image: sitk.Image, path: str, **options: bool) -> None:
        real(image, path, **options)
        Path(path).write_bytes(spoilt(Path(path).read_bytes()))

    monkeypatch.setattr(sitk, "WriteImage", spoil)
    with pytest.raises(OSError, match="could not be written"):
        write_image(whole, tmp_path / "segmentation.nii.gz")


@directions
def test_seg_nrrd_lies_in_the_scan(direction: np.ndarray, tmp_path: Path) -> None:
    case = make_case(direction)
    path = tmp_path / "segmentation.seg.nrrd"
    write_seg_nrrd(case.labels, case.scan.image, path)
    back = sitk.ReadImage(str(path))
    offset = offset_in(VoxelGrid.of(back), VoxelGrid.of(case.scan.image))
    assert offset is not None
    assert back.GetMetaData("Segmentation_ReferenceImageExtentOffset") == " ".join(map(str, offset))
    whole = np.zeros_like(expected_whole(case))
    part = sitk.GetArrayFromImage(back)
    whole[tuple(slice(o, o + n) for o, n in zip(offset[::-1], part.shape, strict=True))] = part
    np.testing.assert_array_equal(whole, expected_whole(case))
    assert back.GetMetaData("Segment0_Name") == "Right renal cortex"
    assert back.GetMetaData("Segment3_LabelValue") == "4"
    assert not back.HasMetaDataKey("Segment4_ID")


def test_an_empty_result_offers_segments_to_draw(case: Case, tmp_path: Path) -> None:
    write_seg_nrrd(case.labels * 0, case.scan.image, tmp_path / "empty.seg.nrrd")
    back = sitk.ReadImage(str(tmp_path / "empty.seg.nrrd"))
    named = [back.GetMetaData(f"Segment{n}_ID") for n in range(4)]
    assert named == ["right_cortex", "right_medulla", "left_cortex", "left_medulla"]
    assert not sitk.GetArrayFromImage(back).any()


def test_terminology_of_an_organ_part_and_of_a_cyst() -> None:
    assert terminology_entry(LABEL_BY_KEY["left_cortex"]) == (
        "Segmentation category and type - DICOM master list~SCT^91723000^Anatomical Structure~SCT^50403003^Cortex of "
        "kidney~SCT^7771000^Left~Anatomic codes - DICOM master list~^^~^^"
    )
    assert terminology_entry(LABEL_BY_KEY["right_cyst"]).endswith(
        "~SCT^367643001^Cyst~^^~Anatomic codes - DICOM master list~SCT^64033007^Kidney~SCT^24028007^Right"
    )
    assert terminology_entry(LABEL_BY_KEY["unsided_mass"]).endswith("~SCT^64033007^Kidney~^^")
    assert all(terminology_entry(label).count("~") == 6 for label in LABELS)


_IN_SLICER = """
import json, sys
import numpy as np, slicer, slicer.util, vtk
slicer.mrmlScene = scene = slicer.vtkMRMLScene()
node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode")
storage = slicer.vtkMRMLSegmentationStorageNode()
storage.SetFileName(sys.argv[1])
assert storage.ReadData(node) == 1
segmentation = node.GetSegmentation()
found = []
for n in range(segmentation.GetNumberOfSegments()):
    key = segmentation.GetNthSegmentID(n)
    segment = segmentation.GetSegment(key)
    tag = vtk.reference("")
    segment.GetTag(segment.GetTerminologyEntryTagName(), tag)
    labelmap = slicer.vtkOrientedImageData()
    node.GetBinaryLabelmapRepresentation(key, labelmap)
    mask = vtk.util.numpy_support.vtk_to_numpy(labelmap.GetPointData().GetScalars())
    matrix = vtk.vtkMatrix4x4()
    labelmap.GetImageToWorldMatrix(matrix)
    extent = labelmap.GetExtent()
    shape = [extent[2 * a + 1] - extent[2 * a] + 1 for a in (2, 1, 0)]
    index = np.argwhere(mask.reshape(shape))[:, ::-1] + [extent[0], extent[2], extent[4]]
    affine = slicer.util.arrayFromVTKMatrix(matrix)
    centre = (index @ affine[:3, :3].T + affine[:3, 3]).mean(axis=0).tolist() if len(index) else None
    found.append(dict(key=key, name=segment.GetName(), colour=list(segment.GetColor()), tag=str(tag),
                      voxels=len(index), centre=centre, layer=segmentation.GetLayerIndex(key)))
geometry = segmentation.GetConversionParameter("Reference image geometry")
print("RESULT" + json.dumps(dict(segments=found, geometry=geometry)))
"""


@pytest.mark.skipif(find_spec("slicer_core") is None, reason="needs the extra 'slicer-host'")
@pytest.mark.parametrize("direction", ["oblique", "slices downwards (left-handed)"])
def test_slicer_reads_names_colours_terminology_and_places(direction: str, tmp_path: Path) -> None:
    case = make_case(DIRECTIONS[direction])
    path = tmp_path / "segmentation.seg.nrrd"
    write_seg_nrrd(case.labels, case.scan.image, path)
    # A process of its own: Slicer's modules must not stay loaded for other tests.
    code = "import vtk.util.numpy_support\n" + _IN_SLICER
    run = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=False)
    assert "RESULT" in run.stdout, run.stderr[-2000:]
    found = json.loads(run.stdout.split("RESULT")[1])
    values, grid = expected_whole(case), VoxelGrid.of(case.scan.image)
    assert [segment["key"] for segment in found["segments"]] == [label.key for label in LABELS[:4]]
    for segment in found["segments"]:
        label = LABEL_BY_KEY[segment["key"]]
        assert segment["name"] == label.name
        assert segment["colour"] == pytest.approx([channel / 255 for channel in label.colour], abs=1e-5)
        assert segment["tag"] == terminology_entry(label)
        assert segment["layer"] == 0
        assert segment["voxels"] == np.count_nonzero(values == label.id)
        lps = grid.world(np.argwhere(values == label.id)).mean(axis=0)
        np.testing.assert_allclose(segment["centre"], lps * [-1, -1, 1], atol=1e-2)
    numbers = [float(number) for number in found["geometry"].strip(";").split(";")]
    np.testing.assert_allclose(np.reshape(numbers[:16], (4, 4))[:3, 3], grid.origin_mm * [-1, -1, 1])
    assert numbers[17::2] == [n - 1 for n in grid.size]
