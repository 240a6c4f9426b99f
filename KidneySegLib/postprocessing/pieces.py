"""Connected pieces of kidney tissue: where each lies, how large it is, how far from the next."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from KidneySegLib.postprocessing.grid import Points, VoxelGrid, row_ends

#: Positions kept of each piece for everything but its volume: enough for percentiles and shares.
MAX_SAMPLES = 4000


@dataclass(frozen=True)
class Piece:
    """One connected set of voxels (6 neighbours: two kidneys that touch at an edge stay two).

    Attributes:
        number: its value in the array of pieces.
        box: where it lies in that array (z, y, x).
        volume_mm3: of all its voxels.
        parenchyma_mm3: without cysts and masses.
        solid_mm3: parenchyma and masses: a mass may have replaced a kidney but for a rim, while cysts may be a bladder.
        samples_mm: (n, 3) world positions spread evenly over its voxels.
        tissue_mm: (k, 3) the same over its parenchyma; over all of it where it has none.
        surface_mm: (m, 3) world positions on its surface.
    """

    number: int
    box: tuple[slice, slice, slice]
    volume_mm3: float
    parenchyma_mm3: float
    solid_mm3: float
    samples_mm: Points
    tissue_mm: Points
    surface_mm: Points

    @property
    def centre_mm(self) -> Points:
        """World position of its centre of mass."""
        centre: Points = self.samples_mm.mean(axis=0)
        return centre


def find_pieces(
    structures: NDArray[np.uint8],
    parenchyma: NDArray[np.bool_],
    solid: NDArray[np.bool_],
    grid: VoxelGrid,
    min_mm3: float,
) -> tuple[NDArray[np.int32], list[Piece]]:
    """Label the connected pieces of all non-zero voxels.

    Args:
        structures: (z, y, x) structure codes, 0 outside kidneys.
        parenchyma, solid: which codes are parenchyma, and which parenchyma or mass, indexed by code.
        grid: the array's grid.
        min_mm3: pieces smaller than this are left out of the list (their voxels stay in the array).

    Returns:
        The array of piece numbers, and the pieces, largest first.
    """
    from scipy import ndimage

    numbers, count = ndimage.label(structures > 0)
    voxels = np.zeros(count + 1, dtype=np.int64)
    for plane in numbers:
        voxels += np.bincount(plane.ravel(), minlength=count + 1)
    boxes = ndimage.find_objects(numbers)
    kept = [
        number
        for number in range(1, count + 1)
        if voxels[number] * grid.voxel_mm3 >= min_mm3 and boxes[number - 1] is not None
    ]
    pieces = [describe(numbers, structures, parenchyma, solid, grid, number, boxes[number - 1]) for number in kept]
    return numbers, sorted(pieces, key=lambda piece: -piece.volume_mm3)


def describe(
    numbers: NDArray[np.int32],
    structures: NDArray[np.uint8],
    parenchyma: NDArray[np.bool_],
    solid: NDArray[np.bool_],
    grid: VoxelGrid,
    number: int,
    box: tuple[slice, slice, slice],
) -> Piece:
    """The facts about the piece of one number inside a box."""
    mask = numbers[box] == number
    start = np.array([side.start for side in box])
    index = np.argwhere(mask)
    codes = structures[box][mask]
    tissue = index[parenchyma[codes]]
    return Piece(
        number=number,
        box=box,
        volume_mm3=len(index) * grid.voxel_mm3,
        parenchyma_mm3=len(tissue) * grid.voxel_mm3,
        solid_mm3=int(np.count_nonzero(solid[codes])) * grid.voxel_mm3,
        samples_mm=grid.world(_spread(index) + start),
        tissue_mm=grid.world(_spread(tissue if len(tissue) else index) + start),
        surface_mm=grid.world(row_ends(mask) + start),
    )


def _spread(index: NDArray[np.int64]) -> NDArray[np.int64]:
    """At most some `MAX_SAMPLES` of them, evenly."""
    step = max(1, len(index) // MAX_SAMPLES)
    return index[step // 2 :: step]


def gap_mm(a: Points, b: Points) -> float:
    """Smallest distance between two sets of world positions."""
    from scipy.spatial import cKDTree

    small, large = sorted((a, b), key=len)
    distance, _ = cKDTree(large).query(small[:: max(1, len(small) // MAX_SAMPLES)])
    return float(distance.min())


def length_mm(points: Points) -> float:
    """Largest extent of world positions over 200 evenly spread directions (within 1% of the true one)."""
    k = np.arange(200)
    height = 1 - (k + 0.5) / 200  # the upper half of a Fibonacci sphere
    turn = k * np.pi * (3 - np.sqrt(5))
    ring = np.sqrt(1 - height**2)
    along: NDArray[Any] = points @ np.stack([ring * np.cos(turn), ring * np.sin(turn), height])
    return float((along.max(axis=0) - along.min(axis=0)).max())
