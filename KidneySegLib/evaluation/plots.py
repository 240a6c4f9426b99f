"""The plots of an evaluation: box plots, Bland-Altman plots, scatter plots."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from KidneySegLib.evaluation.agreement import Pearson
from KidneySegLib.evaluation.cohort_agreement import FunctionCorrelation, VolumeAgreement
from KidneySegLib.evaluation.svg import GREEN, ORANGE, QUIET, RED, Plot, span

_LIGHTS = {"green": GREEN, "yellow": "#e69f00", "amber": "#e69f00", "red": RED}


def box_plot(
    title: str,
    y_label: str,
    groups: Mapping[str, Sequence[tuple[str, float]]],
    *,
    at_most: float | None = None,
    at_least: float | None = None,
    x_label: str = "",
) -> str:
    """A box a group: quartiles, median, whiskers to the last case within 1.5 quartile ranges, and every case as a dot.

    Args:
        title, x_label, y_label: texts.
        groups: name to (case id, value); groups without any are left out.
        at_most, at_least: natural ends of the scale (Dice is at most 1), beyond which no air is left.
    """
    shown = {name: values for name, values in groups.items() if values}
    everything = [value for values in shown.values() for _, value in values]
    low, high = span(everything)
    high = high if at_most is None else min(high, at_most)
    low = low if at_least is None else max(low, at_least)
    if not high > low:
        low, high = low - 0.05, high + 0.05
    width = max(460, min(980, 90 + 72 * len(shown)))
    names = tuple(f"{name} ({len(values)})" for name, values in shown.items())
    plot = Plot(title, x_label, y_label, (-0.6, len(shown) - 0.4), (low, high), width, 340, names)
    for index, values in enumerate(shown.values()):
        numbers = np.array([value for _, value in values])
        q1, median, q3 = (float(q) for q in np.percentile(numbers, (25, 50, 75)))
        reach = 1.5 * (q3 - q1)
        inside = numbers[(numbers >= q1 - reach) & (numbers <= q3 + reach)]
        if len(numbers) > 2:
            plot.box(index, q1, median, q3, (float(inside.min()), float(inside.max())))
        for order, (case_id, value) in enumerate(values):
            # Neighbours stand beside each other, always the same way.
            aside = ((order * 0.618) % 1 - 0.5) * 0.34
            plot.dot(index + aside, value, f"{case_id}: {value:.4g}", _LIGHTS.get(list(shown)[index], "#0072b2"))
    return plot.svg()


def bland_altman_plot(title: str, found: VolumeAgreement) -> str:
    """Differences against means in mL, with bias and limits of agreement."""
    means = [(a + b) / 2 for a, b in zip(found.reference_ml, found.prediction_ml, strict=True)]
    differences = [b - a for a, b in zip(found.reference_ml, found.prediction_ml, strict=True)]
    ba = found.difference_ml
    levels = [value for value in (ba.lower, ba.bias, ba.upper) if value is not None]
    plot = Plot(
        title,
        "mean of predicted and reference, mL",
        "predicted - reference, mL",
        span(means),
        span([*differences, *levels, 0], 0.12),
    )
    plot.line((plot.x[0], 0), (plot.x[1], 0), "#c0c6d0")
    if ba.bias is not None and ba.lower is not None and ba.upper is not None:
        plot.level(ba.bias, f"bias {ba.bias:+.1f}", ORANGE)
        plot.level(ba.upper, f"upper limit {ba.upper:+.1f}", ORANGE, dashed=True)
        plot.level(ba.lower, f"lower limit {ba.lower:+.1f}", ORANGE, dashed=True)
    for case_id, mean, difference in zip(found.case_ids, means, differences, strict=True):
        plot.dot(mean, difference, f"{case_id}: {difference:+.2f} mL")
    return plot.svg()


def volume_scatter(title: str, found: VolumeAgreement) -> str:
    """Predicted against reference volumes, with the line of identity."""
    ends = span([*found.reference_ml, *found.prediction_ml])
    words = f"{title}{_r(found.pearson)}"
    plot = Plot(words, "reference, mL", "predicted, mL", ends, ends)
    plot.line((ends[0], ends[0]), (ends[1], ends[1]), QUIET, dashed=True)
    for case_id, a, b in zip(found.case_ids, found.reference_ml, found.prediction_ml, strict=True):
        plot.dot(a, b, f"{case_id}: reference {a:.1f}, predicted {b:.1f} mL")
    return plot.svg()


def function_scatter(title: str, found: FunctionCorrelation) -> str:
    """Volumes against eGFR, with the least-squares line."""
    plot = Plot(
        f"{title}{_r(found.pearson)}",
        "eGFR, mL/min/1.73 m²",
        f"{found.source} volume, mL",
        span(found.egfr),
        span(found.ml),
    )
    if found.pearson.r is not None:
        slope, start = np.polyfit(found.egfr, found.ml, 1)
        low, high = min(found.egfr), max(found.egfr)
        plot.line((low, start + slope * low), (high, start + slope * high), ORANGE)
    for case_id, egfr, ml in zip(found.case_ids, found.egfr, found.ml, strict=True):
        plot.dot(egfr, ml, f"{case_id}: eGFR {egfr:.1f}, {ml:.1f} mL")
    return plot.svg()


def _r(found: Pearson) -> str:
    return "" if found.r is None else f": r = {found.r:.3f}"
