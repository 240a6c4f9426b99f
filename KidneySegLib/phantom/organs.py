"""Solid and hollow organs round the kidneys: liver, spleen, stomach, pancreas, gall bladder, adrenals, bladder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from KidneySegLib.labels import OverviewLabel
from KidneySegLib.phantom.body import LOWEST_MM, Body
from KidneySegLib.phantom.canvas import Canvas
from KidneySegLib.phantom.fields import Field
from KidneySegLib.phantom.shapes import FloatArray, ellipsoid, rotation, smooth_max, smooth_min


@dataclass(frozen=True)
class Organs:
    """What is needed to paint the organs again on any grid: the body they fill, and a seed."""

    body: Body
    seed: int


def _texture(canvas: Canvas, rng: np.random.Generator, most: float = 8.0) -> FloatArray:
    field = Field(int(rng.integers(2**31)), float(rng.uniform(2, 6)), float(rng.uniform(1, most)))
    return canvas.field(field)


def paint_liver(organs: Organs, canvas: Canvas, hu: Mapping[str, float]) -> None:
    """The liver fills the right upper belly under the diaphragm, down to a slanted lower edge.

    Args:
        hu: ``liver``, ``portal_vein``, ``liver_lesion``.
    """
    body, rng = organs.body, np.random.default_rng(organs.seed)
    x, y, z = canvas.x, canvas.y, canvas.z
    lumps = canvas.field(Field(int(rng.integers(2**31)), 22.0, 2.5))
    under = smooth_max(canvas.distances["cavity"] + 2.5, canvas.distances["diaphragm"] + 2.5, 8.0)
    lowest = np.float32(rng.uniform(-75, 40))
    slant = np.float32(rng.uniform(0.35, 1.0))
    edge = (lowest + slant * (x + np.float32(0.8 * body.half_width)) - z) * np.float32(0.75) + lumps
    left_end = (x - np.float32(rng.uniform(-25, 75))) * np.float32(0.9) - (body.centre_y - y) * np.float32(0.25)
    visceral = (y - np.float32(body.centre_y + 15)) * np.float32(0.5) + (x + np.float32(15)) * np.float32(0.85)
    liver = smooth_max(smooth_max(under, edge, 14.0), smooth_max(left_end, visceral, 18.0), 14.0) + lumps * 0.5
    texture = _texture(canvas, rng)
    vessels = canvas.field(Field(int(rng.integers(2**31)), float(rng.uniform(8, 13)), 1.0))
    branches: FloatArray = np.clip(1 - np.abs(vessels) / np.float32(rng.uniform(0.06, 0.16)), 0, 1)
    gate = np.abs(canvas.field(Field(int(rng.integers(2**31)), 18.0, 1.0))) < 0.5
    branches *= gate.astype(np.float32) * np.float32(rng.uniform(0.2, 0.9))
    value = texture + np.float32(hu["liver"]) + branches * np.float32(hu["portal_vein"] - hu["liver"])
    canvas.paint(canvas.whole, canvas.coverage(liver), value, OverviewLabel.LIVER)
    for _ in range(int(rng.poisson(0.5))):
        centre = (
            float(rng.uniform(-130, -20)),
            float(body.centre_y + rng.uniform(-40, 50)),
            float(rng.uniform(0, 120)),
        )
        _paint_blob(canvas, rng, centre, float(rng.uniform(5, 28)), hu["liver_lesion"] + rng.normal(0, 25), clip=liver)
    canvas.distances["liver"] = liver
    gall = (float(rng.uniform(-75, -30)), body.centre_y - float(rng.uniform(5, 45)), float(lowest + rng.uniform(5, 60)))
    if rng.random() < 0.85:
        size = (float(rng.uniform(9, 20)), float(rng.uniform(10, 20)), float(rng.uniform(18, 38)))
        block = canvas.block(np.subtract(gall, 45).tolist(), np.add(gall, 45).tolist())
        if block is not None:
            bx, by, bz = canvas.coordinates(block)
            axes = rotation(float(rng.uniform(-40, 40)), float(rng.uniform(-40, 40)), 0)
            gall_bladder = ellipsoid(bx, by, bz, gall, size, axes)
            gall_bladder = np.maximum(gall_bladder, canvas.distances["cavity"][block] + 2)
            canvas.paint(block, canvas.coverage(gall_bladder - 1.2), hu["bowel_wall"])
            canvas.paint(block, canvas.coverage(gall_bladder), hu["gall_bladder"])


def _paint_blob(
    canvas: Canvas,
    rng: np.random.Generator,
    centre_mm: tuple[float, float, float],
    radius_mm: float,
    hu: float,
    clip: FloatArray | None = None,
    tissue: OverviewLabel = OverviewLabel.BACKGROUND,
) -> None:
    """A lumpy ball of any tissue."""
    half = radius_mm * rng.uniform(0.7, 1.3, 3)
    reach = float(half.max()) * 1.4 + 3
    block = canvas.block([c - reach for c in centre_mm], [c + reach for c in centre_mm])
    if block is None:
        return
    x, y, z = canvas.coordinates(block)
    axes = rotation(*rng.uniform(-90, 90, 3))
    blob = ellipsoid(x, y, z, centre_mm, half.tolist(), axes)
    blob += canvas.field(Field(int(rng.integers(2**31)), max(radius_mm * 0.5, 3.0), radius_mm * 0.08), block)
    if clip is not None:
        blob = np.maximum(blob, clip[block])
    texture = canvas.field(Field(int(rng.integers(2**31)), 3.0, float(rng.uniform(1, 12))), block)
    canvas.paint(block, canvas.coverage(blob), np.float32(hu) + texture, tissue)


def paint_spleen(organs: Organs, canvas: Canvas, hu: Mapping[str, float]) -> None:
    """The spleen: a crescent against the left back wall, sometimes down to the kidney, with arterial-phase bands.

    Args:
        hu: ``spleen``, ``spleen_bands`` (standard deviation of the arterial pattern).
    """
    body, rng = organs.body, np.random.default_rng(organs.seed + 1)
    if rng.random() < 0.03:
        return
    height = float(rng.uniform(28, 85))
    centre = (body.half_width * float(rng.uniform(0.6, 0.74)), float(rng.uniform(-28, 18)), height)
    half = (float(rng.uniform(18, 36)), float(rng.uniform(32, 58)), float(rng.uniform(36, 72)))
    reach = max(half) * 1.35
    block = canvas.block([c - reach for c in centre], [c + reach for c in centre])
    if block is None:
        return
    x, y, z = canvas.coordinates(block)
    axes = rotation(float(rng.uniform(-40, 10)), float(rng.uniform(-25, 25)), float(rng.uniform(-20, 10)))
    spleen = ellipsoid(x, y, z, centre, half, axes)
    spleen += canvas.field(Field(int(rng.integers(2**31)), 16.0, float(rng.uniform(0.8, 3))), block)
    under = smooth_max(canvas.distances["cavity"][block] + 2, canvas.distances["diaphragm"][block] + 2, 6.0)
    spleen = smooth_max(spleen, under, 6.0)
    bands = canvas.field(Field(int(rng.integers(2**31)), float(rng.uniform(4, 9)), hu["spleen_bands"]), block)
    canvas.paint(block, canvas.coverage(spleen), np.float32(hu["spleen"]) + bands, OverviewLabel.SPLEEN)
    if rng.random() < 0.2:
        near = [c + float(rng.uniform(-25, 25)) for c in centre]
        _paint_blob(canvas, rng, (near[0] - 20, near[1] - 15, near[2] - 20), float(rng.uniform(4, 9)), hu["spleen"])


def paint_stomach(organs: Organs, canvas: Canvas, hu: Mapping[str, float]) -> None:
    """The stomach with its wall, food, fluid, contrast and a gas level; then the pancreas behind it.

    Args:
        hu: ``stomach_wall``, ``stomach_content``, ``pancreas``.
    """
    body, rng = organs.body, np.random.default_rng(organs.seed + 2)
    front = body.centre_y - body.half_depth + body.fat[0] + body.wall
    centre = (float(rng.uniform(25, 75)), float(rng.uniform(0.45, 0.75)) * front, float(rng.uniform(45, 105)))
    half = (float(rng.uniform(24, 55)), float(rng.uniform(20, 45)), float(rng.uniform(26, 60)))
    block = canvas.block([c - 100 for c in centre], [c + 100 for c in centre])
    if block is not None:
        x, y, z = canvas.coordinates(block)
        body_part = ellipsoid(x, y, z, centre, half, rotation(0, 0, float(rng.uniform(-50, 10))))
        antrum_at = (centre[0] - half[0] * 1.2, centre[1] - 12, centre[2] - half[2] * 0.75)
        antrum = ellipsoid(x, y, z, antrum_at, (half[0], half[1] * 0.6, half[2] * 0.4))
        stomach = smooth_min(body_part, antrum, 15.0)
        stomach += canvas.field(Field(int(rng.integers(2**31)), 11.0, float(rng.uniform(1, 4))), block)
        under = np.maximum(canvas.distances["cavity"][block] + 2, canvas.distances["diaphragm"][block] + 2)
        stomach = smooth_max(stomach, under, 5.0)
        canvas.paint(block, canvas.coverage(stomach), hu["stomach_wall"])
        lumen = stomach + np.float32(rng.uniform(2.5, 9))
        food = canvas.field(Field(int(rng.integers(2**31)), float(rng.uniform(2, 7)), float(rng.uniform(0, 35))), block)
        content = np.float32(hu["stomach_content"]) + food
        if rng.random() < 0.7:
            level = np.float32(centre[1] - half[1] * rng.uniform(-0.2, 0.9))
            content = np.where(y < level, np.float32(-960), content)
        canvas.paint(block, canvas.coverage(lumen), content)
    # The pancreas lies across, in front of the vessels.
    tail = np.array([rng.uniform(55, 105), rng.uniform(-40, 0), rng.uniform(20, 65)])
    head = np.array([rng.uniform(-50, -22), rng.uniform(-62, -38), rng.uniform(-30, 20)])
    neck = 0.5 * (tail + head) + [0, rng.uniform(-32, -8), rng.uniform(0, 20)]
    texture = float(rng.uniform(4, 22))
    for t in np.linspace(0, 1, 7):
        point = (1 - t) ** 2 * head + 2 * t * (1 - t) * neck + t * t * tail
        _paint_blob(
            canvas,
            rng,
            tuple(point.tolist()),
            float(rng.uniform(8, 15)) * (1.25 - 0.45 * t),
            hu["pancreas"] + rng.normal(0, texture * 0.3),
        )


def paint_adrenals(
    canvas: Canvas, rng: np.random.Generator, tops_mm: list[tuple[float, float, float]], hu: Mapping[str, float]
) -> None:
    """Thin Y-shaped glands above the kidneys; now and then a nodule.

    Args:
        tops_mm: points just above and medial to each kidney's upper pole.
        hu: ``adrenal``.
    """
    for top in tops_mm:
        sign = 1.0 if top[0] > 0 else -1.0
        start = np.asarray(top)
        for spread in (-1, 1):
            end = start + np.array([sign * rng.uniform(4, 14), rng.uniform(8, 24), spread * rng.uniform(0, 8) - 10])
            canvas.paint_tube(np.array([start, end]), [float(rng.uniform(1.8, 3.6)), 1.6], hu["adrenal"])
        canvas.paint_tube(np.array([start + np.array([0, -10, 6]), start]), [1.6, 3.0], hu["adrenal"])
        if rng.random() < 0.08:
            _paint_blob(
                canvas, rng, tuple(start.tolist()), float(rng.uniform(6, 26)), hu["adrenal"] + rng.normal(0, 30)
            )


def paint_pelvic_organs(organs: Organs, canvas: Canvas, hu: Mapping[str, float]) -> None:
    """Bladder, rectum and the organ between them.

    Args:
        hu: ``bladder``, ``bladder_wall``, ``muscle``, ``faeces``.
    """
    rng = np.random.default_rng(organs.seed + 3)
    depth = LOWEST_MM + 70
    front = organs.body.centre_y - 15
    size = float(rng.uniform(18, 50))
    block = canvas.block((-80, front - 70, LOWEST_MM), (80, 60, depth + 110))
    if block is None:
        return
    x, y, z = canvas.coordinates(block)
    half = (size * 1.2, size * 0.9, size)
    bladder = ellipsoid(x, y, z, (float(rng.uniform(-8, 8)), front, depth + size * 0.3), half)
    bladder += canvas.field(Field(int(rng.integers(2**31)), 20.0, 2.0), block)
    canvas.paint(block, canvas.coverage(bladder - np.float32(rng.uniform(1.5, 5))), hu["muscle"])
    value = np.full(bladder.shape, hu["bladder"], np.float32)
    if hu["collecting_system"] > 200:  # excreted contrast sinks to the back
        value = np.where(y > front + size * rng.uniform(-0.3, 0.6), np.float32(hu["collecting_system"]), value)
    canvas.paint(block, canvas.coverage(bladder), value)
    _paint_blob(
        canvas, rng, (0, front + size + 14, depth), float(rng.uniform(14, 30)), hu["muscle"] + rng.uniform(0, 50)
    )
    _paint_blob(canvas, rng, (0, front + size + 48, depth), float(rng.uniform(10, 22)), hu["faeces"])


def paint_extra_masses(organs: Organs, canvas: Canvas, hu: Mapping[str, float]) -> None:
    """Tumours, nodes and cysts outside the kidneys: things that look like kidney and are not.

    Args:
        hu: ``muscle``, ``cortex``.
    """
    rng = np.random.default_rng(organs.seed + 4)
    body = organs.body
    for _ in range(int(rng.poisson(0.7))):
        side = 1 if rng.random() < 0.5 else -1
        centre = (
            side * float(rng.uniform(15, 0.75 * body.half_width)),
            float(rng.uniform(-90, 10)),
            float(rng.uniform(-90, 110)),
        )
        value = float(rng.uniform(-20, max(hu["cortex"], 80)))
        radius = float(rng.uniform(6, 18) if rng.random() < 0.6 else rng.uniform(18, 60))
        _paint_blob(canvas, rng, centre, radius, value, clip=canvas.distances["cavity"])
