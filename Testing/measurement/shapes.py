"""Shapes of known size, drawn on any grid through its world positions."""

from __future__ import annotations

from typing import Any

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from KidneySegLib.postprocessing.grid import VoxelGrid
from Testing.postprocessing.patient import empty_image, filled, rotation

Array = NDArray[Any]
#: (spacing in mm along x, y, z; direction of the axes): fine, thick, anisotropic, oblique, left-handed.
GRIDS: dict[str, tuple[tuple[float, float, float], Array]] = {
    "1 mm": ((1.0, 1.0, 1.0), np.eye(3)),
    "1 mm oblique": ((1.0, 1.0, 1.0), rotation((20, 30, 40))),
    "0.8 x 0.8 x 5 mm": ((0.8, 0.8, 5.0), np.eye(3)),
    "0.8 x 0.8 x 5 mm oblique": ((0.8, 0.8, 5.0), rotation((20, 30, 40))),
    "5 mm sagittal slices, left-handed": ((5.0, 0.8, 0.8), np.diag([1.0, -1.0, 1.0]) @ rotation((5, 0, 10))),
    "1.5 x 1.5 x 3 mm": ((1.5, 1.5, 3.0), rotation((0, 15, 0))),
    "2 mm": ((2.0, 2.0, 2.0), np.eye(3)),
}
AXIS = np.array([0.2, 0.3, 1.0]) / np.linalg.norm([0.2, 0.3, 1.0])


def world_of(grid_name: str, reach: float = 64.0) -> tuple[sitk.Image, Array]:
    """An empty scan of a grid around a place off the voxels' middles, and all its world positions (z, y, x, 3)."""
    spacing, direction = GRIDS[grid_name]
    image = empty_image(direction, spacing, (0.31, -0.17, 0.43), (2 * reach, 2 * reach, 2 * reach))
    grid = VoxelGrid.of(image)
    shape = grid.size[::-1]
    return image, grid.world(np.indices(shape).reshape(3, -1).T).reshape(*shape, 3)


def capsule_depth(world: Array, half_length: float, radius: float) -> Array:
    """How deep positions lie under the surface of a capsule (a cylinder with round ends) along `AXIS`; < 0 outside.

    Unlike an ellipsoid's, its inner layers have the same thickness everywhere.
    """
    along = np.clip(world @ AXIS, -half_length, half_length)
    return radius - np.linalg.norm(world - along[..., None] * AXIS, axis=-1)


def label_image(values: Array, image: sitk.Image) -> sitk.Image:
    return filled(values.astype(np.uint8).ravel(), image)
