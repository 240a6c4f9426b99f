"""Resampling of stacks that are no regular upright grid: uneven slices, a tilted gantry."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from KidneySegLib.errors import InputError

if TYPE_CHECKING:
    import SimpleITK as sitk

#: What is outside the scanned volume.
AIR_HU = -1024
#: Gantries tilt by up to 30 degrees.
MAX_TILT_DEGREES = 45.0


def even_slices(stack: NDArray[Any], positions_mm: NDArray[np.float64], spacing_mm: float) -> NDArray[Any]:
    """A stack of slices interpolated linearly onto evenly spaced positions.

    Args:
        stack: (slices, rows, columns), any real type; integers are rounded.
        positions_mm: strictly increasing position of each slice.
        spacing_mm: wanted distance; the first position stays.

    Returns:
        (new slices, rows, columns) of the same type; the last slice lies at or before the last position.
    """
    count = int(np.floor((positions_mm[-1] - positions_mm[0]) / spacing_mm + 1e-3)) + 1
    wanted_mm = np.minimum(positions_mm[0] + spacing_mm * np.arange(count), positions_mm[-1])
    below = np.clip(np.searchsorted(positions_mm, wanted_mm, side="right") - 1, 0, len(positions_mm) - 2)
    weights = (wanted_mm - positions_mm[below]) / (positions_mm[below + 1] - positions_mm[below])
    even = np.empty((count, *stack.shape[1:]), dtype=stack.dtype)
    for index, (lower, weight) in enumerate(zip(below, weights, strict=True)):
        plane = (1 - np.float32(weight)) * stack[lower] + np.float32(weight) * stack[lower + 1]
        even[index] = np.rint(plane) if np.issubdtype(stack.dtype, np.integer) else plane
    return even


def is_sheared(image: sitk.Image) -> bool:
    """Whether the axes of a grid are not at right angles: over the whole grid they drift by more than half a voxel."""
    direction = np.array(image.GetDirection()).reshape(3, 3)
    cosines = np.abs(direction.T @ direction - np.diag(np.sum(direction**2, axis=0)))
    extents_mm = np.array(image.GetSize()) * np.array(image.GetSpacing())
    drift_mm = cosines * np.minimum.outer(extents_mm, extents_mm)
    return bool(np.isfinite(drift_mm).all() and drift_mm.max() > 0.5 * min(image.GetSpacing()))


def upright(image: sitk.Image, name: str) -> sitk.Image:
    """A sheared image resampled onto the smallest right-angled grid that holds all of it.

    The third axis (the table's, along which slices follow each other) and all spacings stay; rows and columns turn
    until they are perpendicular to it. Linear interpolation; outside is air.

    Args:
        image: grid whose third axis leans against the plane of the first two.
        name: for the message.

    Raises:
        InputError: the third axis leans by more than any gantry does.
    """
    import SimpleITK as sitk

    directions = np.array(image.GetDirection()).reshape(3, 3)
    row, column, step = (axis / np.linalg.norm(axis) for axis in directions.T)
    lean = np.degrees(np.arccos(np.clip(abs(np.dot(np.cross(row, column), step)), 0, 1)))
    if not lean <= MAX_TILT_DEGREES:
        raise InputError(
            f"The slices of {name} lean by {lean:.0f} degrees against the direction in which they follow each other, "
            "which no CT scanner does. Export the original axial series again."
        )
    # Keep the in-plane axis that leans less, as a gantry tilts about one axis only.
    if abs(np.dot(row, step)) <= abs(np.dot(column, step)):
        first = _perpendicular(row, step)
        second = np.cross(step, first)
        second *= np.sign(np.dot(second, column))
    else:
        second = _perpendicular(column, step)
        first = np.cross(second, step)
        first *= np.sign(np.dot(first, row))
    target = np.column_stack([first, second, step])
    corners = [
        image.TransformContinuousIndexToPhysicalPoint([float(c) for c in corner])
        for corner in product(*[(0, count - 1) for count in image.GetSize()])
    ]
    along = np.array(corners) @ target
    spacing_mm = np.array(image.GetSpacing())
    low = along.min(axis=0)
    size = np.floor((along.max(axis=0) - low) / spacing_mm + 1e-3).astype(int) + 1
    resampled = sitk.Resample(
        image,
        [int(count) for count in size],
        sitk.Transform(3, sitk.sitkIdentity),
        sitk.sitkLinear,
        [float(v) for v in target @ low],
        [float(v) for v in spacing_mm],
        [float(v) for v in target.ravel()],
        float(AIR_HU),
        sitk.sitkFloat32,
    )
    # ITK's resampling cuts off decimals of integers, so round here.
    return sitk.Cast(sitk.Round(resampled), sitk.sitkInt16) if image.GetPixelID() == sitk.sitkInt16 else resampled


def _perpendicular(axis: NDArray[np.float64], step: NDArray[np.float64]) -> NDArray[np.float64]:
    flat = axis - np.dot(axis, step) * step
    return flat / np.linalg.norm(flat)
