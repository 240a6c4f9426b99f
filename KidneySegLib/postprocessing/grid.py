"""The grid of an image: voxel indices to millimetres of the world, and one grid as a part of another."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from KidneySegLib.inference.grid import bounds_of

if TYPE_CHECKING:
    import SimpleITK as sitk

Points = NDArray[np.float64]

#: Two grids agree if no corner is farther apart than this share of the smallest voxel edge. NIfTI stores geometry
#: in single precision, so exact equality cannot be asked for.
SAME_GRID_VOXELS = 0.05


def place_of(position_mm: Points) -> str:
    """A world position (x, y, z; LPS) as Slicer shows it under the mouse, in whole mm: ``R 45, P 20, S 130``."""
    letters = ("LR", "PA", "SI")
    rounded = [int(v) for v in np.rint(position_mm)]
    return ", ".join(f"{names[value < 0]} {abs(value)}" for names, value in zip(letters, rounded, strict=True))


@dataclass(frozen=True)
class VoxelGrid:
    """Geometry of an image without its voxels. World is LPS in mm: x to the patient's left, y back, z to the head.

    Attributes:
        size: voxels along x, y, z of the image (not of the world).
        linear: (3, 3) mm that one step along image x, y, z moves in the world; any orientation, either handedness.
        origin_mm: world position of the centre of voxel (0, 0, 0).
    """

    size: tuple[int, int, int]
    linear: Points
    origin_mm: Points

    @classmethod
    def of(cls, image: sitk.Image) -> VoxelGrid:
        """The grid of a 3-D image."""
        direction = np.array(image.GetDirection(), dtype=np.float64).reshape(3, 3)
        return cls(
            size=tuple(int(n) for n in image.GetSize()),  # type: ignore[arg-type]
            linear=direction * np.array(image.GetSpacing(), dtype=np.float64),
            origin_mm=np.array(image.GetOrigin(), dtype=np.float64),
        )

    @property
    def voxel_mm3(self) -> float:
        """Volume of one voxel, exact for oblique and left-handed grids too."""
        return float(abs(np.linalg.det(self.linear)))

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Edge lengths of a voxel along image x, y, z."""
        x, y, z = (float(v) for v in np.linalg.norm(self.linear, axis=0))
        return x, y, z

    def world(self, index_zyx: NDArray[Any]) -> Points:
        """World positions (n, 3) as x, y, z of voxel indices (n, 3) as z, y, x; fractions are allowed."""
        # The matrix is turned round, not the indices: those, turned, are no block of memory that BLAS would take.
        world: Points = np.asarray(index_zyx, dtype=np.float64) @ self.linear.T[::-1] + self.origin_mm
        return world

    def index(self, world_xyz: Points) -> Points:
        """Fractional voxel indices (n, 3) as z, y, x of world positions (n, 3) as x, y, z."""
        index: Points = (np.asarray(world_xyz, dtype=np.float64) - self.origin_mm) @ np.linalg.inv(self.linear).T[
            :, ::-1
        ]
        return index

    def voxels_at(self, world_xyz: Points) -> NDArray[np.int64]:
        """Indices (k, 3) as z, y, x of the nearest voxels to world positions (n, 3); those outside are left out."""
        index = np.rint(self.index(world_xyz)).astype(np.int64)
        inside: NDArray[np.int64] = index[((index >= 0) & (index < np.array(self.size[::-1]))).all(axis=1)]
        return inside

    def corners(self) -> Points:
        """World positions (8, 3) of the centres of the corner voxels."""
        ends = [(0, n - 1) for n in self.size[::-1]]
        return self.world(np.array([(z, y, x) for z in ends[0] for y in ends[1] for x in ends[2]]))

    def part(self, start_zyx: tuple[int, ...], stop_zyx: tuple[int, ...]) -> VoxelGrid:
        """The grid of voxels start to stop (exclusive), as z, y, x."""
        origin = self.world(np.array([start_zyx]))[0]
        size = tuple(b - a for a, b in zip(start_zyx[::-1], stop_zyx[::-1], strict=True))
        return VoxelGrid(size, self.linear, origin)  # type: ignore[arg-type]


def offset_in(part: VoxelGrid, whole: VoxelGrid) -> tuple[int, int, int] | None:
    """Index (x, y, z) of a part's first voxel in the whole grid, or None if it is no part of it.

    A part has the whole's voxels (spacing, direction), lies on its lattice and inside its borders.
    """
    shift = whole.index(part.origin_mm[None])[0][::-1]
    offset = np.rint(shift)
    expected = whole.linear @ offset + whole.origin_mm
    moved = VoxelGrid(part.size, whole.linear, expected)
    tolerance_mm = SAME_GRID_VOXELS * min(whole.spacing_mm)
    if np.abs(moved.corners() - part.corners()).max() > tolerance_mm:
        return None
    if (offset < 0).any() or (offset + part.size > whole.size).any():
        return None
    x, y, z = (int(v) for v in offset)
    return x, y, z


def bounding_box(mask: NDArray[Any]) -> tuple[slice, slice, slice] | None:
    """Smallest box (z, y, x) around all non-zero voxels, None if there are none: `bounds_of` as slices."""
    box = bounds_of(mask)
    return None if box is None else box.slices


def padded(box: tuple[slice, ...], margin: int, shape: tuple[int, ...]) -> tuple[slice, ...]:
    """A box made larger by a margin in voxels on each side, within an array's shape."""
    return tuple(
        slice(max(0, side.start - margin), min(n, side.stop + margin)) for side, n in zip(box, shape, strict=True)
    )


def row_ends(mask: NDArray[Any]) -> NDArray[np.int64]:
    """Indices (n, 3) as z, y, x of the first and last voxel of every row along x.

    They hold every corner of the mask's convex hull and most of its surface, at a small share of its voxels.
    """
    found = mask if mask.dtype == bool else mask != 0
    rows = np.argwhere(found.any(axis=2))
    if len(rows) == 0:
        return np.zeros((0, 3), dtype=np.int64)
    lines = found[rows[:, 0], rows[:, 1]]
    first = lines.argmax(axis=1)
    last = lines.shape[1] - 1 - lines[:, ::-1].argmax(axis=1)
    return np.concatenate([np.column_stack([rows, first]), np.column_stack([rows, last])]).astype(np.int64)
