"""A cohort as a CSV: one line a case, with what is known of the patient."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from pathlib import Path

from KidneySegLib.cohort.case_names import problem_of_name
from KidneySegLib.cohort.cases import CohortCase
from KidneySegLib.ct.entries import shown
from KidneySegLib.errors import InputError
from KidneySegLib.measurement.clinical import Patient

#: Columns that may stand in a list of cases; the first two must.
COLUMNS = (
    "case_id",
    "path",
    "series",
    "sex",
    "age",
    "height_cm",
    "weight_kg",
    "creatinine",
    "creatinine_unit",
)
#: Lowest and highest number of a column; as the options of ``kidneyseg segment`` have it.
_LIMITS = {
    "age": (0.0, 120.0),
    "height_cm": (30.0, 260.0),
    "weight_kg": (0.5, 500.0),
    "creatinine": (0.01, 5000.0),
}
_UNITS = ("mg/dL", "umol/L")
_MAX_BYTES = 256 * 1024**2


def read_case_list(path: Path) -> tuple[CohortCase, ...]:
    """The cases of a CSV, in the order of its lines.

    Comma, semicolon or tab may divide the cells; a path that is not absolute counts from the folder of the CSV.
    Columns: `COLUMNS`; an empty cell is not known.

    Raises:
        InputError: unreadable, without the columns ``case_id`` and ``path``, with unknown columns, or with a cell
            that cannot be; the message names the line.
    """
    name = shown(path)
    text = _read(path, name)
    header, _, _ = text.partition("\n")
    delimiter = max(",;\t", key=header.count)
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    cases = []
    try:
        columns = [column.strip() for column in reader.fieldnames or ()]
        _check_columns(columns, name)
        reader.fieldnames = columns
        for line in reader:
            where = f"{name}, line {reader.line_num}"
            if None in line:
                raise InputError(f"{where} has more cells than the first line has columns.")
            cells = {key: (value or "").strip() for key, value in line.items()}
            if any(cells.values()):
                cases.append(_case(cells, path.parent, where))
    except csv.Error as error:
        raise InputError(f"{name}, line {reader.line_num}: not a CSV file ({error}). Save it as CSV again.") from error
    if not cases:
        raise InputError(f"{name} lists no cases. Give a line with case_id and path for each.")
    return tuple(cases)


def _read(path: Path, name: str) -> str:
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise InputError(f"{name} has more than {_MAX_BYTES >> 20} MiB, so it is no list of cases. Give a CSV.")
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise InputError(
            f"{name} could not be read ({error.strerror}). Check the path and your permissions."
        ) from error
    except UnicodeDecodeError as error:
        raise InputError(f"{name} is not UTF-8 text. Save it as CSV in UTF-8.") from error
    if "\0" in text:
        raise InputError(f"{name} holds zero bytes, so it is no CSV. Save it as CSV in UTF-8.")
    return text


def _check_columns(columns: list[str], name: str) -> None:
    needed = [column for column in COLUMNS[:2] if column not in columns]
    if needed:
        raise InputError(f"{name} has no column {needed[0]}. The first line must name the columns case_id and path.")
    unknown = [column for column in columns if column not in COLUMNS]
    if unknown or len(set(columns)) != len(columns):
        raise InputError(
            f"{name} has columns that are unknown or stand twice ({', '.join(unknown or columns)}). Known columns: "
            f"{', '.join(COLUMNS)}. A name or number that identifies a patient does not belong here."
        )


def _case(cells: Mapping[str, str], folder: Path, where: str) -> CohortCase:
    case_id = cells["case_id"]
    problem = problem_of_name(case_id)
    if problem:
        raise InputError(f"{where}: the case_id {case_id!r} cannot name a folder: {problem}.")
    if not cells["path"]:
        raise InputError(f"{where}: the case {case_id} has no path.")
    numbers = {column: _number(cells.get(column, ""), column, where) for column in _LIMITS}
    sex = cells.get("sex", "").lower()
    if sex not in ("", "f", "m"):
        raise InputError(f"{where}: sex must be f, m or empty, got {sex!r}.")
    unit = cells.get("creatinine_unit", "")
    if unit not in ("", *_UNITS) or (numbers["creatinine"] is not None and not unit):
        raise InputError(f"{where}: creatinine_unit must be {' or '.join(_UNITS)}, got {unit!r}.")
    return CohortCase(
        case_id,
        folder / Path(cells["path"]).expanduser(),
        cells.get("series") or None,
        Patient(
            sex=sex or None,
            age_years=numbers["age"],
            height_cm=numbers["height_cm"],
            weight_kg=numbers["weight_kg"],
            creatinine=numbers["creatinine"],
            creatinine_unit=unit or "mg/dL",
        ),
    )


def _number(text: str, column: str, where: str) -> float | None:
    if not text:
        return None
    low, high = _LIMITS[column]
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not low <= value <= high:
        raise InputError(f"{where}: {column} must be a number from {low:g} to {high:g} or empty, got {text!r}.")
    return value
