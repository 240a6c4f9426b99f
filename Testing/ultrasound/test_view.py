"""Where a picture shows echoes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from KidneySegLib.ultrasound.image import make_image
from KidneySegLib.ultrasound.synthetic import synthetic_image
from KidneySegLib.ultrasound.view import coloured_pixels, find_view, without


def overlap(one: np.ndarray, other: np.ndarray) -> float:
    return float((one & other).sum() / (one | other).sum())


@pytest.mark.parametrize("seed", [0, 2, 5, 9])
def test_the_view_of_a_sector_or_linear_picture_is_found_and_text_is_not_in_it(seed: int) -> None:
    image = synthetic_image(seed, overlay=True)
    found = find_view(image.pixels)
    assert not found.is_whole
    assert overlap(found.mask, image.view) > 0.9
    assert (image.kidney & ~found.mask).sum() <= 0.02 * image.kidney.sum()
    # Nothing that was written into the black margin is left.
    margin = ~image.view
    margin[:, : image.view.any(axis=0).argmax()] = True
    assert not (found.mask & margin & (image.pixels > 100)).sum() > 60


def test_a_dark_shadow_belongs_to_the_view() -> None:
    rng = np.random.default_rng(0)
    picture = np.zeros((300, 400), np.uint8)
    picture[30:270, 60:340] = rng.integers(60, 200, (240, 280))
    picture[80:270, 180:210] = 0
    found = find_view(picture).mask
    truth = np.zeros_like(found)
    truth[30:270, 60:340] = True
    assert overlap(found, truth) > 0.97


def test_a_picture_without_margins_counts_whole() -> None:
    picture = np.random.default_rng(0).integers(30, 200, (128, 128)).astype(np.uint8)
    found = find_view(picture)
    assert found.is_whole
    assert found.mask.mean() > 0.98
    assert "us_view_not_found" in make_image(picture[None], source=Path("x.png")).flags


def test_a_black_picture_has_no_view_but_breaks_nothing() -> None:
    assert find_view(np.zeros((64, 64), np.uint8)).mask.all()


def test_a_loop_s_frames_share_their_view() -> None:
    frames = np.zeros((2, 200, 200), np.uint8)
    frames[0, 40:160, 30:100] = 120
    frames[1, 40:160, 95:170] = 120
    truth = np.zeros((200, 200), bool)
    truth[40:160, 30:170] = True
    assert overlap(find_view(frames).mask, truth) > 0.95


def test_text_alone_in_a_corner_is_left_out() -> None:
    canvas = Image.new("L", (400, 300))
    pen = ImageDraw.Draw(canvas)
    pen.rectangle((100, 60, 300, 280), fill=90)
    pen.text((5, 5), "DOE JOHN 1950-01-01", fill=255, font=ImageFont.load_default(14))
    found = find_view(np.asarray(canvas)).mask
    assert not found[:40].any()
    assert found[100:250, 120:280].all()


def test_coloured_strokes_take_the_grey_of_their_neighbours() -> None:
    frame = np.full((40, 40, 3), 80, np.uint8)
    frame[20, 5:35] = (255, 255, 0)
    assert coloured_pixels(frame).sum() == 30
    assert (without(np.full((40, 40), 80, np.uint8), coloured_pixels(frame)) == 80).all()
    grey = np.full((40, 40), 80, np.uint8)
    grey[20, 5:35] = 226
    assert (without(grey, coloured_pixels(frame)) == 80).all()
