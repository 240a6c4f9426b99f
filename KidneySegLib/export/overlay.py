"""``overlay.png``: the result at one glance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from KidneySegLib.export.planes import Plane, choose_planes, sample_hu, sample_labels, windowed
from KidneySegLib.labels import LABEL_BY_ID, LABELS
from KidneySegLib.postprocessing.grid import bounding_box

if TYPE_CHECKING:
    import SimpleITK as sitk
    from PIL import Image, ImageDraw, ImageFont

    from KidneySegLib.measurement.table import MeasurementTable

WIDTH_PX = 1680
MAX_PIXELS_PER_MM = 2.6
#: Labels are painted this much finer and then averaged, so that outlines have smooth edges.
FINER = 2
FILL = 0.32
BACKGROUND = (13, 16, 20)
PANEL = (0, 0, 0)
TEXT = (232, 236, 241)
QUIET = (150, 158, 170)
_MARGIN = 24
_GAP = 12
_HEAD = 74
_LEGEND_SIZE = 18
#: From an entry's left edge, where its patch of colour is, to its text.
_LEGEND_INDENT = 30
_LEGEND_ROW = 30
_SCALE_BAR_MM = 50.0


@dataclass(frozen=True)
class _Pen:
    """What is needed to write on a picture."""

    draw: ImageDraw.ImageDraw

    def text(
        self, at: tuple[float, float], text: str, size: int, colour: tuple[int, int, int] = TEXT, anchor: str = "la"
    ) -> None:
        """Text with a dark rim, readable on any grey."""
        self.draw.text(at, text, fill=colour, font=_font(size), anchor=anchor, stroke_width=2, stroke_fill=BACKGROUND)

    def width(self, text: str, size: int) -> float:
        return float(self.draw.textlength(text, font=_font(size)))


@dataclass(frozen=True)
class Sections:
    """Pictures through the kidneys at one scale, before anything is written on them.

    Attributes:
        planes: where they lie: axial, coronal, one or two sagittal.
        pixels: their RGB pictures, each (rows, columns, 3).
        pixels_per_mm: their scale.
        label_ids: what is there at all, in the order of `LABELS`.
    """

    planes: tuple[Plane, ...]
    pixels: tuple[NDArray[np.uint8], ...]
    pixels_per_mm: float
    label_ids: tuple[int, ...]


def _column_widths_mm(planes: Sequence[Plane]) -> tuple[float, float]:
    """Of the left column, axial over coronal, and of the right one, sagittal."""
    left, right = (max(plane.size_mm[0] for plane in column) for column in (planes[:2], planes[2:]))
    return left, right


def paint_sections(labels: sitk.Image, image: sitk.Image) -> Sections:
    """Axial, coronal and sagittal pictures with outlines over a translucent fill, square pixels in mm for every grid.

    Args:
        labels: ids 1-15 on the scan's grid or a part of it; all zero gives the middle of the body.
        image: the scan, in HU.
    """
    planes = choose_planes(labels, image)
    scale = min(MAX_PIXELS_PER_MM, (WIDTH_PX - 2 * _MARGIN - _GAP) / sum(_column_widths_mm(planes)))
    pixels = tuple(
        painted(sample_hu(plane, image, scale), sample_labels(plane, labels, scale, FINER)) for plane in planes
    )
    return Sections(tuple(planes), pixels, scale, tuple(_present(labels)))


def draw_overlay(sections: Sections, *, case_id: str = "", table: MeasurementTable | None = None) -> Image.Image:
    """The pictures side by side in radiological convention, with orientation letters, scale bars and a legend.

    Args:
        sections: of the kidneys.
        case_id: title; cut if long.
        table: measurements, for the volumes beside the names.
    """
    from PIL import Image, ImageDraw

    planes, scale = sections.planes, sections.pixels_per_mm
    left, right = _column_widths_mm(planes)
    top_mm = max(planes[0].size_mm[1], planes[2].size_mm[1])
    # Without a second sagittal plane the first stands beside the coronal one, whose height it has.
    bottom_mm = max(plane.size_mm[1] for plane in (planes[1], *planes[3:]))
    columns = (_MARGIN, _MARGIN + round(left * scale) + _GAP)
    rows = (_HEAD, _HEAD + round(top_mm * scale) + _GAP)
    width = columns[1] + round(right * scale) + _MARGIN
    legend = _legend(sections.label_ids, table)
    legend_columns = _legend_columns([text for _, text in legend], width)
    legend_top = rows[1] + round(bottom_mm * scale) + 22
    height = legend_top + _LEGEND_ROW * max(1, -(-len(legend) // legend_columns)) + 20
    picture = Image.new("RGB", (width, height), BACKGROUND)
    pen = _Pen(ImageDraw.Draw(picture))
    cells = [(0, 0), (0, 1), (1, 0), (1, 1)]

    for plane, pixels, (column, row) in zip(planes, sections.pixels, cells, strict=False):
        cell = (
            round((left, right)[column] * scale),
            round((top_mm, bottom_mm)[row] * scale),
        )
        _draw_panel(picture, pen, plane, pixels, scale, (columns[column], rows[row]), cell)
    _draw_head(pen, width, case_id, table)
    if not sections.label_ids:
        pen.text((width / 2, rows[1] - 40), "No kidney was found", 34, (255, 170, 60), "ms")
    _draw_legend(pen, legend, legend_columns, width, legend_top)
    return picture


def write_overlay(picture: Image.Image, path: Path) -> None:
    """Write a picture as PNG.

    Raises:
        OSError: if it cannot be written.
    """
    picture.save(path, format="PNG", optimize=False, compress_level=3)


def painted(hu: NDArray[np.float32], ids: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Grey values with labels over them: (rows, columns, 3). `ids` are `FINER` times finer than `hu`."""
    picture = np.repeat(windowed(hu)[:, :, None], 3, axis=2)
    if not ids.any():
        return picture
    # Only where there are labels is there anything to mix; a pixel more on each side shows where they end.
    rows, columns = (
        slice(max(0, found[0] // FINER - 1), min(size, found[-1] // FINER + 2))
        for found, size in ((np.flatnonzero(ids.any(axis)), hu.shape[1 - axis]) for axis in (1, 0))
    )
    ids = ids[rows.start * FINER : rows.stop * FINER, columns.start * FINER : columns.stop * FINER]
    colours = np.zeros((256, 3), dtype=np.float32)
    for label in LABELS:
        colours[label.id] = label.colour
    opacity = np.where(_edges(ids), 1.0, FILL).astype(np.float32) * (ids > 0)
    blocks = (ids.shape[0] // FINER, FINER, ids.shape[1] // FINER, FINER)
    tint = (colours[ids] * opacity[:, :, None]).reshape(*blocks, 3).mean(axis=(1, 3))
    covered = opacity.reshape(blocks).mean(axis=(1, 3))[:, :, None]
    mixed = picture[rows, columns] * (1 - covered) + tint
    picture[rows, columns] = np.clip(mixed, 0, 255).astype(np.uint8)
    return picture


def _edges(ids: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Pixels of a label within two pixels of another label or of background."""
    edge = np.zeros(ids.shape, dtype=np.bool_)
    for axis in (0, 1):
        for distance in (1, 2):
            near: list[slice] = [slice(None), slice(None)]
            far = near.copy()
            near[axis], far[axis] = slice(distance, None), slice(None, -distance)
            differs = ids[tuple(near)] != ids[tuple(far)]
            edge[tuple(near)] |= differs
            edge[tuple(far)] |= differs
    return edge & (ids > 0)


def _draw_panel(
    picture: Image.Image,
    pen: _Pen,
    plane: Plane,
    pixels: NDArray[np.uint8],
    scale: float,
    corner: tuple[int, int],
    cell: tuple[int, int],
) -> None:
    from PIL import Image

    rows, columns = pixels.shape[:2]
    x0, y0 = corner
    pen.draw.rectangle((x0, y0, x0 + cell[0] - 1, y0 + cell[1] - 1), fill=PANEL)
    x = x0 + (cell[0] - columns) // 2
    y = y0 + (cell[1] - rows) // 2
    picture.paste(Image.fromarray(pixels), (x, y))
    right, bottom = x0 + cell[0], y0 + cell[1]
    pen.text((x0 + 12, y0 + 10), plane.name, 20)
    for letter, at, anchor in zip(
        plane.letters,
        (
            (x0 + 12, y0 + cell[1] / 2),
            (right - 12, y0 + cell[1] / 2),
            (x0 + cell[0] / 2, y0 + 10),
            (x0 + cell[0] / 2, bottom - 10),
        ),
        ("lm", "rm", "ma", "md"),
        strict=True,
    ):
        pen.text(at, letter, 22, (255, 214, 102), anchor)
    length = _SCALE_BAR_MM * scale
    pen.draw.line((right - 16 - length, bottom - 16, right - 16, bottom - 16), fill=TEXT, width=3)
    pen.text((right - 16 - length / 2, bottom - 22), "5 cm", 15, TEXT, "md")


def _draw_head(pen: _Pen, width: int, case_id: str, table: MeasurementTable | None) -> None:
    pen.text((_MARGIN, 22), "KidneySeg", 28, TEXT)
    title = _shortened(pen, case_id, 24, width * 0.45)
    pen.text((_MARGIN + pen.width("KidneySeg", 28) + 18, 26), title, 24, QUIET)
    both = table.row("both") if table is not None else None
    if both is not None and both.parenchyma_ml is not None:
        text = f"Parenchyma {both.parenchyma_ml:.0f} mL"
        if both.cortex_ml is not None:
            text += f"   Cortex {both.cortex_ml:.0f} mL"
        pen.text((width - _MARGIN, 26), text, 24, TEXT, "ra")


def _legend(ids: Sequence[int], table: MeasurementTable | None) -> list[tuple[tuple[int, int, int], str]]:
    legend = []
    for label_id in ids:
        label = LABEL_BY_ID[label_id]
        row = table.row(label.side.value) if table is not None else None
        column = "parenchyma_ml" if label.structure.value == "undivided" else f"{label.structure.value}_ml"
        volume = getattr(row, column, None) if row is not None else None
        legend.append((label.colour, label.name + (f"  {volume:.1f} mL" if volume is not None else "")))
    return legend


def _legend_columns(texts: list[str], width: int) -> int:
    """How many entries of the legend, four at most, have room side by side."""
    widest = max((float(_font(_LEGEND_SIZE).getlength(text)) for text in texts), default=0.0)
    return max(1, min(4, int((width - 2 * _MARGIN + _GAP) // (_LEGEND_INDENT + widest + _GAP))))


def _draw_legend(pen: _Pen, legend: list[tuple[tuple[int, int, int], str]], columns: int, width: int, top: int) -> None:
    step = (width - 2 * _MARGIN + _GAP) / columns
    for n, (colour, text) in enumerate(legend):
        x, y = _MARGIN + (n % columns) * step, top + (n // columns) * _LEGEND_ROW
        pen.draw.rounded_rectangle((x, y, x + 20, y + 20), radius=4, fill=colour)
        pen.text((x + _LEGEND_INDENT, y + 10), text, _LEGEND_SIZE, TEXT, "lm")


def _present(labels: sitk.Image) -> list[int]:
    import SimpleITK as sitk

    values = sitk.GetArrayViewFromImage(labels)
    box = bounding_box(values)
    present = set() if box is None else {int(v) for plane in values[box] for v in np.unique(plane)}
    return [label.id for label in LABELS if label.id in present]


def _shortened(pen: _Pen, text: str, size: int, room: float) -> str:
    text = "".join(char if char.isprintable() else " " for char in text)
    if pen.width(text, size) <= room:
        return text
    while text and pen.width(text + "...", size) > room:
        text = text[:-1]
    return text + "..."


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    from PIL import ImageFont

    return ImageFont.load_default(size)
