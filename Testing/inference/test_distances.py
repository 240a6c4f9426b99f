"""Distances by ITK are those of scipy's transform, which takes each voxel's nearest target."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from KidneySegLib.inference.distances import distances_mm


def test_three_voxels_by_hand() -> None:
    targets = np.array([[[True, False, False]], [[False, False, False]]])
    assert distances_mm(targets, (4.0, 1.0, 3.0)) == pytest.approx(
        np.array([[[0.0, 3.0, 6.0]], [[4.0, 5.0, np.sqrt(52)]]])
    )


def test_without_targets_everything_is_infinitely_far() -> None:
    assert np.isinf(distances_mm(np.zeros((2, 3, 4), bool), (1.0, 1.0, 1.0))).all()


@given(
    shape=st.tuples(*[st.integers(1, 9)] * 3),
    spacing_mm=st.tuples(*[st.floats(0.3, 8.0)] * 3),
    share=st.sampled_from((0.01, 0.2, 0.9)),
    seed=st.integers(0, 2**32 - 1),
)
def test_the_same_as_scipys(
    shape: tuple[int, int, int], spacing_mm: tuple[float, float, float], share: float, seed: int
) -> None:
    targets = np.random.default_rng(seed).random(shape) < share
    targets.flat[0] = True
    expected = ndimage.distance_transform_edt(~targets, sampling=spacing_mm)
    found = distances_mm(targets, spacing_mm)
    assert found.dtype == np.float32
    assert found == pytest.approx(expected, rel=1e-5)
