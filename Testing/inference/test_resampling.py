"""From the scan to the grid and back: exact on linear fields, mean-preserving when averaging down."""

from __future__ import annotations

import numpy as np
import pytest
from analytic_bundles import image_of, world_of
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation
from test_grid import ORIENTATIONS

from KidneySegLib.inference import resampling
from KidneySegLib.inference.grid import Box, Grid, frame_of, grid_of
from KidneySegLib.inference.resampling import axis_weights, sample, scan_box, write_back

OBLIQUE = [
    Rotation.from_euler("xyz", (35, 0, 0), degrees=True).as_matrix(),
    Rotation.from_euler("xyz", (20, -30, 15), degrees=True).as_matrix(),
    Rotation.from_euler("xyz", (20, -30, 15), degrees=True).as_matrix() @ np.diag([1.0, 1.0, -1.0]),
]
GRADIENT = np.array([1.5, -2.0, 0.75])


def field(world: np.ndarray) -> np.ndarray:
    """A linear field of world coordinates."""
    return world @ GRADIENT + 7.0


def grid_world(grid: Grid, box: Box) -> np.ndarray:
    """World LPS of each voxel's centre of a box."""
    ranges = (np.arange(a, b) for a, b in zip(box.start, box.stop, strict=True))
    positions = np.stack(np.meshgrid(*ranges, indexing="ij"), -1) * grid.spacing_mm + grid.first_mm
    return positions @ grid.frame.axes.T + grid.frame.corner_mm


def linear_image(direction: np.ndarray, spacing=(0.8, 1.1, 2.5), shape=(16, 30, 34)):
    image = image_of(np.zeros(shape, np.float32), spacing, direction)
    return image_of(field(world_of(image)).astype(np.float32), spacing, direction)


@given(
    count=st.integers(1, 40),
    ratio=st.floats(0.1, 12.0),
    shift=st.floats(-30.0, 50.0),
    targets=st.integers(1, 20),
)
def test_weights_are_a_weighted_mean_inside_the_source(count: int, ratio: float, shift: float, targets: int) -> None:
    weights = axis_weights(shift + ratio * np.arange(targets), ratio, count)
    assert 0 <= weights.start < weights.stop <= count
    assert weights.matrix.min() >= 0.0
    np.testing.assert_allclose(weights.matrix.sum(axis=1), 1.0, rtol=1e-5)


def test_weights_average_whole_voxels_and_interpolate_between_them() -> None:
    # Two sources a target, faces aligned: the mean of the two.
    np.testing.assert_allclose(axis_weights(np.array([0.5, 2.5]), 2.0, 4).matrix, [[0.5, 0.5, 0, 0], [0, 0, 0.5, 0.5]])
    # Finer targets: linear interpolation, the last source repeated beyond the end.
    np.testing.assert_allclose(
        axis_weights(np.array([-0.25, 0.25, 0.75, 1.25]), 0.5, 2).matrix,
        [[1.0, 0.0], [0.75, 0.25], [0.25, 0.75], [0.0, 1.0]],
    )


@pytest.mark.parametrize("direction", ORIENTATIONS + OBLIQUE)
@pytest.mark.parametrize(
    ("spacing", "off_voxels"),
    [
        ((0.7, 0.8, 0.7), 0.0),  # Finer than the scan: linear interpolation, exact.
        ((3.0, 2.0, 2.2), 0.1),  # Coarser: means over voxels that are cut, exact to a tenth of a scan's voxel.
    ],
)
def test_a_linear_field_is_sampled_in_every_orientation(direction, spacing, off_voxels) -> None:
    image = linear_image(direction)
    grid = grid_of(frame_of(image), spacing)
    middle = [n // 2 for n in grid.shape]
    box = Box(tuple(m - 2 for m in middle), tuple(m + 3 for m in middle))
    values = sample(image, grid, box, low_hu=-1e4, high_hu=1e4)
    assert values.shape == (5, 5, 5)
    assert values.dtype == np.float32
    off = off_voxels * np.abs(GRADIENT * [0.8, 1.1, 2.5]).sum()
    np.testing.assert_allclose(values, field(grid_world(grid, box)), rtol=1e-4, atol=1e-3 + off)


@pytest.mark.parametrize("direction", ORIENTATIONS + OBLIQUE)
@pytest.mark.parametrize(("block", "threads"), [(100, 1), (3000, 3), (10**7, 1)])
def test_a_linear_field_comes_back_onto_the_scans_voxels(direction, block, threads, monkeypatch) -> None:
    monkeypatch.setattr(resampling, "BLOCK_VOXELS", block)
    monkeypatch.setattr(resampling, "thread_count", lambda: threads)
    image = linear_image(direction)
    grid = grid_of(frame_of(image), (0.8, 1.2, 1.2))
    values = field(grid_world(grid, grid.whole)).astype(np.float32)[None]
    middle = [n // 2 for n in grid.shape]
    box = Box(tuple(m - 6 for m in middle), tuple(m + 7 for m in middle))
    z, y, x = box.slices
    seen: list[np.ndarray] = []

    def decide(block_values: np.ndarray) -> np.ndarray:
        # Integers survive as labels; the field itself is kept aside.
        seen.append(block_values[0].copy())
        return np.ones(block_values.shape[1:], np.uint8)

    labels, target = write_back(values[:, z, y, x], grid, box, image, decide)
    assert labels.shape == target.shape
    if threads > 1:  # Blocks finish in any order; the field tells theirs along the scan's slowest axis.
        step = field(world_of(image))[-1, 0, 0] - field(world_of(image))[0, 0, 0]
        seen.sort(key=lambda block_values: float(block_values[0, 0, 0]) * np.sign(step))
    got = np.concatenate(seen, axis=0)
    expected = field(world_of(image))[target.slices]
    # Only well inside the box: at its faces the last voxel is repeated (or, oblique, 0 is outside).
    centre = grid.centre_of_mm([(a + b - 1) / 2 for a, b in zip(box.start, box.stop, strict=True)])
    inside = (np.abs(world_of(image)[target.slices] - centre) < 3.5).all(-1)
    assert inside.sum() > 50
    # Means over cut voxels where the scan's slices are coarser than the grid: a tenth of a grid voxel.
    off = 0.1 * 1.2 * np.abs(GRADIENT).sum()
    np.testing.assert_allclose(got[inside], expected[inside], rtol=1e-4, atol=off)


@pytest.mark.parametrize("direction", [ORIENTATIONS[0], ORIENTATIONS[21], OBLIQUE[1]])
def test_averaging_down_keeps_the_mean_and_reads_integers(direction) -> None:
    rng = np.random.default_rng(1)
    array = rng.integers(-100, 100, (24, 24, 24)).astype(np.int16)
    array[6:18, 6:18, 6:18] += 300
    image = image_of(array, (1.0, 1.0, 1.0), direction)
    grid = grid_of(frame_of(image), (4.0, 4.0, 4.0))
    values = sample(image, grid, grid.whole, low_hu=0.0, high_hu=1000.0)
    if frame_of(image).aligned:
        np.testing.assert_allclose(values.mean(), np.clip(array, 0, 1000).mean(), rtol=1e-5)
    else:  # The corners of the bounding box are air (0 here), so the sums agree, not the means.
        np.testing.assert_allclose(values.sum() * 64, np.clip(array, 0, 1000).sum(), rtol=0.03)


def test_clipping_comes_before_averaging() -> None:
    array = np.zeros((4, 4, 4), np.int16)
    array[0, 0, 0] = 3000  # Metal.
    array[3, 3, 3] = -3000  # Padding outside the field of view.
    image = image_of(array, (1.0, 1.0, 1.0))
    grid = grid_of(frame_of(image), (4.0, 4.0, 4.0))
    assert sample(image, grid, grid.whole, low_hu=-200, high_hu=320).item() == pytest.approx((320 - 200) / 64, abs=1e-4)


def test_scan_boxes_of_neighbouring_boxes_cover_the_scan_once() -> None:
    image = image_of(np.zeros((21, 30, 30), np.int16), (0.7, 0.7, 1.3), ORIENTATIONS[9])
    grid = grid_of(frame_of(image), (2.0, 2.0, 2.0))
    count = np.zeros((21, 30, 30), int)
    cut = grid.shape[1] // 2
    for box in (
        Box((0, 0, 0), (grid.shape[0], cut, grid.shape[2])),
        Box((0, cut, 0), grid.shape),
    ):
        count[scan_box(grid, box).slices] += 1
    assert (count == 1).all()


def test_thick_slices_take_the_mean_of_the_labels_inside_them() -> None:
    # A 1 mm grid onto a scan of 5 mm slices: each voxel's value is the fraction of its own slice.
    image = image_of(np.zeros((4, 10, 10), np.int16), (1.0, 1.0, 5.0))
    grid = grid_of(frame_of(image), (1.0, 1.0, 1.0))
    values = np.zeros((1, 20, 10, 10), np.float32)
    values[:, 5:8] = 1.0  # Three of the second slice's five millimetres.
    got = []
    write_back(values, grid, grid.whole, image, lambda v: got.append(v[0]) or np.zeros(v.shape[1:], np.uint8))
    np.testing.assert_allclose(np.concatenate(got)[:, 5, 5], [0.0, 0.6, 0.0, 0.0], atol=1e-6)


def test_blocks_and_threads_do_not_change_the_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    array = np.random.default_rng(2).integers(-1000, 1000, (37, 20, 24)).astype(np.int16)
    image = image_of(array, (1.0, 1.2, 0.8), ORIENTATIONS[17])
    grid = grid_of(frame_of(image), (2.3, 1.9, 0.9))
    results = []
    for block, threads in ((10**7, 1), (500, 1), (500, 4)):
        monkeypatch.setattr(resampling, "BLOCK_VOXELS", block)
        monkeypatch.setattr(resampling, "thread_count", lambda threads=threads: threads)
        values = sample(image, grid, grid.whole, low_hu=-500, high_hu=500)
        labels, _ = write_back(values[None], grid, grid.whole, image, lambda v: (v[0] > 0).astype(np.uint8))
        results.append((values, labels))
    for values, labels in results[1:]:
        np.testing.assert_allclose(values, results[0][0], rtol=1e-4, atol=1e-3)
        assert (labels != results[0][1]).mean() < 1e-3
