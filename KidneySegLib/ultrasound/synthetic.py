"""Synthetic B-mode pictures of kidneys with exact truth: made by the project, seeded, with no patient data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from KidneySegLib.ultrasound.synthetic_echoes import draw_scanner, grey_levels
from KidneySegLib.ultrasound.synthetic_kidney import KidneyShape, kidney_parts
from KidneySegLib.ultrasound.synthetic_overlay import draw_overlay
from KidneySegLib.ultrasound.synthetic_probe import Canvas, Probe, scan_convert
from KidneySegLib.ultrasound.synthetic_scene import draw_scene

#: Ids of a picture's truth: 0 is no kidney; the kidney is everything above.
CORTEX, MEDULLA, SINUS = 1, 2, 3
#: How many pictures show no kidney.
EMPTY_SHARE = 0.12
_DOMAIN = 0xB0DE


@dataclass(frozen=True)
class SyntheticImage:
    """A picture and its truth.

    Attributes:
        pixels: grey levels (y, x), uint8, as a scanner would store them.
        labels: 0, `CORTEX`, `MEDULLA` or `SINUS` (y, x), uint8; nothing outside the view.
        view: where the scanner shows echoes (y, x).
        pixel_mm: edge of a pixel.
        has_text: whether text and callipers are burnt in.
        facts: what the picture was drawn with.
    """

    pixels: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.uint8]
    view: npt.NDArray[np.bool_]
    pixel_mm: float
    has_text: bool
    facts: dict[str, Any]

    @property
    def kidney(self) -> npt.NDArray[np.bool_]:
        """The outline, filled."""
        return self.labels > 0


def synthetic_image(
    seed: int, *, height: int = 384, kidney: bool | None = None, overlay: bool | None = None
) -> SyntheticImage:
    """The picture of a seed.

    Args:
        seed: at least 0. Seeds below 500,000 (`training.seeds.TEST_SEEDS`) are never trained on.
        height: of the picture; it is 4/3 as wide, or as wide as high where it is cropped to the kidney's surroundings.
        kidney: whether it shows one; None: mostly.
        overlay: whether text is burnt in; None: sometimes.
    """
    rng = np.random.default_rng([_DOMAIN, seed])
    linear = rng.random() < 0.15
    probe = _draw_probe(rng, linear)
    shows = rng.random() >= EMPTY_SHARE if kidney is None else kidney
    scene = draw_scene(rng, probe, with_kidney=shows)
    scanner = draw_scanner(rng)
    canvas = _draw_canvas(rng, probe, height)
    pixels, view = scan_convert(grey_levels(rng, scene, probe, scanner), probe, canvas)
    labels = np.zeros(view.shape, np.uint8)
    if scene.kidney is not None:
        labels = _truth(scene.kidney, scene.seed, canvas, view)
    picture = np.round(pixels * 255).astype(np.uint8)
    has_text = rng.random() < 0.5 if overlay is None else overlay
    if has_text:
        picture = draw_overlay(rng, picture, view, labels > 0)
    facts = {"seed": seed, "probe": "linear" if linear else "convex", "organ": scene.organ, "depth_mm": probe.depth_mm,
             "lesions": [lesion.kind for lesion in scene.lesions]}  # fmt: skip
    return SyntheticImage(picture, labels, view, canvas.pixel_mm, has_text, facts)


def _truth(kidney: KidneyShape, seed: int, canvas: Canvas, view: npt.NDArray[np.bool_]) -> npt.NDArray[np.uint8]:
    x, z = canvas.points()
    near = view & (np.hypot(x - kidney.centre_x_mm, z - kidney.centre_z_mm) < 1.6 * kidney.half_length_mm)
    parts = kidney_parts(kidney, x[near], z[near], seed)
    ids = np.zeros(parts.kidney.shape, np.uint8)
    ids[parts.kidney >= 0.5] = CORTEX
    ids[(parts.medulla >= 0.5) & (ids > 0)] = MEDULLA
    ids[(parts.sinus >= 0.5) & (ids > 0)] = SINUS
    labels = np.zeros(view.shape, np.uint8)
    labels[near] = ids
    return labels


def _draw_probe(rng: np.random.Generator, linear: bool) -> Probe:
    if linear:
        depth = rng.uniform(55, 95)
        return Probe(0.0, 0.0, rng.uniform(0.33, 0.55) * depth, depth)
    return Probe(rng.uniform(35, 62), float(np.radians(rng.uniform(27, 40))), 0.0, rng.uniform(105, 170))


def _draw_canvas(rng: np.random.Generator, probe: Probe, height: int) -> Canvas:
    left, right, top, bottom = probe.bounds_mm
    width = round(height * 4 / 3)
    share = rng.uniform(0.78, 0.97)
    pixel = max((bottom - top) / (share * height), (right - left) / (share * width))
    spare_x, spare_y = width * pixel - (right - left), height * pixel - (bottom - top)
    return Canvas(height, width, pixel, left - spare_x * rng.uniform(0.3, 0.7), top - spare_y * rng.uniform(0.2, 0.8))
