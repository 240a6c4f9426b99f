"""What the DICOM database knows about a volume that matters here: never who the patient is."""

import math
import re

import slicer

_YEARS = {"Y": 1.0, "M": 1 / 12, "W": 7 / 365.25, "D": 1 / 365.25}
_TAGS = {
    "sex": "0010,0040",
    "age": "0010,1010",
    "size": "0010,1020",
    "weight": "0010,1030",
    "thickness": "0018,0050",
    "modality": "0008,0060",
}
# Technical attributes that go into provenance, by DICOM keyword.
_ACQUISITION_TAGS = {
    "Manufacturer": "0008,0070",
    "ManufacturerModelName": "0008,1090",
    "KVP": "0018,0060",
    "ConvolutionKernel": "0018,1210",
    "ContrastBolusAgent": "0018,0010",
}


def dicomFacts(volumeNode):
    """Facts of a volume that was loaded through Slicer's DICOM database; empty for any other volume.

    :return: any of ``sex`` ("f" or "m"), ``ageYears``, ``heightCm``, ``weightKg``, ``sliceThicknessMm``, ``modality``,
      ``acquisition`` (dict).
    """
    instances = (volumeNode.GetAttribute("DICOM.instanceUIDs") or "").split()
    database = getattr(slicer, "dicomDatabase", None)
    if not instances or database is None or not database.isOpen:
        return {}
    values = {name: database.instanceValue(instances[0], tag).strip() for name, tag in _TAGS.items()}
    acquisition = {
        keyword: value
        for keyword, tag in _ACQUISITION_TAGS.items()
        if (value := database.instanceValue(instances[0], tag).strip())
    }
    facts = {
        "sex": {"F": "f", "M": "m"}.get(values["sex"].upper()),
        "ageYears": parseAge(values["age"]),
        "heightCm": _positive(values["size"], 100),
        "weightKg": _positive(values["weight"]),
        "sliceThicknessMm": _positive(values["thickness"]),
        "modality": values["modality"] or None,
        "acquisition": acquisition,
    }
    return {name: value for name, value in facts.items() if value}


def parseAge(text):
    """Years of a DICOM age string (``063Y``, ``018M``), None if it is not one."""
    match = re.fullmatch(r"(\d{1,3})([DWMY])", text.strip())
    return int(match[1]) * _YEARS[match[2]] if match else None


def _positive(text, factor=1.0):
    try:
        value = float(text) * factor
    except ValueError:
        return None
    return value if math.isfinite(value) and value > 0 else None
