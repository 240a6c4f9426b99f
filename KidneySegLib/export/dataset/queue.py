"""Which case to review next: the one that the model is least sure of."""

from __future__ import annotations

from collections.abc import Iterable

from KidneySegLib.export.dataset.records import DataSetCase
from KidneySegLib.flags import FLAGS, Severity

_LIGHTS = {"red": 3, "yellow": 2, "amber": 2, "green": 1}
_STRUCTURES = ("parenchyma", "cortex", "medulla")
_WEIGHTS = {Severity.CRITICAL: 100, Severity.WARNING: 10, Severity.INFO: 1}


def to_review(cases: Iterable[DataSetCase]) -> tuple[DataSetCase, ...]:
    """Cases that nobody accepted or rejected yet, the most uncertain first.

    The order is: the model's traffic light, then its relative uncertainty in mL, then how bad the flags are, then
    the case that has waited longest.
    """
    waiting = [case for case in cases if not case.reviewed]
    return tuple(sorted(waiting, key=lambda case: (*(-value for value in uncertainty_of(case)), case.created)))


def uncertainty_of(case: DataSetCase) -> tuple[float, float, float]:
    """How unsure the model is, as numbers to sort by: light, relative uncertainty, weight of flags. 0 is not known."""
    newest = case.latest
    light = _LIGHTS.get(str(newest.uncertainty.get("traffic_light", "")).lower(), 0)
    relative = 0.0
    for structure in _STRUCTURES:
        plus_minus = newest.uncertainty.get(f"{structure}_plus_minus_ml")
        keys = ("_cortex", "_medulla", "_undivided") if structure == "parenchyma" else (f"_{structure}",)
        volume = sum(ml for key, ml in newest.volumes_ml.items() if key.endswith(keys))
        if isinstance(plus_minus, (int, float)) and volume > 0:
            relative = max(relative, float(plus_minus) / volume)
    weight = sum(_WEIGHTS[FLAGS[key].severity] for key in {*newest.flags, *case.flags} if key in FLAGS)
    return float(light), relative, float(weight)
