"""Two kidneys that a thin false bridge joins (over a renal vein, or by noise) are cut apart again."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from KidneySegLib.postprocessing.grid import Points, VoxelGrid
from KidneySegLib.postprocessing.landmarks import Midline
from KidneySegLib.postprocessing.pieces import Piece
from KidneySegLib.postprocessing.sides import MIN_CROSSING_MM3

#: The isthmus of a horseshoe kidney has a section of 2 cm2 and more; a vein has 0.8 cm2.
MAX_BRIDGE_MM2 = 80.0
#: The bridge is looked for this near to the midline.
SEARCH_MM = 30.0
SLAB_MM = 2.0


def cut_bridge(numbers: NDArray[np.int32], piece: Piece, grid: VoxelGrid, midline: Midline, new_number: int) -> bool:
    """Cut a piece in two at its thinnest sagittal section near the midline, if that section is a mere bridge.

    Args:
        numbers: (z, y, x) piece numbers; the left part of a cut piece gets the new number, in place.
        piece: the piece in question.
        grid: the array's grid.
        midline: the patient's midline.
        new_number: a number that is not in use.

    Returns:
        Whether it was cut.
    """
    if not _on_both_sides(piece.samples_mm, midline, piece.volume_mm3):
        return False
    view = numbers[piece.box]
    index = np.argwhere(view == piece.number)
    world = grid.world(index + np.array([side.start for side in piece.box]))
    offset = world[:, 0] - midline.at(world[:, 2])
    # Slabs no thinner than a voxel is wide, or the sections of a coarse grid would alternate.
    slab_mm = max(SLAB_MM, float(np.abs(grid.linear[0]).sum()))
    edges = np.arange(-SEARCH_MM, SEARCH_MM + slab_mm, slab_mm)
    section_mm2 = np.histogram(offset, edges)[0] * grid.voxel_mm3 / slab_mm
    thinnest = int(np.argmin(section_mm2))
    if section_mm2[thinnest] >= MAX_BRIDGE_MM2:
        return False
    left = offset > (edges[thinnest] + edges[thinnest + 1]) / 2
    if min(left.sum(), (~left).sum()) * grid.voxel_mm3 < MIN_CROSSING_MM3:
        return False
    view[tuple(index[left].T)] = new_number
    return True


def _on_both_sides(samples_mm: Points, midline: Midline, volume_mm3: float) -> bool:
    share = float(np.mean(samples_mm[:, 0] > midline.at(samples_mm[:, 2])))
    return min(share, 1 - share) * volume_mm3 >= MIN_CROSSING_MM3
