"""The table of an ultrasound result: one row a frame, and ``measurements.csv``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields

from KidneySegLib.measurement.table import cells_of, csv_text_of
from KidneySegLib.ultrasound.image import PixelMm
from KidneySegLib.ultrasound.measures import measure_mask
from KidneySegLib.ultrasound.preparation import Mask

_MM = {"decimals": 1}
_PX = {"decimals": 1}


@dataclass(frozen=True)
class FrameRow:
    """One row of ``measurements.csv``; fields stand in the order of its columns. None is an empty cell: not measured.

    Millimetres are there where the picture is calibrated; pixels always. `area_px` counts pixels.
    """

    case_id: str
    frame: int
    length_mm: float | None = field(default=None, metadata=_MM)
    width_mm: float | None = field(default=None, metadata=_MM)
    area_mm2: float | None = field(default=None, metadata=_MM)
    perimeter_mm: float | None = field(default=None, metadata=_MM)
    length_px: float | None = field(default=None, metadata=_PX)
    width_px: float | None = field(default=None, metadata=_PX)
    area_px: float | None = field(default=None, metadata={"decimals": 0})
    perimeter_px: float | None = field(default=None, metadata=_PX)
    confidence: float | None = field(default=None, metadata={"decimals": 3})
    flags: tuple[str, ...] = ()
    model: str = ""
    source: str = "automatic"


COLUMNS: tuple[str, ...] = tuple(item.name for item in fields(FrameRow))


def frame_row(
    mask: Mask,
    pixel_mm: PixelMm | None,
    *,
    case_id: str,
    frame: int,
    confidence: float | None = None,
    flags: Sequence[str] = (),
    model: str = "",
    source: str = "automatic",
) -> FrameRow:
    """Measure the kidney of one frame.

    Args:
        mask: (y, x).
        pixel_mm: edges of a pixel (y, x), or None.
        case_id, confidence, flags, model, source: as written.
        frame: counted from 1.
    """
    pixels = measure_mask(mask)
    millimetres = measure_mask(mask, pixel_mm) if pixel_mm is not None else None
    return FrameRow(
        case_id=case_id,
        frame=frame,
        length_mm=millimetres.length if millimetres else None,
        width_mm=millimetres.width if millimetres else None,
        area_mm2=millimetres.area if millimetres else None,
        perimeter_mm=millimetres.perimeter if millimetres else None,
        length_px=pixels.length if pixels else None,
        width_px=pixels.width if pixels else None,
        area_px=pixels.area if pixels else None,
        perimeter_px=pixels.perimeter if pixels else None,
        confidence=confidence,
        flags=tuple(flags),
        model=model,
        source=source,
    )


def cells(row: FrameRow) -> dict[str, str]:
    """A row as text, as it is written: rounded, dot decimals, empty where not measured."""
    return cells_of(row)


def csv_text(rows: Sequence[FrameRow]) -> str:
    """The text of ``measurements.csv``."""
    return csv_text_of(COLUMNS, (cells(row) for row in rows))
