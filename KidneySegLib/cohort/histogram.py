"""Histograms as SVG, drawn without any library, so that a page needs none."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from statistics import median

_WIDTH, _HEIGHT, _BASE, _TOP = 300, 130, 108, 8
_COLOURS = {"both": "#0072b2", "right": "#d55e00", "left": "#0072b2", "unsided": "#009e73"}
_MOST_BINS = 24


def histogram(heading: str, unit: str, series: Mapping[str, Sequence[float]]) -> str:
    """A figure with a bar for each interval; several series share the intervals and stand beside each other.

    Args:
        heading: what is measured.
        unit: its unit, may be empty.
        series: finite values by name; at least one value each.
    """
    everything = [value for values in series.values() for value in values]
    edges = bin_edges(everything)
    counts = {name: bin_counts(values, edges) for name, values in series.items()}
    most = max(max(column) for column in counts.values())
    step = _WIDTH / (len(edges) - 1)
    bar = step / len(series)
    bars = []
    for place, (name, column) in enumerate(counts.items()):
        colour = _COLOURS.get(name, "#667085")
        for index, count in enumerate(column):
            if count:
                height = (_BASE - _TOP) * count / most
                x = index * step + place * bar
                title = f"{edges[index]:.4g} to {edges[index + 1]:.4g} {unit}: {count}"
                bars.append(
                    f"<rect x='{x + 0.5:.1f}' y='{_BASE - height:.1f}' width='{max(bar - 1, 0.5):.1f}' "
                    f"height='{height:.1f}' fill='{colour}'><title>{escape(title)}</title></rect>"
                )
    axis = f"<line x1='0' y1='{_BASE}' x2='{_WIDTH}' y2='{_BASE}' stroke='#667085'/>"
    ends = "".join(
        f"<text x='{x}' y='{_HEIGHT - 6}' font-size='11' fill='#667085' text-anchor='{anchor}'>{value:.4g}</text>"
        for x, anchor, value in ((0, "start", edges[0]), (_WIDTH, "end", edges[-1]))
    )
    middle = "; ".join(f"{name}: median {median(values):.3g}, n = {len(values)}" for name, values in series.items())
    in_unit = f" ({escape(unit)})" if unit else ""
    return (
        f"<figure><figcaption>{escape(heading)}{in_unit} <small>{escape(middle)}</small></figcaption>"
        f"<svg viewBox='0 0 {_WIDTH} {_HEIGHT}' role='img' aria-label='{escape(heading, quote=True)}'>"
        f"{''.join(bars)}{axis}{ends}</svg></figure>"
    )


def bin_edges(values: Sequence[float]) -> list[float]:
    """Edges of equal intervals that hold all values: about as many as the root of their number, round in size."""
    low, high = min(values), max(values)
    wanted = min(max(math.ceil(math.sqrt(len(values))), 5), _MOST_BINS)
    rough = (high - low) / wanted or abs(low) / 10 or 1.0
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= rough * (1 - 1e-9))
    first = math.floor(low / step)
    last = max(math.floor(high / step) + 1, first + 1)
    return [index * step for index in range(first, last + 1)]


def bin_counts(values: Sequence[float], edges: Sequence[float]) -> list[int]:
    """How many values lie in each interval; an edge belongs to the interval that it begins."""
    counts = [0] * (len(edges) - 1)
    step = edges[1] - edges[0]
    for value in values:
        counts[min(max(int((value - edges[0]) / step), 0), len(counts) - 1)] += 1
    return counts
