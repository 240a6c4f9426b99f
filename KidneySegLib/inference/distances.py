"""How far the voxels of a grid are from a mask."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from KidneySegLib.inference.threads import thread_count
from KidneySegLib.models.bundle import SpacingMm


def distances_mm(targets: NDArray[np.bool_], spacing_mm: SpacingMm) -> NDArray[np.float32]:
    """Distance of each voxel's centre to that of the nearest target; 0 on targets, infinite where there are none.

    By ITK (Maurer, Qi and Raghavan, IEEE TPAMI 25:265, 2003): a quarter of the time of scipy's Euclidean distance
    transform with two threads, and the same distances to single precision.

    Args:
        targets: (z, y, x).
        spacing_mm: of the voxels, (z, y, x).

    Returns:
        (z, y, x) in mm.
    """
    import SimpleITK as sitk

    if not targets.any():
        return np.full(targets.shape, np.inf, dtype=np.float32)
    image = sitk.GetImageFromArray(targets.astype(np.uint8))
    image.SetSpacing(spacing_mm[::-1])
    transform = sitk.SignedMaurerDistanceMapImageFilter()
    transform.SetInsideIsPositive(False)
    transform.SetSquaredDistance(False)
    transform.SetUseImageSpacing(True)
    transform.SetNumberOfThreads(thread_count())
    # Within the targets it is how deep a voxel lies, below 0.
    distances: NDArray[np.float32] = np.maximum(sitk.GetArrayFromImage(transform.Execute(image)), np.float32(0))
    return distances
