"""Makes coarse phantoms in a second or two each, to choose settings on before held-out ones are looked at.

    python Testing/benchmarks/coarse_phantoms.py OUT    OUT/abnormal: 72 with cysts or masses, OUT/single: 24 with one
                                                        kidney, OUT/normal: 20 others, OUT/giant: 12 whose mass has
                                                        a radius of 43 mm and more (330 mL)

Drawn at 5 x 1.7 x 1.7 mm from 120 mm above the kidneys to 120 mm below, with noise but without a scanner's blur and
artefacts, half arterial, half nephrographic. Seeds are of the validation range: nothing trains on them, and what was
chosen on them is no held-out result. For ``kidneyseg batch`` and ``evaluate``; cases that are there already are kept.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from scipy.ndimage import gaussian_filter

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from KidneySegLib.phantom.grid import Grid
from KidneySegLib.phantom.output import CT_NAME, LABELS_NAME
from KidneySegLib.phantom.render import render
from KidneySegLib.phantom.scene import Scene
from KidneySegLib.phantom.truth import majority_labels
from KidneySegLib.training.seeds import VALIDATION_SEEDS
from Testing.benchmarks.patients import case_name, sample_patients

#: Group: first seed, cases, kinds of patient in turn.
GROUPS = {
    "abnormal": (701_001, 72, ("cysts", "large_cysts", "mass", "large_mass")),
    "single": (702_001, 24, ("single",)),
    "normal": (703_001, 20, ("normal", "small_kidney", "malrotated", "atrophic")),
    "giant": (704_001, 12, ("large_mass",)),
}
#: Least mean radius of a giant mass.
GIANT_RADIUS_MM = 43.0
SPACING_MM_XYZ = (1.7, 1.7, 5.0)
ABOVE_AND_BELOW_MM = 120.0
#: Standard deviation before it is smoothed in the plane as a soft kernel does, times 2 for what that takes away.
NOISE_HU = (6.0, 16.0)


def has_giant_mass(scene: Scene) -> bool:
    return any(lesion.kind == "mass" and np.prod(lesion.half_size_mm) >= GIANT_RADIUS_MM**3 for lesion in scene.lesions)


def write_coarse_case(folder: Path, scene: Scene) -> None:
    """Write ``ct.nii.gz`` and ``labels.nii.gz`` of one patient."""
    bounds = np.asarray(scene.body_bounds_mm(), np.float64)
    heights = [part.centre_mm[2] for part in (*scene.kidneys, *scene.lesions)]
    # A margin of air, and behind the back the table.
    low = np.array([bounds[0, 0] - 12, bounds[1, 0] - 12, max(bounds[2, 0], min(heights) - ABOVE_AND_BELOW_MM)])
    high = np.array([bounds[0, 1] + 12, bounds[1, 1] + 40, min(bounds[2, 1], max(heights) + ABOVE_AND_BELOW_MM)])
    columns, rows, slices = (int(n) for n in np.ceil((high - low) / SPACING_MM_XYZ))
    x, y, z = (float(v) for v in low)
    spacing_x, spacing_y, spacing_z = SPACING_MM_XYZ
    rendering = render(scene, Grid((slices, rows, columns), (spacing_z, spacing_y, spacing_x), (x, y, z)))
    random = np.random.default_rng(scene.seed)
    noise = gaussian_filter(random.standard_normal(rendering.hu.shape).astype(np.float32), (0, 0.6, 0.6)) * 2
    hu = rendering.hu + noise * random.uniform(*NOISE_HU)
    folder.mkdir(parents=True, exist_ok=True)
    for name, array in (
        (CT_NAME, np.clip(hu, -1024, 2000).astype(np.int16)),
        (LABELS_NAME, majority_labels(rendering.fractions, rendering.hu.shape)),
    ):
        image = sitk.GetImageFromArray(array)
        image.SetSpacing(SPACING_MM_XYZ)
        image.SetOrigin((x, y, z))
        sitk.WriteImage(image, str(folder / name))


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path)
    options = parser.parse_args(arguments)
    for group, (seed, cases, variants) in GROUPS.items():
        for scene in sample_patients(seed, cases, variants, has_giant_mass if group == "giant" else None):
            assert scene.seed in VALIDATION_SEEDS
            folder = options.output / group / case_name(scene)
            if not (folder / LABELS_NAME).exists():
                write_coarse_case(folder, scene)
                print(folder.name, flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
