"""How far the passes of the fine network agree that a piece is kidney."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from KidneySegLib.postprocessing.grid import Points, VoxelGrid

if TYPE_CHECKING:
    from KidneySegLib.inference.evidence import Evidence


def least_agreement(positions_mm: Points, evidence: Sequence[Evidence]) -> float | None:
    """Share of a piece that the pass which finds least of it calls parenchyma.

    Args:
        positions_mm: (n, 3) world positions in the piece, evenly spread.
        evidence: of all regions.

    Returns:
        0 to 1; None where there is no evidence at these positions.
    """
    import SimpleITK as sitk

    from KidneySegLib.inference.evidence import FULL_PROBABILITY

    found = np.zeros(len(evidence[0].passes) if evidence else 0)
    asked = 0
    for part in evidence:
        region = sitk.Image([int(n) for n in reversed(part.box.shape)], sitk.sitkUInt8)
        part.grid.place(region, part.box)
        grid = VoxelGrid.of(region)
        index = np.rint(grid.index(positions_mm)).astype(np.int64)
        inside = ((index >= 0) & (index < np.array(part.box.shape))).all(axis=1)
        z, y, x = index[inside].T
        found += (part.passes[:, 0, z, y, x] > FULL_PROBABILITY // 2).sum(axis=1)
        asked += int(inside.sum())
    return float(found.min() / asked) if asked else None
