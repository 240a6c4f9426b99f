"""Normalisations that are written out answer as they should, where the processor's own lose precision."""

from __future__ import annotations

import numpy as np
import pytest

from KidneySegLib.inference.exact_normalisation import normalise_exactly
from KidneySegLib.inference.openvino_runtime import load_openvino
from Testing.models.test_graph import answer

EPSILON = 1e-5


def model_of(shape, axes, *, variance: bool = True, where: str = "inside_sqrt"):
    openvino = load_openvino()
    ops = openvino.opset13
    maps = ops.parameter(shape, np.float32, name="maps")
    normalised = ops.mvn(maps, ops.constant(np.int64(axes)), variance, EPSILON, where)
    return openvino.Model([ops.relu(normalised)], [maps], "one")


def expected(maps: np.ndarray) -> np.ndarray:
    axes = tuple(range(2, maps.ndim))
    exact = maps.astype(np.float64)
    scale = np.sqrt(exact.var(axis=axes, keepdims=True) + EPSILON)
    return np.maximum((exact - exact.mean(axis=axes, keepdims=True)) / scale, 0)


def test_four_voxels() -> None:
    model = model_of([1, 1, 1, 2, 2], [2, 3, 4])
    assert normalise_exactly(model) == 1
    assert "MVN" not in [node.get_type_name() for node in model.get_ordered_ops()]
    # Mean 3, variance 5.
    given = np.float32([0, 2, 4, 6]).reshape(1, 1, 1, 2, 2)
    np.testing.assert_allclose(answer(model, given).ravel(), [0, 0, 1 / 5**0.5, 3 / 5**0.5], rtol=1e-5)


@pytest.mark.parametrize("shape", [(1, 3, 5, 6, 7), (2, 4, 9, 8), (3, 2, 11)])
@pytest.mark.parametrize("free_sizes", [False, True])
def test_each_sample_and_channel_by_itself(shape: tuple[int, ...], free_sizes: bool) -> None:
    spatial = len(shape) - 2
    model = model_of([-1, shape[1], *[-1] * spatial] if free_sizes else list(shape), list(range(-spatial, 0)))
    assert normalise_exactly(model) == 1
    offset = np.arange(shape[0] * shape[1]).reshape(*shape[:2], *[1] * spatial)
    given = (np.random.default_rng(0).normal(size=shape) * (1 + offset) + 10 * offset).astype(np.float32)
    np.testing.assert_allclose(answer(model, given), expected(given), atol=2e-5)


def test_half_of_a_large_tile_is_air() -> None:
    given = np.random.default_rng(0).normal(20, 40, (1, 16, 16, 160, 160)).astype(np.float32)
    given[:, :, :, :80] = -100
    model = model_of(list(given.shape), [2, 3, 4])
    normalise_exactly(model)
    assert np.abs(answer(model, given) - expected(given)).max() < 2e-5


def test_a_channel_of_one_value_is_zero() -> None:
    given = np.full((1, 2, 4, 40, 40), 7.3, np.float32)
    model = model_of(list(given.shape), [2, 3, 4])
    normalise_exactly(model)
    assert answer(model, given).max() < 1e-3


@pytest.mark.parametrize(
    "other", [{"axes": [1, 2, 3, 4]}, {"axes": [3, 4]}, {"variance": False}, {"where": "outside_sqrt"}]
)
def test_other_normalisations_stay(other: dict) -> None:
    assert normalise_exactly(model_of([1, 2, 4, 5, 6], **{"axes": [2, 3, 4], **other})) == 0
