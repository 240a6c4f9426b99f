"""Voxel grids: positions, volumes, parts of a grid."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from KidneySegLib.postprocessing.grid import VoxelGrid, bounding_box, offset_in, place_of, row_ends
from Testing.postprocessing.patient import DIRECTIONS, empty_image

directions = pytest.mark.parametrize("direction", DIRECTIONS.values(), ids=DIRECTIONS.keys())


@directions
def test_positions_agree_with_simpleitk(direction: np.ndarray) -> None:
    image = empty_image(direction, (0.7, 0.9, 5.0), (12, -30, 400), (20, 25, 60))
    grid = VoxelGrid.of(image)
    index = np.array([[0, 0, 0], [3, 2, 1], [1, 5, 7]])
    expected = [image.TransformIndexToPhysicalPoint([int(v) for v in row[::-1]]) for row in index]
    np.testing.assert_allclose(grid.world(index), expected, atol=1e-9)
    np.testing.assert_allclose(grid.index(np.array(expected)), index, atol=1e-9)
    assert grid.voxel_mm3 == pytest.approx(0.7 * 0.9 * 5.0)
    assert grid.spacing_mm == pytest.approx((0.7, 0.9, 5.0))


@directions
def test_a_crop_is_a_part_and_knows_where(direction: np.ndarray) -> None:
    image = empty_image(direction, (0.7, 0.9, 5.0), (12, -30, 400), (40, 40, 90))
    x, y, z = (n // 4 for n in image.GetSize())
    part = VoxelGrid.of(image[x:, y:, z:])
    assert offset_in(part, VoxelGrid.of(image)) == (x, y, z)
    sub = VoxelGrid.of(image).part((z, y, x), tuple(image.GetSize()[::-1]))
    np.testing.assert_allclose(sub.corners(), part.corners(), atol=1e-9)


def test_what_is_no_part() -> None:
    image = empty_image(None, (1, 1, 2), (0, 0, 0), (20, 20, 20))
    whole = VoxelGrid.of(image)
    for change in ("origin", "spacing", "direction", "outside", "larger"):
        other = image[2:9, 2:9, 2:5]
        if change == "origin":
            other.SetOrigin([v + 0.3 for v in other.GetOrigin()])
        elif change == "spacing":
            other.SetSpacing((1.02, 1, 2))
        elif change == "direction":
            other.SetDirection([-1, 0, 0, 0, 1, 0, 0, 0, 1])
        elif change == "outside":
            other.SetOrigin([v - 5 for v in image.GetOrigin()])
        else:
            other = sitk.ConstantPad(image, (0, 0, 0), (1, 0, 0), 0)
        assert offset_in(VoxelGrid.of(other), whole) is None, change


def test_the_rounding_of_a_nifti_header_is_forgiven() -> None:
    image = empty_image(DIRECTIONS["oblique"], (0.683594, 0.683594, 0.8), (-203.7, 118.3, -1023.9), (300, 300, 500))
    single = np.float32
    rounded = sitk.Image(image)
    rounded.SetOrigin([float(single(v)) for v in image.GetOrigin()])
    rounded.SetSpacing([float(single(v)) for v in image.GetSpacing()])
    rounded.SetDirection([float(single(v)) for v in image.GetDirection()])
    assert offset_in(VoxelGrid.of(rounded), VoxelGrid.of(image)) == (0, 0, 0)


small_masks = hnp.arrays(np.bool_, hnp.array_shapes(min_dims=3, max_dims=3, max_side=6))


@given(small_masks)
@settings(deadline=None)
def test_bounding_box_is_the_smallest(mask: np.ndarray) -> None:
    box = bounding_box(mask)
    found = np.argwhere(mask)
    if len(found) == 0:
        assert box is None
    else:
        assert box == tuple(slice(a, b + 1) for a, b in zip(found.min(axis=0), found.max(axis=0), strict=True))


@given(small_masks, st.integers(0, 10_000))
@settings(deadline=None)
def test_row_ends_reach_as_far_as_the_mask_in_every_direction(mask: np.ndarray, seed: int) -> None:
    ends, all_voxels = row_ends(mask), np.argwhere(mask)
    assert mask[tuple(ends.T)].all()
    direction = np.random.default_rng(seed).normal(size=3)
    if len(all_voxels):
        assert (ends @ direction).max() == pytest.approx((all_voxels @ direction).max())


@pytest.mark.parametrize(
    ("position_mm", "text"),
    [
        ((-45.4, 19.6, 130.0), "R 45, P 20, S 130"),
        ((45.0, -20.0, -1.5), "L 45, A 20, I 2"),
        ((0.2, -0.2, 0), "L 0, P 0, S 0"),
    ],
)
def test_a_place_is_said_in_the_patient_s_directions(position_mm: tuple[float, float, float], text: str) -> None:
    assert place_of(np.array(position_mm)) == text
