"""nnU-Net's resampling as one weight matrix an axis, so that it can be applied where and as coarsely as needed.

nnU-Net resizes with splines (scikit-image's ``resize``, which is scipy's ``zoom`` on a grid whose outer faces agree):
cubic for scans, linear for logits. A spline is separable and linear in its samples, so along an axis it is a matrix:
the recursive prefilter and the four-tap B-spline multiplied out, a band of some twenty weights a row (what lies
further away is below `NEGLIGIBLE`). Where voxels are much longer along one axis than across, that axis is done
apart, by nearest neighbour. At its edges an image goes on as its last voxel.

Source: nnunetv2 2.8.1, ``preprocessing/resampling/default_resampling.py``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from KidneySegLib.inference.resampling import AxisWeights
from KidneySegLib.models.bundle import Size
from KidneySegLib.models.nnunet_record import Resampling

#: Voxels more than this many times as long along one axis than along another are resampled apart (nnU-Net).
ANISOTROPY = 3.0
#: Weights below this are left out: on a scan clipped to a few hundred HU they make less than a thousandth of a HU.
NEGLIGIBLE = 1e-6
#: scipy's ``zoom`` prolongs an image by this many voxels before the prefilter.
_PROLONGED = 12


def new_shape(shape: Sequence[int], spacing_mm: Sequence[float], target_mm: Sequence[float]) -> Size:
    """Voxels of the resampled image, rounded as in nnU-Net (half to even)."""
    a, b, c = (round(s / t * n) for s, t, n in zip(spacing_mm, target_mm, shape, strict=True))
    return max(a, 1), max(b, 1), max(c, 1)


def separate_axis(resampling: Resampling, spacing_mm: Sequence[float], target_mm: Sequence[float]) -> int | None:
    """The coarse axis that is resampled apart; None where there is none.

    Args:
        resampling: its ``separate_z`` forces or forbids it.
        spacing_mm, target_mm: before and after.
    """
    deciding: Sequence[float] | None = None
    if resampling.separate_z is None:
        for spacing in (spacing_mm, target_mm):
            if max(spacing) / min(spacing) > ANISOTROPY:
                deciding = spacing
                break
    elif resampling.separate_z:
        deciding = spacing_mm
    if deciding is None:
        return None
    coarsest = [axis for axis, mm in enumerate(deciding) if max(deciding) / mm == 1]
    return coarsest[0] if len(coarsest) == 1 else None


def axis_matrices(
    source: Size, target: Size, resampling: Resampling, separate: int | None
) -> tuple[AxisWeights, AxisWeights, AxisWeights]:
    """The weights of each axis.

    Args:
        source, target: voxels before and after.
        resampling: orders of the splines.
        separate: from `separate_axis`.
    """
    orders = [resampling.order_z if axis == separate else resampling.order for axis in range(3)]
    a, b, c = (resize_weights(n, m, order) for n, m, order in zip(source, target, orders, strict=True))
    return a, b, c


def resize_weights(source: int, target: int, order: int) -> AxisWeights:
    """Weights of resizing an axis from ``source`` to ``target`` voxels with a spline of an order (0, 1 or 3).

    Returns:
        Rows that sum to 1 (up to rounding); the unit matrix where nothing changes.
    """
    if source == target:
        return AxisWeights(np.eye(source, dtype=np.float32), 0)
    centres = source / target * (np.arange(target, dtype=np.float64) + 0.5) - 0.5
    matrix = np.zeros((target, source))
    rows = np.arange(target)
    if order == 0:
        nearest = np.clip(np.floor(np.clip(centres, 0.0, source - 1.0) + 0.5).astype(int), 0, source - 1)
        matrix[rows, nearest] = 1.0
    elif order == 1:
        inside = np.clip(centres, 0.0, source - 1.0)
        below = np.minimum(np.floor(inside).astype(int), max(source - 2, 0))
        share = inside - below
        np.add.at(matrix, (rows, below), 1.0 - share)
        np.add.at(matrix, (rows, np.minimum(below + 1, source - 1)), share)
    else:
        matrix = _cubic(centres, source)
        matrix[np.abs(matrix) < NEGLIGIBLE] = 0.0
        matrix /= matrix.sum(axis=1, keepdims=True)
    return AxisWeights(matrix.astype(np.float32), 0)


def _cubic(centres: NDArray[np.float64], source: int) -> NDArray[np.float64]:
    """Weights of the interpolating cubic spline through samples that go on as the first and last one."""
    from scipy import ndimage

    # Row i: the spline's coefficients of an image that is 1 at voxel i, prolonged.
    prolonged = np.pad(np.eye(source), ((0, 0), (_PROLONGED, _PROLONGED)), mode="edge")
    coefficients = ndimage.spline_filter1d(prolonged, order=3, axis=1, mode="nearest", output=np.float64)
    moved = centres + _PROLONGED
    first = np.floor(moved).astype(int) - 1
    t = moved - np.floor(moved)
    taps = (
        np.stack([(1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, -3 * t**3 + 3 * t**2 + 3 * t + 1, t**3]) / 6.0
    )  # The cubic B-spline at distances 1 + t, t, 1 - t, 2 - t.
    matrix = np.zeros((len(centres), source))
    for offset, weight in enumerate(taps):
        matrix += weight[:, None] * coefficients[:, first + offset].T
    result: NDArray[Any] = matrix
    return result
