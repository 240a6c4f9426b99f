"""The fields of a request, looked at before anything is done with them. What is not of the protocol is refused."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from KidneySegLib.worker_parts.protocol import ProtocolError

_MAX_TEXT = 32_768


def check_fields(request: Mapping[str, Any]) -> None:
    """Check the type of every field of a request that this side uses; others are not looked at.

    Raises:
        ProtocolError: a field of another type, or a number that is none.
    """
    _check(request, _REQUEST, "")


def _check(fields: Mapping[str, Any], forms: Mapping[str, Callable[[Any], bool]], where: str) -> None:
    for name, is_good in forms.items():
        value = fields.get(name)
        if value is not None and not is_good(value):
            raise ProtocolError(f"{where}{name} is not what this protocol has there, got {value!r:.80}")


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and len(value) <= _MAX_TEXT and "\0" not in value and _is_unicode(value)


def _is_unicode(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _is_number(value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    # A whole number of 400 digits is none that can be reckoned with.
    return abs(value) < 1e300 and math.isfinite(value)


def _is_number_or_empty(value: Any) -> bool:
    return value == "" or _is_number(value)


def _is_flag(value: Any) -> bool:
    return isinstance(value, bool)


def _is_list_of(is_good: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, list) and all(map(is_good, value))


def _is_texts(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(item, str | int | float) for item in value.values())


def _is_record(forms: Mapping[str, Callable[[Any], bool]]) -> Callable[[Any], bool]:
    def is_good(value: Any) -> bool:
        if not isinstance(value, dict):
            return False
        _check(value, forms, "")
        return True

    return is_good


_VOLUME = {
    "array": _is_text,
    "spacing_mm": _is_list_of(_is_number),
    "origin_mm": _is_list_of(_is_number),
    "direction": _is_list_of(_is_number),
    "slice_thickness_mm": _is_number_or_empty,
    "flags": _is_list_of(_is_text),
    "acquisition": _is_texts,
}
_PATIENT = {
    "sex": _is_text,
    "age_years": _is_number_or_empty,
    "height_cm": _is_number_or_empty,
    "weight_kg": _is_number_or_empty,
    "creatinine": _is_number_or_empty,
    "creatinine_unit": _is_text,
}
_REVIEW = {
    "reader": _is_text,
    "time": _is_text,
    "status": _is_text,
    "comment": _is_text,
    "changed_voxels": _is_number,
}
_REQUEST: Mapping[str, Callable[[Any], bool]] = {
    "volume": _is_record(_VOLUME),
    "labels": _is_record(_VOLUME),
    "patient": _is_record(_PATIENT),
    "model": _is_text,
    "device": _is_text,
    "precision": _is_text,
    "mirror": _is_text,
    "case_id": _is_text,
    "use_localiser": _is_flag,
    "find_lesions": _is_flag,
    "model_facts": _is_texts,
    "review": _is_record(_REVIEW),
    # The data set and DICOM SEG.
    "automatic": _is_record(_VOLUME),
    "dataset": _is_text,
    "dataset_case": _is_text,
    "reader": _is_text,
    "status": _is_text,
    "comment": _is_text,
    "subject": _is_text,
    "seconds_spent": _is_number,
    "based_on": _is_number,
    "uncertainty": _is_texts,
    "flags": _is_list_of(_is_text),
    "case": _is_text,
    "revision": _is_number,
    "output": _is_text,
    "format": _is_text,
    "readers": _is_text,
    "files": _is_list_of(_is_text),
}
