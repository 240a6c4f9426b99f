from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from KidneySegLib.phantom.sampling import Stack, plan_axis, resample, slice_profile


def test_profile_is_half_at_half_the_thickness() -> None:
    np.testing.assert_allclose(slice_profile(np.array([0.0, 1.5, 2.5, 3.5, -2.5]), 5.0), [1, 1, 0.5, 0, 0.5])


@given(st.integers(1, 40), st.floats(0.4, 8), st.floats(0.5, 8))
def test_stack_weighs_planes_round_the_slices_own_centre(slices: int, spacing: float, thickness: float) -> None:
    stack = Stack.of(slices, spacing, thickness)
    assert stack.weights.sum() == pytest.approx(1, abs=1e-5)
    np.testing.assert_allclose(stack.weights, stack.weights[::-1], atol=1e-6)
    assert stack.step_mm * stack.per_slice == pytest.approx(spacing)
    for index in (0, slices - 1):
        profile, cell = stack.profile_planes(index), stack.cell_planes(index)
        assert profile.start + profile.stop == cell.start + cell.stop
        assert profile.start >= 0
        assert profile.stop <= stack.planes
    cells = [plane for index in range(slices) for plane in stack.cell_planes(index)]
    assert cells == list(range(cells[0], cells[0] + slices * stack.per_slice))


@pytest.mark.parametrize(("pixel_mm", "block"), [(0.684, 0), (1.0, 1), (2.2, 3)])
def test_a_slope_is_resampled_to_itself(pixel_mm: float, block: int) -> None:
    pixels = 41
    first = -20 * pixel_mm + 0.3
    axis = plan_axis(pixels, pixel_mm, first, first - pixel_mm / 2, first + (pixels - 0.5) * pixel_mm, 1.0)
    assert axis.block == block
    samples = axis.first_mm + axis.step_mm * np.arange(axis.samples)
    plane = (samples[:, None] + 2 * samples[None, :]).astype(np.float32)
    centres = first + pixel_mm * np.arange(pixels)
    result = resample(plane, axis, axis, -1000.0)
    np.testing.assert_allclose(result, centres[:, None] + 2 * centres[None, :], atol=1e-3)


def test_outside_what_is_sampled_is_filled() -> None:
    axis = plan_axis(100, 1.0, -49.5, -10.0, 10.0, 1.0)
    assert axis.samples == 20
    result = resample(np.ones((20, 20), np.float32), axis, axis, -1000.0)
    assert (result == 1).sum() == 400
    assert result[0, 0] == -1000
