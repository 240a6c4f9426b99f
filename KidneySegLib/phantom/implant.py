"""A spinal implant: rods and screws of titanium, for the streaks that metal makes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from KidneySegLib.phantom.grid import Grid
from KidneySegLib.phantom.shapes import capsule

FloatArray = npt.NDArray[np.float32]
Point = tuple[float, float, float]

#: Titanium; a scanner stores what it can.
METAL_HU = 9000.0


@dataclass(frozen=True)
class SpineImplant:
    """Two rods behind the spine and a pair of screws at each level.

    Attributes:
        pieces: start, end (LPS mm, the origin in the second lumbar vertebra) and radius in mm of each piece.
    """

    pieces: tuple[tuple[Point, Point, float], ...]

    @classmethod
    def sample(cls, rng: np.random.Generator, low_mm: float, high_mm: float) -> SpineImplant:
        """Two to four levels within a range along z."""
        pitch, count = rng.uniform(32, 38), int(rng.integers(2, 5))
        length = pitch * (count - 1)
        start = float(rng.uniform(min(low_mm, high_mm - length), max(low_mm, high_mm - length)))
        lateral, back, tip = rng.uniform(17, 23), rng.uniform(34, 42), rng.uniform(-12, 2)
        pieces: list[tuple[Point, Point, float]] = []
        for sign in (-1.0, 1.0):
            x = sign * float(lateral)
            rod = (x, float(back), start - 8), (x, float(back), start + length + 8)
            pieces.append((*rod, float(rng.uniform(2.5, 3.2))))
            for level in range(count):
                z = start + level * float(pitch)
                pieces.append(((x, float(back), z), (0.5 * x, float(tip), z), float(rng.uniform(2.0, 3.2))))
        return cls(tuple(pieces))

    def paint(self, hu: FloatArray, grid: Grid) -> None:
        """Lay the metal over HU (z, y, x) in place, edges soft over one voxel."""
        edge = float(np.mean(grid.spacing_mm_zyx))
        vectors = grid.x_mm, grid.y_mm, grid.z_mm
        for start, end, radius in self.pieces:
            box = []
            for axis in range(3):
                low = min(start[axis], end[axis]) - radius - edge
                high = max(start[axis], end[axis]) + radius + edge
                box.append(slice(*np.searchsorted(vectors[axis], (low, high))))
            x, y, z = (vector[part].astype(np.float32) for vector, part in zip(vectors, box, strict=True))
            if not (len(x) and len(y) and len(z)):
                continue
            block = (box[2], box[1], box[0])
            distance = capsule(x[None, None, :], y[None, :, None], z[:, None, None], start, end, (radius, radius))
            covered = np.clip(0.5 - distance / edge, 0, 1).astype(np.float32)
            hu[block] += covered * (np.float32(METAL_HU) - hu[block])
