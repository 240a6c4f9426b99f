"""Length: maximal Feret diameter of turned ellipsoids on every grid."""

from __future__ import annotations

import numpy as np
import pytest

from KidneySegLib.measurement.length import max_length_mm
from KidneySegLib.postprocessing.grid import VoxelGrid
from Testing.measurement.shapes import GRIDS, world_of
from Testing.postprocessing.patient import rotation

UNIT = VoxelGrid((4, 4, 4), np.diag([1.0, 2.0, 5.0]), np.zeros(3))


@pytest.mark.parametrize("grid_name", GRIDS)
@pytest.mark.parametrize("degrees", [(0, 0, 0), (25, 10, 0), (0, 60, 30)])
def test_a_turned_ellipsoid(grid_name: str, degrees: tuple[float, float, float]) -> None:
    image, world = world_of(grid_name)
    mask = ((world @ rotation(degrees) / [24, 27, 55]) ** 2).sum(axis=-1) < 1
    length = max_length_mm(mask, VoxelGrid.of(image))
    assert length is not None
    # Half of the coarsest edge at either end is what a grid cannot know.
    assert abs(length - 110) <= 1.0 + 0.6 * max(GRIDS[grid_name][0])


def test_literal_lengths() -> None:
    mask = np.zeros((4, 4, 4), dtype=np.uint8)
    assert max_length_mm(mask, UNIT) is None
    mask[1, 1, 1] = 1
    assert max_length_mm(mask, UNIT) == pytest.approx(5.0)  # one voxel, 5 mm high
    mask[1, 1, :] = 1
    # Face centres of a row of four 1 mm voxels: (0.5, 0, 2.5) to (3.5, 0, -2.5) and the like.
    assert max_length_mm(mask, UNIT) == pytest.approx(np.hypot(3, 5))
    mask[:, 1, 1] = 1
    assert max_length_mm(mask, UNIT) == pytest.approx(20.0)


def test_one_slice_is_no_special_case() -> None:
    y, x = np.indices((60, 60))
    mask = (np.hypot(y - 30, x - 30) < 25)[None]
    length = max_length_mm(mask, VoxelGrid((60, 60, 1), np.eye(3), np.zeros(3)))
    assert length == pytest.approx(50, abs=1)
