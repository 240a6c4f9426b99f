"""Logits of a part of a scan that can grow: what a tile said is kept, and only new tiles are looked at.

Tiles stand in a Cartesian grid as in `tiling`, which also where it grows stays one, so the sum of weights remains a
product of three one-dimensional sums.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence

import numpy as np

from KidneySegLib.inference.grid import Box, size3
from KidneySegLib.inference.tiling import Float32, TilePlan, divide_by_weights, tile_starts
from KidneySegLib.models.bundle import Size

#: Logits (channels, z, y, x) of a tile, which is a box of the grid; may raise to cancel.
LookAt = Callable[[Box], Float32]
#: First voxels of the tiles along each axis.
Starts = tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]


class TileCanvas:
    """Weighted logits of overlapping tiles.

    Args:
        box: what the first tiles cover, at least.
        size: (z, y, x) of the whole grid.
        tile: (z, y, x) of a tile; of a smaller grid, all of it along that axis.
        step: tiles are at most this share of a tile apart.
    """

    def __init__(self, box: Box, size: Size, tile: Size, step: float) -> None:
        self._size, self._step = size, step
        self._tile = size3(min(t, n) for t, n in zip(tile, size, strict=True))
        a, b, c = (
            tuple(start + min(low, n - t) for start in tile_starts(high - min(low, n - t), t, step))
            for low, high, t, n in zip(box.start, box.stop, self._tile, size, strict=True)
        )
        self._wanted: Starts = (a, b, c)
        self._seen: set[Size] = set()
        self._sums: Float32 = np.zeros((0, 0, 0, 0), dtype=np.float32)
        self._filled = Box((0, 0, 0), (0, 0, 0))

    @property
    def box(self) -> Box:
        """What all tiles cover."""
        return self._covered(self._wanted)

    @property
    def new(self) -> tuple[Box, ...]:
        """Tiles that are laid and not yet looked at."""
        corners = (size3(corner) for corner in itertools.product(*self._wanted))
        return tuple(self._tile_at(corner) for corner in corners if corner not in self._seen)

    def count_with(self, box: Box) -> int:
        """How many tiles there would be, those looked at included, if they covered a box as well."""
        return math.prod(len(starts) for starts in self._reaching(box))

    def widen(self, box: Box) -> None:
        """Lay tiles on every side that a box goes beyond."""
        self._wanted = self._reaching(box)

    def look(self, at: LookAt) -> None:
        """Look at the new tiles."""
        weight = self._plan.weight()
        for tile in self.new:
            logits = at(tile)
            if self._filled != self.box:
                self._move(len(logits))
            z, y, x = tile.within(self._filled)
            self._sums[:, z, y, x] += logits * weight
            self._seen.add(tile.start)

    def logits(self) -> Float32:
        """Weighted means (channels, z, y, x) on `box`, once all tiles have been looked at."""
        means = self._sums.copy()
        divide_by_weights(means, self._plan.weight_sums())
        return means

    @property
    def _plan(self) -> TilePlan:
        """The tiles as they stand on `box`."""
        z, y, x = (tuple(start - line[0] for start in line) for line in self._wanted)
        return TilePlan(self.box.shape, self._tile, (z, y, x))

    def _covered(self, starts: Starts) -> Box:
        return Box(size3(s[0] for s in starts), size3(s[-1] + t for s, t in zip(starts, self._tile, strict=True)))

    def _tile_at(self, corner: Size) -> Box:
        return Box(corner, size3(s + t for s, t in zip(corner, self._tile, strict=True)))

    def _reaching(self, box: Box) -> Starts:
        a, b, c = (
            self._line(*axis) for axis in zip(self._wanted, box.start, box.stop, self._tile, self._size, strict=True)
        )
        return a, b, c

    def _line(self, starts: Sequence[int], low: int, high: int, tile: int, size: int) -> tuple[int, ...]:
        """First voxels of tiles along an axis, with as many more at its ends as reach a range."""
        stride = max(1, int(tile * self._step))
        line = list(starts)
        while line[0] > max(low, 0):
            line.insert(0, max(0, line[0] - stride))
        while line[-1] + tile < min(high, size):
            line.append(min(size - tile, line[-1] + stride))
        return tuple(line)

    def _move(self, channels: int) -> None:
        """Make room for all tiles, and keep what is there."""
        box = self.box
        larger: Float32 = np.zeros((channels, *box.shape), dtype=np.float32)
        if len(self._sums):
            z, y, x = self._filled.within(box)
            larger[:, z, y, x] = self._sums
        self._sums, self._filled = larger, box
