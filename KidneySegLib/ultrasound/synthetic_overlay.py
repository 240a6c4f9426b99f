"""What scanners burn into pictures: text, a depth scale, a grey bar, callipers."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

_WORDS = (
    "RT KIDNEY", "LT KIDNEY", "LONG", "TRANS", "RK SAG", "LK TRV", "C5-1", "FR 28Hz", "2D 62%", "C 55", "P Low", "HGen",
    "TIS 0.6", "MI 1.1", "Res", "Abdomen", "15.0cm", "Gn 12", "DR 66", "SAMPLE",
)  # fmt: skip


def draw_overlay(
    rng: np.random.Generator, picture: npt.NDArray[np.uint8], view: npt.NDArray[np.bool_], kidney: npt.NDArray[np.bool_]
) -> npt.NDArray[np.uint8]:
    """A copy of a picture (y, x) with text in its margins and, at times, callipers on the kidney."""
    from PIL import Image, ImageDraw, ImageFont

    canvas = Image.fromarray(picture)
    pen = ImageDraw.Draw(canvas)
    height, width = picture.shape
    font = ImageFont.load_default(size=max(8, int(height * rng.uniform(0.025, 0.04))))
    shade = int(rng.integers(170, 256))
    for corner in range(int(rng.integers(1, 4))):
        x = 4 if corner != 1 else int(width * 0.8)
        y = 4 if corner != 2 else int(height * 0.75)
        words = rng.choice(_WORDS, int(rng.integers(2, 7)), replace=False)
        for line, word in enumerate(words):
            place = (x, y + line * int(height * 0.045))
            if not view[min(place[1] + 4, height - 1), min(place[0] + 30, width - 1)]:
                pen.text(place, str(word), fill=shade, font=font)
    if rng.random() < 0.6:  # depth scale
        x = int(np.clip(np.flatnonzero(view.any(axis=0)).max() + 4, 0, width - 4))
        for y in np.linspace(8, height - 8, int(rng.integers(8, 18))).astype(int):
            pen.line([(x, int(y)), (x + 3, int(y))], fill=shade)
    if rng.random() < 0.5:  # grey bar
        bar = np.linspace(255, 0, height // 3).astype(np.uint8)[:, None].repeat(6, axis=1)
        canvas.paste(Image.fromarray(bar), (2, height // 4))
    rows, columns = np.nonzero(kidney)
    if rows.size and rng.random() < 0.3:
        _callipers(rng, pen, rows, columns, shade, max(2, height // 100))
    return np.asarray(canvas)


def _callipers(rng, pen, rows, columns, shade, arm) -> None:  # type: ignore[no-untyped-def]
    """Two crosses near the ends of the kidney, and dots between them."""
    ends = []
    for index in (int(np.argmin(columns)), int(np.argmax(columns))):
        x, y = int(columns[index] + rng.integers(-2, 3)), int(rows[index] + rng.integers(-2, 3))
        pen.line([(x - arm, y), (x + arm, y)], fill=shade)
        pen.line([(x, y - arm), (x, y + arm)], fill=shade)
        ends.append((x, y))
    if rng.random() < 0.5:
        for t in np.linspace(0, 1, 24)[1:-1]:
            x, y = (round(a + t * (b - a)) for a, b in zip(*ends, strict=True))
            pen.point((x, y), fill=shade)
