"""The patient table: which group a case belongs to, and whether it is held out."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from KidneySegLib.errors import InputError

NO_GROUP = "all"
SPLITS = ("train", "test")
#: The paper says CKD-EPI, in a year when the edition of 2009 was the usual one.
FORMULA = "2009"


@dataclass(frozen=True)
class Strata:
    """What the patient table says.

    Attributes:
        groups: group of each case.
        splits: ``train`` or ``test`` of each case; empty where the table has no such column.
        source: how groups were told: ``table``, ``eGFR``, ``table and eGFR``, or ``none`` without a table.
        subjects: patient of each case; empty where the table has no such column.
    """

    groups: Mapping[str, str]
    splits: Mapping[str, str]
    source: str
    subjects: Mapping[str, str] = field(default_factory=dict)


def read_strata(table: Path | None, case_ids: Iterable[str]) -> Strata:
    """Groups of cases, from the patient table that `evaluation.groups` reads.

    Args:
        table: a row for each ``case_id``, with ``group`` (any names), or ``egfr`` (mL/min/1.73 m2), or ``creatinine``,
            ``creatinine_unit``, ``age`` and ``sex``, from which the paper's four groups follow. If wished, ``split``
            (train or test) and ``patient_id`` (for patients with several scans, which then stay together). None: no
            groups.
        case_ids: the cases of the data set. Rows of others are passed over.

    Raises:
        InputError: no such table, a case that has no row or no group, or only one group.
    """
    cases = sorted(case_ids)
    if table is None:
        return Strata(dict.fromkeys(cases, NO_GROUP), {}, "none")
    from KidneySegLib.evaluation.groups import read_patients, seed_group

    table = Path(table).expanduser()
    patients = read_patients(table, formula=FORMULA)
    _refuse(table, "no row", [case for case in cases if case not in patients])
    without = [case for case in cases if not patients[case].group]
    reasons = "; ".join(dict.fromkeys(note for case in without for note in patients[case].notes))
    _refuse(table, "no group" + (f" ({reasons})" if reasons else ""), without)
    groups = {case: patients[case].group for case in cases}
    if len(set(groups.values())) == 1:
        raise InputError(
            f"All cases of {table} are in one group ({groups[cases[0]]}), so folds cannot be balanced between groups. "
            "Mend the column, or train without groups: leave --patients out."
        )
    derived = {case for case in cases if (egfr := patients[case].egfr) is not None and groups[case] == seed_group(egfr)}
    source = "eGFR" if len(derived) == len(cases) else "table and eGFR" if derived else "table"
    splits = {case: said.lower() for case, said in _column(table, "split", cases).items()}
    if splits:
        _refuse(table, "no train or test in split", [case for case in cases if splits[case] not in SPLITS])
    subjects = _column(table, "patient_id", cases)
    if subjects:
        _refuse(table, "no patient_id", [case for case in cases if not subjects[case]])
    return Strata(groups, splits, source, subjects)


def _column(table: Path, name: str, cases: Iterable[str]) -> dict[str, str]:
    """A column that the table may have beside those of `evaluation.groups`, which has read it without complaint."""
    text = table.read_bytes().decode("utf-8-sig", errors="replace")
    head = text.partition("\n")[0]
    rows = csv.DictReader(io.StringIO(text, newline=""), delimiter=max(",;\t", key=head.count))
    headings = {(heading or "").strip().lower(): heading for heading in rows.fieldnames or ()}
    if name not in headings or "case_id" not in headings:
        return {}
    found = {(row[headings["case_id"]] or "").strip(): (row[headings[name]] or "").strip() for row in rows}
    return {case: found.get(case, "") for case in cases}


def _refuse(table: Path, what: str, cases: list[str]) -> None:
    if cases:
        more = ", ..." if len(cases) > 5 else ""
        raise InputError(f"{table} has {what} for {len(cases)} of the cases: {', '.join(cases[:5])}{more}. Add it.")
