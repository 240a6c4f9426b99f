"""What is right about a scan whose HU are `dicom_series.world_hu` at every point of the world."""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk
from dicom_series import world_hu


def world_points(image: sitk.Image) -> np.ndarray:
    """World LPS of every voxel, (z, y, x, 3)."""
    z, y, x = np.indices(image.GetSize()[::-1])
    matrix = np.array(image.GetDirection()).reshape(3, 3) * np.array(image.GetSpacing())
    return np.stack([x, y, z], axis=-1) @ matrix.T + np.array(image.GetOrigin())


def hu_error(image: sitk.Image) -> np.ndarray:
    """Difference to `world_hu` at every voxel, (z, y, x)."""
    return sitk.GetArrayFromImage(image).astype(np.float64) - world_hu(world_points(image))
