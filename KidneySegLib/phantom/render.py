"""From a scene to HU and truth on a grid, with no scanner in between."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from KidneySegLib.phantom.body import (
    paint_body,
    paint_chest,
    paint_muscles,
    paint_ribs_and_pelvis,
    paint_spine,
    paint_table_and_arms,
)
from KidneySegLib.phantom.bowel import paint_bowel
from KidneySegLib.phantom.canvas import Canvas
from KidneySegLib.phantom.grid import Grid
from KidneySegLib.phantom.kidney import paint_kidneys
from KidneySegLib.phantom.lesions import paint_lesion
from KidneySegLib.phantom.organs import (
    Organs,
    paint_adrenals,
    paint_extra_masses,
    paint_liver,
    paint_pelvic_organs,
    paint_spleen,
    paint_stomach,
)
from KidneySegLib.phantom.scene import Scene
from KidneySegLib.phantom.vessels import paint_fat_vessels, paint_renal_vessels, paint_trunk


@dataclass(frozen=True)
class Rendering:
    """A scene on a grid.

    Attributes:
        hu: float32 (z, y, x), free of noise; edges are soft over one voxel.
        fractions: float32 (z, y, x), the share of each voxel that a structure fills, 0..1, by keys such as
            ``right_parenchyma``, ``right_cortex``, ``left_cyst``, ``unsided_mass``; a key that is absent is 0.
        tissue: uint8 (z, y, x), ids of `labels.OverviewLabel`.
    """

    hu: NDArray[np.float32]
    fractions: dict[str, NDArray[np.float32]]
    tissue: NDArray[np.uint8]


def render(scene: Scene, grid: Grid) -> Rendering:
    """Paint a scene on a grid, from the body's outline inwards. Deterministic, and the same anatomy on every grid.

    Args:
        grid: axis-aligned LPS grid; it may cover any part of the body, or nothing of it (then all is air).
    """
    canvas = Canvas(grid, scene.warp)
    body, hu = scene.body, scene.hu
    organs = Organs(body, scene.organ_seed)
    paint_body(body, canvas, hu)
    paint_chest(body, canvas, hu)
    paint_muscles(body, canvas, hu)
    paint_ribs_and_pelvis(body, canvas, hu)
    paint_fat_vessels(canvas, scene.organ_seed + 9, hu)
    paint_pelvic_organs(organs, canvas, hu)
    paint_spine(body, canvas, hu)
    paint_stomach(organs, canvas, hu)
    paint_bowel(scene.bowel, canvas, hu)
    paint_liver(organs, canvas, hu)
    paint_spleen(organs, canvas, hu)
    paint_extra_masses(organs, canvas, hu)
    paint_trunk(scene.vessels, canvas, hu)
    tops = [kidney.world(-0.5 * kidney.half_size_mm[0], 0, kidney.half_size_mm[2] + 6) for kidney in scene.kidneys]
    rng = np.random.default_rng(scene.organ_seed + 10)
    paint_adrenals(canvas, rng, [(float(t[0]), float(t[1]), float(t[2])) for t in tops], hu)
    paint_kidneys(scene.kidneys, canvas, hu)
    for lesion in scene.lesions:
        paint_lesion(lesion, scene.kidneys[lesion.kidney], canvas, hu)
    paint_renal_vessels(scene.vessels, canvas, hu)
    paint_table_and_arms(body, canvas, hu)
    for fraction in canvas.fractions.values():
        np.clip(fraction, 0, 1, out=fraction)
    return Rendering(canvas.hu, canvas.fractions, canvas.tissue)
