"""The picture of an ultrasound result: the outline over the echoes, the length, and what the numbers rest on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from KidneySegLib.flags import FLAGS
from KidneySegLib.ultrasound.measures import length_ends
from KidneySegLib.ultrasound.preparation import Grey, Mask
from KidneySegLib.ultrasound.table import FrameRow

if TYPE_CHECKING:
    from PIL import Image

OUTLINE = (255, 176, 0)
LENGTH = (102, 204, 255)
_TEXT = (232, 236, 241)
_QUIET = (150, 158, 170)
_WARNING = (255, 120, 90)
_BACKGROUND = (13, 16, 20)
MIN_WIDTH_PX = 720


def draw_overlay(
    frame: Grey, view: Mask, mask: Mask, row: FrameRow, *, pixel_mm: tuple[float, float] | None, demonstration: bool
) -> Image.Image:
    """One frame with its outline. What lies outside the view is black, so no name that was burnt in gets out.

    Args:
        frame, view, mask: (y, x).
        row: what was measured.
        pixel_mm: edges of a pixel (y, x), or None.
        demonstration: the model has seen no patient; said in the picture.
    """
    from PIL import Image, ImageDraw, ImageFont

    height, width = frame.shape
    ratio = pixel_mm[0] / pixel_mm[1] if pixel_mm else 1.0  # square pixels on the screen
    scale = max(1.0, MIN_WIDTH_PX / width)
    size = (round(width * scale), round(height * scale * ratio))
    grey = Image.fromarray(np.where(view, frame, 0).astype(np.uint8)).resize(size, Image.Resampling.BILINEAR)
    shape = Image.fromarray(mask.astype(np.float32)).resize(size, Image.Resampling.BILINEAR)
    picture = Image.new("RGB", (size[0], size[1] + 96), _BACKGROUND)
    picture.paste(_with_outline(np.asarray(grey), np.asarray(shape) >= 0.5), (0, 0))
    pen = ImageDraw.Draw(picture)
    ends = length_ends(mask, pixel_mm or (1.0, 1.0))
    if ends is not None:
        (y0, x0), (y1, x1) = ends
        factor = (size[0] / width, size[1] / height)
        line = [((x0 + 0.5) * factor[0], (y0 + 0.5) * factor[1]), ((x1 + 0.5) * factor[0], (y1 + 0.5) * factor[1])]
        pen.line(line, fill=LENGTH, width=1)
        for x, y in line:
            pen.line([(x - 6, y), (x + 6, y)], fill=LENGTH, width=2)
            pen.line([(x, y - 6), (x, y + 6)], fill=LENGTH, width=2)
    lines = [(_measured(row), 20, _TEXT)]
    if demonstration:
        lines.append((FLAGS["us_demonstration_model"].sentence, 15, _WARNING))
    others = [FLAGS[key].sentence for key in row.flags if key != "us_demonstration_model"]
    lines.append((" ".join(others) or "Research use only.", 13, _QUIET))
    y_text = size[1] + 8
    for text, points, colour in lines:
        pen.text((12, y_text), text, fill=colour, font=ImageFont.load_default(points))
        y_text += points + 8
    return picture


def _measured(row: FrameRow) -> str:
    if row.area_px is None:
        return "No kidney was found"
    if row.length_mm is None or row.area_mm2 is None or row.width_mm is None:
        return f"Length {row.length_px:.0f} px   Area {row.area_px:.0f} px   (not calibrated)"
    return f"Length {row.length_mm:.0f} mm   Width {row.width_mm:.0f} mm   Area {row.area_mm2 / 100:.1f} cm²"


def _with_outline(grey: Grey, shape: Mask) -> Image.Image:
    from PIL import Image
    from scipy.ndimage import binary_erosion

    colour = np.repeat(grey[..., None], 3, axis=2)
    edge = shape & ~binary_erosion(shape, iterations=2)
    colour[edge] = OUTLINE
    return Image.fromarray(colour)
