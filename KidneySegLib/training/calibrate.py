"""Finds out what a model's signs of doubt are worth, on cases whose truth is known.

    python -m KidneySegLib.training.calibrate CASES --model MODEL --write

runs the model on each case of a folder (``ct.nii.gz`` and ``labels.nii.gz``), compares signs with errors, prints the
`measurement.uncertainty.Calibration` and, with ``--write``, puts it into the model's ``model.json``. The cases must be
neither training cases nor those on which the result is reported.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from KidneySegLib.errors import InputError, KidneySegError
from KidneySegLib.evaluation.calibration import GOOD_DICE
from KidneySegLib.evaluation.overlap import Overlap, joint_counts, overlap
from KidneySegLib.evaluation.targets import ids_of
from KidneySegLib.labels import PARENCHYMA, Side, Structure
from KidneySegLib.measurement.uncertainty import (
    FEATURES,
    Calibration,
    Signs,
    expected_dice,
    features,
    logit,
    spreads_ml,
    write_calibration,
)

if TYPE_CHECKING:
    import SimpleITK as sitk

#: Below this Dice a mask has failed.
FAILED_DICE = 0.80
#: Share of green cases that must be good in the calibration; users are promised 95 %.
GREEN_PRECISION = 0.97
#: Share of kidneys whose true volume the intervals hold.
COVERAGE = 0.95
#: Fewer kidneys than this say nothing.
FEWEST_KIDNEYS = 10
#: Weight of the penalty that keeps the fit of few cases from running away.
_RIDGE = 1.0
#: Least and greatest weights of a constant and of `FEATURES`.
_BOUNDS = ([-np.inf, 0.0, 0.0, -np.inf, -np.inf], [np.inf, np.inf, np.inf, 0.0, np.inf])
_GROUPS = {
    "parenchyma": PARENCHYMA,
    "cortex": (Structure.CORTEX,),
    "medulla": (Structure.MEDULLA,),
}


@dataclass(frozen=True)
class KnownKidney:
    """One kidney that the model measured, and the truth.

    Attributes:
        case_id: its case.
        signs: what the passes said.
        dice: of its parenchyma.
        error_ml: measured less true volume of ``parenchyma``, ``cortex`` and ``medulla``; NaN where not measured.
    """

    case_id: str
    signs: Signs
    dice: float
    error_ml: Mapping[str, float]


@dataclass(frozen=True)
class KnownCase:
    """A case: its kidneys, and the Dice of all its parenchyma."""

    case_id: str
    kidneys: tuple[KnownKidney, ...]
    dice: float


def fit(cases: Sequence[KnownCase]) -> Calibration:
    """The calibration that cases speak for.

    Dice: ridge regression on the logit scale. Intervals: the conformal quantile of |error| / (border + spread), so that
    one factor serves both. Green: the lowest expected Dice at which `GREEN_PRECISION` of the green cases are good.

    Raises:
        InputError: with fewer than `FEWEST_KIDNEYS` kidneys.
    """
    kidneys = [kidney for case in cases for kidney in case.kidneys]
    if len(kidneys) < FEWEST_KIDNEYS:
        raise InputError(
            f"a calibration needs at least {FEWEST_KIDNEYS} kidneys, got {len(kidneys)}. Give more cases with truth."
        )
    rows = np.array([features(kidney.signs) for kidney in kidneys])
    weights = _ridge(rows, np.array([logit(kidney.dice) for kidney in kidneys]))
    plus_minus = {}
    for structure in _GROUPS:
        pairs = [(abs(k.error_ml[structure]), sum(spreads_ml(k.signs, structure))) for k in kidneys]
        ratios = [error / max(spread, 1e-6) for error, spread in pairs if math.isfinite(error + spread)]
        factor = conformal_quantile(np.array(ratios), COVERAGE)
        plus_minus[structure] = (factor, factor)
    seen = [case for case in cases if case.kidneys]
    scores = np.array([min(expected_dice(k.signs, weights) for k in case.kidneys) for case in seen])
    dice = np.array([case.dice for case in seen])
    green = threshold(scores, dice >= GOOD_DICE, GREEN_PRECISION)
    red = min(green, threshold(scores, dice >= FAILED_DICE, 1.0))
    return Calibration(weights, plus_minus, green, red, len(cases))


def _ridge(rows: NDArray[np.float64], target: NDArray[np.float64]) -> tuple[float, ...]:
    """Weights of standardised columns, the constant unpenalised, given back in the columns' own units.

    More agreement never means a worse mask, nor a larger lesion a better one: with few cases, columns that go together
    would otherwise get weights of opposite signs.
    """
    from scipy.optimize import lsq_linear

    mean, sd = rows.mean(axis=0), rows.std(axis=0)
    sd[sd < 1e-9] = 1.0
    scaled = (rows - mean) / sd
    scaled[:, 0] = 1.0
    penalty = np.diag([0.0] + [_RIDGE**0.5] * len(FEATURES))
    sought = np.concatenate([target, np.zeros(len(penalty))])
    fitted = lsq_linear(np.vstack([scaled, penalty]), sought, bounds=_BOUNDS).x
    slopes = fitted[1:] / sd[1:]
    slopes[np.abs(slopes) < 1e-9] = 0.0  # What lies on its bound comes back a hair beside it.
    return (float(fitted[0] - slopes @ mean[1:]), *(float(v) for v in slopes))


def conformal_quantile(values: NDArray[np.float64], coverage: float) -> float:
    """The value that a further draw stays under with at least the given probability (split conformal prediction).

    With too few values it is the largest one; 0 without any.
    """
    if values.size == 0:
        return 0.0
    rank = min(math.ceil((values.size + 1) * coverage), values.size)
    return float(np.sort(values)[rank - 1])


def threshold(scores: NDArray[np.float64], good: NDArray[np.bool_], precision: float) -> float:
    """The lowest score from which on the share of good cases is at least ``precision``; 1 if there is none."""
    order = np.argsort(-scores)
    share = np.cumsum(good[order]) / np.arange(1, scores.size + 1)
    fine = np.flatnonzero(share >= precision)
    return float(scores[order][fine[-1]]) if fine.size else 1.0


def known_case(folder: Path, run: Callable[[Path], tuple[sitk.Image, Mapping[Side, Signs]]]) -> KnownCase:
    """Signs and errors of one case's folder; ``run`` gives the final labels and the signs by side of a CT."""
    import SimpleITK as sitk

    from KidneySegLib.evaluation.maps import pair_maps

    labels, signs = run(folder / "ct.nii.gz")
    truth = sitk.ReadImage(str(folder / "labels.nii.gz"))
    maps = pair_maps(truth, labels)
    counts = joint_counts(maps.reference, maps.prediction, maps.voxels)
    kidneys = []
    for side, sign in signs.items():
        # Where a kidney was given another side than it has, its errors are those of all kidneys together.
        own = overlap(counts, ids_of(PARENCHYMA, [side]))
        sides = [side] if own.tp + own.fn else list(Side)
        found = {name: overlap(counts, ids_of(structures, sides)) for name, structures in _GROUPS.items()}
        errors = {name: _error_ml(part, maps.voxel_ml) for name, part in found.items()}
        kidneys.append(KnownKidney(folder.name, sign, _dice(found["parenchyma"]), errors))
    return KnownCase(folder.name, tuple(kidneys), _dice(overlap(counts, ids_of(PARENCHYMA))))


def _error_ml(part: Overlap, voxel_ml: float) -> float:
    """Measured less true volume; NaN where nothing was measured."""
    return (part.fp - part.fn) * voxel_ml if part.tp + part.fp else math.nan


def _dice(part: Overlap) -> float:
    """Dice; here two empty masks agree."""
    return 1.0 if part.dice is None else part.dice


#: A bundle with this keeps evidence although nobody knows yet what it is worth.
UNKNOWN = Calibration((0.0,) * (1 + len(FEATURES)), dict.fromkeys(_GROUPS, (0.0, 0.0)), 1.0, 0.0, 0)


def calibrate(folder: Path, model: str | Path | None, *, write: bool = False) -> Calibration:
    """Run a model on each case of a folder and fit its calibration.

    Args:
        folder: a sub-folder a case.
        model: name or folder of a bundle; None is the embedded one.
        write: put the result into the bundle, and turn its mirroring on: without it there is no evidence.

    Raises:
        InputError: if the folder holds too few cases with truth.
        ModelError: if the model is missing or damaged.
    """
    import SimpleITK as sitk

    from KidneySegLib.inference.engine import Engine
    from KidneySegLib.inference.evidence import CALIBRATION_KEY
    from KidneySegLib.measurement.uncertainty import find_signs
    from KidneySegLib.models import DEFAULT_MODEL, find_bundle
    from KidneySegLib.models.export import update_manifest
    from KidneySegLib.postprocessing import assign_kidneys

    bundle = find_bundle(model or DEFAULT_MODEL)
    with_evidence = {**bundle.metrics, CALIBRATION_KEY: write_calibration(UNKNOWN)}
    engine = Engine(dataclasses.replace(bundle, metrics=with_evidence), mirror="on")

    def run(path: Path) -> tuple[sitk.Image, Mapping[Side, Signs]]:
        image = sitk.ReadImage(str(path))
        result = engine.run(image)
        labels = assign_kidneys(result, image).labels
        return labels, find_signs(labels, result.evidence or ())

    cases = []
    for case in sorted(folder.iterdir()):
        if (case / "ct.nii.gz").exists() and (case / "labels.nii.gz").exists():
            cases.append(known_case(case, run))
            print(f"{case.name}: Dice {cases[-1].dice:.3f}", file=sys.stderr, flush=True)
    calibration = fit(cases)
    if write:
        metrics = {**bundle.metrics, CALIBRATION_KEY: write_calibration(calibration)}
        update_manifest(bundle, metrics=metrics, mirror=True)
    return calibration


def main(arguments: Sequence[str] | None = None) -> int:
    """The thin command: 0 when done, 2 for the user's error."""
    parser = argparse.ArgumentParser(
        prog="python -m KidneySegLib.training.calibrate",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("cases", type=Path)
    parser.add_argument("--model", help="name or folder of a bundle (default: the embedded one)")
    parser.add_argument("--write", action="store_true", help="put the calibration into the model's model.json")
    given = parser.parse_args(arguments)
    try:
        calibration = calibrate(given.cases, given.model, write=given.write)
    except KidneySegError as error:
        print(error, file=sys.stderr)
        return 2
    print(json.dumps(write_calibration(calibration), indent=1))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
