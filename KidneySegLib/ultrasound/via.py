"""Polygons of the VGG Image Annotator (VIA) as masks: the form of the Open Kidney Ultrasound Data Set's labels.

Columns: filename, file_size, file_attributes, region_count, region_id, region_shape_attributes, region_attributes; the
last two and file_attributes hold JSON. The data set (Singla et al. 2023) names regions by ``Anatomy``: Capsule (the
kidney's outline), Central Echo Complex, Medulla and Cortex.
"""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from KidneySegLib.errors import InputError

COLUMNS = ("filename", "region_count", "region_shape_attributes", "region_attributes")
#: The outline of the kidney, as the data set calls it.
CAPSULE = "Capsule"
REGIONS = (CAPSULE, "Central Echo Complex", "Medulla", "Cortex")
#: Corners of an ellipse drawn as a polygon.
_ELLIPSE_CORNERS = 72


@dataclass(frozen=True)
class Region:
    """One drawn region.

    Attributes:
        anatomy: what it is, as the file says.
        corners: (x, y) in pixels, x to the right, y down; pixel centres are whole numbers.
    """

    anatomy: str
    corners: tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class AnnotatedImage:
    """All that a file says of one picture.

    Attributes:
        filename: of the picture.
        attributes: of the picture (quality, view, comments).
        regions: drawn in it; empty where nobody drew anything.
    """

    filename: str
    attributes: dict[str, Any]
    regions: tuple[Region, ...]

    def mask(self, anatomy: str, shape: tuple[int, int]) -> npt.NDArray[np.bool_]:
        """Union of the regions of a name, filled, on a picture's pixels (y, x)."""
        return polygon_mask([r.corners for r in self.regions if r.anatomy == anatomy], shape)


def is_via_csv(path: Path) -> bool:
    """Whether a file's first line names VIA's columns."""
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            header = next(csv.reader(file), [])
    except (OSError, UnicodeDecodeError, csv.Error):
        return False
    return set(COLUMNS) <= set(header)


def read_via_csv(path: Path) -> dict[str, AnnotatedImage]:
    """Annotations by file name, in the file's order.

    Raises:
        InputError: the file cannot be read, is no VIA table, or a row is not valid; the message names the line.
    """
    if not is_via_csv(path):
        raise InputError(
            f"{path} is no table of VIA polygons: columns {', '.join(COLUMNS)} were expected. Give the annotations as "
            "VIA exports them (CSV)."
        )
    attributes: dict[str, dict[str, Any]] = {}
    regions: dict[str, list[Region]] = {}
    with open(path, newline="", encoding="utf-8-sig") as file:
        for number, row in enumerate(csv.DictReader(file), start=2):
            name = row["filename"]
            try:
                attributes.setdefault(name, json.loads(row.get("file_attributes") or "{}"))
                region = _region(json.loads(row["region_shape_attributes"]), json.loads(row["region_attributes"]))
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                raise InputError(
                    f"{path}, line {number}: not a valid VIA region ({error}). Repair or drop it."
                ) from error
            regions.setdefault(name, [])
            if region is not None:
                regions[name].append(region)
    return {name: AnnotatedImage(name, attributes[name], tuple(found)) for name, found in regions.items()}


def _region(shape: dict[str, Any], what: dict[str, Any]) -> Region | None:
    if not shape:
        return None  # a picture without regions has one empty row
    return Region(str(what.get("Anatomy", "")).strip(), tuple(_corners(shape)))


def _corners(shape: dict[str, Any]) -> list[tuple[float, float]]:
    kind = shape["name"]
    if kind in ("polygon", "polyline"):
        return [(float(x), float(y)) for x, y in zip(shape["all_points_x"], shape["all_points_y"], strict=True)]
    if kind == "rect":
        x, y, w, h = (float(shape[key]) for key in ("x", "y", "width", "height"))
        return [(x, y), (x + w, y), (x + w, y + h), (x, y + h)]
    if kind in ("ellipse", "circle"):
        rx, ry = (float(shape["r"]),) * 2 if kind == "circle" else (float(shape["rx"]), float(shape["ry"]))
        turn = float(shape.get("theta", 0.0))
        angles = [2 * math.pi * i / _ELLIPSE_CORNERS for i in range(_ELLIPSE_CORNERS)]
        points = [(rx * math.cos(a), ry * math.sin(a)) for a in angles]
        cx, cy = float(shape["cx"]), float(shape["cy"])
        cosine, sine = math.cos(turn), math.sin(turn)
        return [(cx + x * cosine - y * sine, cy + x * sine + y * cosine) for x, y in points]
    raise ValueError(f"a shape of kind {kind!r}")


def polygon_mask(polygons: Sequence[Sequence[tuple[float, float]]], shape: tuple[int, int]) -> npt.NDArray[np.bool_]:
    """Union of filled polygons, their outlines included, on pixels (y, x)."""
    from PIL import Image, ImageDraw

    canvas = Image.new("1", (shape[1], shape[0]))
    pen = ImageDraw.Draw(canvas)
    for corners in polygons:
        if len(corners) >= 3:
            pen.polygon([(x, y) for x, y in corners], fill=1, outline=1)
    return np.asarray(canvas, dtype=bool).copy()
