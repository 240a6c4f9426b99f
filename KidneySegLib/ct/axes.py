"""The two conventions that are converted at a door and nowhere else: LPS and RAS, (x, y, z) and (z, y, x)."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

if TYPE_CHECKING:
    import SimpleITK as sitk

T = TypeVar("T")

_FLIP = np.diag([-1.0, -1.0, 1.0, 1.0])


def affine_lps(image: sitk.Image) -> NDArray[np.float64]:
    """4x4 matrix from voxel index (x, y, z) to world LPS in mm."""
    affine = np.eye(4)
    affine[:3, :3] = np.array(image.GetDirection()).reshape(3, 3) * np.array(image.GetSpacing())
    affine[:3, 3] = image.GetOrigin()
    return affine


def affine_ras(image: sitk.Image) -> NDArray[np.float64]:
    """4x4 matrix from voxel index (x, y, z) to world RAS in mm, as Slicer and NIfTI write it."""
    return swap_lps_ras(affine_lps(image))


def swap_lps_ras(affine: ArrayLike) -> NDArray[np.float64]:
    """A 4x4 matrix into world LPS as one into world RAS, or the other way round (it is its own inverse)."""
    return _FLIP @ np.asarray(affine, dtype=np.float64)


def set_affine_lps(image: sitk.Image, affine: ArrayLike) -> None:
    """Give an image the origin, spacing and direction of a 4x4 matrix from index (x, y, z) to LPS.

    Raises:
        ValueError: a column of the matrix has no length.
    """
    matrix = np.asarray(affine, dtype=np.float64)
    spacing_mm = np.linalg.norm(matrix[:3, :3], axis=0)
    if not np.all(spacing_mm > 0):
        raise ValueError(f"affine must have three axes with a length, got spacing {spacing_mm.tolist()} mm")
    image.SetOrigin([float(v) for v in matrix[:3, 3]])
    image.SetSpacing([float(v) for v in spacing_mm])
    image.SetDirection([float(v) for v in (matrix[:3, :3] / spacing_mm).ravel()])


def zyx(xyz: tuple[T, T, T]) -> tuple[T, T, T]:
    """(x, y, z) of SimpleITK as (z, y, x) of arrays, or the other way round (it is its own inverse)."""
    x, y, z = xyz
    return z, y, x
