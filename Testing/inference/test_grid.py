"""Frames and grids lie where they should, whatever the scan's orientation."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import SimpleITK as sitk
from analytic_bundles import image_of
from scipy.spatial.transform import Rotation

from KidneySegLib.inference.grid import Box, frame_of, grid_of

#: All ways to store a scan along the patient's axes: right- and left-handed.
ORIENTATIONS = [
    np.diag(signs)[:, list(order)].astype(float)
    for order in itertools.permutations(range(3))
    for signs in itertools.product((1, -1), repeat=3)
]


@pytest.mark.parametrize("direction", ORIENTATIONS)
def test_axes_are_the_patients_for_every_way_to_store_a_scan(direction: np.ndarray) -> None:
    image = image_of(np.zeros((4, 6, 10), np.int16), (1.0, 2.0, 3.0), direction)
    frame = frame_of(image)
    assert frame.aligned
    # Columns z, y, x in world LPS: head, back, left.
    np.testing.assert_allclose(frame.axes, np.eye(3)[:, ::-1])
    extent_xyz = np.abs(direction) @ np.array([10.0, 12.0, 12.0])
    np.testing.assert_allclose(frame.extent_mm, extent_xyz[::-1])
    np.testing.assert_allclose(frame.corner_mm, np.array([10.0, -20.0, 30.0]) - extent_xyz / 2)


def test_a_little_tilt_stays_along_the_scans_axes_and_a_large_one_does_not() -> None:
    array = np.zeros((8, 8, 8), np.int16)
    little = frame_of(image_of(array, (1.0, 1.0, 1.0), Rotation.from_euler("x", 8, degrees=True).as_matrix()))
    large = frame_of(image_of(array, (1.0, 1.0, 1.0), Rotation.from_euler("x", 30, degrees=True).as_matrix()))
    assert little.aligned
    assert not large.aligned
    np.testing.assert_allclose(large.axes, np.eye(3)[:, ::-1])
    # The bounding box of a cube of 8 mm turned by 30 degrees about x.
    turned = 8 * (np.cos(np.pi / 6) + np.sin(np.pi / 6))
    np.testing.assert_allclose(large.extent_mm, (turned, turned, 8.0))


def test_grid_covers_the_frame_and_is_centred_on_it() -> None:
    frame = frame_of(image_of(np.zeros((10, 10, 10), np.int16), (1.0, 1.0, 5.0)))
    grid = grid_of(frame, (4.0, 3.0, 2.0))
    assert grid.shape == (13, 4, 5)
    np.testing.assert_allclose(grid.first_mm, (1.0, 0.5, 1.0))
    np.testing.assert_allclose(grid.centre_of_mm((6, 1.5, 2)), (10.0, -20.0, 30.0))


def test_box_between_holds_the_range_and_no_more() -> None:
    grid = grid_of(frame_of(image_of(np.zeros((20, 20, 20), np.int16), (1.0, 1.0, 1.0))), (2.0, 2.0, 2.0))
    assert grid.box_between((4.0, 4.1, 5.9), (8.0, 8.1, 8.0)) == Box((2, 2, 2), (4, 5, 4))
    assert grid.box_between((-9.0, 19.5, 50.0), (99.0, 30.0, 60.0)) == Box((0, 9, 9), (10, 10, 10))
    low, high = grid.faces_mm(Box((2, 2, 2), (4, 5, 4)))
    assert (low, high) == ((4.0, 4.0, 4.0), (8.0, 10.0, 8.0))


def test_placed_image_agrees_with_the_grid() -> None:
    direction = ORIENTATIONS[13]
    grid = grid_of(frame_of(image_of(np.zeros((9, 11, 13), np.int16), (0.7, 0.8, 2.5), direction)), (1.0, 1.5, 2.0))
    box = Box((2, 1, 0), (7, 4, 3))
    image = sitk.Image([3, 3, 5], sitk.sitkUInt8)
    grid.place(image, box)
    np.testing.assert_allclose(image.TransformIndexToPhysicalPoint((2, 1, 4)), grid.centre_of_mm((6, 2, 2)))


def test_boxes_overlap_only_where_they_share_a_voxel() -> None:
    box = Box((0, 0, 0), (4, 4, 4))
    assert box.overlaps(Box((3, 3, 3), (9, 9, 9)))
    assert not box.overlaps(Box((4, 0, 0), (9, 4, 4)))
    assert box.union(Box((4, 0, 0), (9, 4, 4))) == Box((0, 0, 0), (9, 4, 4))
