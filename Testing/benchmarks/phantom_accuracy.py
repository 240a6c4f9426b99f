"""How well a model measures phantoms that it was not trained on: Dice, volumes and sides, case by case.

    python Testing/benchmarks/phantom_accuracy.py OUT --cases 20 --seed 1

makes the cases (once; they are kept in OUT/phantoms), segments each with the engine as ``kidneyseg segment`` does, and
writes OUT/accuracy.csv. Seeds below 500 000 are never trained on (``training/seeds.py``).
"""

from __future__ import annotations

import argparse
import csv
import json
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from KidneySegLib.labels import LABEL_BY_ID, PARENCHYMA, Side, Structure
from KidneySegLib.phantom.output import write_case
from KidneySegLib.phantom.protocol import LUO_LI_2025, Protocol
from KidneySegLib.pipeline import load_engine
from KidneySegLib.postprocessing import assign_kidneys
from KidneySegLib.training.seeds import TEST_SEEDS


@dataclass(frozen=True)
class Score:
    """One case. Dice is NaN where neither map holds the structure; volumes are voxel counts, mL."""

    case_id: str
    variant: str
    phase: str
    slice_thickness_mm: float
    parenchyma_dice: float
    cortex_dice: float
    true_parenchyma_ml: float
    parenchyma_ml: float
    true_cortex_ml: float
    cortex_ml: float
    sides_right: bool
    seconds: float


def dice(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> float:
    """2|A and B| / (|A| + |B|), NaN where both are empty."""
    total = int(a.sum()) + int(b.sum())
    return 2 * int((a & b).sum()) / total if total else float("nan")


def mask(
    labels: NDArray[np.uint8], structures: Sequence[Structure], sides: Sequence[Side] = tuple(Side)
) -> NDArray[np.bool_]:
    """Voxels of some structures on some sides."""
    ids = [i for i, label in LABEL_BY_ID.items() if label.structure in structures and label.side in sides]
    return np.isin(labels, ids)


def on_grid_of(labels: sitk.Image, image: sitk.Image) -> NDArray[np.uint8]:
    """A label map of a part of the scan as an array (z, y, x) on the whole scan's grid."""
    whole = np.zeros(image.GetSize()[::-1], np.uint8)
    x, y, z = image.TransformPhysicalPointToIndex(labels.GetOrigin())
    part = sitk.GetArrayViewFromImage(labels)
    whole[z : z + part.shape[0], y : y + part.shape[1], x : x + part.shape[2]] = part
    return whole


def sides_agree(truth: NDArray[np.uint8], found: NDArray[np.uint8]) -> bool:
    """Whether no kidney with a side in truth was given the other side (more than a fifth of its voxels)."""
    for side, other in ((Side.RIGHT, Side.LEFT), (Side.LEFT, Side.RIGHT)):
        true = mask(truth, PARENCHYMA, [side])
        if true.any() and (true & mask(found, PARENCHYMA, [other])).sum() > 0.2 * true.sum():
            return False
    return True


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path)
    parser.add_argument("--cases", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1, help="of the first case")
    parser.add_argument("--phase", default="arterial", help="contrast phase, or 'any'")
    parser.add_argument("--scanner", choices=("luo-li-2025", "any"), default="luo-li-2025")
    parser.add_argument("--model", help="name or folder of a bundle (default: the embedded one)")
    options = parser.parse_args(arguments)
    if options.seed not in TEST_SEEDS or options.seed + options.cases - 1 not in TEST_SEEDS:
        parser.error(f"seeds must be {TEST_SEEDS.first} to {TEST_SEEDS.last}: others may have been trained on")

    protocol: Protocol | None = LUO_LI_2025 if options.scanner == "luo-li-2025" else None
    engine = load_engine(options.model)
    scores: list[Score] = []
    for number in range(options.cases):
        folder = options.output / "phantoms" / f"seed_{options.seed + number:06d}"
        if not (folder / "truth.json").exists():
            phase = None if options.phase == "any" else options.phase
            write_case(folder, options.seed + number, protocol=protocol, phase=phase, robust=protocol is None)
        facts = json.loads((folder / "truth.json").read_text(encoding="utf-8"))
        image = sitk.ReadImage(str(folder / "ct.nii.gz"))
        truth = sitk.GetArrayFromImage(sitk.ReadImage(str(folder / "labels.nii.gz"))).astype(np.uint8)
        result = engine.run(image)
        found = on_grid_of(assign_kidneys(result, image).labels, image)
        ml = float(np.prod(image.GetSpacing())) / 1000
        cortex = (Structure.CORTEX,)
        scores.append(
            Score(
                folder.name,
                facts["variant"],
                facts["phase"]["name"],
                facts["protocol"]["slice_thickness_mm"],
                dice(mask(truth, PARENCHYMA), mask(found, PARENCHYMA)),
                dice(mask(truth, cortex), mask(found, cortex)),
                float(mask(truth, PARENCHYMA).sum()) * ml,
                float(mask(found, PARENCHYMA).sum()) * ml,
                float(mask(truth, cortex).sum()) * ml,
                float(mask(found, cortex).sum()) * ml,
                sides_agree(truth, found),
                sum(result.seconds.values()),
            )
        )
        last = scores[-1]
        print(
            f"{last.case_id} {last.variant:15s} {last.phase:12s} parenchyma {last.parenchyma_dice:.3f} "
            f"cortex {last.cortex_dice:.3f} {'' if last.sides_right else 'SIDES WRONG'}",
            flush=True,
        )
    options.output.mkdir(parents=True, exist_ok=True)
    with open(options.output / "accuracy.csv", "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow([field.name for field in fields(Score)])
        writer.writerows([getattr(score, field.name) for field in fields(Score)] for score in scores)
    for name in ("parenchyma", "cortex"):
        values = np.array([getattr(score, f"{name}_dice") for score in scores])
        true = np.array([getattr(score, f"true_{name}_ml") for score in scores])
        got = np.array([getattr(score, f"{name}_ml") for score in scores])
        error = np.abs(got - true) / np.maximum(true, 1e-9)
        print(
            f"{name}: Dice {np.nanmean(values):.4f} +- {np.nanstd(values):.4f} (lowest {np.nanmin(values):.3f}), "
            f"mean absolute volume error {100 * np.nanmean(error):.1f} %, n = {len(values)}"
        )
    print(f"sides right in {sum(score.sides_right for score in scores)} of {len(scores)}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
