"""Helpers of these tests: synthetic scans whose HU are known at every point of the world."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import settings

sys.path.insert(0, str(Path(__file__).parent))

from dicom_series import world_hu
from known_scans import world_points

# No test may fail because the machine is busy.
settings.register_profile("ct", deadline=None, max_examples=40)
settings.load_profile("ct")


@pytest.fixture
def an_image() -> sitk.Image:
    """24 x 20 x 16 voxels of `world_hu` on an oblique, anisotropic grid."""
    turn, lean = np.deg2rad(12.0), np.deg2rad(-7.0)
    about_z = np.array([[np.cos(turn), -np.sin(turn), 0], [np.sin(turn), np.cos(turn), 0], [0, 0, 1]])
    about_x = np.array([[1, 0, 0], [0, np.cos(lean), -np.sin(lean)], [0, np.sin(lean), np.cos(lean)]])
    image = sitk.Image(24, 20, 16, sitk.sitkInt16)
    image.SetSpacing((0.8, 1.1, 3.0))
    image.SetOrigin((-30.0, 12.0, 20.0))
    image.SetDirection((about_z @ about_x).ravel().tolist())
    filled = sitk.GetImageFromArray(np.rint(world_hu(world_points(image))).astype(np.int16))
    filled.CopyInformation(image)
    return filled
