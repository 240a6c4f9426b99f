"""Distances between the surfaces of two masks: HD95, ASSD, surface Dice.

Libraries disagree on what a surface is; this one is MONAI's default: the surface of a mask is its border voxels, those
with a background voxel (or the end of the scan) among their six neighbours, each counted once; distances go between
the voxels' centres in mm. They are exact nearest distances from a k-d tree (scipy's cKDTree), no distance map.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

#: Written beside every number that comes from here.
IMPLEMENTATION = "KidneySegLib.evaluation.surface (border voxels, unweighted, as MONAI; scipy cKDTree)"


@dataclass(frozen=True)
class SurfaceDistances:
    """Distances in mm from each border voxel to the other mask's nearest border voxel. Neither is empty.

    Attributes:
        from_prediction: one for each border voxel of the prediction.
        from_reference: one for each border voxel of the reference.
    """

    from_prediction: NDArray[np.float64]
    from_reference: NDArray[np.float64]

    @property
    def hd95_mm(self) -> float:
        """The larger of the two directed 95th percentiles."""
        return float(max(np.percentile(self.from_prediction, 95), np.percentile(self.from_reference, 95)))

    @property
    def assd_mm(self) -> float:
        """Average symmetric surface distance: the mean over the border voxels of both."""
        total = self.from_prediction.sum() + self.from_reference.sum()
        return float(total / (self.from_prediction.size + self.from_reference.size))

    def surface_dice(self, tolerance_mm: float) -> float:
        """Share of the border voxels of both that lie within a tolerance of the other's border."""
        near = (self.from_prediction <= tolerance_mm).sum() + (self.from_reference <= tolerance_mm).sum()
        return float(near / (self.from_prediction.size + self.from_reference.size))


def border(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Voxels of a mask (z, y, x) with background, or the end of the array, among their six neighbours."""
    padded = np.pad(mask, 1)
    inner = padded[2:, 1:-1, 1:-1] & padded[:-2, 1:-1, 1:-1]
    inner &= padded[1:-1, 2:, 1:-1]
    inner &= padded[1:-1, :-2, 1:-1]
    inner &= padded[1:-1, 1:-1, 2:]
    inner &= padded[1:-1, 1:-1, :-2]
    outside: NDArray[np.bool_] = mask & ~inner
    return outside


def surface_distances(
    reference: NDArray[Any], prediction: NDArray[Any], spacing_mm_zyx: Sequence[float]
) -> SurfaceDistances | None:
    """Distances between the borders of two masks; None where either is empty.

    Args:
        reference, prediction: masks (z, y, x) of the same shape.
        spacing_mm_zyx: edge lengths of a voxel.

    Raises:
        ValueError: for different shapes.
    """
    from scipy.spatial import cKDTree

    if reference.shape != prediction.shape:
        raise ValueError(f"masks must have one shape, got {reference.shape} and {prediction.shape}")
    borders = border(reference != 0), border(prediction != 0)
    scale = np.asarray(spacing_mm_zyx, dtype=np.float64)
    points = [np.argwhere(found) * scale for found in borders]
    if not all(len(found) for found in points):
        return None
    both = borders[0] & borders[1]

    def distances(own: int, other: int) -> NDArray[np.float64]:
        # Most voxels of a good prediction's border lie on the other's: their distance is 0, nothing is searched.
        apart = ~both[borders[own]]
        found = np.zeros(len(points[own]))
        if apart.any():
            found[apart] = cKDTree(points[other], balanced_tree=False).query(points[own][apart])[0]
        return found

    return SurfaceDistances(from_prediction=distances(1, 0), from_reference=distances(0, 1))
