"""Groups by kidney function from a patient table."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from KidneySegLib.errors import InputError
from KidneySegLib.evaluation.groups import GroupedPatient, group_patient, read_patients, seed_group
from KidneySegLib.measurement.clinical import Patient


def read(tmp_path: Path, text: str, encoding: str = "utf-8", **options: str) -> dict[str, GroupedPatient]:
    path = tmp_path / "patients.csv"
    path.write_bytes(text.encode(encoding))
    return read_patients(path, **options)  # type: ignore[arg-type]


def test_known_answers_in_both_units(tmp_path: Path) -> None:
    found = read(
        tmp_path,
        "case_id,creatinine,creatinine_unit,age,sex\n"
        "a,0.9,mg/dL,55,f\nb,1.0,mg/dL,50,M\nc,221,umol/L,70,male\nd,530.4,umol/L,63,female\ne,1.2,mg/dL,60,m\n",
    )
    assert {name: round(float(patient.egfr or 0), 1) for name, patient in found.items()} == {
        "a": 75.5, "b": 91.7, "c": 27.0, "d": 7.4, "e": 69.2,
    }  # fmt: skip
    assert [patient.stage for patient in found.values()] == ["G2", "G1", "G4", "G5", "G2"]
    assert [patient.group for patient in found.values()] == ["mild", "normal", "severe", "severe", "mild"]
    assert found["a"].egfr_by == "CKD-EPI 2021"


def test_formula_of_2009(tmp_path: Path) -> None:
    found = read(tmp_path, "case_id,creatinine_mg_dl,age,sex\na,1.0,50,m\n", formula="2009")
    # 141 x (1.0 / 0.9)^-1.209 x 0.993^50
    assert found["a"].egfr == pytest.approx(141 * (1 / 0.9) ** -1.209 * 0.993**50)
    with pytest.raises(InputError, match="2021 or 2009"):
        read(tmp_path, "case_id\na\n", formula="2012")


@given(st.floats(0.5, 200))
def test_bounds_of_the_groups(egfr: float) -> None:
    expected = "normal" if egfr >= 90 else "mild" if egfr >= 60 else "moderate" if egfr >= 30 else "severe"
    assert seed_group(egfr) == expected


def test_bounds_belong_to_the_better_group() -> None:
    assert [seed_group(egfr) for egfr in (90, 89.999, 60, 59.999, 30, 29.999)] == [
        "normal", "mild", "mild", "moderate", "moderate", "severe",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("line", "word"),
    [
        ("a,0.9,mg/dL,17,f", "adults only"),
        ("a,0.9,,55,f", "unit of creatinine is missing"),
        ("a,90,mg/dL,55,f", "Is it in umol/L?"),
        ("a,0.9,mg/dL,55,x", "sex must be f or m"),
        ("a,0.9,mg/dL,,f", "age of the patient not known"),
        ("a,0.9,mmol,55,f", "must be mg/dL or umol/L"),
        ("a,none,mg/dL,55,f", "creatinine must be a number"),
        ("a,,,55,f", "no creatinine and no eGFR"),
    ],
)
def test_refusals_are_explained(tmp_path: Path, line: str, word: str) -> None:
    patient = read(tmp_path, f"case_id,creatinine,creatinine_unit,age,sex\n{line}\n")["a"]
    assert patient.egfr is None
    assert patient.group == ""
    assert any(word in note for note in patient.notes), patient.notes


def test_unit_for_the_whole_table(tmp_path: Path) -> None:
    found = read(tmp_path, "case_id,creatinine,age,sex\na,88.4,50,m\n", unit="umol/L")
    assert found["a"].egfr == pytest.approx(91.7, abs=0.05)


def test_given_egfr_and_given_group_win(tmp_path: Path) -> None:
    found = read(tmp_path, "case_id,egfr,group,age\na,45,control,60\nb,45,,60\nc,,control,\n")
    assert (found["a"].group, found["a"].stage, found["a"].egfr_by) == ("control", "G3a", "table")
    assert found["b"].group == "moderate"
    assert (found["c"].group, found["c"].egfr) == ("control", None)


def test_tables_of_other_spreadsheets(tmp_path: Path) -> None:
    semicolons = read(tmp_path, "\ufeffCase ID;Creatinine mg dl;Age;Sex\r\na;0,9;55;女\r\n")
    assert semicolons["a"].egfr == pytest.approx(75.5, abs=0.05)
    chinese = read(tmp_path, "case_id,creatinine_mg_dl,age,sex\n李,0.9,55,女\n", encoding="gb18030")
    assert chinese["李"].egfr == pytest.approx(75.5, abs=0.05)


def test_bad_tables(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no column case_id"):
        read(tmp_path, "age,sex\n1,f\n")
    with pytest.raises(InputError, match="has a twice"):
        read(tmp_path, "case_id,age\na,30\na,40\n")
    with pytest.raises(InputError, match="no patients"):
        read(tmp_path, "case_id,age\n")
    with pytest.raises(InputError, match="could not be read"):
        read_patients(tmp_path / "missing.csv")


def test_a_phantoms_patient() -> None:
    found = group_patient("p", Patient("f", 55, creatinine=0.9, creatinine_unit="mg/dL"))
    assert (found.sex, found.age_years, found.stage, found.group) == ("f", 55, "G2", "mild")
