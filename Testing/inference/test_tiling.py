"""Tiles cover, weigh and add up so that the identity is the identity."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from KidneySegLib.inference.tiling import (
    accumulate,
    fit_tile,
    gaussian,
    mirror_combinations,
    pad_to_tile,
    plan_tiles,
    predict_mirrored,
    tile_starts,
)


def nothing(_done: int, _count: int) -> None:
    return None


@pytest.mark.parametrize(
    ("size", "tile", "step", "expected"),
    [
        # As nnU-Net's documentation has it: 110 voxels, tile 64, step 0.5.
        (110, 64, 0.5, (0, 23, 46)),
        (64, 64, 0.5, (0,)),
        (65, 64, 0.5, (0, 1)),
        (10, 64, 0.5, (0,)),
        (128, 64, 1.0, (0, 64)),
    ],
)
def test_tile_starts(size: int, tile: int, step: float, expected: tuple[int, ...]) -> None:
    assert tile_starts(size, tile, step) == expected


@given(size=st.integers(1, 400), tile=st.integers(1, 130), step=st.floats(0.1, 1.0))
def test_tiles_cover_an_axis_and_end_at_its_end(size: int, tile: int, step: float) -> None:
    starts = tile_starts(size, tile, step)
    covered = np.zeros(max(size, tile), int)
    for start in starts:
        covered[start : start + tile] += 1
    assert covered.min() >= 1
    assert starts[-1] + tile == max(size, tile)
    assert all(b - a <= math.ceil(tile * step) for a, b in itertools.pairwise(starts))


def test_weights_are_nnunets() -> None:
    from scipy.ndimage import gaussian_filter

    tile = (16, 24, 10)
    point = np.zeros(tile)
    point[tuple(n // 2 for n in tile)] = 1.0
    theirs = gaussian_filter(point, [n / 8 for n in tile], mode="constant", cval=0)
    theirs /= theirs.max()
    ours = gaussian(16)[:, None, None] * gaussian(24)[:, None] * gaussian(10)
    np.testing.assert_allclose(ours, theirs, atol=1e-3)


def test_steps_and_weights_agree_with_nnunetv2_itself() -> None:
    theirs = pytest.importorskip("nnunetv2.inference.sliding_window_prediction")
    for size, tile, step in (((33, 300, 201), (32, 224, 192), 0.5), ((90, 70, 64), (64, 64, 64), 0.25)):
        plan = plan_tiles(size, tile, step)
        assert [list(s) for s in plan.starts] == theirs.compute_steps_for_sliding_window(size, tile, step)


@pytest.mark.parametrize("mirror_axes", [(), (0,), (0, 1, 2)])
@pytest.mark.parametrize("batch_size", [1, 3])
@pytest.mark.parametrize("shape", [(5, 9, 7), (16, 16, 16), (40, 23, 17)])
def test_identity_network_gives_the_volume_back(shape, batch_size, mirror_axes) -> None:
    volume = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    tile = (16, 8, 12)
    padded, original = pad_to_tile(volume, tile, 99.0)
    plan = plan_tiles(shape, tile)
    assert plan.shape == padded.shape
    out = accumulate(
        padded,
        plan,
        2,
        lambda tiles: np.concatenate([tiles, 3 * tiles], axis=1),
        batch_size=batch_size,
        mirror_axes=mirror_axes,
        on_tile=nothing,
    )
    np.testing.assert_allclose(out[(0, *original)], volume, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(out[(1, *original)], 3 * volume, rtol=1e-4, atol=1e-5)


def test_padding_is_even_and_of_the_given_value() -> None:
    padded, original = pad_to_tile(np.ones((3, 4, 5), np.float32), (6, 4, 6), -2.0)
    assert padded.shape == (6, 4, 6)
    assert original == (slice(1, 4), slice(0, 4), slice(0, 5))
    assert (padded == -2.0).sum() == 6 * 4 * 6 - 60


def test_mirroring_averages_all_flips() -> None:
    # A network that spreads the first voxel over the row: its mean over flips is the mean of the row's ends.
    tiles = np.arange(4, dtype=np.float32).reshape(1, 1, 1, 1, 4)
    out = predict_mirrored(tiles, lambda t: np.broadcast_to(t[..., :1], t.shape), (2,))
    np.testing.assert_array_equal(out.ravel(), [1.5, 1.5, 1.5, 1.5])
    assert [len(c) for c in mirror_combinations((0, 1, 2))] == [0, 1, 1, 1, 2, 2, 2, 3]


def test_progress_counts_tiles() -> None:
    told = []
    plan = plan_tiles((32, 8, 8), (16, 8, 8))
    accumulate(
        np.zeros((32, 8, 8), np.float32),
        plan,
        1,
        lambda t: t,
        batch_size=2,
        mirror_axes=(),
        on_tile=lambda done, count: told.append((done, count)),
    )
    assert told == [(2, 3), (3, 3)]


@given(
    shape=st.tuples(*[st.integers(1, 600)] * 3),
    patch=st.tuples(*[st.sampled_from([32, 64, 96, 128])] * 3),
)
def test_fitted_tiles_keep_within_the_patchs_voxels(shape, patch) -> None:
    tile = fit_tile(shape, patch, (16, 16, 16), flexible=True)
    assert all(t % 16 == 0 and t >= 16 for t in tile)
    assert math.prod(tile) <= math.prod(patch)
    assert all(t <= max(math.ceil(n / 16) * 16, 16) for t, n in zip(tile, shape, strict=True))
    # Never dearer than the patch itself.
    assert plan_tiles(shape, tile).count * math.prod(tile) <= plan_tiles(shape, patch).count * math.prod(patch)


def test_a_kidney_fits_one_tile() -> None:
    assert fit_tile((140, 90, 95), (128, 128, 128), (16, 16, 16), flexible=True) == (144, 96, 96)
    assert fit_tile((140, 90, 95), (128, 128, 128), (16, 16, 16), flexible=False) == (128, 128, 128)
    # Both kidneys in one region: five tiles beside each other instead of eight patches.
    assert fit_tile((150, 100, 300), (128, 128, 128), (16, 16, 16), flexible=True) == (160, 112, 112)
