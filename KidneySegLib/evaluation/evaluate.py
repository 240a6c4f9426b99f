"""`evaluate_cohort`: from two folders of label maps to tables, JSON and a page."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from KidneySegLib import __version__
from KidneySegLib.errors import InputError, OutputError
from KidneySegLib.evaluation.case import CaseResult, Settings
from KidneySegLib.evaluation.cohort import Cohort, output_conflict, phantom_groupings, score_cohort
from KidneySegLib.evaluation.cohort_agreement import (
    IMPLEMENTATIONS,
    agreement_csv,
    function_correlation,
    tests_csv,
    volume_agreement,
)
from KidneySegLib.evaluation.groups import GroupedPatient, group_patient, read_patients
from KidneySegLib.evaluation.metrics import DEFAULT_TOLERANCES_MM
from KidneySegLib.evaluation.page import PageData, page_html
from KidneySegLib.evaluation.pairing import listed, pair_cases
from KidneySegLib.evaluation.tables import (
    Table1Row,
    Table2,
    table_1,
    table_1_rows,
    table_2,
    table_2_rows,
    table_csv,
)
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
    formula: str = "2021",
    creatinine_unit: str | None = None,
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
        groups: patient table (`groups.read_patients`); without one, phantoms bring their own patients.
        formula: of eGFR, CKD-EPI ``2021`` or ``2009``.
        creatinine_unit: where the table does not say it.
        tolerances_mm: of surface Dice.
        surfaces: False leaves out HD95, ASSD and surface Dice, which take most of the time.
        hierarchical: score KiTS' hierarchical classes too.
        jobs: processes; None chooses (see `cohort.score_cohort`).
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
    patients = None if groups is None else read_patients(groups, formula=formula, unit=creatinine_unit)
    pairing = pair_cases(prediction, reference)
    cases, dropped = score_cohort(pairing, settings, jobs=jobs, progress=progress)
    dropped = {**not_told(prediction_labels, reference_labels), **dropped}
    groupings = phantom_groupings(cases)
    grouped, notes = _patients(cases, patients, formula)
    for name, of in (
        ("eGFR group", {case_id: patient.group for case_id, patient in grouped.items() if patient.group}),
        ("KDIGO stage", {case_id: patient.stage for case_id, patient in grouped.items() if patient.stage}),
    ):
        if of:
            groupings[name] = of
    cohort = Cohort(settings, cases, pairing, dropped, groupings, notes)
    facts = _write_all(cohort, grouped, output)
    return Evaluation(cohort, Path(output), facts)


def _patients(
    cases: Sequence[CaseResult], patients: dict[str, GroupedPatient] | None, formula: str
) -> tuple[dict[str, GroupedPatient], tuple[str, ...]]:
    """Patients of the cases, from the table or else from the phantoms themselves, and what is to be said of them."""
    names = [case.case_id for case in cases if not case.error]
    if patients is None:
        known = {
            case.case_id: group_patient(case.case_id, case.phantom.patient, formula=formula)
            for case in cases
            if not case.error and case.phantom is not None and case.phantom.patient is not None
        }
        return known, ()
    notes = []
    missing = tuple(name for name in names if name not in patients)
    if missing:
        notes.append(f"Not in the patient table, so in no group: {listed(missing)}.")
    if others := tuple(name for name in patients if name not in names):
        notes.append(f"In the patient table, but not among the scored cases: {listed(others)}.")
    known = {name: patients[name] for name in names if name in patients}
    notes += [f"{name}: {note}." for name, patient in known.items() for note in patient.notes]
    found = {patient.group for patient in known.values() if patient.group}
    if len(found) == 1:
        notes.append(f"All patients are in one group ({found.pop()}), so groups cannot be compared.")
    elif not found:
        notes.append("No patient could be put into a group.")
    return known, tuple(notes)


def _write_all(cohort: Cohort, patients: dict[str, GroupedPatient], output: Path) -> dict[str, Any]:
    """Compute what follows from a scored cohort and write all files, whole or not at all; what the JSON says."""
    first = table_1(cohort)
    second = {name: table_2(cohort, name, patients) for name in ("eGFR group",) if name in cohort.groupings}
    agreements, correlations = volume_agreement(cohort), function_correlation(cohort, patients)
    created = datetime.now(timezone.utc).isoformat(timespec="seconds")
    more = {
        "version": __version__,
        "created": created,
        "implementations": IMPLEMENTATIONS,
        "table_1": first,
        "table_2": second,
        "agreement": agreements,
        "function": correlations,
        "patients": list(patients.values()),
    }
    facts = evaluation_json(cohort, more)
    texts = {
        "scores.csv": scores_csv(cohort),
        "cases.csv": cases_csv(cohort),
        "summary.csv": summary_csv(cohort),
        "agreement.csv": agreement_csv(agreements, correlations),
        "evaluation.json": provenance_text(facts),
        "report.html": page_html(cohort, PageData(first, second, agreements, correlations, __version__, created)),
        **_table_files(first, second),
    }
    with new_results_folder(output) as place:
        for name, text in texts.items():
            (place / name).write_bytes(text.encode("utf-8"))
        own = {"format": FORMAT, "program": "kidneyseg", "version": __version__, "created": created}
        (place / PROVENANCE).write_bytes(provenance_text(own).encode("utf-8"))
    return facts


def _table_files(first: tuple[Table1Row, ...], second: dict[str, Table2]) -> dict[str, str]:
    files = {"table1.csv": table_csv(*table_1_rows(first))}
    for table in second.values():
        files["table2.csv"] = table_csv(*table_2_rows(table))
        files["table2_tests.csv"] = tests_csv(table.tests)
    return files


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
