"""What is taken from DICOM besides the picture: four facts about the patient and a white list of technical tags."""

from __future__ import annotations

import math
from datetime import date
from typing import TYPE_CHECKING

from KidneySegLib.ct.scan import PatientData

if TYPE_CHECKING:
    from pydicom import Dataset

#: Technical attributes that go into provenance. None of them can identify a person; free text typed by staff
#: (SeriesDescription, ProtocolName, comments), dates, times and UIDs are left out on purpose.
ACQUISITION_KEYWORDS = (
    "Manufacturer",
    "ManufacturerModelName",
    "KVP",
    "XRayTubeCurrent",
    "ExposureTime",
    "SliceThickness",
    "SpacingBetweenSlices",
    "ConvolutionKernel",
    "FilterType",
    "ReconstructionDiameter",
    "GantryDetectorTilt",
    "SpiralPitchFactor",
    "PatientPosition",
    "BodyPartExamined",
    "ContrastBolusAgent",
    "ContrastBolusVolume",
    "ContrastFlowRate",
    "ContrastBolusIngredientConcentration",
    "RescaleType",
)
PATIENT_KEYWORDS = ("PatientSex", "PatientAge", "PatientSize", "PatientWeight", "PatientBirthDate", "StudyDate")

_YEARS_PER_UNIT = {"Y": 1.0, "M": 1 / 12, "W": 7 / 365.25, "D": 1 / 365.25}
_MAX_AGE_YEARS = 120.0
_MAX_TEXT = 64


def patient_data(header: Dataset) -> PatientData:
    """Sex, age, height and weight; what is missing or cannot be true is None.

    The age is PatientAge, else the time from birth to the study; dates themselves are not kept.
    """
    sex = str(header.get("PatientSex", "") or "").strip().upper()
    age = parse_age(str(header.get("PatientAge", "") or ""))
    if age is None:
        age = _years_between(str(header.get("PatientBirthDate", "") or ""), str(header.get("StudyDate", "") or ""))
    height = _number(header.get("PatientSize"))
    if height is not None:
        # DICOM says metres (PS3.3 C.7.2.2); some systems write centimetres.
        height = height * 100 if 0.3 <= height <= 2.6 else height if 30 <= height <= 260 else None
    weight = _number(header.get("PatientWeight"))
    return PatientData(
        sex={"F": "f", "M": "m"}.get(sex),
        age_years=age,
        height_cm=height,
        weight_kg=weight if weight is not None and 0.5 <= weight <= 500 else None,
    )


def parse_age(text: str) -> float | None:
    """Years of a DICOM age string (PS3.5 6.2, VR AS): ``065Y``, ``018M``, ``003W``, ``012D``; None if it is none."""
    text = text.strip().upper()
    unit = _YEARS_PER_UNIT.get(text[-1:])
    digits = text[:-1] if unit is not None else text
    if not (digits.isascii() and digits.isdigit()) or len(digits) > 3:
        return None
    years = int(digits) * (unit or 1.0)
    return years if 0 < years <= _MAX_AGE_YEARS else None


def acquisition_tags(header: Dataset) -> dict[str, str]:
    """The white-listed attributes of a header as short one-line texts, also from nested groups of a multi-frame."""
    found: dict[str, str] = {}
    wanted = set(ACQUISITION_KEYWORDS)
    for element in header.iterall():
        keyword = element.keyword
        if keyword in wanted and keyword not in found and not element.is_empty and element.VR != "SQ":
            value = element.value
            text = "\\".join(map(str, value)) if element.VM > 1 else str(value)
            text = " ".join("".join(char if char.isprintable() else " " for char in text).split())
            if text:
                found[keyword] = text[:_MAX_TEXT]
    return {keyword: found[keyword] for keyword in ACQUISITION_KEYWORDS if keyword in found}


def _number(value: object) -> float | None:
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None


def _years_between(birth: str, study: str) -> float | None:
    try:
        days = (_date(study) - _date(birth)).days
    except ValueError:
        return None
    years = days / 365.25
    return years if 0 < years <= _MAX_AGE_YEARS else None


def _date(text: str) -> date:
    digits = text.replace(".", "")[:8]
    return date(int(digits[:4]), int(digits[4:6]), int(digits[6:8]))
