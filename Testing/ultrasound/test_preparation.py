"""From a picture to network input and back."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from KidneySegLib.ultrasound.outline import cut_by_view, outline
from KidneySegLib.ultrasound.preparation import even_out, fit, network_input, place, unfit


@settings(max_examples=30, deadline=None)
@given(
    shape=st.tuples(st.integers(64, 300), st.integers(64, 300)),
    corner=st.tuples(st.integers(0, 20), st.integers(0, 20)),
    size=st.sampled_from([(64, 64), (96, 160), (192, 192)]),
)
def test_back_and_forth_keeps_a_smooth_picture_where_it_was(
    shape: tuple[int, int], corner: tuple[int, int], size: tuple[int, int]
) -> None:
    view = np.zeros(shape, bool)
    view[corner[0] : shape[0] - 5, corner[1] : shape[1] - 3] = True
    placement = place(view, size)
    y, x = np.indices(shape)
    smooth = (y / shape[0] + 2 * x / shape[1]).astype(np.float32)
    back = unfit(fit(smooth, placement), placement)
    inner = np.zeros(shape, bool)
    top, left, bottom, right = placement.box
    dy, dx = (bottom - top) // 6, (right - left) // 6
    inner[top + dy : bottom - dy, left + dx : right - dx] = True
    np.testing.assert_allclose(back[inner], smooth[inner], atol=0.05)
    assert not back[~view].any()


def test_the_view_fills_the_network_s_input_and_keeps_its_shape() -> None:
    view = np.zeros((100, 300), bool)
    view[20:60, 100:200] = True
    placement = place(view, (192, 192))
    assert placement.box == (20, 100, 60, 200)
    top, left, bottom, right = placement.target
    assert (left, right) == (0, 192)
    assert bottom - top == round(40 * 1.92)
    assert abs((top + bottom) / 2 - 96) <= 1


def test_an_empty_view_is_refused() -> None:
    with pytest.raises(ValueError, match="empty"):
        place(np.zeros((10, 10), bool), (32, 32))


def test_gain_makes_no_difference() -> None:
    rng = np.random.default_rng(1)
    frame = rng.integers(20, 100, (120, 160)).astype(np.uint8)
    view = np.zeros(frame.shape, bool)
    view[10:110, 20:140] = True
    placement = place(view, (64, 64))
    one, other = network_input(frame, view, placement), network_input(frame * 2, view, placement)
    np.testing.assert_allclose(one, other, atol=0.02)


def test_what_lies_outside_the_view_makes_no_difference() -> None:
    frame = np.random.default_rng(2).integers(20, 100, (100, 100)).astype(np.uint8)
    view = np.zeros(frame.shape, bool)
    view[30:90, 20:80] = True
    placement = place(view, (64, 64))
    written = frame.copy()
    written[:25] = 255
    np.testing.assert_array_equal(network_input(frame, view, placement), network_input(written, view, placement))


def test_a_view_without_contrast_gives_finite_input() -> None:
    assert np.isfinite(even_out(np.full((8, 8), 40, np.float32), np.ones((8, 8), bool))).all()


def test_the_largest_part_is_the_kidney_and_its_holes_are_filled() -> None:
    probability = np.zeros((100, 100), np.float32)
    probability[20:60, 20:60] = 0.9
    probability[35:40, 35:40] = 0.1
    probability[80:84, 80:84] = 0.9
    found = outline(probability, np.ones((100, 100), bool))
    assert found.mask.sum() == 40 * 40
    assert found.flags == ()
    assert found.confidence == pytest.approx((1575 * 0.9 + 25 * 0.1) / 1600, abs=1e-4)


def test_a_second_part_of_some_size_is_said() -> None:
    probability = np.zeros((100, 100), np.float32)
    probability[10:40, 10:40] = 0.9
    probability[60:80, 60:80] = 0.9
    assert outline(probability, np.ones((100, 100), bool)).flags == ("us_second_region",)


def test_a_speck_is_no_kidney() -> None:
    probability = np.zeros((100, 100), np.float32)
    probability[50:53, 50:53] = 1
    found = outline(probability, np.ones((100, 100), bool))
    assert (found.mask.any(), found.confidence, found.flags) == (False, None, ("no_kidney",))


def test_nothing_is_found_outside_the_view() -> None:
    view = np.zeros((100, 100), bool)
    view[:, :50] = True
    found = outline(np.ones((100, 100), np.float32), view)
    np.testing.assert_array_equal(found.mask, view)
    assert "us_kidney_cut_by_view" in found.flags


def test_a_kidney_in_the_middle_is_not_cut() -> None:
    view, mask = np.ones((100, 100), bool), np.zeros((100, 100), bool)
    mask[30:60, 30:60] = True
    assert not cut_by_view(mask, view)
    mask[60:100, 30:60] = True
    assert cut_by_view(mask, view)
