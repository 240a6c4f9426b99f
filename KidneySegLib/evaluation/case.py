"""One case: every structure that its two label maps tell, scored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from KidneySegLib.errors import KidneySegError
from KidneySegLib.evaluation.facts import PhantomFacts, ResultFacts, phantom_facts, result_facts
from KidneySegLib.evaluation.maps import MapPair, pair_maps, read_map
from KidneySegLib.evaluation.metrics import DEFAULT_TOLERANCES_MM, surface_dice_key
from KidneySegLib.evaluation.overlap import Overlap, joint_counts, overlap
from KidneySegLib.evaluation.pairing import CasePaths
from KidneySegLib.evaluation.sides import side_verdict
from KidneySegLib.evaluation.surface import surface_distances
from KidneySegLib.evaluation.targets import HIERARCHICAL, HIERARCHICAL_TOLERANCES_MM, Target, ids_of
from KidneySegLib.labels import PARENCHYMA, Side, Structure

#: Structures that a kidney has only if it is divided.
_DIVIDED = ((Structure.CORTEX,), (Structure.MEDULLA,))


@dataclass(frozen=True)
class Settings:
    """How cases are scored; the same for all of a cohort.

    Attributes:
        prediction_scheme, reference_scheme: keys of `measurement.SCHEMES`.
        targets: structures.
        tolerances_mm: of surface Dice.
        surfaces: whether distances between surfaces are computed at all (most of the time goes there).
    """

    prediction_scheme: str
    reference_scheme: str
    targets: tuple[Target, ...]
    tolerances_mm: tuple[float, ...] = DEFAULT_TOLERANCES_MM
    surfaces: bool = True


@dataclass(frozen=True)
class Score:
    """One structure of one case.

    Attributes:
        structure: key of its `Target`.
        overlap: voxel counts.
        values: by `metrics.Metric.key`; None where undefined.
    """

    structure: str
    overlap: Overlap
    values: dict[str, float | None]


@dataclass(frozen=True)
class CaseResult:
    """One case.

    Attributes:
        case_id: its name.
        error: why it could not be scored, else empty.
        scores: of the structures that both maps have.
        not_scored: the others' keys, each with a reason.
        side_verdict: one of `sides.VERDICTS`, empty for a case with an error.
        phantom: what a phantom knows of itself, None for anything else.
        result: what the prediction's results folder says.
    """

    case_id: str
    error: str = ""
    scores: tuple[Score, ...] = ()
    not_scored: dict[str, str] = field(default_factory=dict)
    side_verdict: str = ""
    phantom: PhantomFacts | None = None
    result: ResultFacts = field(default_factory=ResultFacts)

    def value(self, structure: str, metric: str) -> float | None:
        """A metric of a structure; None where it was not scored or is undefined."""
        return next((score.values.get(metric) for score in self.scores if score.structure == structure), None)


def score_case(paths: CasePaths, settings: Settings) -> CaseResult:
    """Read and score one case. What is wrong with it is told in `CaseResult.error`, never raised."""
    phantom = phantom_facts(paths.reference_folder) if paths.reference_folder else None
    result = result_facts(paths.prediction_folder) if paths.prediction_folder else ResultFacts()
    try:
        maps = pair_maps(
            read_map(paths.reference, settings.reference_scheme), read_map(paths.prediction, settings.prediction_scheme)
        )
    except KidneySegError as error:
        return CaseResult(paths.case_id, str(error), phantom=phantom, result=result)
    except (OSError, MemoryError, RuntimeError) as error:
        text = " ".join(str(error).split()) or type(error).__name__
        return CaseResult(paths.case_id, f"The case could not be read ({text}).", phantom=phantom, result=result)
    scores, not_scored, verdict = score_maps(maps, settings)
    return CaseResult(paths.case_id, "", scores, not_scored, verdict, phantom, result)


def score_maps(maps: MapPair, settings: Settings) -> tuple[tuple[Score, ...], dict[str, str], str]:
    """Score two label maps.

    Returns:
        Scores, keys of what was not scored with reasons, and the verdict on sides.
    """
    counts = joint_counts(maps.reference, maps.prediction, maps.voxels)
    present = {"reference": counts.sum(axis=1), "prediction": counts.sum(axis=0)}
    scores, not_scored = [], {}
    for target in settings.targets:
        reason = _why_not(target, present)
        if reason:
            not_scored[target.key] = reason
        else:
            scores.append(_score(target, maps, overlap(counts, target.ids), settings))
    return tuple(scores), not_scored, side_verdict(counts)


def _why_not(target: Target, present: dict[str, NDArray[np.int64]]) -> str:
    """Why two maps cannot be compared in a structure; empty if they can."""
    sides = (target.side,) if target.side else (Side.RIGHT, Side.LEFT)
    for whose, voxels in present.items():
        if target.structures in _DIVIDED and voxels[list(ids_of([Structure.UNDIVIDED], [*sides, Side.UNSIDED]))].any():
            return f"the {whose} holds parenchyma that is not divided"
        if target.side is None:
            continue
        own = voxels[list(ids_of(PARENCHYMA, sides))].any()
        if not own and voxels[list(ids_of(PARENCHYMA, [Side.UNSIDED]))].any():
            return f"the {whose} holds parenchyma without a side"
    return ""


def _score(target: Target, maps: MapPair, found: Overlap, settings: Settings) -> Score:
    hierarchical = target in HIERARCHICAL
    reference_ml, prediction_ml = (n * maps.voxel_ml for n in (found.tp + found.fn, found.tp + found.fp))
    error_percent = 100 * (prediction_ml - reference_ml) / reference_ml if reference_ml else None
    values: dict[str, float | None] = {
        "dice": found.dice,
        "jaccard": found.jaccard,
        "precision": found.precision,
        "recall": found.recall,
        "accuracy": found.accuracy,
        "reference_ml": reference_ml,
        "prediction_ml": prediction_ml,
        "volume_error_ml": None if found.both_empty else prediction_ml - reference_ml,
        "volume_error_percent": error_percent,
        "abs_volume_error_percent": None if error_percent is None else abs(error_percent),
    }
    if hierarchical and found.both_empty:
        values |= {"dice": 1.0, "jaccard": 1.0}
    if settings.surfaces:
        kits = HIERARCHICAL_TOLERANCES_MM[target.key] if hierarchical else None
        values |= _surface_values(target.ids, maps, found, settings.tolerances_mm, kits)
    return Score(target.key, found, values)


def _surface_values(
    ids: Sequence[int], maps: MapPair, found: Overlap, tolerances_mm: Sequence[float], kits_mm: float | None
) -> dict[str, float | None]:
    wanted = np.zeros(256, bool)
    wanted[list(ids)] = True
    distances = None
    if not found.both_empty:
        distances = surface_distances(wanted[maps.reference], wanted[maps.prediction], maps.spacing_mm_zyx)
    # One mask alone has a surface, and all of it is far from the other.
    nothing = (1.0 if kits_mm is not None else None) if found.both_empty else 0.0
    values: dict[str, float | None] = {
        "hd95_mm": distances.hd95_mm if distances else None,
        "assd_mm": distances.assd_mm if distances else None,
    }
    for tolerance in tolerances_mm:
        values[surface_dice_key(tolerance)] = distances.surface_dice(tolerance) if distances else nothing
    if kits_mm is not None:
        values["surface_dice_kits"] = distances.surface_dice(kits_mm) if distances else nothing
    return values
