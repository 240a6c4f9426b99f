"""Cortical thickness: how far medulla lies under the kidney's outer surface."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from KidneySegLib.postprocessing.grid import Points, VoxelGrid

#: Masks are smoothed by this before their surfaces are found, so that these run between voxels, not in steps.
SMOOTHING_MM = 0.7
#: Surface farther than this inside the kidney's convex hull belongs to the sinus or the hilum.
MAX_HULL_DEPTH_MM = 4.0
#: Fewer samples than this are no measurement.
MIN_SAMPLES = 100
#: A piece of surface without medulla under it by this distance (a pole, a column) tells nothing of the cortex.
MAX_THICKNESS_MM = 25.0
#: Enough for a median to 0.05 mm; more only takes longer.
MAX_SAMPLES = 8_000
MAX_TARGETS = 60_000
HULL_DIRECTIONS = 500


def cortex_distances_mm(
    cortex: NDArray[np.bool_], medulla: NDArray[np.bool_], grid: VoxelGrid
) -> tuple[Points, Points]:
    """Samples of the cortical thickness over a kidney's outer surface, and the area in mm2 that each stands for.

    1. The outer surface of parenchyma and the surface of medulla are found between voxels, where each mask, smoothed
       by `SMOOTHING_MM`, passes one half; in mm, so any grid will do.
    2. Of the outer surface only what lies near the kidney's convex hull counts: sinus and hilum are left out.
    3. The thickness at a sample is the distance to the nearest medulla. Over a pyramid's base that is the cortex's
       width; over a column, which reaches between two pyramids, it is the distance to the nearer pyramid's shoulder,
       not the column's depth.

    Args:
        cortex: (z, y, x) mask of one kidney.
        medulla: mask of the rest of its parenchyma, same shape.
        grid: their grid.

    Returns:
        Thicknesses (n,) in mm and areas (n,) in mm2; empty where the cortex cannot be measured.
    """
    from scipy.spatial import cKDTree

    nothing = np.zeros(0)
    if not cortex.any() or not medulla.any():
        return nothing, nothing
    margin = [int(np.ceil(3 * SMOOTHING_MM / mm)) + 1 for mm in grid.spacing_mm[::-1]]
    frame = [(m, m) for m in margin]
    outer, areas = _surface(np.pad(cortex | medulla, frame), grid, MAX_SAMPLES)
    inner, _ = _surface(np.pad(medulla, frame), grid, MAX_TARGETS)
    if len(outer) < MIN_SAMPLES or len(inner) == 0:
        return nothing, nothing
    near_hull = _hull_depth_mm(outer) <= MAX_HULL_DEPTH_MM
    distance, _ = cKDTree(inner).query(outer[near_hull], distance_upper_bound=MAX_THICKNESS_MM)
    found = np.isfinite(distance)
    if found.sum() < MIN_SAMPLES:
        return nothing, nothing
    return distance[found], areas[near_hull][found]


def weighted_median(values: Points, weights: Points) -> float | None:
    """The value below which half of the weight lies; None without values."""
    if len(values) == 0:
        return None
    order = np.argsort(values)
    total = np.cumsum(weights[order])
    return float(values[order][np.searchsorted(total, total[-1] / 2)])


def _surface(mask: NDArray[np.bool_], grid: VoxelGrid, max_points: int) -> tuple[Points, Points]:
    """Points in mm (n, 3) where the smoothed mask passes one half on an edge of the grid, and their areas in mm2.

    About `max_points` of them, spread evenly; their areas add up to the whole surface.
    """
    from scipy import ndimage

    sigma = [SMOOTHING_MM / mm for mm in grid.spacing_mm[::-1]]
    field = ndimage.gaussian_filter(mask.astype(np.float32), sigma, mode="constant", truncate=3.0) - 0.5
    inside = field > 0
    crossings = [np.argwhere(np.diff(inside, axis=axis)) for axis in range(3)]
    step = max(1, sum(map(len, crossings)) // max_points)
    points, areas = [], []
    for axis, every in enumerate(crossings):
        crossing = every[step // 2 :: step]
        neighbour = crossing.copy()
        neighbour[:, axis] += 1
        a, b = field[tuple(crossing.T)], field[tuple(neighbour.T)]
        position = crossing.astype(np.float64)
        position[:, axis] += a / (a - b)
        points.append(position[:, ::-1] @ grid.linear.T)
        slope = np.abs(_gradient(field, crossing) / np.array(grid.spacing_mm[::-1]))
        length = np.sqrt((slope**2).sum(axis=1))
        facing = np.divide(slope[:, axis], length, out=np.zeros(len(length)), where=length > 0)
        areas.append(facing * step * grid.voxel_mm3 / grid.spacing_mm[2 - axis])
    return np.concatenate(points), np.concatenate(areas)


def _gradient(field: NDArray[np.float32], index: NDArray[Any]) -> Points:
    """Central differences per voxel (n, 3) at some voxels; one-sided at the border."""
    slopes = []
    for axis in range(3):
        low, high = index.copy(), index.copy()
        low[:, axis] = np.maximum(low[:, axis] - 1, 0)
        high[:, axis] = np.minimum(high[:, axis] + 1, field.shape[axis] - 1)
        width = np.maximum(high[:, axis] - low[:, axis], 1)
        slopes.append((field[tuple(high.T)] - field[tuple(low.T)]) / width)
    return np.stack(slopes, axis=1).astype(np.float64)


def _hull_depth_mm(points: Points) -> Points:
    """Depth of points below their own convex hull, seen from `HULL_DIRECTIONS` evenly spread directions.

    With 500 of them it is at most 0.3% of the kidney's half length too large.
    """
    k = np.arange(HULL_DIRECTIONS)
    height = 1 - (2 * k + 1) / HULL_DIRECTIONS  # a Fibonacci sphere
    turn = k * np.pi * (3 - np.sqrt(5))
    ring = np.sqrt(1 - height**2)
    directions = np.stack([ring * np.cos(turn), ring * np.sin(turn), height], axis=1)
    depth = np.full(len(points), np.inf)
    x, y, z = points.T.copy()
    # A few at a time stay in the processor's cache. Not a product of matrices, which takes threads that others have.
    for some in np.array_split(directions[:, :, None], HULL_DIRECTIONS // 10):
        below = some[:, 0] * x
        below += some[:, 1] * y
        below += some[:, 2] * z
        np.subtract(below.max(axis=1, keepdims=True), below, out=below)
        np.minimum(depth, below.min(axis=0), out=depth)
    return depth
