"""The picture: right colours at the right places, in radiological convention, in true proportions, for every grid."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk
from PIL import Image
from scipy import ndimage

from KidneySegLib.export import overlay
from KidneySegLib.export.overlay import FINER, draw_overlay, paint_sections, painted
from KidneySegLib.export.planes import AIR_HU, Plane, choose_planes, sample_hu, sample_labels, windowed
from KidneySegLib.labels import LABEL_BY_ID
from Testing.export.conftest import Case, make_case
from Testing.postprocessing.patient import DIRECTIONS, LEFT, RIGHT, empty_image

AXIAL = Plane("Axial", (0, 0, 0), (1, 0, 0), (0, 1, 0), (40, 20), "RLAP")


@pytest.fixture(autouse=True)
def small_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(overlay, "WIDTH_PX", 840)


def near(picture: np.ndarray, label_id: int) -> np.ndarray:
    """Pixels in the full colour of a label, as its outline has."""
    return (np.abs(picture.astype(int) - LABEL_BY_ID[label_id].colour).max(axis=-1) < 12).nonzero()


def test_the_window() -> None:
    hu = np.array([[-1000, -120, 105, 330, 2000]], dtype=np.float32)
    np.testing.assert_array_equal(windowed(hu), [[0, 0, 127, 255, 255]])


def test_outlines_are_full_and_insides_translucent() -> None:
    ids = np.zeros((20, 20), dtype=np.uint8)
    ids[4:16, 4:16] = 1
    picture = painted(np.full((10, 10), 105, dtype=np.float32), ids)
    assert FINER == 2
    np.testing.assert_array_equal(picture[0, 0], [127, 127, 127])
    np.testing.assert_array_equal(picture[2, 5], LABEL_BY_ID[1].colour)
    inside = 127 * 0.68 + 0.32 * np.array(LABEL_BY_ID[1].colour)
    np.testing.assert_allclose(picture[5, 5], inside, atol=2)


@pytest.mark.parametrize("direction", DIRECTIONS.values(), ids=DIRECTIONS.keys())
def test_a_plane_shows_the_world_whatever_the_grid(direction: np.ndarray) -> None:
    image = empty_image(direction, (1.0, 2.0, 4.0), (0, 0, 0), (60, 60, 60))
    # HU that say where they lie: 10 x to the left + y to the back.
    size = image.GetSize()
    values = np.zeros(size[::-1], dtype=np.float32)
    for z, y, x in np.ndindex(values.shape):
        world = image.TransformIndexToPhysicalPoint((x, y, z))
        values[z, y, x] = 10 * world[0] + world[1]
    scan = sitk.GetImageFromArray(values)
    scan.CopyInformation(image)
    hu = sample_hu(AXIAL, scan, 1.0)
    assert hu.shape == (20, 40)
    expected = 10 * (np.arange(40) - 19.5)[None, :] + (np.arange(20) - 9.5)[:, None]
    np.testing.assert_allclose(hu, expected, atol=0.01)


def test_outside_the_scan_is_air() -> None:
    image = empty_image(None, (2, 2, 2), (0, 0, 0), (20, 20, 20))
    hu = sample_hu(AXIAL, image, 1.0)
    assert (hu[:, :9] == AIR_HU).all()
    assert (hu[2:18, 11:29] == 0).all()


def test_labels_of_a_plane_are_those_of_the_voxels() -> None:
    labels = sitk.Cast(empty_image(None, (2, 2, 2), (0, 0, 0), (40, 40, 40)), sitk.sitkUInt8)
    labels[12:18, 8:12, 8:12] = 3  # x from 4 to 16 mm, y from -4 to 4 mm
    ids = sample_labels(AXIAL, labels, 1.0, 2)
    assert ids.shape == (40, 80)
    expected = np.zeros((40, 80), dtype=np.uint8)
    expected[12:28, 48:72] = 3
    # Corners are rounded by up to one voxel, edges are not.
    assert np.count_nonzero(ids != expected) <= 4 * 4
    np.testing.assert_array_equal(ids[20], expected[20])


def _point_by_point(plane: Plane, image: sitk.Image, pixels_per_mm: float, finer: int, outside: float) -> np.ndarray:
    """A plane's values, each place asked for by itself."""
    rows, columns = plane.shape(pixels_per_mm)
    values = sitk.GetArrayFromImage(image).astype(np.float64)
    last = np.array(values.shape) - 1
    found = np.full((rows * finer, columns * finer), outside)
    for r, c in np.ndindex(found.shape):
        right = ((c + 0.5) / finer - columns / 2) / pixels_per_mm
        down = ((r + 0.5) / finer - rows / 2) / pixels_per_mm
        at = np.array(plane.centre_mm) + right * np.array(plane.across) + down * np.array(plane.down)
        index = np.array(image.TransformPhysicalPointToContinuousIndex(at))[::-1]
        if ((index >= -0.5) & (index <= last + 0.5)).all():
            place = np.clip(index, 0, last)[:, None]
            found[r, c] = ndimage.map_coordinates(values, place, order=1, prefilter=False)[0]
    return found


@pytest.mark.parametrize("direction", DIRECTIONS.values(), ids=DIRECTIONS.keys())
def test_sampling_is_the_same_as_point_by_point(direction: np.ndarray) -> None:
    random = np.random.default_rng(3)
    # Off the pixels, so that none lies on the scan's outer faces, which belong to it or not.
    image = empty_image(direction, (0.9, 1.7, 4.0), (1.03, -2.07, 0.11), (28, 30, 24))
    scan = sitk.GetImageFromArray(random.normal(0, 100, image.GetSize()[::-1]).astype(np.float32))
    scan.CopyInformation(image)
    np.testing.assert_allclose(
        sample_hu(AXIAL, scan, 1.3), _point_by_point(AXIAL, scan, 1.3, 1, AIR_HU), atol=0.01, rtol=1e-5
    )
    # Blocks of a few voxels, some at the border; two labels that touch.
    size = image.GetSize()[::-1]
    coarse = random.choice(np.array([0, 0, 1, 2], np.uint8), [-(-n // 3) for n in size])
    labels = sitk.GetImageFromArray(np.kron(coarse, np.ones((3, 3, 3), np.uint8))[tuple(slice(n) for n in size)])
    labels.CopyInformation(image)
    shares = [_point_by_point(AXIAL, sitk.Cast(labels == i, sitk.sitkFloat32), 1.3, 2, 0.0) for i in (1, 2)]
    expected = np.where(1 - shares[0] - shares[1] > 0.5, 0, np.where(shares[1] > shares[0], 2, 1))
    # Places where two shares are equal but for rounding may go either way.
    certain = (np.abs(shares[0] - shares[1]) > 1e-4) & (np.abs(shares[0] + shares[1] - 0.5) > 1e-4)
    assert (expected[certain] > 0).any()
    np.testing.assert_array_equal(sample_labels(AXIAL, labels, 1.3, 2)[certain], expected[certain])


def test_planes_show_both_kidneys_at_one_scale(case: Case) -> None:
    axial, coronal, right, left = choose_planes(case.labels, case.scan.image)
    assert [plane.letters for plane in (axial, coronal, right, left)] == ["RLAP", "RLHF", "APHF", "APHF"]
    assert right.name == "Sagittal, right kidney"
    assert right.centre_mm[0] == pytest.approx(RIGHT.centre[0], abs=6)
    assert left.centre_mm[0] == pytest.approx(LEFT.centre[0], abs=6)
    assert coronal.centre_mm[1] == pytest.approx(20, abs=8)
    for plane in (axial, coronal):
        ids = set(np.unique(sample_labels(plane, case.labels, 1.0, 1)))
        assert {1, 2, 3, 4} <= ids


@pytest.mark.parametrize(
    "direction", ["head first, supine", "feet first", "slices downwards (left-handed)", "sagittal"]
)
def test_the_patients_right_is_at_the_left_of_the_picture(direction: str) -> None:
    case = make_case(DIRECTIONS[direction])
    picture = np.asarray(draw_overlay(case.sections.result()))
    height, width, _ = picture.shape
    left_column = picture[74 : height - 60, : int(width * 0.55)]
    right_cortex, left_cortex = near(left_column, 1), near(left_column, 3)
    assert len(right_cortex[1]) > 50
    assert len(left_cortex[1]) > 50
    assert right_cortex[1].max() < left_cortex[1].min()


def test_the_picture_is_the_same_however_the_grid_lies() -> None:
    pictures = []
    for direction in ("head first, supine", "feet first"):
        case = make_case(DIRECTIONS[direction], spacing=(4, 4, 4), extent=(400, 280, 320))
        pictures.append(np.asarray(draw_overlay(case.sections.result()), dtype=float))
    assert pictures[0].shape == pictures[1].shape
    assert np.abs(pictures[0] - pictures[1]).mean() < 1


def test_proportions_are_true_for_thick_slices() -> None:
    """A kidney 104 mm long and 56 mm wide has these proportions in the coronal picture at 6 mm slices."""
    case = make_case(DIRECTIONS["head first, supine"], spacing=(2, 2, 6), extent=(380, 260, 200))
    coronal = choose_planes(case.labels, case.scan.image)[1]
    ids = sample_labels(coronal, case.labels, 2.0, 1)
    rows, columns = np.isin(ids, (1, 2)).nonzero()
    assert (rows.max() - rows.min()) / 2.0 == pytest.approx(104, abs=7)
    assert (columns.max() - columns.min()) / 2.0 == pytest.approx(56, abs=5)


def test_one_kidney_and_none_are_drawn_too(case: Case) -> None:
    only_left = sitk.Cast(case.labels > 2, sitk.sitkUInt8) * case.labels
    assert len(choose_planes(only_left, case.scan.image)) == 3
    assert isinstance(draw_overlay(paint_sections(only_left, case.scan.image), case_id="x" * 500), Image.Image)
    empty = case.labels * 0
    names = [plane.name for plane in choose_planes(empty, case.scan.image)]
    assert names == ["Axial", "Coronal", "Sagittal"]
    assert draw_overlay(paint_sections(empty, case.scan.image)).size[0] > 600


def test_the_legend_stays_within_the_picture_and_each_entry_beside_the_next(case: Case) -> None:
    ids = sitk.GetArrayFromImage(case.labels)
    ids[ids == 2], ids[ids == 4] = 13, 14
    kidneys = np.argwhere(ids == 14)
    for label_id, voxel in zip((5, 6, 7, 8), kidneys[::100], strict=False):
        ids[tuple(voxel)] = label_id
    labels = sitk.GetImageFromArray(ids)
    labels.CopyInformation(case.labels)
    picture = np.asarray(draw_overlay(paint_sections(labels, case.scan.image)))
    texts = [LABEL_BY_ID[int(n)].name for n in np.unique(ids) if n]
    columns = overlay._legend_columns(texts, picture.shape[1])
    assert 1 <= columns < 4
    rows = -(-len(texts) // columns)
    legend = (picture[-30 * rows :] != overlay.BACKGROUND).any(axis=(0, 2))
    assert legend[: overlay._MARGIN + 20].any()
    assert not legend[-overlay._MARGIN :].any()
    step = (picture.shape[1] - 2 * overlay._MARGIN + overlay._GAP) / columns
    edges = [overlay._MARGIN + round(step * n) for n in range(1, columns)]
    assert not any(legend[edge - 6 : edge - 2].any() for edge in edges)
