"""How the slices of a series follow each other in space: order, gaps, duplicates, tilt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from KidneySegLib.ct.dicom_headers import SliceHeader
from KidneySegLib.ct.dicom_series import SAME_POSITION_MM
from KidneySegLib.ct.geometry import MIN_SLICES
from KidneySegLib.errors import InputError

#: Largest distance of neighbouring slices that is bridged by interpolation. A wider gap can hide a lesion or a
#: whole pole of a kidney.
MAX_GAP_MM = 10.0
#: Positions may deviate from even ones by this much, as scanners round what they write, but no more than this
#: share of the spacing.
EVEN_WITHIN_MM = 0.1
EVEN_WITHIN = 0.15
#: A step of k spacings within this share of one spacing is k - 1 missing slices.
_STEP_WITHIN = 0.15
#: If more steps than this are double or longer, the spacing changes along the scan and nothing is missing.
_MAX_MISSING = 0.2
#: Slices whose centres drift sideways by less than this many pixels over the whole scan are upright.
_DRIFT_PIXELS = 0.5
_ROUNDING_MM = 0.1
#: Even slices are not made finer than this.
_MIN_EVEN_MM = 0.5


@dataclass(frozen=True)
class Stack:
    """Slices in order, from the first along the normal of their plane.

    Attributes:
        slices: one for each position.
        positions_mm: distance of each slice from the first, along `step`; strictly increasing.
        spacing_mm: distance of even slices: the stack's own, or the one to resample to.
        even: whether the stack is even as it is.
        row, column, step: unit vectors along a row, down a column, and from slice to slice. The third leans against
            the plane of the first two if the gantry was tilted.
        pixel_mm: distance of pixels along a row and down a column.
        thickness_mm: nominal thickness of a slice.
        flags: keys of `KidneySegLib.flags.FLAGS`.
    """

    slices: tuple[SliceHeader, ...]
    positions_mm: NDArray[np.float64]
    spacing_mm: float
    even: bool
    row: NDArray[np.float64]
    column: NDArray[np.float64]
    step: NDArray[np.float64]
    pixel_mm: tuple[float, float]
    thickness_mm: float
    flags: tuple[str, ...]


def build_stack(slices: Sequence[SliceHeader], name: str) -> Stack:
    """Order slices and judge their geometry.

    Args:
        slices: of one volume, all with position, orientation and pixel size, of one size and orientation.
        name: the series, for messages.

    Raises:
        InputError: directions that are none, slices too far apart, not in one line, or too few.
    """
    first = slices[0]
    if first.row is None or first.column is None or first.pixel_mm is None:
        raise InputError(f"The slices of {name} have no position. Export the original axial series again.")
    row, column = np.array(first.row), np.array(first.column)
    row /= np.linalg.norm(row)
    normal = np.cross(row, column)
    normal /= np.linalg.norm(normal)
    column = np.cross(normal, row)
    down_mm, along_mm = first.pixel_mm
    if down_mm <= 0 or along_mm <= 0:
        raise InputError(f"The PixelSpacing of {name} is {down_mm:g} x {along_mm:g} mm. Export the series again.")

    ordered, duplicates = _ordered(slices, normal)
    if len(ordered) < MIN_SLICES:
        raise InputError(
            f"{name} has only {len(ordered)} slice positions, but at least {MIN_SLICES} are needed. "
            "Give a whole CT series."
        )
    origins = np.array([one.position_mm for one in ordered])
    step, tilted = _step(origins, normal, min(down_mm, along_mm), name)
    positions_mm = (origins - origins[0]) @ normal / float(step @ normal)
    _check_gaps(positions_mm, origins, name)
    spacing_mm, even, missing = _spacing(positions_mm)
    flags = []
    if missing:
        flags.append("missing_slices_interpolated")
    elif not even:
        flags.append("resampled_irregular_slices")
    if tilted:
        flags.append("gantry_tilt_corrected")
    if duplicates:
        flags.append("duplicate_slices_dropped")
    thicknesses = [one.thickness_mm for one in ordered if one.thickness_mm is not None]
    return Stack(
        slices=tuple(ordered),
        positions_mm=positions_mm,
        spacing_mm=spacing_mm,
        even=even,
        row=row,
        column=column,
        step=step,
        pixel_mm=(along_mm, down_mm),
        thickness_mm=max(thicknesses) if thicknesses else spacing_mm,
        flags=tuple(flags),
    )


def _ordered(slices: Sequence[SliceHeader], normal: NDArray[np.float64]) -> tuple[list[SliceHeader], int]:
    """Slices by position, then number; one for each position; and how many were left out."""
    places_mm = [float(np.dot(normal, np.array(one.position_mm))) for one in slices]
    ordered: list[SliceHeader] = []
    last_mm = -np.inf
    for place_mm, _, index in sorted((place, slices[i].number, i) for i, place in enumerate(places_mm)):
        if place_mm - last_mm > SAME_POSITION_MM:
            ordered.append(slices[index])
            last_mm = place_mm
    return ordered, len(slices) - len(ordered)


def _step(
    origins: NDArray[np.float64], normal: NDArray[np.float64], pixel_mm: float, name: str
) -> tuple[NDArray[np.float64], bool]:
    """Unit vector from slice to slice, and whether it leans against the normal."""
    travel = origins[-1] - origins[0]
    drift_mm = float(np.linalg.norm(travel - np.dot(travel, normal) * normal))
    tolerance_mm = max(_DRIFT_PIXELS * pixel_mm, _ROUNDING_MM)
    tilted = drift_mm > tolerance_mm
    step = travel / np.linalg.norm(travel) if tilted else normal
    along = (origins - origins[0]) @ normal / float(step @ normal)
    astray = np.linalg.norm(origins - origins[0] - np.outer(along, step), axis=1)
    if astray.max() > tolerance_mm:
        raise InputError(
            f"The slices of {name} do not lie in one line: one is {astray.max():.1f} mm beside the others. "
            "Export the original axial series again."
        )
    return step, tilted


def _check_gaps(positions_mm: NDArray[np.float64], origins: NDArray[np.float64], name: str) -> None:
    steps_mm = np.diff(positions_mm)
    widest = int(np.argmax(steps_mm))
    if steps_mm[widest] <= MAX_GAP_MM + _ROUNDING_MM:
        return
    usual_mm = float(np.median(steps_mm))
    if usual_mm > MAX_GAP_MM:
        raise InputError(
            f"The slices of {name} lie {usual_mm:.1f} mm apart, but at most {MAX_GAP_MM:g} mm can be measured. "
            "Give a series with finer slices."
        )
    where = " and ".join("(" + ", ".join(f"{mm:.1f}" for mm in origin) + ")" for origin in origins[widest : widest + 2])
    raise InputError(
        f"Slices of {name} are missing: a gap of {steps_mm[widest]:.1f} mm between the slices at {where}; at most "
        f"{MAX_GAP_MM:g} mm are interpolated. Copy or export the whole series again."
    )


def _spacing(positions_mm: NDArray[np.float64]) -> tuple[float, bool, bool]:
    """Spacing of even slices, whether the slices are even, and if not, whether only a few are missing."""
    count = len(positions_mm)
    mean_mm = float(positions_mm[-1]) / (count - 1)
    if np.abs(positions_mm - mean_mm * np.arange(count)).max() <= min(EVEN_WITHIN_MM, EVEN_WITHIN * mean_mm):
        return mean_mm, True, False
    steps_mm = np.diff(positions_mm)
    usual_mm = float(np.median(steps_mm))
    multiples = np.rint(steps_mm / usual_mm)
    whole = multiples.min() >= 1 and np.abs(steps_mm - multiples * usual_mm).max() <= _STEP_WITHIN * usual_mm
    if whole and np.mean(multiples > 1) <= _MAX_MISSING:
        return float(positions_mm[-1]) / float(multiples.sum()), False, True
    # The finest spacing that a good part of the scan has, so that its detail is kept.
    finest_mm = max(float(np.quantile(steps_mm, 0.1)), _MIN_EVEN_MM)
    length_mm = float(positions_mm[-1])
    return length_mm / np.ceil(length_mm / finest_mm - 1e-3), False, False
