"""Cells of CSV files: numbers as they are, text safe against spreadsheets that would run it."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence

from KidneySegLib.measurement.table import text_cell

Cell = str | int | float | None


def csv_text(header: Sequence[str], rows: Iterable[Sequence[Cell]]) -> str:
    """A CSV file: comma separated, one header line, lines end with a line feed. None is an empty cell."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows([cell_text(cell) for cell in row] for row in rows)
    return text.getvalue()


def cell_text(cell: Cell) -> str:
    """One cell. Numbers keep their sign; text becomes one line and is never a formula."""
    if cell is None:
        return ""
    if isinstance(cell, (int, float)):
        return f"{cell}"
    return text_cell(cell)


def rounded(value: float | None, decimals: int) -> str | float | None:
    """A number as it is written, with all its decimals; never -0."""
    if value is None:
        return None
    return _Number(f"{round(value, decimals) + 0.0:.{decimals}f}")


class _Number(float):
    """A number that keeps the text that it was rounded to."""

    _text: str

    def __new__(cls, text: str) -> _Number:
        number = super().__new__(cls, text)
        number._text = text
        return number

    def __format__(self, _: str) -> str:
        return self._text
