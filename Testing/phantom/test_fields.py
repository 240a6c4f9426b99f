"""Random fields: the same on every grid, of the strength asked for."""

import numpy as np
import pytest

from KidneySegLib.phantom.fields import Field


def vector(start: float, stop: float, step: float) -> np.ndarray:
    return np.arange(start, stop, step, dtype=np.float32)


def test_a_finer_grid_sees_the_same_field():
    field = Field(seed=3, scale_mm=10.0, amplitude=2.0)
    fine = field.evaluate(vector(-20, 20, 1), vector(-15, 15, 1), vector(0, 30, 1))
    coarse = field.evaluate(vector(-20, 20, 4), vector(-15, 15, 3), vector(0, 30, 2))
    np.testing.assert_allclose(fine[::4, ::3, ::2], coarse, atol=1e-4)


def test_amplitude_is_the_standard_deviation():
    field = Field(seed=5, scale_mm=4.0, amplitude=3.0)
    values = field.evaluate(*(vector(0, 128, 2),) * 3)
    assert values.std() == pytest.approx(3.0, rel=0.08)
    assert abs(values.mean()) < 0.3


def test_seeds_differ_and_repeat():
    grid = (vector(0, 20, 2),) * 3
    first = Field(1, 8.0, 1.0).evaluate(*grid)
    np.testing.assert_array_equal(first, Field(1, 8.0, 1.0).evaluate(*grid))
    assert np.abs(first - Field(2, 8.0, 1.0).evaluate(*grid)).max() > 0.5


def test_the_field_is_smooth_at_its_scale():
    line = Field(7, 20.0, 1.0).evaluate(vector(0, 200, 1), vector(0, 1, 1), vector(0, 1, 1))[:, 0, 0]
    assert np.abs(np.diff(line)).max() < 0.2
