"""From fine planes to slices: the slice profile, and resampling in the plane."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from KidneySegLib.phantom.grid import Grid

FloatArray = npt.NDArray[np.float32]

#: Fine planes are a third of the slice thickness apart, but within these (a scene has no detail below the first).
PLANE_STEP_MM = (0.8, 2.0)
#: A slice profile is flat in the middle and falls over this part of the thickness (a trapezoid).
EDGE_SHARE = 0.4


def slice_profile(offsets_mm: npt.NDArray[np.float64], thickness_mm: float) -> npt.NDArray[np.float64]:
    """Slice sensitivity: a trapezoid whose full width at half maximum is the thickness.

    Args:
        offsets_mm: distances from the slice's centre.
        thickness_mm: full width at half maximum.

    Returns:
        1 in the middle, 0.5 at half the thickness, 0 beyond 0.7 of it.
    """
    half = thickness_mm / 2
    ramp = EDGE_SHARE * thickness_mm
    return np.clip(0.5 + (half - np.abs(offsets_mm)) / ramp, 0.0, 1.0)


@dataclass(frozen=True)
class Stack:
    """How fine planes make up the slices of a scan.

    Each slice cell (spacing) is cut into ``per_slice`` planes; ``margin`` cells more lie below and above, since a
    profile can be wider than its cell.
    """

    slices: int
    per_slice: int
    margin: int
    step_mm: float
    thickness_mm: float

    @classmethod
    def of(cls, slices: int, spacing_mm: float, thickness_mm: float) -> Stack:
        largest = float(np.clip(thickness_mm / 3, *PLANE_STEP_MM))
        per_slice = max(1, math.ceil(spacing_mm / largest - 1e-9))
        step = spacing_mm / per_slice
        reach = thickness_mm * (0.5 + EDGE_SHARE / 2)
        margin = max(0, math.ceil((reach - spacing_mm / 2) / spacing_mm))
        return cls(slices, per_slice, margin, step, thickness_mm)

    @property
    def planes(self) -> int:
        return (self.slices + 2 * self.margin) * self.per_slice

    @cached_property
    def weights(self) -> FloatArray:
        """Of the planes of a slice's own cell and its margins; they sum to 1."""
        count = (2 * self.margin + 1) * self.per_slice
        offsets = np.asarray((np.arange(count) - (count - 1) / 2) * self.step_mm, np.float64)
        weights = slice_profile(offsets, self.thickness_mm)
        if weights.sum() == 0:  # a slice thinner than the step, between two planes
            weights[np.abs(offsets) == np.abs(offsets).min()] = 1.0
        return np.asarray(weights / weights.sum(), np.float32)

    def profile_planes(self, index: int) -> range:
        """Planes that the profile of a slice may weigh, one for each of `weights`."""
        start = index * self.per_slice
        return range(start, start + len(self.weights))

    def cell_planes(self, index: int) -> range:
        """Planes inside the slice's own cell: what the truth of a slice is averaged over."""
        start = (index + self.margin) * self.per_slice
        return range(start, start + self.per_slice)


@dataclass(frozen=True)
class Axis:
    """Resampling along one axis of the plane: from fine samples to pixels.

    Either whole blocks of samples are averaged (pixels coarser than samples), or pixels are read by linear
    interpolation (finer). Pixels beyond the samples take the fill value.

    Attributes:
        samples, step_mm, first_mm: number, distance and first place of the samples.
        pixels, pixel_mm: of the whole axis.
        first_pixel: the first one that the samples reach.
        block: samples averaged for a pixel; 0 for interpolation, then ``lower`` and ``weight`` place each pixel.
    """

    samples: int
    step_mm: float
    first_mm: float
    pixels: int
    pixel_mm: float
    first_pixel: int
    block: int
    lower: npt.NDArray[np.intp]
    weight: FloatArray


def plan_axis(
    pixels: int, pixel_mm: float, first_centre_mm: float, low_mm: float, high_mm: float, step_mm: float
) -> Axis:
    """Choose fine samples for pixels.

    Args:
        pixels, pixel_mm, first_centre_mm: the pixels along the axis.
        low_mm, high_mm: where there is something to sample.
        step_mm: wanted distance of samples.
    """
    edge = first_centre_mm - pixel_mm / 2
    start = int(np.clip(math.floor((low_mm - edge) / pixel_mm), 0, pixels - 1))
    stop = int(np.clip(math.ceil((high_mm - edge) / pixel_mm), start + 1, pixels))
    if pixel_mm >= step_mm:
        block = math.ceil(pixel_mm / step_mm - 1e-9)
        sample = pixel_mm / block
        count = (stop - start) * block
        first = edge + start * pixel_mm + sample / 2
        nothing = (np.zeros(0, np.intp), np.zeros(0, np.float32))
        return Axis(count, sample, first, pixels, pixel_mm, start, block, *nothing)
    low, high = edge + start * pixel_mm, edge + stop * pixel_mm
    count = max(2, math.ceil((high - low) / step_mm) + 1)
    first = (low + high) / 2 - (count - 1) / 2 * step_mm
    centres = first_centre_mm + np.arange(start, stop) * pixel_mm
    position = (centres - first) / step_mm
    lower = np.clip(np.floor(position).astype(np.intp), 0, count - 2)
    weight = (position - lower).astype(np.float32)
    return Axis(count, step_mm, first, pixels, pixel_mm, start, 0, lower, weight)


def resample(samples: FloatArray, rows: Axis, columns: Axis, fill: float) -> FloatArray:
    """A plane of samples (y, x) as a whole matrix of pixels (rows, columns)."""
    part = _along(samples, rows, 0)
    part = _along(part, columns, 1)
    result = np.full((rows.pixels, columns.pixels), fill, np.float32)
    y, x = rows.first_pixel, columns.first_pixel
    result[y : y + part.shape[0], x : x + part.shape[1]] = part
    return result


def _along(samples: FloatArray, axis: Axis, dimension: int) -> FloatArray:
    if axis.block == 1:
        return samples
    if axis.block > 1:
        if dimension == 0:
            parts = samples.reshape(-1, axis.block, samples.shape[1])
            return np.asarray(parts.mean(axis=1, dtype=np.float32))
        parts = samples.reshape(samples.shape[0], -1, axis.block)
        return np.asarray(parts.mean(axis=2, dtype=np.float32))
    low, high = np.take(samples, axis.lower, dimension), np.take(samples, axis.lower + 1, dimension)
    weight = axis.weight[:, None] if dimension == 0 else axis.weight[None, :]
    return np.asarray(low + weight * (high - low), np.float32)


def sampling_mtf(frequencies_per_mm: npt.NDArray[np.floating[Any]], axis: Axis) -> npt.NDArray[np.float64]:
    """What soft edges of one sample and the resampling themselves do to frequencies along an axis, 0..1."""
    edges = np.sinc(frequencies_per_mm * axis.step_mm)
    if axis.block == 1:
        return np.asarray(edges, np.float64)
    if axis.block > 1:
        return np.asarray(edges * np.sinc(frequencies_per_mm * axis.pixel_mm), np.float64)
    return np.asarray(edges * np.sinc(frequencies_per_mm * axis.step_mm) ** 2, np.float64)


def fine_grid(grid: Grid, stack: Stack, rows: Axis, columns: Axis) -> Grid:
    """The grid of all fine planes of a scan."""
    spacing = grid.spacing_mm_zyx[0]
    bottom = grid.origin_mm_xyz[2] - spacing * (0.5 + stack.margin)
    return Grid(
        (stack.planes, rows.samples, columns.samples),
        (stack.step_mm, rows.step_mm, columns.step_mm),
        (columns.first_mm, rows.first_mm, bottom + stack.step_mm / 2),
    )
