"""Who lies in the scanner: the facts that a report asks for, none of a real person."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from KidneySegLib.phantom.circulation import Patient


@dataclass(frozen=True)
class Subject:
    """A made-up patient record.

    Attributes:
        sex: ``f`` or ``m``.
        age_years, height_cm, weight_kg: as a record has them.
        egfr: mL/min/1.73 m2 by CKD-EPI 2021.
        creatinine_mg_dl: serum creatinine that gives this eGFR.
    """

    sex: str
    age_years: int
    height_cm: float
    weight_kg: float
    egfr: float
    creatinine_mg_dl: float


def creatinine_for(egfr: float, age_years: float, sex: str) -> float:
    """Creatinine in mg/dL that the CKD-EPI 2021 equation turns into an eGFR (Inker et al., NEJM 2021)."""
    kappa, alpha, factor = (0.7, -0.241, 1.012) if sex == "f" else (0.9, -0.302, 1.0)
    ratio = egfr / (142.0 * factor * 0.9938**age_years)
    return float(kappa * ratio ** (1 / alpha if ratio >= 1 else -1 / 1.2))


def sample_subject(rng: np.random.Generator, patient: Patient) -> Subject:
    """A record that goes with the weight and the kidney function of a scene's patient."""
    sex = "f" if rng.random() < 0.48 else "m"
    age = int(np.clip(rng.normal(58, 14), 20, 89))
    height = float(np.clip(rng.normal(163 if sex == "f" else 176, 6.5), 145, 200))
    egfr = float(np.clip(patient.egfr * np.exp(rng.normal(0, 0.08)), 5, 125))
    creatinine = round(creatinine_for(egfr, age, sex), 2)
    return Subject(sex, age, round(height), round(patient.weight_kg), round(egfr, 1), creatinine)
