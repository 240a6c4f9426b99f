"""Overlapping tiles with Gaussian weights, as nnU-Net lays and weighs them, and their accumulation.

Tiles stand in a Cartesian grid and the Gaussian is a product over the axes, so the sum of weights at a voxel is a
product of three one-dimensional sums: no volume of weights is kept.

Source: Isensee et al., nnU-Net, Nature Methods 2021, doi:10.1038/s41592-020-01008-z, and nnunetv2 2.8.1
(``compute_steps_for_sliding_window``, ``compute_gaussian``).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from KidneySegLib.inference.grid import size3
from KidneySegLib.models.bundle import Size

#: Standard deviation of the weights as a fraction of the tile (nnU-Net).
SIGMA_SCALE = 1.0 / 8.0
#: A tile shaped to fit a region stays, on each axis, between these multiples of the patch.
LEAST_STRETCH = 0.75
MOST_STRETCH = 2.0

Float32 = NDArray[np.float32]
#: Logits (n, channels, z, y, x) of tiles (n, 1, z, y, x).
Predict = Callable[[Float32], Float32]
#: Told (tiles done, tiles in all); may raise to cancel.
OnTile = Callable[[int, int], None]


@dataclass(frozen=True)
class TilePlan:
    """Where tiles stand on a volume.

    Attributes:
        shape: (z, y, x) of the volume, at least the tile in each axis.
        tile: (z, y, x) of one tile.
        starts: for each axis, the first voxels of the tiles.
        margin: (z, y, x) how much more of the volume the network sees on each side of a tile; the volume that is given
            to it is larger than ``shape`` by as much on each side.
    """

    shape: Size
    tile: Size
    starts: tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]
    margin: Size = (0, 0, 0)

    @property
    def count(self) -> int:
        return math.prod(len(s) for s in self.starts)

    def windows(self) -> Iterator[tuple[slice, slice, slice]]:
        """The tiles, slowest axis first."""
        for corner in itertools.product(*self.starts):
            a, b, c = (slice(s, s + n) for s, n in zip(corner, self.tile, strict=True))
            yield a, b, c

    def seen(self, window: tuple[slice, slice, slice]) -> tuple[slice, slice, slice]:
        """What the network sees of the given volume for a tile: the tile with its margin."""
        a, b, c = (slice(w.start, w.stop + 2 * m) for w, m in zip(window, self.margin, strict=True))
        return a, b, c

    def weights(self) -> tuple[Float32, Float32, Float32]:
        """A tile's weight along each axis; the weight of a voxel is the product of the three."""
        a, b, c = (gaussian(n) for n in self.tile)
        return a, b, c

    def weight(self) -> Float32:
        """A tile's weights (z, y, x)."""
        z, y, x = self.weights()
        weight: Float32 = z[:, None, None] * y[:, None] * x
        return weight

    def weight_sums(self) -> tuple[Float32, Float32, Float32]:
        """Sum of the tiles' weights along each axis; accumulated logits are divided by the product."""
        sums = []
        for size, tile, starts in zip(self.shape, self.tile, self.starts, strict=True):
            total = np.zeros(size, dtype=np.float32)
            for start in starts:
                total[start : start + tile] += gaussian(tile)
            sums.append(total)
        return sums[0], sums[1], sums[2]


def gaussian(size: int) -> Float32:
    """Weights along one axis of a tile: a Gaussian with sigma = size / 8 about voxel size // 2, peak 1."""
    distance = np.arange(size, dtype=np.float64) - size // 2
    return np.asarray(np.exp(-0.5 * (distance / (size * SIGMA_SCALE)) ** 2), dtype=np.float32)


def tile_starts(size: int, tile: int, step: float) -> tuple[int, ...]:
    """First voxels of tiles along an axis: at most ``step`` * tile apart, evenly spread, the last one at the end."""
    if size <= tile:
        return (0,)
    count = math.ceil((size - tile) / (tile * step)) + 1
    distance = (size - tile) / (count - 1)
    return tuple(round(distance * i) for i in range(count))


def fit_tile(shape: Size, patch: Size, multiple: Size, step: float = 0.5, *, flexible: bool) -> Size:
    """The tile for a region: the patch itself, or with ``flexible`` the shape that covers the region at least cost.

    Cost is voxels a tile times tiles. A tile has no more voxels than the patch, and on each axis its length lies
    between `LEAST_STRETCH` and `MOST_STRETCH` of the patch, or is the region's if that is less. So a region of less
    than a patch is one tile.

    Args:
        shape: the region (z, y, x).
        patch: the trained patch, which is also the budget of voxels.
        multiple: edges are multiples of this.
        step: see `tile_starts`.
        flexible: whether another shape than the patch is allowed.
    """
    if not flexible:
        return patch
    choices: list[list[tuple[int, int]]] = []  # For each axis: (edge, edge times tiles).
    for size, p, m in zip(shape, patch, multiple, strict=True):
        wanted = math.ceil(size / m) * m
        shortest = min(wanted, math.ceil(p * LEAST_STRETCH / m) * m)
        edges = range(shortest, min(wanted, int(p * MOST_STRETCH)) + 1, m)
        choices.append([(edge, edge * len(tile_starts(size, edge, step))) for edge in edges])
    budget = math.prod(patch)
    affordable = (c for c in itertools.product(*choices) if math.prod(edge for edge, _ in c) <= budget)
    # Of equal costs the largest tile: more surroundings for the network.
    best = min(affordable, key=lambda c: (math.prod(cost for _, cost in c), -math.prod(edge for edge, _ in c)))
    return size3(edge for edge, _ in best)


def plan_tiles(shape: Size, tile: Size, step: float = 0.5, margin: Size = (0, 0, 0)) -> TilePlan:
    """Tiles that cover a volume of a shape, its margin not counted (after `pad_to_tile`)."""
    padded = size3(max(n, t) for n, t in zip(shape, tile, strict=True))
    a, b, c = (tile_starts(n, t, step) for n, t in zip(padded, tile, strict=True))
    return TilePlan(padded, tile, (a, b, c), margin)


def pad_to_tile(volume: Float32, tile: Size, value: float) -> tuple[Float32, tuple[slice, slice, slice]]:
    """Grow a volume to at least a tile, evenly on both sides.

    Returns:
        the volume (the same one if it is large enough) and the slices that take the original out again.
    """
    pads = [(max(t - n, 0) // 2, max(t - n, 0) - max(t - n, 0) // 2) for n, t in zip(volume.shape, tile, strict=True)]
    a, b, c = (slice(low, low + n) for (low, _), n in zip(pads, volume.shape, strict=True))
    if any(low or high for low, high in pads):
        volume = np.pad(volume, pads, constant_values=value)
    return volume, (a, b, c)


def mirror_combinations(axes: Sequence[int]) -> tuple[tuple[int, ...], ...]:
    """All sets of axes to flip, the empty one first: 2**len(axes) of them."""
    return tuple(c for n in range(len(axes) + 1) for c in itertools.combinations(sorted(axes), n))


def mirrored_looks(tiles: Float32, predict: Predict, mirror_axes: Sequence[int]) -> Iterator[Float32]:
    """What is predicted in each flip along ``mirror_axes``, flipped back; the plain one first.

    Axes are counted after the first two: of tiles (N, channels, z, y, x) 0 is z, of pictures (N, channels, y, x) y.
    """
    for axes in mirror_combinations(mirror_axes):
        flipped = tuple(2 + axis for axis in axes)
        yield np.flip(predict(np.ascontiguousarray(np.flip(tiles, flipped))), flipped)


def predict_mirrored(tiles: Float32, predict: Predict, mirror_axes: Sequence[int]) -> Float32:
    """Mean of what is predicted over all flips along ``mirror_axes`` (`mirrored_looks`)."""
    total: Float32 | None = None
    for logits in mirrored_looks(tiles, predict, mirror_axes):
        if total is None:
            total = np.array(logits, dtype=np.float32)
        else:
            total += logits
    assert total is not None
    total /= len(mirror_combinations(mirror_axes))
    return total


def accumulate(
    volume: Float32,
    plan: TilePlan,
    channels: int,
    predict: Predict,
    *,
    batch_size: int,
    mirror_axes: Sequence[int],
    on_tile: OnTile,
) -> Float32:
    """Logits of a volume from those of its tiles, accumulated on the host.

    Args:
        volume: (z, y, x) of ``plan.shape`` and ``plan.margin`` on each side, normalised.
        plan: where the tiles stand.
        channels: of the logits.
        predict: the network.
        batch_size: tiles a call.
        mirror_axes: see `predict_mirrored`.
        on_tile: progress.

    Returns:
        (channels, z, y, x) float32.
    """
    windows = list(plan.windows())
    single = len(windows) == 1
    out: Float32 = np.zeros((0,) if single else (channels, *plan.shape), dtype=np.float32)
    weight = plan.weight()
    every = (slice(None),)
    done = 0
    for begin in range(0, len(windows), batch_size):
        group = windows[begin : begin + batch_size]
        tiles = np.stack([volume[plan.seen(w)] for w in group])[:, None]
        logits = predict_mirrored(tiles, predict, mirror_axes) if mirror_axes else predict(tiles)
        if single:
            out = np.array(logits[0], dtype=np.float32)
        else:
            for window, part in zip(group, logits, strict=True):
                out[every + window] += part * weight
        done += len(group)
        on_tile(done, len(windows))
    if not single:
        divide_by_weights(out, plan.weight_sums())
    return out


def divide_by_weights(out: Any, sums: tuple[Float32, Float32, Float32]) -> None:
    """Make accumulated logits (channels, z, y, x) weighted means, in place; ``sums`` as of `TilePlan.weight_sums`."""
    for axis, total in enumerate(sums):
        shape = [1, 1, 1, 1]
        shape[1 + axis] = -1
        out /= total.reshape(shape)
