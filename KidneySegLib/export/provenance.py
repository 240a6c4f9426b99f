"""``provenance.json``: how a result came about. Never who the patient is."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from datetime import datetime, timezone
from enum import Enum
from pathlib import PurePath
from typing import Any

from KidneySegLib.files import json_text

FORMAT = "kidneyseg-results"
FORMAT_VERSION = 1


def make_provenance(
    given: Mapping[str, Any], *, case_id: str, scan: Any, phase: Any, flags: tuple[str, ...], notes: tuple[str, ...]
) -> dict[str, Any]:
    """What is written: what the caller knows, and below it what every result says.

    Args:
        given: the caller's facts (versions, model, device, precision, seconds ...); they win.
        case_id: name of the case.
        scan: `KidneySegLib.ct.scan.CtScan`; only its hash, grid and technical data are taken.
        phase: `KidneySegLib.ct.phase.PhaseEstimate`, or None.
        flags: all flags of the case.
        notes: sentences about what could not be computed.
    """
    image = scan.image
    facts: dict[str, Any] = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "case_id": case_id,
        "input": {
            "sha256": scan.sha256,
            "size": list(image.GetSize()),
            "spacing_mm": list(image.GetSpacing()),
            "slice_thickness_mm": scan.slice_thickness_mm,
            "acquisition": dict(scan.acquisition),
        },
        "phase": phase,
        "flags": list(flags),
        "notes": list(notes),
    }
    facts.update(given)
    plain: dict[str, Any] = plain_data(facts)
    return plain


def provenance_text(facts: Mapping[str, Any]) -> str:
    """The text of ``provenance.json``."""
    return json_text(plain_data(facts), allow_nan=False)


def plain_data(value: Any) -> Any:
    """Records, enums, paths, numpy numbers and tuples as JSON knows them; a number that is none becomes null."""
    if isinstance(value, Enum):
        return plain_data(value.value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain_data(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key.value if isinstance(key, Enum) else key): plain_data(item) for key, item in value.items()}
    if isinstance(value, PurePath):
        return value.name  # a full path may hold a name
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain_data(item) for item in value]
    if hasattr(value, "tolist"):
        return plain_data(value.tolist())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, (bool, int, str)):
        return value
    return str(value)
