"""Measuring kidneys: volumes, length, cortical thickness, HU, and what the patient's size and creatinine add."""

from __future__ import annotations

from KidneySegLib.measurement.clinical import ClinicalMeasures, Patient, clinical_measures
from KidneySegLib.measurement.measure import measure
from KidneySegLib.measurement.read_labels import SCHEMES, check_same_grid, read_labels
from KidneySegLib.measurement.table import COLUMNS, MeasurementTable, Row, read_csv, write_csv

__all__ = [
    "COLUMNS",
    "SCHEMES",
    "ClinicalMeasures",
    "MeasurementTable",
    "Patient",
    "Row",
    "check_same_grid",
    "clinical_measures",
    "measure",
    "read_csv",
    "read_labels",
    "write_csv",
]
