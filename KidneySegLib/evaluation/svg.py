"""Small plots as inline SVG: an axis box, ticks at round numbers, dots that tell their case when pointed at."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape

INK, QUIET, GRID = "#1b2430", "#667085", "#e3e7ee"
BLUE, ORANGE, GREEN, RED = "#0072b2", "#d55e00", "#009e73", "#c62828"


def ticks(low: float, high: float, wanted: int = 6) -> list[float]:
    """Round numbers (1, 2 or 5 times a power of ten apart) within a range."""
    if not high > low:
        return [low]
    rough = (high - low) / wanted
    power = 10 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * 0.999)
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [round(index * step, 12) + 0.0 for index in range(first, last + 1)]


def span(values: Sequence[float], margin: float = 0.06) -> tuple[float, float]:
    """A range around numbers with some air; never empty."""
    known = [value for value in values if math.isfinite(value)]
    if not known:
        return 0.0, 1.0
    low, high = min(known), max(known)
    air = margin * (high - low) if high > low else max(abs(high) * 0.1, 0.5)
    return low - air, high + air


@dataclass
class Plot:
    """One plot that is drawn into piece by piece; `svg` gives its text.

    Attributes:
        title, x_label, y_label: texts, escaped when drawn.
        x, y: ranges of the axes.
        width, height: in px.
        x_names: names of positions 0, 1, 2 ... instead of numbers along x.
    """

    title: str
    x_label: str
    y_label: str
    x: tuple[float, float]
    y: tuple[float, float]
    width: int = 460
    height: int = 320
    x_names: tuple[str, ...] = ()
    _parts: list[str] = field(default_factory=list)

    @property
    def _slanted(self) -> bool:
        return any(len(name) * 7 > (self.width - 80) / max(len(self.x_names), 1) for name in self.x_names)

    @property
    def _frame(self) -> tuple[float, float, float, float]:
        """Left, top, right, bottom in px."""
        below = 52.0 if not self._slanted else 40.0 + min(9 + 4.2 * max(map(len, self.x_names)), 110)
        return 62.0, 34.0, self.width - 14.0, self.height - below

    def px(self, x: float) -> float:
        left, _, right, _ = self._frame
        return left + (x - self.x[0]) / (self.x[1] - self.x[0]) * (right - left)

    def py(self, y: float) -> float:
        _, top, _, bottom = self._frame
        return bottom - (y - self.y[0]) / (self.y[1] - self.y[0]) * (bottom - top)

    def dot(self, x: float, y: float, tip: str, colour: str = BLUE) -> None:
        """A case; its tip shows when it is pointed at."""
        self._parts.append(
            f"<circle cx='{self.px(x):.1f}' cy='{self.py(y):.1f}' r='3.2' fill='{colour}' fill-opacity='0.55'>"
            f"<title>{escape(tip)}</title></circle>"
        )

    def line(
        self, start: tuple[float, float], end: tuple[float, float], colour: str = QUIET, *, dashed: bool = False
    ) -> None:
        dash = " stroke-dasharray='5 4'" if dashed else ""
        self._parts.append(
            f"<line x1='{self.px(start[0]):.1f}' y1='{self.py(start[1]):.1f}' x2='{self.px(end[0]):.1f}' "
            f"y2='{self.py(end[1]):.1f}' stroke='{colour}' stroke-width='1.4'{dash}/>"
        )

    def level(self, y: float, text: str, colour: str = QUIET, *, dashed: bool = False) -> None:
        """A line across, with a word at its right end."""
        self.line((self.x[0], y), (self.x[1], y), colour, dashed=dashed)
        self._text(self._frame[2] - 4, self.py(y) - 4, text, "end", colour, 10)

    def box(self, x: float, q1: float, median: float, q3: float, whiskers: tuple[float, float]) -> None:
        """A box from quartile to quartile, with whiskers."""
        half = min(0.3 * (self.px(1) - self.px(0)), 26)
        middle = self.px(x)
        top, bottom = self.py(q3), self.py(q1)
        low, high = self.py(whiskers[0]), self.py(whiskers[1])
        self._parts.append(
            f"<g stroke='{INK}' stroke-width='1.2'>"
            f"<line x1='{middle:.1f}' y1='{high:.1f}' x2='{middle:.1f}' y2='{top:.1f}'/>"
            f"<line x1='{middle:.1f}' y1='{bottom:.1f}' x2='{middle:.1f}' y2='{low:.1f}'/>"
            f"<rect x='{middle - half:.1f}' y='{top:.1f}' width='{2 * half:.1f}' height='{max(bottom - top, 0.5):.1f}' "
            f"fill='{BLUE}' fill-opacity='0.12'/>"
            f"<line x1='{middle - half:.1f}' y1='{self.py(median):.1f}' x2='{middle + half:.1f}' "
            f"y2='{self.py(median):.1f}' stroke-width='2.2'/></g>"
        )

    def svg(self) -> str:
        """The plot's text: an ``svg`` element that needs nothing else."""
        left, top, right, bottom = self._frame
        body, self._parts = self._parts, []
        for value in ticks(*self.y):
            y = self.py(value)
            self._parts.append(
                f"<line x1='{left}' y1='{y:.1f}' x2='{right}' y2='{y:.1f}' stroke='{GRID}' stroke-width='1'/>"
            )
            self._text(left - 6, y + 4, f"{value:g}", "end", QUIET, 11)
        self._x_axis(bottom)
        self._parts.append(
            f"<rect x='{left}' y='{top}' width='{right - left}' height='{bottom - top}' fill='none' stroke='{QUIET}'/>"
        )
        frame, self._parts = self._parts, []
        self._text(left, 20, self.title, "start", INK, 13, bold=True)
        self._text((left + right) / 2, self.height - 8, self.x_label, "middle", QUIET, 11)
        self._parts.append(
            f"<text transform='translate(14 {(top + bottom) / 2:.0f}) rotate(-90)' text-anchor='middle' "
            f"font-size='11' fill='{QUIET}'>{escape(self.y_label)}</text>"
        )
        words, self._parts = self._parts, body
        return (
            f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {self.width} {self.height}' width='{self.width}' "
            f"height='{self.height}' role='img' aria-label='{escape(self.title, quote=True)}' "
            f"font-family='system-ui, sans-serif'>{''.join(frame + body + words)}</svg>"
        )

    def _x_axis(self, bottom: float) -> None:
        if not self.x_names:
            for value in ticks(*self.x):
                self._text(self.px(value), bottom + 16, f"{value:g}", "middle", QUIET, 11)
            return
        for index, name in enumerate(self.x_names):
            x = self.px(index)
            if self._slanted:
                self._parts.append(
                    f"<text transform='translate({x + 4:.1f} {bottom + 14:.1f}) rotate(-35)' text-anchor='end' "
                    f"font-size='11' fill='{QUIET}'>{escape(name)}</text>"
                )
            else:
                self._text(x, bottom + 16, name, "middle", QUIET, 11)

    def _text(self, x: float, y: float, text: str, anchor: str, colour: str, size: int, *, bold: bool = False) -> None:
        weight = " font-weight='600'" if bold else ""
        self._parts.append(
            f"<text x='{x:.1f}' y='{y:.1f}' text-anchor='{anchor}' font-size='{size}' fill='{colour}'{weight}>"
            f"{escape(text)}</text>"
        )
