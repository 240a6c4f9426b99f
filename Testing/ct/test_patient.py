"""Patient data and technical tags that are taken from DICOM, and what is not."""

from __future__ import annotations

from typing import Any

import pytest
from dicom_series import SeriesSpec, slice_dataset
from hypothesis import given
from hypothesis import strategies as st
from pydicom import Dataset

from KidneySegLib.ct import PatientData
from KidneySegLib.ct.patient import ACQUISITION_KEYWORDS, acquisition_tags, parse_age, patient_data


def header(**tags: Any) -> Dataset:
    dataset = Dataset()
    for keyword, value in tags.items():
        setattr(dataset, keyword, value)
    return dataset


@pytest.mark.parametrize(
    ("text", "years"),
    [
        ("065Y", 65.0),
        ("65Y", 65.0),
        ("065", 65.0),
        ("018M", 1.5),
        ("003W", 3 * 7 / 365.25),
        ("012D", 12 / 365.25),
        (" 041y ", 41.0),
        ("000Y", None),
        ("999Y", None),
        ("", None),
        ("Y", None),
        ("abcY", None),
        ("-05Y", None),
        ("1.5Y", None),
        ("²Y", None),
    ],
)
def test_age_string(text: str, years: float | None) -> None:
    assert parse_age(text) == (None if years is None else pytest.approx(years))


@given(st.text(max_size=6))
def test_any_text_is_an_age_or_none(text: str) -> None:
    years = parse_age(text)
    assert years is None or 0 < years <= 120


@pytest.mark.parametrize(
    ("tags", "data"),
    [
        ({}, PatientData()),
        ({"PatientSex": "M", "PatientAge": "040Y"}, PatientData(sex="m", age_years=40.0)),
        ({"PatientSex": "O"}, PatientData()),
        ({"PatientSize": "1.78", "PatientWeight": "81.5"}, PatientData(height_cm=178.0, weight_kg=81.5)),
        ({"PatientSize": "178"}, PatientData(height_cm=178.0)),
        ({"PatientSize": "0", "PatientWeight": "0"}, PatientData()),
        ({"PatientSize": "17", "PatientWeight": "9999"}, PatientData()),
        ({"PatientBirthDate": "20000101", "StudyDate": "19990101"}, PatientData()),
        ({"PatientBirthDate": "20009999", "StudyDate": "20240101"}, PatientData()),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_patient_data(tags: dict[str, Any], data: PatientData) -> None:
    assert patient_data(header(**tags)) == data


def test_age_from_dates() -> None:
    assert patient_data(header(PatientBirthDate="19640701", StudyDate="20240701")).age_years == pytest.approx(
        60, abs=0.01
    )


def test_white_list_holds_no_identity() -> None:
    dataset = slice_dataset(SeriesSpec(), 0, 1)
    dataset.InstitutionName = "St. Elsewhere"
    dataset.SeriesDescription = "Mr Smith's kidneys"
    tags = acquisition_tags(dataset)
    assert set(tags) == {"Manufacturer", "KVP", "SliceThickness", "ConvolutionKernel", "RescaleType"}
    words = ("Patient", "Name", "Date", "Time", "UID", "Comment", "Description", "Physician", "Institution")
    allowed = {"PatientPosition", "ManufacturerModelName", "ExposureTime"}
    assert not [key for key in ACQUISITION_KEYWORDS if any(word in key for word in words) and key not in allowed]


@pytest.mark.filterwarnings("ignore")
def test_values_are_one_short_line() -> None:
    dataset = header(ContrastBolusAgent="Iomeron\r\n350 " + "x" * 50, ConvolutionKernel=["B30f", "3"])
    tags = acquisition_tags(dataset)
    assert tags["ConvolutionKernel"] == "B30f\\3"
    assert tags["ContrastBolusAgent"].startswith("Iomeron 350 xxx")
    assert len(tags["ContrastBolusAgent"]) <= 64
