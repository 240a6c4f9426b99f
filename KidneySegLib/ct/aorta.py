"""The aorta's HU without any mask: the brightest even round thing in front of the spine."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import SimpleITK as sitk

#: Working grid: a 20 mm aorta has 7 pixels across, and slices are looked at one by one.
_GRID_MM = 3.0
_SLICE_MM = 6.0
#: The aorta's inside, as a radius that fits into it.
_RADIUS_MM = 6.0
#: Most of what lies round it, at these distances from its middle, is darker by at least this.
_RING_MM = (13.0, 24.0)
_RING_PERCENTILE = 80
_ABOVE_SURROUNDINGS_HU = 10.0
#: How much HU may differ inside: noise, or a share of bright blood.
_SPREAD_HU = 80.0
_SPREAD_SHARE = 0.4
#: Where it lies as seen from the middle of the spine: to the front, and to either side.
_FRONT_MM = (15.0, 80.0)
_SIDE_MM = 45.0
#: Bone is dense and uneven; a vessel full of contrast is dense and even.
_BONE_ABOVE_HU = 120.0
_BONE_SPREAD_HU = 45.0
#: Share of slices that must show a spine.
_MIN_SLICES = 5
#: How far the spine may lie beside the middle of the body.
_OFF_CENTRE_MM = 36.0
_BODY_ABOVE_HU = -300.0


def find_aorta_hu(image: sitk.Image) -> float | None:
    """HU of the blood in front of the spine, or None if no spine was found.

    A rough guess for use before any network has run: median over axial slices of the brightest disc of 12 mm that
    is even and lies where the aorta does.

    Args:
        image: 3-D scan in HU, any orientation.
    """
    hu = _coarse(image)
    if hu is None:
        return None
    spine = _spine(hu)
    if spine is None:
        return None
    found = _brightest_discs(hu, *spine)
    return float(np.median(found)) if len(found) >= _MIN_SLICES else None


def _coarse(image: sitk.Image) -> NDArray[np.float32] | None:
    """HU (z to the head, y to the back, x to the left) on the working grid, or None for a tiny scan."""
    import SimpleITK as sitk

    oriented = sitk.DICOMOrient(image, "LPS")
    grid_mm = (_GRID_MM, _GRID_MM, _SLICE_MM)
    factors = [max(1, int(wanted / mm)) for wanted, mm in zip(grid_mm, oriented.GetSpacing(), strict=True)]
    shrunk = sitk.BinShrink(oriented, factors)
    extents_mm = [n * mm for n, mm in zip(shrunk.GetSize(), shrunk.GetSpacing(), strict=True)]
    size = [int(extent / wanted) for extent, wanted in zip(extents_mm, grid_mm, strict=True)]
    if min(size) < _MIN_SLICES:
        return None
    even = sitk.Resample(
        shrunk, size, sitk.Transform(3, sitk.sitkIdentity), sitk.sitkLinear, shrunk.GetOrigin(), grid_mm,
        shrunk.GetDirection(), -1024.0, sitk.sitkFloat32,
    )  # fmt: skip
    return sitk.GetArrayFromImage(even)


def _spine(hu: NDArray[np.float32]) -> tuple[NDArray[np.int_], NDArray[np.int_]] | None:
    """Row and column of the vertebral column in each slice, or None."""
    from scipy import ndimage

    clipped = np.clip(hu, -150, 600)
    mean = ndimage.uniform_filter(clipped, (1, 3, 3))
    spread = np.sqrt(np.maximum(ndimage.uniform_filter(clipped**2, (1, 3, 3)) - mean**2, 0))
    bone = ((mean > _BONE_ABOVE_HU) & (spread > _BONE_SPREAD_HU)).astype(np.float32)
    # Vertebrae stand above each other: smooth along the body, and within a slice by a vertebra's half width.
    density = ndimage.gaussian_filter(bone, (30 / _SLICE_MM, 9 / _GRID_MM, 9 / _GRID_MM))
    body = hu > _BODY_ABOVE_HU
    columns = np.flatnonzero(body.any(axis=(0, 1)))
    rows = np.flatnonzero(body.any(axis=(0, 2)))
    if not columns.size or not rows.size:
        return None
    centre, half = int(columns.mean()), int(_OFF_CENTRE_MM / _GRID_MM)
    allowed = np.zeros(hu.shape[1:], dtype=bool)
    allowed[int(rows.mean()) :, max(centre - half, 0) : centre + half + 1] = True
    density = np.where(allowed, density, 0)
    if not density.any():
        return None
    flat = density.reshape(len(density), -1).argmax(axis=1)
    row, column = np.unravel_index(flat, hu.shape[1:])
    return row, column


def _brightest_discs(hu: NDArray[np.float32], rows: NDArray[np.int_], columns: NDArray[np.int_]) -> list[float]:
    """Mean HU of the brightest disc of each slice that has one."""
    from scipy import ndimage

    front = (int(_FRONT_MM[0] / _GRID_MM), int(_FRONT_MM[1] / _GRID_MM))
    side = int(_SIDE_MM / _GRID_MM)
    outer = int(_RING_MM[1] / _GRID_MM) + 1
    top, bottom = max(int(rows.min()) - front[1] - outer, 0), int(rows.max()) - front[0] + outer + 1
    left, right = max(int(columns.min()) - side - outer, 0), int(columns.max()) + side + outer + 1
    hu = hu[:, top:bottom, left:right]
    rows, columns = rows - top, columns - left

    down, along = np.mgrid[-outer : outer + 1, -outer : outer + 1] * _GRID_MM
    radius_mm = np.hypot(down, along)
    disc = (radius_mm <= _RADIUS_MM)[None]
    ring = ((radius_mm >= _RING_MM[0]) & (radius_mm <= _RING_MM[1]))[None]
    mean = ndimage.convolve(hu, (disc / disc.sum()).astype(np.float32))
    lowest = ndimage.minimum_filter(hu, footprint=disc)
    highest = ndimage.maximum_filter(hu, footprint=disc)
    around = ndimage.percentile_filter(hu, _RING_PERCENTILE, footprint=ring)
    # A bolus is noisier where it is brighter; edges of bone and bowel spread far more. Spongy bone is even too, but
    # has a brighter shell round it.
    even = highest - lowest < np.maximum(_SPREAD_HU, _SPREAD_SHARE * mean)
    score = np.where(even & (around < mean - _ABOVE_SURROUNDINGS_HU), mean, -np.inf)
    found = []
    for plane, row, column in zip(score, rows, columns, strict=True):
        window = plane[max(row - front[1], 0) : max(row - front[0], 0), max(column - side, 0) : column + side + 1]
        if window.size and np.isfinite(window.max()):
            found.append(float(window.max()))
    return found
