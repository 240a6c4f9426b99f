"""`evaluate_cohort`: from two folders of label maps to tables, JSON and a page."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from KidneySegLib import __version__
from KidneySegLib.errors import InputError, OutputError
from KidneySegLib.evaluation.case import Settings
from KidneySegLib.evaluation.cohort import Cohort, output_conflict, phantom_groupings, score_cohort
from KidneySegLib.evaluation.metrics import DEFAULT_TOLERANCES_MM
from KidneySegLib.evaluation.pairing import pair_cases
from KidneySegLib.evaluation.targets import not_told, targets_of
from KidneySegLib.evaluation.write import FORMAT, cases_csv, evaluation_json, scores_csv, summary_csv
from KidneySegLib.export.provenance import provenance_text
from KidneySegLib.export.results_folder import PROVENANCE, check_results_folder, new_results_folder
from KidneySegLib.progress import Progress


@dataclass(frozen=True)
class Evaluation:
    """A finished evaluation.

    Attributes:
        cohort: what was scored.
        folder: where its files lie.
        facts: what ``evaluation.json`` says.
    """

    cohort: Cohort
    folder: Path
    facts: dict[str, Any]


def evaluate_cohort(
    prediction: Path,
    reference: Path,
    output: Path,
    *,
    reference_labels: str = "kidneyseg",
    prediction_labels: str = "kidneyseg",
    groups: Path | None = None,
    tolerances_mm: Sequence[float] = DEFAULT_TOLERANCES_MM,
    surfaces: bool = True,
    hierarchical: bool = False,
    jobs: int | None = None,
    progress: Progress = Progress(),
) -> Evaluation:
    """Score predictions against references and write CSV, JSON and HTML.

    Args:
        prediction, reference: folders of cases, or single cases (`pairing.pair_cases`).
        output: folder for the files; an older evaluation is replaced as a whole.
        reference_labels, prediction_labels: keys of `measurement.SCHEMES`.
        groups: patient table (`groups.read_patients`).
        tolerances_mm: of surface Dice.
        surfaces: False leaves out HD95, ASSD and surface Dice, which take most of the time.
        hierarchical: score KiTS' hierarchical classes too.
        jobs: processes; None chooses.
        progress: stage ``score``.

    Raises:
        InputError: no case could be scored, or the options do not go together.
        OutputError: the output is not ours or cannot be written.
    """
    check_output(output, FORMAT, prediction, reference)
    settings = Settings(
        prediction_labels,
        reference_labels,
        targets_of(prediction_labels, reference_labels, hierarchical=hierarchical),
        tuple(tolerances_mm),
        surfaces,
    )
    pairing = pair_cases(prediction, reference)
    cases, dropped = score_cohort(pairing, settings, jobs=jobs, progress=progress)
    dropped = {**not_told(prediction_labels, reference_labels), **dropped}
    cohort = Cohort(settings, cases, pairing, dropped, phantom_groupings(cases))
    facts = evaluation_json(cohort, {})
    with new_results_folder(output) as place:
        _write(place / "scores.csv", scores_csv(cohort))
        _write(place / "cases.csv", cases_csv(cohort))
        _write(place / "summary.csv", summary_csv(cohort))
        _write(place / "evaluation.json", provenance_text(facts))
        _write(place / PROVENANCE, provenance_text({"format": FORMAT, "program": "kidneyseg", "version": __version__}))
    return Evaluation(cohort, Path(output), facts)


def check_output(output: Path, wanted_format: str, *inputs: Path) -> None:
    """Refuse an output folder that is an input, or that holds anything but an older output of the same kind.

    Raises:
        InputError: it is an input.
        OutputError: it holds something else.
    """
    if conflict := output_conflict(output, *inputs):
        raise InputError(conflict)
    check_results_folder(output)
    try:
        found = json.loads((Path(output) / PROVENANCE).read_text(encoding="utf-8")).get("format")
    except FileNotFoundError:
        return
    except (OSError, ValueError, AttributeError):
        found = None
    if found != wanted_format:
        raise OutputError(f"The folder {output} holds other results of KidneySeg. Choose an empty or new folder.")


def _write(path: Path, text: str) -> None:
    path.write_bytes(text.encode("utf-8"))
