"""Mean HU of a tissue, without the voxels at its border that hold other tissue too."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

#: Fewer voxels than this after erosion are no mean; the next milder erosion is tried.
MIN_VOXELS = 50


def interior(mask: NDArray[np.bool_], spacing_zyx_mm: tuple[float, ...]) -> NDArray[np.bool_]:
    """A tissue without its border: eroded by one voxel in all directions; where that leaves fewer than `MIN_VOXELS`,
    by one voxel within the planes of the two finer axes; where that too leaves too few, the whole mask.

    Args:
        mask: (z, y, x).
        spacing_zyx_mm: voxel edges in the same order.
    """
    from scipy import ndimage

    cross = ndimage.generate_binary_structure(3, 1)
    eroded: NDArray[np.bool_] = ndimage.binary_erosion(mask, cross)
    if np.count_nonzero(eroded) >= MIN_VOXELS:
        return eroded
    coarse = int(np.argmax(spacing_zyx_mm))
    flat = cross.copy()
    flat[tuple(slice(None) if axis != coarse else [0, 2] for axis in range(3))] = False
    eroded = ndimage.binary_erosion(mask, flat)
    return eroded if np.count_nonzero(eroded) >= MIN_VOXELS else mask


def hu_sum(hu: NDArray[Any], mask: NDArray[np.bool_], spacing_zyx_mm: tuple[float, ...]) -> tuple[float, int]:
    """Sum of HU over the `interior` of a tissue, and its voxels; (0, 0) for an empty mask."""
    inside = interior(mask, spacing_zyx_mm)
    return float(hu[inside].sum(dtype=np.float64)), int(np.count_nonzero(inside))
