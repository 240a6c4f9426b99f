"""How far the cortex's volume is off for some shifts of what the network knows of it (`CortexBorder.prior_shift`).

    python Testing/benchmarks/cortex_bias.py CASES --shifts 0 -0.25 -0.5

runs the model on each case of a folder (``ct.nii.gz``, ``labels.nii.gz``) once for each shift and prints the mean error
of the cortex's volume (its bias), the mean absolute error, and Dice. The cases must be for calibration
(`held_out_phantoms.py --set calibration`): the shift with the least bias goes into the model.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from KidneySegLib.evaluation.maps import pair_maps
from KidneySegLib.evaluation.overlap import Overlap, joint_counts, overlap
from KidneySegLib.evaluation.targets import CORTEX_TARGET
from KidneySegLib.inference import Engine
from KidneySegLib.models import DEFAULT_MODEL, find_bundle
from KidneySegLib.models.bundle import CortexBorder
from KidneySegLib.postprocessing import assign_kidneys


def cortex_of(engine: Engine, folder: Path) -> Overlap:
    """Voxels of cortex that a model and the truth share, and that only one of them has."""
    image = sitk.ReadImage(str(folder / "ct.nii.gz"))
    labels = assign_kidneys(engine.run(image), image).labels
    maps = pair_maps(sitk.ReadImage(str(folder / "labels.nii.gz")), labels)
    return overlap(joint_counts(maps.reference, maps.prediction, maps.voxels), CORTEX_TARGET.ids)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", type=Path)
    parser.add_argument("--model", default=DEFAULT_MODEL)
    parser.add_argument("--shifts", type=float, nargs="+", default=[0.0, -0.25, -0.5])
    options = parser.parse_args(arguments)
    bundle = find_bundle(options.model)
    border = bundle.cortex_border or CortexBorder()
    folders = [f for f in sorted(options.cases.iterdir()) if (f / "labels.nii.gz").exists()]
    for shift in options.shifts:
        engine = Engine(replace(bundle, cortex_border=replace(border, prior_shift=shift)))
        found = [part for part in (cortex_of(engine, folder) for folder in folders) if part.tp + part.fn]
        errors = np.array([100 * (part.fp - part.fn) / (part.tp + part.fn) for part in found])
        dice = np.mean([part.dice or 0.0 for part in found])
        print(
            f"shift {shift:+.2f}: bias {errors.mean():+.2f} %, absolute {np.abs(errors).mean():.2f} %, "
            f"Dice {dice:.3f} ({len(found)} cases)",
            flush=True,
        )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
