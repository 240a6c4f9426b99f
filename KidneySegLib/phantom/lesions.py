"""Cysts, solid masses and stones of a kidney, with their truth."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from KidneySegLib.phantom.canvas import Canvas
from KidneySegLib.phantom.fields import Field
from KidneySegLib.phantom.kidney import Kidney
from KidneySegLib.phantom.shapes import FloatArray, ellipsoid, rotation


@dataclass(frozen=True)
class Lesion:
    """One lesion.

    Attributes:
        kind: ``cyst``, ``hyperdense_cyst``, ``mass`` or ``stone``.
        centre_mm, half_size_mm: world LPS.
        depth: how far in the kidney it sits: 0 on the surface, 1 at the sinus.
        necrosis: share of a mass's radius that does not enhance.
        enhancement: how a mass takes contrast medium, from a hypovascular tumour (0, papillary) to a hypervascular one
            (1, clear cell).
    """

    kind: str
    kidney: int
    centre_mm: tuple[float, float, float]
    half_size_mm: tuple[float, float, float]
    necrosis: float
    enhancement: float
    seed: int


def sample_lesion(
    rng: np.random.Generator, kidney: Kidney, index: int, kind: str, radius_mm: float, depth: float
) -> Lesion:
    """A lesion at a random place of a kidney.

    Args:
        depth: 0 centres it on the outer surface (exophytic), 1 in the sinus (parapelvic).
    """
    direction = rng.standard_normal(3)
    direction[0] = abs(direction[0]) if depth < 0.8 else -abs(direction[0]) * 0.4
    direction /= np.linalg.norm(direction)
    if kind == "stone":
        centre = kidney.calyx_points()[int(rng.integers(len(kidney.pyramids)))] * 0.9 + 0.1 * np.asarray(
            kidney.centre_mm
        )
    else:
        local = direction * np.asarray(kidney.half_size_mm) * (1.05 - 0.75 * depth)
        centre = kidney.world(*local.tolist())
    half = radius_mm * rng.uniform(0.85, 1.2, 3)
    return Lesion(
        kind=kind,
        kidney=index,
        centre_mm=(float(centre[0]), float(centre[1]), float(centre[2])),
        half_size_mm=(float(half[0]), float(half[1]), float(half[2])),
        necrosis=float(rng.uniform(0.2, 0.8)) if kind == "mass" and radius_mm > 14 and rng.random() < 0.6 else 0.0,
        enhancement=float(rng.uniform(0, 1)),
        seed=int(rng.integers(2**31)),
    )


def paint_lesion(lesion: Lesion, kidney: Kidney, canvas: Canvas, hu: Mapping[str, float]) -> None:
    """Paint a lesion over its kidney; it takes the voxels' truth from parenchyma.

    Args:
        hu: ``cyst``, ``cyst_hyperdense``, ``cyst_wall``, ``mass_hypovascular``, ``mass_hypervascular``, ``stone``.
    """
    reach = max(lesion.half_size_mm) * 1.25 + 3
    block = canvas.block([c - reach for c in lesion.centre_mm], [c + reach for c in lesion.centre_mm])
    if block is None:
        return
    rng = np.random.default_rng(lesion.seed)
    x, y, z = canvas.coordinates(block)
    radius = float(np.mean(lesion.half_size_mm))
    distance = ellipsoid(x, y, z, lesion.centre_mm, lesion.half_size_mm, rotation(*rng.uniform(-90, 90, 3)))
    lumps = {"cyst": 0.03, "hyperdense_cyst": 0.03, "mass": 0.12, "stone": 0.15}[lesion.kind]
    distance += canvas.field(Field(int(rng.integers(2**31)), max(radius * 0.5, 2.5), radius * lumps), block)
    if lesion.kind != "stone":
        for name in ("spine", "psoas"):
            distance = np.maximum(distance, 1 - canvas.distances[name][block])
        distance = np.maximum(distance, canvas.distances["cavity"][block] + 1)
    side = kidney.side.value
    if lesion.kind == "stone":
        canvas.paint(block, canvas.coverage(distance), hu["stone"])
        return
    if lesion.kind in ("cyst", "hyperdense_cyst"):
        value = hu["cyst"] if lesion.kind == "cyst" else hu["cyst_hyperdense"]
        content = np.float32(value) + canvas.field(
            Field(int(rng.integers(2**31)), 3.0, float(rng.uniform(0, 3))), block
        )
        if rng.random() < 0.3:  # a wall thick enough to see
            wall = np.abs(distance) - np.float32(rng.uniform(0.3, 0.9))
            canvas.paint(block, canvas.coverage(wall) * 0.6, hu["cyst_wall"])
        canvas.paint(block, canvas.coverage(distance), content, truth=((f"{side}_cyst", 1.0),))
        return
    # A tumour takes contrast medium as tumours do, in every phase: tied to the kidney's own brightness it could not be
    # seen in the nephrographic phase, in which real ones show best.
    base = hu["mass_hypovascular"] + lesion.enhancement * (hu["mass_hypervascular"] - hu["mass_hypovascular"])
    content = np.float32(base) + canvas.field(
        Field(int(rng.integers(2**31)), float(rng.uniform(3, 8)), float(rng.uniform(3, 28))), block
    )
    if lesion.necrosis > 0:
        core: FloatArray = distance + np.float32(radius * (1 - lesion.necrosis))
        core += canvas.field(Field(int(rng.integers(2**31)), max(radius * 0.35, 3), radius * 0.2), block)
        content += canvas.coverage(core / np.float32(3)) * (np.float32(rng.uniform(5, 40)) - content)
    canvas.paint(block, canvas.coverage(distance), content, truth=((f"{side}_mass", 1.0),))
