"""How well our masks agree with nnU-Net's, with the same weights: each side's whole road on the same scan.

On the scan cut to the kidneys' surroundings both sides lay the same tiles; on the whole scan ours looks at the kidneys
only, which the localiser finds.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from Testing.benchmarks.material import Model, Scan
from Testing.benchmarks.record import dice
from Testing.benchmarks.sides import run_side

#: Left round the kidneys' bounding box.
MARGIN_MM = (15.0, 25.0, 15.0)


def measure_agreement(model: Model, scan: Scan, folder: Path, precisions: list[str]) -> dict[str, Any]:
    """Dice of parenchyma and cortex in each precision, on the scan cut to the kidneys."""
    cut = folder / "cut.nii"
    write_cut(scan, cut)
    run_side("nnunet", model=str(model.folder), scan=str(cut), out=str(folder / "cut_nnunet.nii"))
    found: dict[str, Any] = {}
    for precision in precisions:
        out = folder / f"cut_{precision}"
        run_side("ours", model=str(model.bundle), scan=str(cut), out=str(out), precision=precision, localiser=False)
        found[precision] = compare(folder / "cut_nnunet.nii", out / "raw_labels.nii.gz")
    return found


def write_cut(scan: Scan, path: Path) -> None:
    """The part of a scan with the kidneys of its truth."""
    import SimpleITK as sitk

    image, truth = sitk.ReadImage(str(scan.image)), sitk.ReadImage(str(scan.truth))
    places = np.argwhere(sitk.GetArrayViewFromImage(truth) > 0)
    margins = [round(mm / s) for mm, s in zip(MARGIN_MM, scan.plan.spacing_mm, strict=True)]
    low = np.maximum(places.min(0) - margins, 0)
    high = np.minimum(places.max(0) + margins + 1, scan.plan.shape)
    z, y, x = (slice(int(a), int(b)) for a, b in zip(low, high, strict=True))
    sitk.WriteImage(image[x, y, z], str(path))


def compare(theirs: Path, ours: Path) -> dict[str, Any]:
    """Dice of the ids (1 parenchyma, 2 cortex in it) of two label maps, and the voxels of theirs."""
    import SimpleITK as sitk

    a, b = (sitk.GetArrayFromImage(sitk.ReadImage(str(p))) for p in (theirs, ours))
    return {
        "parenchyma": dice(a > 0, b > 0),
        "cortex": dice(a == 2, b == 2),
        "voxels": int((a > 0).sum()),
        "voxels_that_differ": int((a != b).sum()),
    }


def truth_dice(mask: Path, truth: Path) -> dict[str, Any]:
    """How much the weights have learnt: a side's mask of the whole scan against the phantom's truth."""
    found = compare(truth, mask)
    return {key: found[key] for key in ("parenchyma", "cortex")}
