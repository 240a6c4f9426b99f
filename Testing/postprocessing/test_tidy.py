"""Holes and specks, on arrays small enough to read."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from KidneySegLib.postprocessing.tidy import MAX_HOLE_MM3, MAX_SPECK_MM3, tidy


def block(size: int = 9, code: int = 1) -> np.ndarray:
    codes = np.zeros((size, size, size), dtype=np.uint8)
    codes[1:-1, 1:-1, 1:-1] = code
    return codes


def test_a_small_hole_takes_the_commonest_code_around_it() -> None:
    codes = block()
    codes[4, 4, 4] = 0
    codes[4, 4, 5] = 2
    codes[5:7, 1:-1, 1:-1] = 2
    codes[4, 4, 4] = 0
    tidied = tidy(codes, 1.0)
    assert tidied[4, 4, 4] == 1
    assert (tidied[5:7, 1:-1, 1:-1] == 2).all()


def test_a_large_hole_stays() -> None:
    codes = block(12)
    codes[3:8, 3:8, 3:8] = 0
    assert MAX_HOLE_MM3 < 5**3
    np.testing.assert_array_equal(tidy(codes, 1.0), codes)
    assert tidy(codes, 0.5)[5, 5, 5] == 1


def test_an_open_cavity_is_no_hole() -> None:
    codes = block()
    codes[4, 4, 4:] = 0
    np.testing.assert_array_equal(tidy(codes, 1.0), codes)


def test_an_opening_over_an_edge_does_not_count() -> None:
    codes = block()
    codes[4, 4, 6] = codes[4, 5, 7] = 0  # the second is open, the first touches it at an edge only
    assert tidy(codes, 1.0)[4, 4, 6] == 1


def test_specks_join_their_surroundings_both_ways() -> None:
    codes = block(14, code=1)
    codes[7:13] *= 2
    codes[3, 3, 3] = 2
    codes[10, 6, 6:8] = 1
    tidied = tidy(codes, 1.0)
    assert tidied[3, 3, 3] == 1
    assert (tidied[10, 6, 6:8] == 2).all()


def test_a_speck_is_judged_by_its_mm3() -> None:
    codes = block(14)
    codes[5, 5, 4:8] = 2
    np.testing.assert_array_equal(tidy(codes, MAX_SPECK_MM3 / 4 + 0.1), codes)
    assert (tidy(codes, MAX_SPECK_MM3 / 4) == block(14)).all()


def test_a_speck_alone_stays() -> None:
    codes = np.zeros((5, 5, 5), dtype=np.uint8)
    codes[2, 2, 2] = 3
    np.testing.assert_array_equal(tidy(codes, 1.0), codes)


@given(hnp.arrays(np.uint8, (6, 7, 8), elements=st.integers(0, 3)))
@settings(deadline=None)
def test_no_voxel_of_a_kidney_is_lost_and_the_input_is_left_alone(codes: np.ndarray) -> None:
    before = codes.copy()
    tidied = tidy(codes, 1.0)
    np.testing.assert_array_equal(codes, before)
    assert (tidied[codes > 0] > 0).all()
    assert set(np.unique(tidied)) <= set(np.unique(codes))
