"""A canvas that grows tile by tile gives what all its tiles together give."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from KidneySegLib.inference.grid import Box
from KidneySegLib.inference.tile_canvas import TileCanvas
from KidneySegLib.inference.tiling import gaussian

Size = tuple[int, int, int]


class Looks:
    """A network whose answer for a voxel depends on the tile that it lies in; remembers its tiles."""

    def __init__(self) -> None:
        self.tiles: list[Box] = []

    def __call__(self, tile: Box) -> np.ndarray:
        self.tiles.append(tile)
        random = np.random.default_rng(tile.start)
        return random.normal(size=(2, *tile.shape)).astype(np.float32)

    def mean(self, box: Box) -> np.ndarray:
        """Plain weighted mean of all tiles, with a weight volume."""
        total, weights = np.zeros((2, *box.shape)), np.zeros(box.shape)
        for tile in self.tiles:
            z, y, x = (gaussian(n).astype(np.float64) for n in tile.shape)
            weight = z[:, None, None] * y[:, None] * x
            place = tile.within(box)
            total[(slice(None), *place)] += Looks()(tile) * weight
            weights[place] += weight
        assert (weights > 0).all()
        return total / weights


axes = st.tuples(st.integers(3, 30), st.integers(3, 9), st.floats(0, 1), st.floats(0, 1), st.floats(0, 1))


@settings(deadline=None)
@given(st.tuples(axes, axes, axes), st.sampled_from([0.3, 0.5, 1.0]))
def test_grown_or_laid_at_once(given_axes: tuple[tuple[int, int, float, float, float], ...], step: float) -> None:
    size = tuple(a[0] for a in given_axes)
    tile = tuple(a[1] for a in given_axes)
    starts = [int(a[2] * (a[0] - 1)) for a in given_axes]
    box = Box(tuple(starts), tuple(s + 1 for s in starts))
    larger = Box(
        tuple(int(s * (1 - a[3])) for s, a in zip(starts, given_axes, strict=True)),
        tuple(s + 1 + int((n - s - 1) * a[4]) for s, n, a in zip(starts, size, given_axes, strict=True)),
    )
    looks = Looks()
    canvas = TileCanvas(box, size, tile, step)
    canvas.look(looks)
    assert canvas.new == ()
    np.testing.assert_allclose(canvas.logits(), looks.mean(canvas.box), rtol=1e-3, atol=1e-4)
    expected = canvas.count_with(larger)
    canvas.widen(larger)
    canvas.look(looks)
    assert len(looks.tiles) == len({t.start for t in looks.tiles}) == expected
    np.testing.assert_allclose(canvas.logits(), looks.mean(canvas.box), rtol=1e-3, atol=1e-4)
    reached = canvas.box.union(larger)
    assert reached == canvas.box
    assert all(a >= 0 for a in canvas.box.start)
    assert all(b <= n for b, n in zip(canvas.box.stop, size, strict=True))


def test_tiles_of_a_line() -> None:
    looks = Looks()
    canvas = TileCanvas(Box((0, 0, 10), (4, 4, 14)), (4, 4, 40), (4, 4, 8), 0.5)
    canvas.look(looks)
    canvas.widen(Box((0, 0, 3), (4, 4, 14)))
    assert [t.start[2] for t in canvas.new] == [2, 6]
    canvas.look(looks)
    canvas.widen(Box((0, 0, 0), (4, 4, 40)))
    assert [t.start[2] for t in canvas.new] == [0, 14, 18, 22, 26, 30, 32]
    assert canvas.count_with(Box((0, 0, 0), (4, 4, 40))) == 10


def test_a_grid_smaller_than_a_tile_is_one_tile() -> None:
    looks = Looks()
    canvas = TileCanvas(Box((1, 0, 0), (2, 3, 2)), (3, 3, 2), (8, 8, 8), 0.5)
    canvas.look(looks)
    assert looks.tiles == [Box((0, 0, 0), (3, 3, 2))]
    np.testing.assert_allclose(canvas.logits(), Looks()(looks.tiles[0]), rtol=1e-4)


def test_cancelled_between_tiles_the_rest_is_still_new() -> None:
    canvas = TileCanvas(Box((0, 0, 0), (4, 4, 12)), (4, 4, 12), (4, 4, 8), 0.5)
    looks = Looks()

    def once(tile: Box) -> np.ndarray:
        if looks.tiles:
            raise KeyboardInterrupt
        return looks(tile)

    with pytest.raises(KeyboardInterrupt):
        canvas.look(once)
    assert len(canvas.new) == 1
    canvas.look(looks)
    np.testing.assert_allclose(canvas.logits(), looks.mean(canvas.box), rtol=1e-4, atol=1e-5)
    assert canvas.new == ()
