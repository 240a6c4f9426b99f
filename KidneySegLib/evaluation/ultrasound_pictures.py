"""A confusion matrix as a picture: counts, and the share of each true class, on two shades."""

from __future__ import annotations

from typing import TYPE_CHECKING

from KidneySegLib.evaluation.overlap import Overlap

if TYPE_CHECKING:
    from PIL import Image

_CELL = 190
_LEFT, _TOP = 190, 120
_PAPER = (255, 255, 255)
_INK = (24, 32, 44)
_DEEP = (22, 88, 150)


def draw_confusion(counts: Overlap, title: str, positive: str, negative: str) -> Image.Image:
    """Rows are the reference, columns the prediction; each row's shares sum to 100 %.

    Args:
        counts: TP, FP, FN and TN.
        title: above it.
        positive, negative: what the two classes are called.
    """
    from PIL import Image, ImageDraw, ImageFont

    picture = Image.new("RGB", (_LEFT + 2 * _CELL + 20, _TOP + 2 * _CELL + 20), _PAPER)
    pen = ImageDraw.Draw(picture)
    big, middle, small = (ImageFont.load_default(size) for size in (22, 18, 15))
    pen.text((12, 12), title, fill=_INK, font=big)
    pen.text((_LEFT + _CELL, 62), "prediction", fill=_INK, font=small, anchor="mm")
    pen.text((12, _TOP + _CELL), "reference", fill=_INK, font=small, anchor="lm")
    rows = ((counts.tp, counts.fn), (counts.fp, counts.tn))
    for index, name in enumerate((positive, negative)):
        middle_of = (index + 0.5) * _CELL
        pen.text((_LEFT + middle_of, 96), name, fill=_INK, font=middle, anchor="mm")
        pen.text((_LEFT - 14, _TOP + middle_of), name, fill=_INK, font=middle, anchor="rm")
    for y, row in enumerate(rows):
        total = sum(row)
        for x, number in enumerate(row):
            share = number / total if total else 0.0
            shade = tuple(round(p + (d - p) * share) for p, d in zip(_PAPER, _DEEP, strict=True))
            corner = (_LEFT + x * _CELL, _TOP + y * _CELL)
            pen.rectangle((*corner, corner[0] + _CELL - 2, corner[1] + _CELL - 2), fill=shade, outline=(150, 158, 170))
            ink = _PAPER if share > 0.55 else _INK
            centre = (corner[0] + _CELL / 2, corner[1] + _CELL / 2)
            pen.text((centre[0], centre[1] - 14), f"{number:,}".replace(",", " "), fill=ink, font=middle, anchor="mm")
            percent = f"{100 * share:.2f} %" if total else "no such"
            pen.text((centre[0], centre[1] + 16), percent, fill=ink, font=small, anchor="mm")
    return picture
