"""How far the passes of the networks agree that a piece is kidney."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from KidneySegLib.postprocessing.grid import Points, VoxelGrid

if TYPE_CHECKING:
    from KidneySegLib.inference.evidence import Evidence


def least_agreement(positions_mm: Points, evidence: Sequence[Evidence]) -> float | None:
    """Share of a piece that the pass which finds least of it calls kidney (the first structure of the evidence).

    Args:
        positions_mm: (n, 3) world positions in the piece, evenly spread.
        evidence: of all regions.

    Returns:
        0 to 1; None where there is no evidence at these positions.
    """
    from KidneySegLib.inference.evidence import FULL_PROBABILITY

    found = np.zeros(len(evidence[0].passes) if evidence else 0)
    asked = 0
    for part in evidence:
        z, y, x = VoxelGrid.of(part.region()).voxels_at(positions_mm).T
        found += (part.passes[:, 0, z, y, x] > FULL_PROBABILITY // 2).sum(axis=1)
        asked += len(z)
    return float(found.min() / asked) if asked else None
