"""A hospital that the shipped model was not made for: calcified, atrophic kidneys, half the contrast, a noisy scanner.

    python Testing/benchmarks/shifted_domain.py OUT     10 cases to correct, 6 held out (--part I/N shares the work)

What differs from the phantoms that the model was trained on, each thing as hospitals differ:

- every patient has atrophic kidneys of chronic kidney disease (variant ``atrophic``) with medullary nephrocalcinosis:
  calcium makes the medulla brighter than any cortex, the reverse of all that the model ever saw;
- they get half of the contrast medium, as is done to spare such kidneys: iodine adds half of its HU to every tissue;
- the scanner saves dose: noise of 30 HU in pixels of 1.5 mm and slices of 3 mm, in grains of some 3 mm.

To be made quickly the patients are rendered on the scan's own grid (partial volume in each voxel) instead of going
through the phantom's scanner with its finer planes. The seeds are test seeds: no training of a shipped model
ever used them.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from scipy import ndimage

from KidneySegLib.phantom.grid import Grid
from KidneySegLib.phantom.output import CT_NAME, LABELS_NAME
from KidneySegLib.phantom.render import render
from KidneySegLib.phantom.scene import Scene, sample_scene
from KidneySegLib.phantom.truth import majority_labels

FACTS_NAME = "facts.json"
SPACING_MM_ZYX = (3.0, 1.5, 1.5)
#: Rows and columns of a slice; the field of view is 384 mm.
MATRIX = 256
NOISE_HU = 30.0
#: Standard deviation, in pixels, of the kernel that makes the noise's grain.
NOISE_GRAIN_PIXELS = 1.0
#: What the scan covers beyond the kidneys' centres, in mm.
ABOVE_MM, BELOW_MM = 105.0, 105.0
VARIANT = "atrophic"
#: Range of a calcified medulla. Cortex has some 90 to 180 HU here, and up to 300 in the original domain.
MEDULLA_HU = (450.0, 900.0)
#: Of the usual dose of contrast medium.
CONTRAST_DOSE = 0.5
#: Seeds of the cases that are corrected and trained on, and of those that are held out.
CORRECTED_SEEDS = tuple(range(410_001, 410_011))
HELD_OUT_SEEDS = tuple(range(420_001, 420_007))


def shifted_scene(seed: int) -> Scene:
    """A patient of that hospital in the arterial phase.

    HU are linear in iodine, so half the dose adds half of what it would have added; vessels start from blood.
    """
    scene = sample_scene(seed, variant=VARIANT, phase="arterial")
    before = scene.enhancement.unenhanced
    blood = {"aorta", "renal_artery", "renal_vein", "portal_vein", "left_heart", "right_heart", "heart"}
    hu = dict(scene.hu)
    for name in scene.enhancement.values:
        start = before.get("blood" if name in blood or name.startswith("cava") else name)
        if start is not None and hu[name] > start:
            hu[name] = start + CONTRAST_DOSE * (hu[name] - start)
    hu["medulla"] = float(np.random.default_rng([seed, 91]).uniform(*MEDULLA_HU))
    return replace(scene, hu=hu)


def write_shifted(folder: Path, seed: int) -> None:
    """Scan a patient of that hospital: ``ct.nii.gz``, ``labels.nii.gz``, ``facts.json``."""
    scene = shifted_scene(seed)
    heights = [kidney.centre_mm[2] for kidney in scene.kidneys]
    (x0, x1), (y0, y1), _ = scene.body_bounds_mm()
    slices = round((max(heights) - min(heights) + ABOVE_MM + BELOW_MM) / SPACING_MM_ZYX[0])
    half_mm = (MATRIX - 1) / 2 * SPACING_MM_ZYX[2]
    origin = (round((x0 + x1) / 2 - half_mm, 3), round((y0 + y1) / 2 - half_mm, 3), round(min(heights) - BELOW_MM, 3))
    grid = Grid((slices, MATRIX, MATRIX), SPACING_MM_ZYX, origin)
    rendering = render(scene, grid)
    noise = np.random.default_rng([seed, 90]).normal(0.0, 1.0, grid.shape_zyx)
    grains = ndimage.gaussian_filter(noise, (0.0, NOISE_GRAIN_PIXELS, NOISE_GRAIN_PIXELS))
    hu = np.clip(np.rint(rendering.hu + NOISE_HU / grains.std() * grains), -1024, 3071).astype(np.int16)
    labels = majority_labels(rendering.fractions, grid.shape_zyx)
    folder.mkdir(parents=True, exist_ok=True)
    sitk.WriteImage(grid.to_sitk(hu), str(folder / CT_NAME), True)
    sitk.WriteImage(grid.to_sitk(labels), str(folder / LABELS_NAME), True)
    facts = {"seed": seed, "ckd": scene.ckd, "cortex_hu": scene.hu["cortex"], "medulla_hu": scene.hu["medulla"]}
    # Last, because it says that the case is whole.
    (folder / FACTS_NAME).write_text(json.dumps(facts) + "\n", encoding="utf-8")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path)
    parser.add_argument("--part", default="0/1", metavar="I/N", help="every N-th case from the I-th")
    options = parser.parse_args(arguments)
    part, parts = (int(v) for v in options.part.split("/"))
    for number, seed in enumerate((*HELD_OUT_SEEDS, *CORRECTED_SEEDS)):
        folder = case_folder(options.output, seed)
        if number % parts == part and not (folder / FACTS_NAME).exists():
            write_shifted(folder, seed)
            print(folder, flush=True)
    return 0


def case_folder(root: Path, seed: int) -> Path:
    """Where a case lies."""
    return root / f"shifted_{seed:06d}"


if __name__ == "__main__":
    raise SystemExit(main())
