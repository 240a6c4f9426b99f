"""How far readers agree: every pair of them, and each with the consensus."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

from KidneySegLib.evaluation.agreement import Icc, icc
from KidneySegLib.evaluation.case import Score, Settings, score_maps
from KidneySegLib.evaluation.maps import pair_maps
from KidneySegLib.evaluation.targets import targets_of
from KidneySegLib.labels import PARENCHYMA

if TYPE_CHECKING:
    import SimpleITK as sitk

#: The consensus, where a reader's name stands otherwise.
CONSENSUS = "consensus"


@dataclass(frozen=True)
class PairScore:
    """One structure of one case, seen by two.

    Attributes:
        case_id: which case.
        first, second: names of the readers; the first counts as reference.
        score: of the second against the first.
    """

    case_id: str
    first: str
    second: str
    score: Score


def reader_scores(
    case_id: str, names: Sequence[str], masks: Sequence[sitk.Image], agreed: sitk.Image, *, surfaces: bool = True
) -> tuple[PairScore, ...]:
    """Score every pair of readers, then each reader against the consensus; structures that neither has are left out."""
    # Of single sides the parenchyma only: many pairs of readers times many structures would take minutes a case.
    targets = [t for t in targets_of("kidneyseg", "kidneyseg") if t.side is None or t.structures == PARENCHYMA]
    settings = Settings("kidneyseg", "kidneyseg", tuple(targets), surfaces=surfaces)
    everyone = [*zip(names, masks, strict=True)]
    pairs = [*combinations(everyone, 2), *(((CONSENSUS, agreed), reader) for reader in everyone)]
    found = []
    for (first, a), (second, b) in pairs:
        scores, _, _ = score_maps(pair_maps(a, b), settings)
        found += [PairScore(case_id, first, second, score) for score in scores if not score.overlap.both_empty]
    return tuple(found)


def volume_icc(scores: Sequence[PairScore], names: Sequence[str]) -> dict[str, Icc]:
    """ICC of the readers' volumes of each structure, over the cases in which every reader was scored in it."""
    volumes: dict[str, dict[str, dict[str, float]]] = {}
    for pair in scores:
        if pair.first == CONSENSUS:
            ml = pair.score.values["prediction_ml"]
            volumes.setdefault(pair.score.structure, {}).setdefault(pair.case_id, {})[pair.second] = float(ml or 0)
    return {
        structure: icc(rows)
        for structure, cases in volumes.items()
        if (rows := [[case[name] for name in names] for case in cases.values() if set(names) <= set(case)])
    }
