"""Cortical thickness: shells of known thickness on fine, thick and oblique grids, with columns and a sinus."""

from __future__ import annotations

import numpy as np
import pytest

from KidneySegLib.measurement.thickness import (
    HULL_DIRECTIONS,
    _hull_depth_mm,
    cortex_distances_mm,
    weighted_median,
)
from KidneySegLib.postprocessing.grid import VoxelGrid
from Testing.measurement.shapes import AXIS, GRIDS, capsule_depth, world_of


def thickness(cortex: np.ndarray, medulla: np.ndarray, grid: VoxelGrid) -> float:
    value = weighted_median(*cortex_distances_mm(cortex, medulla, grid))
    assert value is not None
    return value


@pytest.mark.parametrize("grid_name", GRIDS)
@pytest.mark.parametrize("true_mm", [3.0, 6.0, 9.0])
def test_a_shell_has_its_thickness_on_every_grid(grid_name: str, true_mm: float) -> None:
    image, world = world_of(grid_name)
    depth = capsule_depth(world, 26, 26)
    medulla = depth > true_mm
    measured = thickness((depth > 0) & ~medulla, medulla, VoxelGrid.of(image))
    assert measured == pytest.approx(true_mm, abs=0.4)


def test_a_sphere_to_a_tenth_of_a_millimetre() -> None:
    image, world = world_of("1 mm oblique", 40)
    radius = np.linalg.norm(world, axis=-1)
    measured = thickness((radius < 32) & (radius >= 25), radius < 25, VoxelGrid.of(image))
    assert measured == pytest.approx(7.0, abs=0.1)


def test_columns_between_pyramids_do_not_count_as_thick_cortex() -> None:
    image, world = world_of("1 mm")
    depth = capsule_depth(world, 26, 26)
    across = np.cross(AXIS, [1.0, 0, 0])
    angle = np.arctan2(world @ np.cross(AXIS, across), world @ across)
    column = (np.abs((angle % (np.pi / 3)) - np.pi / 6) < 0.12) | (np.abs(world @ AXIS % 22 - 11) < 2.5)
    medulla = (depth > 6) & ~column
    assert np.count_nonzero((depth > 6) & column) > 0.25 * np.count_nonzero(depth > 6)
    assert thickness((depth > 0) & ~medulla, medulla, VoxelGrid.of(image)) == pytest.approx(6.0, abs=0.5)


def test_the_sinus_is_no_outer_surface() -> None:
    image, world = world_of("1 mm")
    depth = capsule_depth(world, 26, 26)
    sinus = (depth > 13) | ((np.abs(world @ AXIS) < 14) & (np.abs(world[..., 1]) < 9) & (world[..., 0] > 0))
    # Cortex lines the sinus, thinly, as columns do where they reach it.
    lining = (depth > 11) & ~sinus
    medulla = (depth > 6) & ~lining & ~sinus
    cortex = (depth > 0) & ~medulla & ~sinus
    assert thickness(cortex, medulla, VoxelGrid.of(image)) == pytest.approx(6.0, abs=0.4)


def test_areas_add_up_to_the_surface() -> None:
    image, world = world_of("1 mm oblique", 40)
    radius = np.linalg.norm(world, axis=-1)
    _, areas = cortex_distances_mm((radius < 30) & (radius >= 24), radius < 24, VoxelGrid.of(image))
    assert areas.sum() == pytest.approx(4 * np.pi * 30**2, rel=0.06)


def test_what_cannot_be_measured_is_empty() -> None:
    image, world = world_of("2 mm", 20)
    grid = VoxelGrid.of(image)
    nothing = np.zeros(world.shape[:3], dtype=bool)
    ball = np.linalg.norm(world, axis=-1) < 12
    for cortex, medulla in ((nothing, nothing), (ball, nothing), (nothing, ball & nothing)):
        values, areas = cortex_distances_mm(cortex, medulla, grid)
        assert len(values) == len(areas) == 0
    one = nothing.copy()
    one[3, 3, 3] = True
    assert len(cortex_distances_mm(one, np.roll(one, 1, axis=0), grid)[0]) == 0


def test_weighted_median() -> None:
    assert weighted_median(np.zeros(0), np.zeros(0)) is None
    assert weighted_median(np.array([3.0, 1.0, 2.0]), np.ones(3)) == 2.0
    assert weighted_median(np.array([1.0, 10.0]), np.array([1.0, 5.0])) == 10.0


def test_the_depth_below_the_hull_is_that_of_all_directions_at_once() -> None:
    points = np.random.default_rng(3).normal(size=(300, 3)) * (25.0, 30.0, 55.0)
    k = np.arange(HULL_DIRECTIONS)
    height, turn = 1 - (2 * k + 1) / HULL_DIRECTIONS, k * np.pi * (3 - np.sqrt(5))
    ring = np.sqrt(1 - height**2)
    along = points @ np.stack([ring * np.cos(turn), ring * np.sin(turn), height])
    np.testing.assert_allclose(_hull_depth_mm(points), (along.max(axis=0) - along).min(axis=1), atol=1e-9)


def test_depth_below_the_hull_of_a_ball() -> None:
    ball = np.random.default_rng(4).normal(size=(8000, 3))
    ball *= 40 / np.linalg.norm(ball, axis=1, keepdims=True)
    depth = _hull_depth_mm(np.concatenate([ball, [[0.0, 0.0, 0.0], [0.0, 30.0, 0.0]]]))
    assert depth[:-2].max() < 0.5
    assert depth[-2:] == pytest.approx([40, 10], abs=0.5)
