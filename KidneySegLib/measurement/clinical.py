"""What the patient's size, age and creatinine say beside the volumes: body surface, eGFR, KDIGO stage."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Any

#: 1 mg/dL of creatinine in umol/L.
UMOL_PER_MG_DL = 88.4
ADULT_YEARS = 18.0
#: What lies outside is a slip of the unit or of the keyboard.
CREATININE_MG_DL = (0.1, 30.0)
AGE_YEARS = (0.0, 120.0)
HEIGHT_CM = (30.0, 260.0)
WEIGHT_KG = (1.0, 500.0)

#: (lower bound in mL/min/1.73 m2, stage), compared with the unrounded value. Source: KDIGO 2012 and 2024.
_STAGES = ((90.0, "G1"), (60.0, "G2"), (45.0, "G3a"), (30.0, "G3b"), (15.0, "G4"))


@dataclass(frozen=True)
class Patient:
    """Facts about the patient that volumes are compared with. Never who the patient is; None where not known.

    Attributes:
        sex: ``"f"`` or ``"m"``.
        age_years: age at the scan.
        height_cm: body height.
        weight_kg: body weight.
        creatinine: serum creatinine in `creatinine_unit`.
        creatinine_unit: ``"mg/dL"`` or ``"umol/L"``.
    """

    sex: str | None = None
    age_years: float | None = None
    height_cm: float | None = None
    weight_kg: float | None = None
    creatinine: float | None = None
    creatinine_unit: str = "mg/dL"

    @classmethod
    def of(cls, known: Any, **given: Any) -> Patient:
        """From any object with these attributes (such as `KidneySegLib.ct.scan.PatientData`) or None.

        Args:
            known: what the scan says.
            **given: what the user says; it wins where it is not None.
        """
        names = [field.name for field in fields(cls)]
        values = {name: getattr(known, name, None) for name in names}
        values.update({name: value for name, value in given.items() if value is not None})
        return cls(**{name: value for name, value in values.items() if value is not None})


@dataclass(frozen=True)
class ClinicalMeasures:
    """What could be derived from a `Patient`; None where it could not, and `notes` says why.

    Attributes:
        bsa_m2: body surface area, Mosteller.
        height_m: height that volumes may be divided by.
        weight_kg: weight that volumes may be divided by.
        egfr_2021: CKD-EPI 2021, mL/min/1.73 m2.
        egfr_2009: CKD-EPI 2009 without its race factor, mL/min/1.73 m2.
        kdigo_stage: GFR category of `egfr_2021`. G1 and G2 are chronic kidney disease only with other damage.
        notes: English sentences about what was not computed although something was given for it.
    """

    bsa_m2: float | None = None
    height_m: float | None = None
    weight_kg: float | None = None
    egfr_2021: float | None = None
    egfr_2009: float | None = None
    kdigo_stage: str | None = None
    notes: tuple[str, ...] = ()


def bsa_mosteller_m2(height_cm: float, weight_kg: float) -> float:
    """Body surface area after Mosteller (N Engl J Med 1987;317:1098)."""
    return math.sqrt(height_cm * weight_kg / 3600)


def egfr_ckd_epi_2021(creatinine_mg_dl: float, age_years: float, sex: str) -> float:
    """eGFR in mL/min/1.73 m2 of an adult, CKD-EPI creatinine 2021 (doi 10.1056/NEJMoa2102953).

    Args:
        creatinine_mg_dl: serum creatinine.
        age_years: at least 18.
        sex: ``"f"`` or ``"m"``.
    """
    kappa, alpha, factor = (0.7, -0.241, 1.012) if sex == "f" else (0.9, -0.302, 1.0)
    ratio = creatinine_mg_dl / kappa
    egfr: float = 142 * min(ratio, 1) ** alpha * max(ratio, 1) ** -1.200 * 0.9938**age_years * factor
    return egfr


def egfr_ckd_epi_2009(creatinine_mg_dl: float, age_years: float, sex: str) -> float:
    """eGFR in mL/min/1.73 m2 of an adult, CKD-EPI creatinine 2009 without its race factor
    (doi 10.7326/0003-4819-150-9-200905050-00006). Arguments as for `egfr_ckd_epi_2021`.
    """
    kappa, alpha, factor = (0.7, -0.329, 1.018) if sex == "f" else (0.9, -0.411, 1.0)
    ratio = creatinine_mg_dl / kappa
    egfr: float = 141 * min(ratio, 1) ** alpha * max(ratio, 1) ** -1.209 * 0.993**age_years * factor
    return egfr


def kdigo_stage(egfr: float) -> str:
    """KDIGO GFR category, G1 to G5, of an unrounded eGFR."""
    return next((stage for bound, stage in _STAGES if egfr >= bound), "G5")


def clinical_measures(patient: Patient) -> ClinicalMeasures:
    """Everything that a patient's facts allow. What is missing stays empty without a word; what is wrong is noted."""
    notes: list[str] = []
    height_cm = _within(patient.height_cm, HEIGHT_CM, "The height", "cm", "Is it in metres?", notes)
    weight_kg = _within(patient.weight_kg, WEIGHT_KG, "The weight", "kg", "Check it.", notes)
    bsa = bsa_mosteller_m2(height_cm, weight_kg) if height_cm is not None and weight_kg is not None else None
    height_m = height_cm / 100 if height_cm is not None else None
    egfr = None if patient.creatinine is None else _egfr_input(patient, notes)
    if egfr is None:
        return ClinicalMeasures(bsa, height_m, weight_kg, notes=tuple(notes))
    new = egfr_ckd_epi_2021(*egfr)
    return ClinicalMeasures(
        bsa, height_m, weight_kg, new, egfr_ckd_epi_2009(*egfr), kdigo_stage(new), notes=tuple(notes)
    )


def _egfr_input(patient: Patient, notes: list[str]) -> tuple[float, float, str] | None:
    """Creatinine in mg/dL, age and sex, or None and a note."""
    factors = {"mg/dl": 1.0, "umol/l": UMOL_PER_MG_DL, "µmol/l": UMOL_PER_MG_DL}
    factor = factors.get(patient.creatinine_unit.lower())
    if factor is None:
        notes.append(
            f"eGFR was not computed: the unit of creatinine must be mg/dL or umol/L, got {patient.creatinine_unit}."
        )
        return None
    assert patient.creatinine is not None
    hint = "Is it in umol/L?" if factor == 1.0 else "Is it in mg/dL?"
    creatinine = _within(patient.creatinine / factor, CREATININE_MG_DL, "Creatinine", "mg/dL", hint, notes)
    age = _within(patient.age_years, AGE_YEARS, "The age", "years", "Check it.", notes)
    sex = (patient.sex or "").lower()
    missing = [name for name, value in (("age", patient.age_years), ("sex", patient.sex)) if value is None]
    if missing:
        notes.append(f"eGFR was not computed: {' and '.join(missing)} of the patient not known.")
    elif sex not in ("f", "m"):
        notes.append(f"eGFR was not computed: the formula knows the sexes f and m, got {patient.sex}.")
    elif age is not None and age < ADULT_YEARS:
        notes.append(f"eGFR was not computed: CKD-EPI holds for adults only, and the patient is {age:g} years old.")
    elif creatinine is not None and age is not None:
        return creatinine, age, sex
    return None


def _within(
    value: float | None, limits: tuple[float, float], name: str, unit: str, hint: str, notes: list[str]
) -> float | None:
    if value is None:
        return None
    if math.isfinite(value) and limits[0] <= value <= limits[1]:
        return value
    notes.append(f"{name} was not used: {value:g} {unit} is outside {limits[0]:g} to {limits[1]:g} {unit}. {hint}")
    return None
