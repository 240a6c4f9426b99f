"""Length of a kidney: its largest extent from pole to pole."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from KidneySegLib.postprocessing.grid import Points, VoxelGrid, row_ends

_CHUNK = 1024


def max_length_mm(mask: NDArray[Any], grid: VoxelGrid) -> float | None:
    """Maximal Feret diameter in mm, in the world, so oblique and anisotropic grids are measured right.

    Each voxel stands for the centres of its six faces. Along a grid axis n voxels thus measure n times their edge,
    and an oblique end, which many voxels share, is not lengthened by a corner that the organ does not fill.

    Args:
        mask: (z, y, x), non-zero inside.
        grid: the mask's grid.

    Returns:
        None for an empty mask.
    """
    points = corner_points(mask, grid)
    if len(points) == 0:
        return None
    first, second = farthest(points)
    return float(np.linalg.norm(second - first))


def corner_points(mask: NDArray[Any], grid: VoxelGrid) -> Points:
    """World positions (n, 3) in mm that hold the corners of a mask's convex hull; voxels count as `max_length_mm` says.

    Args:
        mask: (z, y, x), non-zero inside.
        grid: the mask's grid.

    Returns:
        (0, 3) for an empty mask.
    """
    index = row_ends(mask)
    if len(index) == 0:
        return np.zeros((0, 3))
    half_steps = 0.5 * np.concatenate([grid.linear.T, -grid.linear.T])
    centres = _hull(index[:, ::-1] @ grid.linear.T)
    # The hull of faces needs no more voxels than the hull of centres.
    return _hull((centres[:, None, :] + half_steps).reshape(-1, 3))


def farthest(points: Points) -> tuple[Points, Points]:
    """The two of some points (n, 3) that lie farthest apart."""
    largest, pair = -1.0, (0, 0)
    for start in range(0, len(points), _CHUNK):
        difference = points[start : start + _CHUNK, None, :] - points[None, :, :]
        squares = np.einsum("abi,abi->ab", difference, difference)
        best = int(squares.argmax())
        if squares.flat[best] > largest:
            largest = float(squares.flat[best])
            pair = start + best // len(points), best % len(points)
    return points[pair[0]], points[pair[1]]


def largest_diameter_mm(mask: NDArray[np.bool_], grid: VoxelGrid) -> float | None:
    """Maximal Feret diameter of any one component of a mask, in mm; None for an empty mask.

    Args:
        mask: (z, y, x); components are joined over faces, edges and corners.
        grid: the mask's grid.
    """
    from scipy import ndimage

    numbers, _ = ndimage.label(mask, structure=np.ones((3, 3, 3)))
    lengths = []
    for number, box in enumerate(ndimage.find_objects(numbers), start=1):
        part = grid.part(tuple(s.start for s in box), tuple(s.stop for s in box))
        lengths.append(max_length_mm(numbers[box] == number, part))
    return max((length for length in lengths if length is not None), default=None)


def _hull(points: Points) -> Points:
    """Corners of the convex hull; all points where they lie in one plane or line."""
    from scipy.spatial import ConvexHull, QhullError

    if len(points) < 5:
        return points
    try:
        corners: Points = points[ConvexHull(points).vertices]
    except QhullError:
        return points
    return corners
