from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from KidneySegLib.phantom.grid import Grid, block_mean

GRID = Grid((4, 3, 2), (5.0, 0.7, 0.8), (-10.0, 20.0, -300.0))


def test_coordinates_are_those_of_voxel_centres() -> None:
    np.testing.assert_allclose(GRID.x_mm, [-10.0, -9.2])
    np.testing.assert_allclose(GRID.y_mm, [20.0, 20.7, 21.4])
    np.testing.assert_allclose(GRID.z_mm, [-300, -295, -290, -285])
    assert GRID.voxel_volume_ml == pytest.approx(5.0 * 0.7 * 0.8 / 1000)
    np.testing.assert_allclose(GRID.bounds_mm_xyz, [(-10.4, -8.8), (19.65, 21.75), (-302.5, -282.5)])


def test_sitk_agrees_on_where_each_voxel_lies() -> None:
    array = np.arange(24, dtype=np.int16).reshape(4, 3, 2)
    image = GRID.to_sitk(array)
    for z, y, x in ((0, 0, 0), (3, 2, 1), (1, 2, 0)):
        point = image.TransformIndexToPhysicalPoint((x, y, z))
        np.testing.assert_allclose(point, (GRID.x_mm[x], GRID.y_mm[y], GRID.z_mm[z]))
        assert image[x, y, z] == array[z, y, x]


sizes = st.tuples(*[st.integers(1, 6)] * 3)
spacings = st.tuples(*[st.floats(0.3, 8.0)] * 3)
origins = st.tuples(*[st.floats(-500, 500)] * 3)


@given(sizes, spacings, origins)
def test_round_trip_through_sitk(shape: tuple, spacing: tuple, origin: tuple) -> None:
    grid = Grid(shape, spacing, origin)
    assert Grid.from_sitk(grid.to_sitk(np.zeros(shape, np.uint8))) == grid


@given(sizes, spacings, origins, st.data())
def test_sub_grid_keeps_the_voxels_places(shape: tuple, spacing: tuple, origin: tuple, data: st.DataObject) -> None:
    grid = Grid(shape, spacing, origin)
    slices = []
    for n in shape:
        start = data.draw(st.integers(0, n - 1))
        slices.append(slice(start, data.draw(st.integers(start + 1, n)), data.draw(st.sampled_from([None, 1, 2]))))
    part = grid.sub_grid(slices)
    assert part.shape_zyx == np.zeros(shape)[tuple(slices)].shape
    for ours, theirs, cut in zip(
        (part.z_mm, part.y_mm, part.x_mm), (grid.z_mm, grid.y_mm, grid.x_mm), slices, strict=True
    ):
        np.testing.assert_allclose(ours, theirs[cut], atol=1e-9)


@given(sizes, spacings, origins, st.tuples(*[st.integers(1, 4)] * 3))
def test_refined_covers_the_same_box_and_block_mean_undoes_it(
    shape: tuple, spacing: tuple, origin: tuple, factors: tuple
) -> None:
    grid = Grid(shape, spacing, origin)
    fine = grid.refined(factors)
    np.testing.assert_allclose(fine.bounds_mm_xyz, grid.bounds_mm_xyz, atol=1e-6)
    # The average of a linear function over a voxel is its value at the voxel's centre.
    linear = np.broadcast_to(fine.x_mm - grid.origin_mm_xyz[0], fine.shape_zyx).astype(np.float32)
    expected = np.broadcast_to(grid.x_mm - grid.origin_mm_xyz[0], grid.shape_zyx)
    np.testing.assert_allclose(block_mean(linear, factors), expected, atol=1e-3)


def test_covering_a_box() -> None:
    grid = Grid.covering(((-10, 10), (0, 5), (100, 107)), (2.0, 1.0, 0.5))
    assert grid.shape_zyx == (4, 5, 40)
    np.testing.assert_allclose(grid.bounds_mm_xyz, [(-10, 10), (0, 5), (100, 108)])


def test_what_is_refused() -> None:
    with pytest.raises(ValueError, match="positive"):
        Grid((1, 1, 1), (1.0, 0.0, 1.0), (0, 0, 0))
    with pytest.raises(ValueError, match="negative"):
        Grid((1, -1, 1), (1.0, 1.0, 1.0), (0, 0, 0))
    with pytest.raises(ValueError, match="shape"):
        GRID.to_sitk(np.zeros((2, 3, 4)))
    with pytest.raises(ValueError, match="backwards"):
        GRID.sub_grid((slice(None, None, -1), slice(None), slice(None)))
    with pytest.raises(ValueError, match="whole blocks"):
        block_mean(np.zeros((3, 2, 2), np.float32), (2, 1, 1))
    turned = GRID.to_sitk(np.zeros(GRID.shape_zyx))
    turned.SetDirection((-1, 0, 0, 0, -1, 0, 0, 0, 1))
    with pytest.raises(ValueError, match="identity"):
        Grid.from_sitk(turned)
