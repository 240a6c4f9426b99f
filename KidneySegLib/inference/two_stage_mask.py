"""The mask of the second stage: the first stage's foreground, made larger. numpy and scipy only."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from KidneySegLib.inference.grid import bounds_of


def dilated(
    foreground: NDArray[np.bool_], radius_mm: Sequence[float], spacing_mm: Sequence[float]
) -> NDArray[np.bool_]:
    """A mask made larger by an ellipsoid.

    Args:
        foreground: (z, y, x).
        radius_mm: half axes of the ellipsoid, (z, y, x).
        spacing_mm: of the voxels, (z, y, x).

    Returns:
        (z, y, x): voxels within the ellipsoid round a voxel of the foreground. Nothing of nothing.
    """
    from scipy.ndimage import distance_transform_edt

    grown: NDArray[np.bool_] = np.zeros(foreground.shape, bool)
    found = bounds_of(foreground)
    if found is None:
        return grown
    steps = [s / r for s, r in zip(spacing_mm, radius_mm, strict=True)]
    # Nothing grows further than the half axes: the distances of the rest of a scan need not be known.
    box = tuple(
        slice(max(0, start - math.ceil(1 / step)), stop + math.ceil(1 / step))
        for start, stop, step in zip(found.start, found.stop, steps, strict=True)
    )
    grown[box] = distance_transform_edt(~foreground[box], sampling=steps) <= 1.0
    return grown
