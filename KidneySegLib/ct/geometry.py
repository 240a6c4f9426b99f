"""Checks of a scan's grid: what cannot be right is an error, what weakens the result is a flag."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from KidneySegLib.errors import InputError

if TYPE_CHECKING:
    import SimpleITK as sitk

#: Cortex is 5 to 8 mm wide (Glodny 2009: 6.6 mm): thicker slices mix it with medulla and fat.
MAX_SLICE_FOR_CORTEX_MM = 5.0
#: Two to four pixels must fit into the cortex.
MAX_PIXEL_FOR_CORTEX_MM = 1.5
#: Fewer slices are a sample, no scan of a kidney.
MIN_SLICES = 5
#: A grid smaller than this in any direction holds no part of a kidney worth measuring.
MIN_EXTENT_MM = 10.0
#: Smaller or larger voxels than these are a mistake of units (m, um).
MIN_SPACING_MM = 0.05
MAX_SPACING_MM = 20.0
#: Most voxels of a scan: 1024 x 1024 x 1900. A header that claims more is damaged or meant to fill the memory.
MAX_VOXELS = 2_000_000_000
#: Axes may deviate from right angles by rounding (cosine).
RIGHT_ANGLE_TOLERANCE = 1e-3
#: Axes whose determinant is smaller lie almost in one plane.
MIN_DETERMINANT = 0.5
#: Rounded numbers (5.000001 mm) must not raise a flag.
TOLERANCE_MM = 0.01


def check_geometry(image: sitk.Image, slice_thickness_mm: float) -> tuple[str, ...]:
    """Flags that the voxel size raises.

    The axis with the largest spacing is taken for the slice axis, so coronal and sagittal stacks and files
    without DICOM data are judged alike.

    Args:
        image: 3-D scan.
        slice_thickness_mm: nominal thickness of a slice; the larger of it and the spacing counts.

    Returns:
        Keys of `KidneySegLib.flags.FLAGS`: ``slices_thick_for_cortex``, ``pixels_coarse_for_cortex``.
    """
    *pixels_mm, slices_mm = sorted(image.GetSpacing())
    flags = []
    if max(slices_mm, slice_thickness_mm) > MAX_SLICE_FOR_CORTEX_MM + TOLERANCE_MM:
        flags.append("slices_thick_for_cortex")
    if max(pixels_mm) > MAX_PIXEL_FOR_CORTEX_MM + TOLERANCE_MM:
        flags.append("pixels_coarse_for_cortex")
    return tuple(flags)


def check_grid(image: sitk.Image | sitk.ImageFileReader, name: str, *, right_angled: bool = True) -> None:
    """Refuse a grid on which nothing can be measured.

    Args:
        image: an image, or a reader that has read a header.
        name: how to call it in messages.
        right_angled: whether the axes must be at right angles to each other.

    Raises:
        InputError: not 3-D, too few slices, voxel sizes or directions that cannot be right.
    """
    dimension = image.GetDimension()
    size, spacing_mm = image.GetSize()[:3], image.GetSpacing()[:3]
    check_size(size, name)
    if not all(math.isfinite(mm) and mm > 0 for mm in spacing_mm):
        raise InputError(f"{name} has a voxel size of {_by(spacing_mm)} mm, which is impossible. Export the CT again.")
    if min(spacing_mm) < MIN_SPACING_MM or max(spacing_mm) > MAX_SPACING_MM:
        raise InputError(
            f"{name} has a voxel size of {_by(spacing_mm)} mm, but a CT has {MIN_SPACING_MM:g} to {MAX_SPACING_MM:g} "
            "mm. Check its units and export the CT again."
        )
    if min(size) < MIN_SLICES:
        raise InputError(
            f"{name} has {_by(size)} voxels, but at least {MIN_SLICES} slices are needed. Give a whole CT series."
        )
    extent_mm = [count * mm for count, mm in zip(size, spacing_mm, strict=True)]
    if min(extent_mm) < MIN_EXTENT_MM - TOLERANCE_MM:
        raise InputError(
            f"{name} is only {_by(extent_mm)} mm large, but must cover at least {MIN_EXTENT_MM:g} mm in each "
            "direction. Give a whole CT series, and check the voxel size."
        )
    direction = np.array(image.GetDirection()).reshape(dimension, dimension)[:3, :3]
    if not np.isfinite(direction).all() or not np.isfinite(image.GetOrigin()).all():
        raise InputError(f"{name} has an origin or directions of axes that are no numbers. Export the CT again.")
    if abs(np.linalg.det(direction)) < MIN_DETERMINANT or (
        right_angled and not np.allclose(direction.T @ direction, np.eye(3), atol=RIGHT_ANGLE_TOLERANCE)
    ):
        raise InputError(f"The axes of {name} are not at right angles to each other. Export the CT again.")


def check_size(size: Sequence[int], name: str) -> None:
    """Refuse a number of voxels that no CT has, before memory is taken for them.

    Raises:
        InputError: more than `MAX_VOXELS`.
    """
    if math.prod(map(int, size)) > MAX_VOXELS:
        raise InputError(
            f"{name} claims {_by(size)} voxels, more than the {MAX_VOXELS:.0e} that can be read. Crop the scan to the "
            "abdomen; if it is not that large, its header is damaged: export the CT again."
        )


def _by(values: Iterable[float]) -> str:
    return " x ".join(f"{value:.4g}" for value in values)
