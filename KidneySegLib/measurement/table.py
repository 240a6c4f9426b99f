"""The measurement table: one row a kidney and one for both, and ``volumes.csv``."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from KidneySegLib.errors import InputError
from KidneySegLib.files import plain_write_errors
from KidneySegLib.flags import join_flags

#: Spreadsheets run a cell that starts so as a formula (OWASP, CSV injection); such text gets an apostrophe in front.
_FORMULA_STARTS = ("=", "+", "-", "@")


@dataclass(frozen=True)
class Row:
    """One row of ``volumes.csv``; fields stand in the order of its columns. None is an empty cell: not measured.

    Numbers are not rounded; `write_csv` rounds them as each field's metadata says.
    """

    case_id: str
    side: str
    parenchyma_ml: float | None = field(default=None, metadata={"decimals": 3})
    cortex_ml: float | None = field(default=None, metadata={"decimals": 3})
    medulla_ml: float | None = field(default=None, metadata={"decimals": 3})
    cortex_fraction: float | None = field(default=None, metadata={"decimals": 4})
    split_percent: float | None = field(default=None, metadata={"decimals": 2})
    cyst_ml: float | None = field(default=None, metadata={"decimals": 3})
    mass_ml: float | None = field(default=None, metadata={"decimals": 3})
    length_mm: float | None = field(default=None, metadata={"decimals": 1})
    cortical_thickness_mm: float | None = field(default=None, metadata={"decimals": 2})
    cortex_hu_mean: float | None = field(default=None, metadata={"decimals": 1})
    medulla_hu_mean: float | None = field(default=None, metadata={"decimals": 1})
    flags: tuple[str, ...] = ()
    model: str = ""
    source: str = "automatic"
    bsa_mosteller_m2: float | None = field(default=None, metadata={"decimals": 3})
    parenchyma_ml_per_m2: float | None = field(default=None, metadata={"decimals": 3})
    cortex_ml_per_m2: float | None = field(default=None, metadata={"decimals": 3})
    medulla_ml_per_m2: float | None = field(default=None, metadata={"decimals": 3})
    parenchyma_ml_per_m: float | None = field(default=None, metadata={"decimals": 3})
    cortex_ml_per_m: float | None = field(default=None, metadata={"decimals": 3})
    medulla_ml_per_m: float | None = field(default=None, metadata={"decimals": 3})
    parenchyma_ml_per_kg: float | None = field(default=None, metadata={"decimals": 4})
    cortex_ml_per_kg: float | None = field(default=None, metadata={"decimals": 4})
    medulla_ml_per_kg: float | None = field(default=None, metadata={"decimals": 4})
    egfr_ckd_epi_2021: float | None = field(default=None, metadata={"decimals": 1})
    egfr_ckd_epi_2009: float | None = field(default=None, metadata={"decimals": 1})
    kdigo_stage: str = ""
    parenchyma_plus_minus_ml: float | None = field(default=None, metadata={"decimals": 3})
    cortex_plus_minus_ml: float | None = field(default=None, metadata={"decimals": 3})
    medulla_plus_minus_ml: float | None = field(default=None, metadata={"decimals": 3})
    traffic_light: str = ""
    total_kidney_ml: float | None = field(default=None, metadata={"decimals": 3})
    total_kidney_ml_per_m: float | None = field(default=None, metadata={"decimals": 3})
    ellipsoid_ml: float | None = field(default=None, metadata={"decimals": 3})
    cyst_largest_diameter_mm: float | None = field(default=None, metadata={"decimals": 1})
    cyst_hu_mean: float | None = field(default=None, metadata={"decimals": 1})
    mass_largest_diameter_mm: float | None = field(default=None, metadata={"decimals": 1})
    mass_hu_mean: float | None = field(default=None, metadata={"decimals": 1})


#: Names of the columns of ``volumes.csv``, in order. New ones go to the end.
COLUMNS: tuple[str, ...] = tuple(item.name for item in fields(Row))
_DECIMALS: dict[str, int] = {item.name: item.metadata["decimals"] for item in fields(Row) if item.metadata}


@dataclass(frozen=True)
class MeasurementTable:
    """What is measured on one case.

    Attributes:
        rows: right, left, unsided (those that exist), then ``both``.
        notes: English sentences about what could not be computed, and why.
    """

    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()

    def __iter__(self) -> Iterator[Row]:
        return iter(self.rows)

    def row(self, side: str) -> Row | None:
        """The row of ``right``, ``left``, ``unsided`` or ``both``; None if there is none."""
        return next((row for row in self.rows if row.side == side), None)

    @property
    def flags(self) -> tuple[str, ...]:
        """All flags of the case, each once, in the order of the table of flags."""
        joined = join_flags(key for row in self.rows for key in row.flags)
        return tuple(joined.split(";")) if joined else ()


def cells(row: Row) -> dict[str, str]:
    """A row as text, as it is written: rounded, dot decimals, empty where not measured."""
    return cells_of(row)


def cells_of(row: Any) -> dict[str, str]:
    """Any row that is a dataclass as text: its fields are the columns, ``decimals`` in their metadata the rounding."""
    written = {}
    for item in fields(row):
        value, decimals = getattr(row, item.name), item.metadata.get("decimals")
        if item.name == "flags":
            written[item.name] = join_flags(value)
        elif value is None:
            written[item.name] = ""
        elif decimals is not None:
            # "+ 0.0" turns -0.0 into 0.0.
            written[item.name] = f"{round(value, decimals) + 0.0:.{decimals}f}"
        else:
            written[item.name] = text_cell(str(value))
    return written


def text_cell(text: str) -> str:
    """A text as a cell of a CSV file: one line, and never a formula of a spreadsheet."""
    # Tabs, line breaks and other control characters become spaces.
    line = "".join(char if char.isprintable() else " " for char in text)
    return f"'{line}" if _is_formula(line) else line


def _is_formula(text: str) -> bool:
    # Text that has such an apostrophe already gets another, so that reading can take one away.
    return text.lstrip("' ").startswith(_FORMULA_STARTS)


def csv_text(table: MeasurementTable) -> str:
    """The text of ``volumes.csv``."""
    return csv_text_of(COLUMNS, (cells(row) for row in table))


def csv_text_of(columns: Sequence[str], rows: Iterable[Mapping[str, str]]) -> str:
    """A CSV of rows of cells: comma separated, one header line, lines end with a line feed."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def write_csv(table: MeasurementTable, path: Path) -> None:
    """Write ``volumes.csv``: UTF-8 without BOM.

    Raises:
        OutputError: if the file cannot be written.
    """
    with plain_write_errors(f"{path} could not be written", "Choose another place."):
        path.write_bytes(csv_text(table).encode("utf-8"))


def read_csv(path: Path) -> MeasurementTable:
    """Read a table that `write_csv` wrote; columns that this version does not know are passed over.

    Raises:
        InputError: if the file is missing, is no such table, or holds a cell that is no number where one belongs.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise InputError(f"{path} could not be read ({error.strerror}). Give a volumes.csv of KidneySeg.") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8 text. Give a volumes.csv of KidneySeg as it was written.") from error
    reader = csv.DictReader(io.StringIO(text, newline=""))
    missing = [name for name in ("case_id", "side") if name not in (reader.fieldnames or ())]
    if missing:
        raise InputError(f"{path} has no column {missing[0]}. Give a volumes.csv of KidneySeg.")
    return MeasurementTable(tuple(_read_row(line, path, reader.line_num) for line in reader))


def _read_row(line: dict[str, str], path: Path, number: int) -> Row:
    values: dict[str, object] = {}
    for name in COLUMNS:
        text = line.get(name) or ""
        if name == "flags":
            values[name] = tuple(key for key in text.split(";") if key)
        elif name in _DECIMALS:
            try:
                values[name] = float(text) if text else None
            except ValueError as error:
                raise InputError(
                    f"{path}, line {number}: {name} must be a number with a decimal point or empty, got {text!r}."
                ) from error
        else:
            values[name] = text[1:] if text[:1] == "'" and _is_formula(text[1:]) else text
    return Row(**values)  # type: ignore[arg-type]
