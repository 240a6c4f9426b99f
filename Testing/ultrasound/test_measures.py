"""Length, width, area and perimeter of outlines with known answers."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from KidneySegLib.ultrasound.measures import length_ends, measure_mask


def disc(radius: float, size: int = 200, pixel: tuple[float, float] = (1.0, 1.0)) -> np.ndarray:
    y, x = np.indices((size, size))
    return np.hypot((y - size / 2) * pixel[0], (x - size / 2) * pixel[1]) <= radius


def test_a_row_of_pixels_is_as_long_as_its_edges() -> None:
    mask = np.zeros((20, 30), bool)
    mask[10, 5:15] = True
    measures = measure_mask(mask, (0.5, 0.2))
    assert measures is not None
    assert measures.length == pytest.approx(10 * 0.2)
    assert measures.area == pytest.approx(10 * 0.5 * 0.2)
    assert measures.width == pytest.approx(0.5)


def test_a_disc_s_measures_are_those_of_a_circle() -> None:
    measures = measure_mask(disc(60.0))
    assert measures is not None
    assert measures.length == pytest.approx(120, rel=0.01)
    assert measures.width == pytest.approx(120, rel=0.01)
    assert measures.area == pytest.approx(math.pi * 3600, rel=0.005)
    assert measures.perimeter == pytest.approx(2 * math.pi * 60, rel=0.01)


def test_pixels_that_are_not_square_make_no_difference() -> None:
    measures = measure_mask(disc(40.0, 400, (0.25, 0.5)), (0.25, 0.5))
    assert measures is not None
    assert measures.length == pytest.approx(80, rel=0.01)
    assert measures.width == pytest.approx(80, rel=0.01)
    assert measures.area == pytest.approx(math.pi * 1600, rel=0.01)
    assert measures.perimeter == pytest.approx(2 * math.pi * 40, rel=0.015)


@settings(max_examples=25, deadline=None)
@given(st.floats(0, math.pi), st.floats(30, 60), st.floats(0.4, 0.8))
def test_an_ellipse_measures_the_same_at_any_angle(angle: float, half: float, ratio: float) -> None:
    y, x = np.indices((160, 160)) - 79.5
    u, v = x * math.cos(angle) + y * math.sin(angle), y * math.cos(angle) - x * math.sin(angle)
    measures = measure_mask(np.hypot(u / half, v / (half * ratio)) <= 1)
    assert measures is not None
    assert measures.length == pytest.approx(2 * half, abs=1.5)
    assert measures.width == pytest.approx(2 * half * ratio, abs=2.5)
    assert measures.area == pytest.approx(math.pi * half**2 * ratio, rel=0.02)
    # Ramanujan's approximation, exact to 1e-4 here.
    h = ((1 - ratio) / (1 + ratio)) ** 2
    around = math.pi * half * (1 + ratio) * (1 + 3 * h / (10 + math.sqrt(4 - 3 * h)))
    assert measures.perimeter == pytest.approx(around, rel=0.02)


def test_nothing_measures_nothing() -> None:
    assert measure_mask(np.zeros((5, 5), bool)) is None
    assert length_ends(np.zeros((5, 5), bool)) is None


def test_one_pixel_is_one_pixel() -> None:
    mask = np.zeros((5, 5), bool)
    mask[2, 2] = True
    measures = measure_mask(mask)
    assert measures is not None
    assert (measures.length, measures.area) == (pytest.approx(1.0), 1.0)
    assert length_ends(mask) is None


def test_the_ends_of_the_length_lie_at_the_poles() -> None:
    mask = np.zeros((40, 100), bool)
    mask[18:22, 10:90] = True
    ends = length_ends(mask)
    assert ends is not None
    assert {end[1] for end in ends} == {10.0, 89.0}
