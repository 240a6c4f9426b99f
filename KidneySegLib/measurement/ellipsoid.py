"""The ellipsoid estimate of a kidney's volume: what a ruler gives in polycystic kidneys, beside what voxels give.

pi/6 x length x width x depth is the formula in use for autosomal dominant polycystic kidney disease (ADPKD); as a rule
it lies below the volume of the outline (Higashihara 2018 and others). There length is measured on sagittal and coronal
slices and width and depth on an axial one; here all three are measured in space, whatever way the kidney lies.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from KidneySegLib.measurement.length import corner_points, farthest
from KidneySegLib.postprocessing.grid import VoxelGrid


def ellipsoid_ml(length_mm: float, width_mm: float, depth_mm: float) -> float:
    """pi/6 x length x width x depth, in mL."""
    return math.pi / 6 * length_mm * width_mm * depth_mm / 1000


def diameters_mm(mask: NDArray[Any], grid: VoxelGrid) -> tuple[float, float, float] | None:
    """Length, width and depth in mm: the largest extent, the largest across it, and the extent across both.

    Args:
        mask: (z, y, x), non-zero inside: a kidney with its cysts.
        grid: the mask's grid.

    Returns:
        None for an empty mask.
    """
    points = corner_points(mask, grid)
    if len(points) == 0:
        return None
    first, second = farthest(points)
    axis = second - first
    length = float(np.linalg.norm(axis))
    axis /= length
    flat = points - np.outer(points @ axis, axis)
    first, second = farthest(flat)
    across = second - first
    width = float(np.linalg.norm(across))
    along = flat @ np.cross(axis, across / width)
    return length, width, float(np.ptp(along))
