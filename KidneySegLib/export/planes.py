"""Flat pictures through a scan: upright in the patient, square pixels, whatever the grid."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from KidneySegLib.labels import LABELS, Side, parenchyma_ids
from KidneySegLib.postprocessing.grid import Points, VoxelGrid, bounding_box, padded
from KidneySegLib.postprocessing.landmarks import sample_body

if TYPE_CHECKING:
    import SimpleITK as sitk

#: Soft-tissue window a little brighter than usual, so that contrast-filled cortex is not white: -120 to 330 HU.
WINDOW_HU = (-120.0, 330.0)
AIR_HU = -1024.0
_STEP_MM = 2.0
_MAX_POINTS = 150_000


@dataclass(frozen=True)
class Plane:
    """A rectangle in the world. Radiological convention: the patient's right is at the left of the picture.

    Attributes:
        name: what the reader calls it.
        centre_mm: its middle, world x, y, z.
        across: unit vector from the picture's left to its right.
        down: unit vector from its top to its bottom.
        size_mm: width and height.
        letters: directions at the left, right, top and bottom edge.
    """

    name: str
    centre_mm: tuple[float, float, float]
    across: tuple[int, int, int]
    down: tuple[int, int, int]
    size_mm: tuple[float, float]
    letters: str

    def shape(self, pixels_per_mm: float) -> tuple[int, int]:
        """Rows and columns of the picture."""
        columns, rows = (max(1, round(mm * pixels_per_mm)) for mm in self.size_mm)
        return rows, columns

    def pixel_mm(self, row: float, column: float, pixels_per_mm: float) -> tuple[float, float, float]:
        """World position of the middle of a pixel."""
        rows, columns = self.shape(pixels_per_mm)
        right, down = column + 0.5 - columns / 2, row + 0.5 - rows / 2
        x, y, z = (
            middle + (right * a + down * d) / pixels_per_mm
            for middle, a, d in zip(self.centre_mm, self.across, self.down, strict=True)
        )
        return x, y, z

    def pixels(self, world_mm: Points, pixels_per_mm: float) -> Points:
        """Rows and columns (n, 2), fractions of pixels, of world positions (n, 3) as they are seen in the plane."""
        rows, columns = self.shape(pixels_per_mm)
        away = world_mm - np.array(self.centre_mm)
        middle = np.array([rows, columns]) / 2 - 0.5
        found: Points = away @ np.array([self.down, self.across], dtype=np.float64).T * pixels_per_mm + middle
        return found


def choose_planes(labels: sitk.Image, image: sitk.Image) -> list[Plane]:
    """An axial and a coronal plane that show both kidneys, and a sagittal one through each.

    Each runs where the smaller of the two sections is largest. Without a kidney: through the middle of the body.
    All have a common scale and show the width and depth of the body.
    """
    kidneys = _kidney_points(labels)
    body = sample_body(image).world_mm
    scan = VoxelGrid.of(image).corners()
    body = body if len(body) else scan
    around = np.concatenate(list(kidneys.values())) if kidneys else body
    low, high = around.min(axis=0), around.max(axis=0)
    level = body[(body[:, 2] > low[2] - 10) & (body[:, 2] < high[2] + 10)]
    level = level if len(level) > 100 else body
    edges = np.percentile(level, (0.5, 99.5), axis=0)
    left_right = (min(edges[0][0], low[0]) - 12, max(edges[1][0], high[0]) + 12)
    front_back = (min(edges[0][1], low[1]) - 12, max(edges[1][1], high[1]) + 12)
    middle = (low[2] + high[2]) / 2 if kidneys else float(np.median(body[:, 2]))
    reach = max((high[2] - low[2]) / 2 + 45, 110.0) if kidneys else 130.0
    up_down = (max(middle - reach, scan[:, 2].min()), min(middle + reach, scan[:, 2].max()))
    centre = [float(sum(pair) / 2) for pair in (left_right, front_back, up_down)]
    wide, deep, tall = (float(b - a) for a, b in (left_right, front_back, up_down))
    x, y, z = centre
    if kidneys:
        y, z = (_best_section(list(kidneys.values()), axis) for axis in (1, 2))
    sagittal = {
        f"Sagittal, {'kidney without side' if side is Side.UNSIDED else f'{side.value} kidney'}": _best_section(
            [points], 0
        )
        for side, points in kidneys.items()
    } or {"Sagittal": x}
    planes = [
        Plane("Axial", (centre[0], centre[1], z), (1, 0, 0), (0, 1, 0), (wide, deep), "RLAP"),
        Plane("Coronal", (centre[0], y, centre[2]), (1, 0, 0), (0, 0, -1), (wide, tall), "RLHF"),
    ]
    planes += [
        Plane(name, (at, centre[1], centre[2]), (0, 1, 0), (0, 0, -1), (deep, tall), "APHF")
        for name, at in list(sagittal.items())[:2]
    ]
    return planes


def sample_hu(plane: Plane, image: sitk.Image, pixels_per_mm: float) -> NDArray[np.float32]:
    """HU of a plane (rows, columns), linear between voxels; air outside the scan."""
    rows, columns = plane.shape(pixels_per_mm)
    return _sample(plane, image, pixels_per_mm, 1, slice(0, rows), slice(0, columns), AIR_HU)


def sample_labels(plane: Plane, labels: sitk.Image, pixels_per_mm: float, finer: int) -> NDArray[np.uint8]:
    """Ids of a plane, `finer` times finer than its pixels: (rows * finer, columns * finer).

    At each place the label with the largest share of the voxels around it, so that edges do not run in steps.
    """
    import SimpleITK as sitk

    rows, columns = (n * finer for n in plane.shape(pixels_per_mm))
    out = np.zeros((rows, columns), dtype=np.uint8)
    values = sitk.GetArrayViewFromImage(labels)
    tight = bounding_box(values)
    if tight is None:
        return out
    # Only where the labels' box is seen is there anything to paint.
    box = padded(tight, 1, values.shape)
    around = VoxelGrid.of(labels).part(tuple(s.start - 1 for s in box), tuple(s.stop + 1 for s in box))
    seen = plane.pixels(around.corners(), pixels_per_mm) * finer
    r, c = (
        slice(max(0, math.floor(low)), min(count, math.ceil(high) + finer))
        for low, high, count in zip(seen.min(axis=0), seen.max(axis=0), (rows, columns), strict=True)
    )
    if r.start >= r.stop or c.start >= c.stop:
        return out
    part = sitk.RegionOfInterest(labels, [s.stop - s.start for s in box[::-1]], [s.start for s in box[::-1]])
    present = np.unique(values[box])
    best = np.zeros((r.stop - r.start, c.stop - c.start), dtype=np.float32)
    free, found = np.ones_like(best), np.zeros(best.shape, dtype=np.uint8)
    for label in LABELS:
        if label.id not in present:
            continue
        share = _sample(plane, part == label.id, pixels_per_mm, finer, r, c, 0.0)
        free -= share
        better = share > best
        best[better], found[better] = share[better], label.id
    found[free > 0.5] = 0
    out[r, c] = found
    return out


def _sample(
    plane: Plane, image: sitk.Image, pixels_per_mm: float, finer: int, rows: slice, columns: slice, outside: float
) -> NDArray[np.float32]:
    """Values of a part of a plane, linear between voxels; rows and columns are `finer` times finer than its pixels.

    Half a voxel beyond the last centre still belongs to the last voxel, as ITK has it.
    """
    import SimpleITK as sitk

    normal = np.cross(plane.across, plane.down)
    sampled = sitk.Resample(
        image,
        [columns.stop - columns.start, rows.stop - rows.start, 1],
        sitk.Transform(3, sitk.sitkIdentity),
        sitk.sitkLinear,
        plane.pixel_mm((rows.start + 0.5) / finer - 0.5, (columns.start + 0.5) / finer - 0.5, pixels_per_mm),
        [1 / pixels_per_mm / finer, 1 / pixels_per_mm / finer, 1.0],
        np.stack([plane.across, plane.down, normal], axis=1).astype(float).ravel().tolist(),
        outside,
        sitk.sitkFloat32,
    )
    values: NDArray[np.float32] = sitk.GetArrayFromImage(sampled)[0]
    return values


def windowed(hu: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Grey values 0 to 255 of `WINDOW_HU`."""
    low, high = WINDOW_HU
    return (np.clip((hu - low) / (high - low), 0, 1) * 255).astype(np.uint8)


def _kidney_points(labels: sitk.Image) -> dict[Side, Points]:
    """World positions over the parenchyma of each side, as a sample."""
    import SimpleITK as sitk

    values = sitk.GetArrayViewFromImage(labels)
    box = bounding_box(values)
    if box is None:
        return {}
    grid = VoxelGrid.of(labels)
    start = np.array([side.start for side in box])
    points = {}
    for side in Side:
        index = np.argwhere(np.isin(values[box], parenchyma_ids(side)))
        if len(index):
            points[side] = grid.world(index[:: max(1, len(index) // _MAX_POINTS)] + start)
    return points


def _best_section(kidneys: list[Points], axis: int) -> float:
    """World position along an axis where the smallest of the kidneys' sections is largest (or their sum, if none
    shows all)."""
    low = min(float(points[:, axis].min()) for points in kidneys)
    high = max(float(points[:, axis].max()) for points in kidneys)
    edges = np.arange(low, high + 2 * _STEP_MM, _STEP_MM)
    sections = np.stack([np.histogram(points[:, axis], edges)[0] / len(points) for points in kidneys])
    kernel = np.array([1, 2, 3, 2, 1]) / 9  # a mask on thick slices leaves gaps between its planes
    smooth = np.stack([np.convolve(section, kernel, mode="same") for section in sections])
    score = smooth.min(axis=0) if smooth.min(axis=0).max() > 0 else smooth.sum(axis=0)
    best = int(np.argmax(score))
    return float(edges[best] + edges[best + 1]) / 2
