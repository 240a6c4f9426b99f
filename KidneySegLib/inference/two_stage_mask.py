"""The mask of the second stage: the first stage's foreground, made larger. numpy and scipy only."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


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

    if not foreground.any():
        return foreground.copy()
    steps = [s / r for s, r in zip(spacing_mm, radius_mm, strict=True)]
    near: NDArray[np.bool_] = distance_transform_edt(~foreground, sampling=steps) <= 1.0
    return near
