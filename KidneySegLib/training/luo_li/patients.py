"""The patient table: which group a case belongs to, and whether it is held out."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from KidneySegLib.errors import InputError

NO_GROUP = "all"
SPLITS = ("train", "test")
#: Lower bound of eGFR (mL/min/1.73 m2) and group. The paper's own bounds are misprinted; these are KDIGO's, by which
#: its "moderate" (30 to 59) and "severe" (below 30) read naturally. Our choice.
_GROUP_BOUNDS = ((90.0, "normal"), (60.0, "mild"), (30.0, "moderate"))
_EGFR_LIMITS = (0.0, 250.0)


@dataclass(frozen=True)
class Strata:
    """What the patient table says.

    Attributes:
        groups: group of each case.
        splits: ``train`` or ``test`` of each case; empty where the table has no such column.
        source: how groups were told: ``group``, ``egfr``, or ``none`` without a table.
        subjects: patient of each case; empty where the table has no such column.
    """

    groups: Mapping[str, str]
    splits: Mapping[str, str]
    source: str
    subjects: Mapping[str, str] = field(default_factory=dict)


def read_strata(table: Path | None, case_ids: Iterable[str]) -> Strata:
    """Groups of cases, from a CSV with a row a patient.

    Args:
        table: columns ``case_id``; ``group`` (any names) or ``egfr`` (mL/min/1.73 m2, cut at 90, 60 and 30); and, if
            wished, ``split`` (train or test) and ``patient_id`` (for patients with several scans, which then stay
            together). Other columns are not looked at. None: no groups.
        case_ids: the cases of the data set. Rows of others are passed over.

    Raises:
        InputError: no such table or columns, a case that has no row or no value, or only one group.
    """
    cases = sorted(case_ids)
    if table is None:
        return Strata(dict.fromkeys(cases, NO_GROUP), {}, "none")
    rows, columns = _rows(table)
    source = "group" if "group" in columns else "egfr"
    _refuse_missing(table, "no row", [case for case in cases if case not in rows])
    _refuse_missing(table, f"no {source}", [case for case in cases if not rows[case][source]])
    groups = {case: rows[case]["group"] if source == "group" else _group(rows[case], table) for case in cases}
    if len(set(groups.values())) == 1:
        raise InputError(
            f"All cases of {table} are in one group ({groups[cases[0]]}), so folds cannot be balanced between groups. "
            "Mend the column, or train without groups: leave --patients out."
        )
    splits: dict[str, str] = {}
    if "split" in columns:
        splits = {case: rows[case]["split"].lower() for case in cases}
        _refuse_missing(table, "no train or test in split", [case for case in cases if splits[case] not in SPLITS])
    subjects: dict[str, str] = {}
    if "patient_id" in columns:
        subjects = {case: rows[case]["patient_id"] for case in cases}
        _refuse_missing(table, "no patient_id", [case for case in cases if not subjects[case]])
    return Strata(groups, splits, source, subjects)


def _rows(table: Path) -> tuple[dict[str, dict[str, str]], tuple[str, ...]]:
    try:
        with Path(table).expanduser().open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            columns = tuple((name or "").strip().lower() for name in reader.fieldnames or ())
            reader.fieldnames = list(columns)
            if "case_id" not in columns or not {"group", "egfr"} & set(columns):
                raise InputError(
                    f"{table} must have the column case_id, and group or egfr; it has {', '.join(columns) or 'none'}."
                )
            rows: dict[str, dict[str, str]] = {}
            for row in reader:
                values = {name: (row.get(name) or "").strip() for name in columns}
                case = values.get("case_id", "")
                if case in rows:
                    raise InputError(f"{table} has two rows for {case}. Keep one.")
                rows[case] = values
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"The patient table {table} cannot be read ({error}). Give a CSV in UTF-8.") from error
    return rows, columns


def _group(row: Mapping[str, str], table: Path) -> str:
    try:
        egfr = float(row["egfr"])
    except ValueError:
        egfr = float("nan")
    if not _EGFR_LIMITS[0] <= egfr <= _EGFR_LIMITS[1]:
        raise InputError(
            f"egfr of {row['case_id']} in {table} must be a number from {_EGFR_LIMITS[0]:g} to {_EGFR_LIMITS[1]:g} "
            f"mL/min/1.73 m2, got {row['egfr']!r}."
        )
    return next((name for bound, name in _GROUP_BOUNDS if egfr >= bound), "severe")


def _refuse_missing(table: Path, what: str, cases: list[str]) -> None:
    if cases:
        more = ", ..." if len(cases) > 5 else ""
        raise InputError(f"{table} has {what} for {len(cases)} of the cases: {', '.join(cases[:5])}{more}. Add it.")
