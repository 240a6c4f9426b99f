"""Groups of patients by kidney function, from a patient table.

The seed study's groups by eGFR (mL/min/1.73 m2): normal >= 90, mild 60 to below 90, moderate 30 to below 60, severe
below 30. The paper's own bounds are garbled (mild ">= 90", moderate "<= 30", severe "< 30", beside a normal group);
these KDIGO bounds are what it likely meant. Who knows better gives the group in the table's column ``group``.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from KidneySegLib.errors import InputError
from KidneySegLib.measurement.clinical import ADULT_YEARS, Patient, clinical_measures, kdigo_stage

FORMULAS = ("2021", "2009")
#: (lower bound in mL/min/1.73 m2, group), compared with the unrounded eGFR.
_SEED_GROUPS = ((90.0, "normal"), (60.0, "mild"), (30.0, "moderate"))
#: Columns by the names that they may have.
_NAMES: dict[str, tuple[str, ...]] = {
    "case_id": ("case_id", "case", "name", "id", "patient", "patient_id"),
    "sex": ("sex", "gender"),
    "age_years": ("age", "age_years"),
    "creatinine": ("creatinine", "scr", "serum_creatinine"),
    "creatinine_mg_dl": ("creatinine_mg_dl", "creatinine_mg/dl", "scr_mg_dl"),
    "creatinine_umol_l": ("creatinine_umol_l", "creatinine_umol/l", "creatinine_µmol_l", "scr_umol_l"),
    "creatinine_unit": ("creatinine_unit", "unit", "scr_unit"),
    "egfr": ("egfr", "gfr"),
    "group": ("group",),
}
_SEXES = {"f": "f", "female": "f", "w": "f", "女": "f", "m": "m", "male": "m", "男": "m"}


@dataclass(frozen=True)
class GroupedPatient:
    """One patient of the table.

    Attributes:
        case_id: which case.
        sex: ``f``, ``m`` or empty.
        age_years: None where not known.
        egfr: mL/min/1.73 m2; None where it could not be had.
        egfr_by: formula, or ``table`` where the table gives it.
        stage: KDIGO GFR category, empty without eGFR.
        group: the table's own group, else the seed's; empty without either.
        notes: sentences about what was refused, and why.
    """

    case_id: str
    sex: str = ""
    age_years: float | None = None
    egfr: float | None = None
    egfr_by: str = ""
    stage: str = ""
    group: str = ""
    notes: tuple[str, ...] = ()


def seed_group(egfr: float) -> str:
    """normal, mild, moderate or severe, of an unrounded eGFR."""
    return next((group for bound, group in _SEED_GROUPS if egfr >= bound), "severe")


def read_patients(path: Path, *, formula: str = "2021", unit: str | None = None) -> dict[str, GroupedPatient]:
    """Read a patient table: ``case_id``, and of ``creatinine``, ``creatinine_unit``, ``age``, ``sex``, ``egfr``,
    ``group`` what there is. ``creatinine_mg_dl`` or ``creatinine_umol_l`` bring their unit.

    Comma, semicolon or tab separated; with semicolons or tabs a decimal comma will do.

    Args:
        path: CSV, UTF-8 or GB 18030.
        formula: CKD-EPI ``2021`` or ``2009`` (which the seed study used).
        unit: of ``creatinine`` where the table has no column for it.

    Returns:
        Patients by case id; what is wrong with one of them is in its notes.

    Raises:
        InputError: the file cannot be read or is no such table, or a case is in it twice with different data.
    """
    if formula not in FORMULAS:
        raise InputError(f"The eGFR formula must be CKD-EPI {' or '.join(FORMULAS)}, got {formula}.")
    rows, columns = _rows(Path(path))
    patients: dict[str, GroupedPatient] = {}
    for row in rows:
        cells = {key: _cell(row, column) for key, column in columns.items()}
        name = cells["case_id"]
        if not name:
            continue
        patient = _patient(name, cells, formula, unit)
        if name in patients and patients[name] != patient:
            raise InputError(f"{Path(path).name} has {name} twice, with different data. Keep one line of it.")
        patients[name] = patient
    if not patients:
        raise InputError(f"{Path(path).name} has no patients. Give a line for each case, with its name as case_id.")
    return patients


def group_patient(case_id: str, patient: Patient, *, formula: str = "2021") -> GroupedPatient:
    """A patient whose data are known otherwise, as of a phantom."""
    sex = _SEXES.get((patient.sex or "").lower(), "")
    measures = clinical_measures(patient)
    egfr = measures.egfr_2021 if formula == "2021" else measures.egfr_2009
    return _grouped(case_id, sex, patient.age_years, egfr, f"CKD-EPI {formula}", "", measures.notes)


def _patient(name: str, cells: Mapping[str, str], formula: str, unit: str | None) -> GroupedPatient:
    notes: list[str] = []
    said = cells.get("sex", "")
    sex = _SEXES.get(said.lower(), "")
    if said and not sex:
        notes.append(f"sex must be f or m, got {said!r}")
    age = _number(cells.get("age_years", ""), "age", notes)
    given = _number(cells.get("egfr", ""), "eGFR", notes)
    if given is not None and not 0 < given <= 250:
        notes.append(f"eGFR must be more than 0 and at most 250 mL/min/1.73 m2, got {given:g}")
        given = None
    if age is not None and age < ADULT_YEARS:
        notes.append(f"CKD-EPI and these groups hold for adults only, and the patient is {age:g} years old")
        return GroupedPatient(name, sex, age, group=cells.get("group", ""), notes=tuple(notes))
    if given is not None:
        return _grouped(name, sex, age, given, "table", cells.get("group", ""), notes)
    creatinine, its_unit = _creatinine(cells, unit, notes)
    egfr = None
    if creatinine is not None and its_unit:
        measures = clinical_measures(
            Patient(sex=sex or None, age_years=age, creatinine=creatinine, creatinine_unit=its_unit)
        )
        egfr = measures.egfr_2021 if formula == "2021" else measures.egfr_2009
        notes += [note.rstrip(".") for note in measures.notes]
    elif creatinine is None and not cells.get("group") and not notes:
        notes.append("eGFR was not computed: no creatinine and no eGFR given")
    return _grouped(name, sex, age, egfr, f"CKD-EPI {formula}", cells.get("group", ""), notes)


def _grouped(
    name: str,
    sex: str,
    age: float | None,
    egfr: float | None,
    by: str,
    group: str,
    notes: list[str] | tuple[str, ...],
) -> GroupedPatient:
    if egfr is None:
        return GroupedPatient(name, sex, age, group=group, notes=tuple(notes))
    return GroupedPatient(name, sex, age, egfr, by, kdigo_stage(egfr), group or seed_group(egfr), tuple(notes))


def _creatinine(cells: Mapping[str, str], unit: str | None, notes: list[str]) -> tuple[float | None, str]:
    """Creatinine and its unit, which is never guessed."""
    for key, its_unit in (("creatinine_mg_dl", "mg/dL"), ("creatinine_umol_l", "umol/L")):
        value = _number(cells.get(key, ""), "creatinine", notes)
        if value is not None:
            return value, its_unit
    value = _number(cells.get("creatinine", ""), "creatinine", notes)
    if value is None:
        return None, ""
    its_unit = cells.get("creatinine_unit", "") or unit or ""
    if not its_unit:
        notes.append(
            "eGFR was not computed: the unit of creatinine is missing; add a column creatinine_unit with mg/dL or "
            "umol/L, or say --creatinine-unit"
        )
    return value, its_unit


def _number(text: str, what: str, notes: list[str]) -> float | None:
    if not text:
        return None
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        notes.append(f"{what} must be a number, got {text!r}")
        return None
    return value


def _rows(path: Path) -> tuple[list[dict[str, str]], dict[str, str]]:
    """Lines of a table, and the column of each quantity that it has."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path} could not be read ({error.strerror}). Give a CSV file of patients.") from error
    text = _decoded(data, path.name)
    head = text.partition("\n")[0]
    separator = max(",;\t", key=head.count)
    if separator != ",":
        text = _with_points(text, separator)
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=separator)
    try:
        rows = list(reader)
    except csv.Error as error:
        raise InputError(f"{path.name} is no CSV table ({error}). Save it as CSV again.") from error
    headings = {(name or "").strip().lower().replace(" ", "_"): name for name in reader.fieldnames or ()}
    columns = {}
    for key, names in _NAMES.items():
        column = next((headings[name] for name in names if name in headings), None)
        if column is not None:
            columns[key] = column
    if "case_id" not in columns:
        raise InputError(
            f"{path.name} has no column case_id. Its first line must name the columns: case_id, and of creatinine, "
            "creatinine_unit, age, sex, egfr, group those that are known."
        )
    return rows, columns


def _decoded(data: bytes, name: str) -> str:
    for encoding in ("utf-8-sig", "gb18030"):
        try:
            return data.decode(encoding)
        except UnicodeDecodeError:
            continue
    raise InputError(f"{name} is no text in UTF-8. Save it as CSV UTF-8 again.")


def _with_points(text: str, separator: str) -> str:
    """Decimal commas, as such tables have them, become points; other commas stay."""
    import re

    return re.sub(rf"(^|{separator})(\d+),(\d+)(?=$|{separator}|\r)", r"\1\2.\3", text, flags=re.MULTILINE)


def _cell(row: Mapping[str, str | None], column: str) -> str:
    text = (row.get(column) or "").strip()
    # The apostrophe that keeps a spreadsheet from running a cell is no part of it.
    return text[1:].strip() if text[:1] == "'" else text
