"""Patient's facts: published vectors of the formulae, bounds of the stages, and refusals that say why."""

from __future__ import annotations

import pytest

from KidneySegLib.ct.scan import PatientData
from KidneySegLib.measurement.clinical import (
    ClinicalMeasures,
    Patient,
    bsa_mosteller_m2,
    clinical_measures,
    egfr_ckd_epi_2009,
    egfr_ckd_epi_2021,
    kdigo_stage,
)


@pytest.mark.parametrize(
    ("creatinine", "age", "sex", "expected"),
    [
        (0.9, 55, "f", 75.5),
        (1.0, 50, "m", 91.7),
        (0.6, 30, "f", 123.8),
        (2.5, 70, "m", 27.0),
        (6.0, 63, "f", 7.4),
        (1.2, 60, "m", 69.2),
    ],
)
def test_ckd_epi_2021(creatinine: float, age: float, sex: str, expected: float) -> None:
    assert egfr_ckd_epi_2021(creatinine, age, sex) == pytest.approx(expected, abs=0.05)


def test_ckd_epi_2009_at_its_knots() -> None:
    # At the knots both powers are 1: 141 (x 1.018) x 0.993^age.
    assert egfr_ckd_epi_2009(0.9, 50, "m") == pytest.approx(141 * 0.993**50)
    assert egfr_ckd_epi_2009(0.7, 50, "f") == pytest.approx(144 * 0.993**50, rel=0.004)
    assert egfr_ckd_epi_2009(1.8, 50, "m") == pytest.approx(141 * 2**-1.209 * 0.993**50)


@pytest.mark.parametrize(
    ("egfr", "stage"),
    [(90, "G1"), (89.99, "G2"), (60, "G2"), (59.9, "G3a"), (45, "G3a"), (44.9, "G3b"), (30, "G3b"), (29.9, "G4"),
     (15, "G4"), (14.99, "G5")],
)  # fmt: skip
def test_kdigo_bounds_hold_for_unrounded_values(egfr: float, stage: str) -> None:
    assert kdigo_stage(egfr) == stage


def test_mosteller() -> None:
    assert bsa_mosteller_m2(170, 70) == pytest.approx(1.8181, abs=5e-5)


def test_everything_known() -> None:
    measures = clinical_measures(Patient("m", 60, 170, 70, 1.2))
    assert measures.egfr_2021 == pytest.approx(69.2, abs=0.05)
    assert measures.kdigo_stage == "G2"
    assert (measures.height_m, measures.weight_kg, measures.notes) == (1.7, 70, ())


def test_micromoles() -> None:
    one = clinical_measures(Patient("f", 55, creatinine=0.9))
    other = clinical_measures(Patient("f", 55, creatinine=0.9 * 88.4, creatinine_unit="umol/L"))
    assert one.egfr_2021 == pytest.approx(other.egfr_2021)


def test_nothing_given_is_no_complaint() -> None:
    assert clinical_measures(Patient()) == ClinicalMeasures()


@pytest.mark.parametrize(
    ("patient", "words"),
    [
        (Patient("m", 17.9, creatinine=1.0), "adults only"),
        (Patient(None, 50, creatinine=1.0), "sex"),
        (Patient("m", None, creatinine=1.0), "age"),
        (Patient("o", 50, creatinine=1.0), "sexes f and m"),
        (Patient("m", 50, creatinine=88.0), "umol/L"),
        (Patient("m", 50, creatinine=1.0, creatinine_unit="umol/L"), "mg/dL"),
        (Patient("m", 50, creatinine=1.0, creatinine_unit="g/L"), "unit"),
        (Patient("m", 50, creatinine=float("nan")), "Creatinine"),
        (Patient("m", 150, creatinine=1.0), "age"),
        (Patient(height_cm=1.75, weight_kg=70), "metres"),
        (Patient(height_cm=175, weight_kg=-3), "weight"),
    ],
)
def test_refusals_say_why(patient: Patient, words: str) -> None:
    measures = clinical_measures(patient)
    assert measures.egfr_2021 is measures.egfr_2009 is measures.kdigo_stage is measures.bsa_m2 is None
    assert len(measures.notes) == 1
    assert words in measures.notes[0]


def test_eighteen_is_adult() -> None:
    assert clinical_measures(Patient("f", 18, creatinine=0.8)).egfr_2021 is not None


def test_what_the_user_says_goes_before_what_the_scan_says() -> None:
    patient = Patient.of(PatientData("f", 60, 160, None), weight_kg=55.0, age_years=61.0, height_cm=None)
    assert patient == Patient("f", 61, 160, 55)
    assert Patient.of(None) == Patient()
