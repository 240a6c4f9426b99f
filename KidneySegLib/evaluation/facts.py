"""What stands beside the masks: a phantom's ``truth.json``, a result's ``volumes.csv`` and ``provenance.json``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from KidneySegLib.errors import InputError
from KidneySegLib.measurement.clinical import Patient
from KidneySegLib.measurement.table import MeasurementTable, read_csv

#: Upper ends (mm) of the bins that slices are grouped into.
_SLICE_BINS_MM = (1.0, 2.0, 3.0, 5.0)
#: Worst first: what a case gets if its row ``both`` says nothing.
_LIGHTS = ("red", "yellow", "amber", "green")


@dataclass(frozen=True)
class PhantomFacts:
    """What a phantom knows of itself.

    Attributes:
        variant: kind of patient.
        phase: contrast phase.
        slice_thickness_mm: of the scan.
        patient: sex, age and creatinine of the phantom's patient.
    """

    variant: str
    phase: str
    slice_thickness_mm: float
    patient: Patient | None = None

    @property
    def slice_bin(self) -> str:
        """Slices as a group: ``<= 1 mm`` and so on."""
        below = 0.0
        for upper in _SLICE_BINS_MM:
            if self.slice_thickness_mm <= upper:
                return f"<= {upper:g} mm" if below == 0 else f"> {below:g} to {upper:g} mm"
            below = upper
        return f"> {below:g} mm"


@dataclass(frozen=True)
class ResultFacts:
    """What a result says of itself.

    Attributes:
        flags: keys of `flags.FLAGS`; None where the result has no table and no provenance.
        traffic_light: ``green`` and so on, empty where not given.
        model: name of the model, empty where not known.
    """

    flags: tuple[str, ...] | None = None
    traffic_light: str = ""
    model: str = ""


def phantom_facts(folder: Path) -> PhantomFacts | None:
    """What ``truth.json`` of a phantom says; None if there is none, or it is no phantom's."""
    truth = _json(folder / "truth.json")
    try:
        subject = truth.get("subject") or {}
        return PhantomFacts(
            variant=str(truth["variant"]),
            phase=str(truth["phase"]["name"]),
            slice_thickness_mm=float(truth["protocol"]["slice_thickness_mm"]),
            patient=_patient(subject) if subject else None,
        )
    except (KeyError, TypeError, ValueError, AttributeError):
        return None


def _patient(subject: Mapping[str, Any]) -> Patient:
    return Patient(
        sex=str(subject["sex"]),
        age_years=float(subject["age_years"]),
        creatinine=float(subject["creatinine_mg_dl"]),
        creatinine_unit="mg/dL",
    )


def result_facts(folder: Path) -> ResultFacts:
    """Flags and traffic light of a results folder: from ``volumes.csv``, else from ``provenance.json``."""
    provenance = _json(folder / "provenance.json")
    flags = provenance.get("flags")
    said = tuple(str(key) for key in flags) if isinstance(flags, list) else None
    model = provenance.get("model")
    name = str(model.get("name", "")) if isinstance(model, dict) else str(model or "")
    if not (folder / "volumes.csv").is_file():
        return ResultFacts(said, "", name)
    try:
        table = read_csv(folder / "volumes.csv")
    except InputError:
        return ResultFacts(said, "", name)
    keys = tuple(dict.fromkeys([*(said or ()), *(key for row in table for key in row.flags)]))
    return ResultFacts(keys, _light(table), name or next((row.model for row in table if row.model), ""))


def _light(table: MeasurementTable) -> str:
    both = table.row("both")
    if both is not None and both.traffic_light:
        return both.traffic_light.lower()
    lights = [row.traffic_light.lower() for row in table if row.traffic_light]
    return min(lights, key=lambda light: _LIGHTS.index(light) if light in _LIGHTS else 0) if lights else ""


def _json(path: Path) -> dict[str, Any]:
    try:
        read = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return read if isinstance(read, dict) else {}
