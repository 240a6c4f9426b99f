"""The phantom's grids: axis-aligned boxes of voxels in LPS.

World coordinates are LPS in mm: x to the patient's left, y to the back, z to the head. Arrays are (z, y, x), so a
row of an array runs to the patient's left and its first index climbs to the head.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import SimpleITK as sitk

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Grid:
    """A regular grid of voxels whose axes are the patient's.

    Attributes:
        shape_zyx: number of slices, rows and columns.
        spacing_mm_zyx: distance of voxel centres along z, y, x in mm.
        origin_mm_xyz: centre of voxel (0, 0, 0) in LPS mm, in the order x, y, z as SimpleITK has it.
    """

    shape_zyx: tuple[int, int, int]
    spacing_mm_zyx: tuple[float, float, float]
    origin_mm_xyz: tuple[float, float, float]

    def __post_init__(self) -> None:
        if len(self.shape_zyx) != 3 or len(self.spacing_mm_zyx) != 3 or len(self.origin_mm_xyz) != 3:
            raise ValueError(
                f"a grid needs three sizes, spacings and origin coordinates, got {self.shape_zyx}, "
                f"{self.spacing_mm_zyx}, {self.origin_mm_xyz}"
            )
        if any(n < 0 for n in self.shape_zyx):
            raise ValueError(f"shape_zyx must not be negative, got {self.shape_zyx}")
        if any(not (math.isfinite(s) and s > 0) for s in self.spacing_mm_zyx):
            raise ValueError(f"spacing_mm_zyx must be positive, got {self.spacing_mm_zyx}")
        object.__setattr__(self, "shape_zyx", tuple(int(n) for n in self.shape_zyx))
        object.__setattr__(self, "spacing_mm_zyx", tuple(float(s) for s in self.spacing_mm_zyx))
        object.__setattr__(self, "origin_mm_xyz", tuple(float(o) for o in self.origin_mm_xyz))

    @classmethod
    def covering(
        cls,
        bounds_mm_xyz: Sequence[tuple[float, float]],
        spacing_mm_zyx: tuple[float, float, float],
    ) -> Grid:
        """The smallest grid of a spacing whose voxels cover a box.

        Args:
            bounds_mm_xyz: ((x0, x1), (y0, y1), (z0, z1)) in mm; the box's low corner is the first voxel's corner.
            spacing_mm_zyx: spacing along z, y, x in mm.

        Raises:
            ValueError: for a box with an end before its start.
        """
        (x0, x1), (y0, y1), (z0, z1) = bounds_mm_xyz
        if x1 < x0 or y1 < y0 or z1 < z0:
            raise ValueError(f"bounds_mm_xyz must run from low to high, got {tuple(bounds_mm_xyz)}")
        dz, dy, dx = spacing_mm_zyx
        # The tolerance keeps 100.0000001 mm at 1 mm from asking for 101 voxels.
        sizes = tuple(
            max(1, math.ceil((high - low) / step - 1e-6))
            for low, high, step in ((z0, z1, dz), (y0, y1, dy), (x0, x1, dx))
        )
        return cls((sizes[0], sizes[1], sizes[2]), (dz, dy, dx), (x0 + dx / 2, y0 + dy / 2, z0 + dz / 2))

    @property
    def x_mm(self) -> FloatArray:
        """x of the voxel centres, one for each column."""
        return self.origin_mm_xyz[0] + self.spacing_mm_zyx[2] * np.arange(self.shape_zyx[2], dtype=np.float64)

    @property
    def y_mm(self) -> FloatArray:
        """y of the voxel centres, one for each row."""
        return self.origin_mm_xyz[1] + self.spacing_mm_zyx[1] * np.arange(self.shape_zyx[1], dtype=np.float64)

    @property
    def z_mm(self) -> FloatArray:
        """z of the voxel centres, one for each slice."""
        return self.origin_mm_xyz[2] + self.spacing_mm_zyx[0] * np.arange(self.shape_zyx[0], dtype=np.float64)

    @property
    def voxel_volume_ml(self) -> float:
        return math.prod(self.spacing_mm_zyx) / 1000.0

    @property
    def bounds_mm_xyz(self) -> tuple[tuple[float, float], tuple[float, float], tuple[float, float]]:
        """Outer faces of the voxels: ((x0, x1), (y0, y1), (z0, z1)) in mm."""
        nz, ny, nx = self.shape_zyx
        dz, dy, dx = self.spacing_mm_zyx
        x, y, z = self.origin_mm_xyz
        return (
            (x - dx / 2, x + (nx - 0.5) * dx),
            (y - dy / 2, y + (ny - 0.5) * dy),
            (z - dz / 2, z + (nz - 0.5) * dz),
        )

    def sub_grid(self, slices: Sequence[slice]) -> Grid:
        """The grid of ``array[slices]``.

        Args:
            slices: three slices in the order z, y, x, as numpy takes them; steps must be positive.

        Raises:
            ValueError: for another number of slices or a negative step.
        """
        if len(slices) != 3:
            raise ValueError(f"slices must be three, in the order z, y, x, got {len(slices)}")
        starts, steps, sizes = [], [], []
        for part, size in zip(slices, self.shape_zyx, strict=True):
            start, stop, step = part.indices(size)
            if step < 0:
                raise ValueError(f"slices must not run backwards, got {part}")
            starts.append(start)
            steps.append(step)
            sizes.append(len(range(start, stop, step)))
        dz, dy, dx = self.spacing_mm_zyx
        x, y, z = self.origin_mm_xyz
        return Grid(
            (sizes[0], sizes[1], sizes[2]),
            (dz * steps[0], dy * steps[1], dx * steps[2]),
            (x + starts[2] * dx, y + starts[1] * dy, z + starts[0] * dz),
        )

    def refined(self, factors_zyx: tuple[int, int, int]) -> Grid:
        """The grid that cuts every voxel into equal parts and covers exactly the same box.

        ``block_mean(fine, factors_zyx)`` of an array on it is the partial-volume average on this grid.

        Raises:
            ValueError: for a factor below 1.
        """
        if any(f < 1 for f in factors_zyx):
            raise ValueError(f"factors_zyx must be at least 1, got {factors_zyx}")
        (x0, _), (y0, _), (z0, _) = self.bounds_mm_xyz
        fz, fy, fx = factors_zyx
        dz, dy, dx = (s / f for s, f in zip(self.spacing_mm_zyx, factors_zyx, strict=True))
        nz, ny, nx = self.shape_zyx
        return Grid((nz * fz, ny * fy, nx * fx), (dz, dy, dx), (x0 + dx / 2, y0 + dy / 2, z0 + dz / 2))

    def to_sitk(self, array: npt.NDArray[Any]) -> sitk.Image:
        """An array (z, y, x) on this grid as an image with the same geometry (identity direction, LPS).

        Raises:
            ValueError: if the array's shape is not the grid's.
        """
        import SimpleITK as sitk

        if array.shape != self.shape_zyx:
            raise ValueError(f"array must have the grid's shape {self.shape_zyx}, got {array.shape}")
        image = sitk.GetImageFromArray(array)
        dz, dy, dx = self.spacing_mm_zyx
        image.SetSpacing((dx, dy, dz))
        image.SetOrigin(self.origin_mm_xyz)
        return image

    @classmethod
    def from_sitk(cls, image: sitk.Image) -> Grid:
        """The grid of an axis-aligned 3-D image.

        Raises:
            ValueError: if the image is not 3-D or its direction is not the identity.
        """
        if image.GetDimension() != 3:
            raise ValueError(f"image must be 3-D, got {image.GetDimension()}-D")
        if not np.allclose(np.reshape(image.GetDirection(), (3, 3)), np.eye(3), atol=1e-6):
            raise ValueError(f"image must be axis-aligned LPS (identity direction), got {image.GetDirection()}")
        nx, ny, nz = image.GetSize()
        dx, dy, dz = image.GetSpacing()
        x, y, z = image.GetOrigin()
        return cls((nz, ny, nx), (dz, dy, dx), (x, y, z))


def block_mean(fine: npt.NDArray[np.float32], factors_zyx: tuple[int, int, int]) -> npt.NDArray[np.float32]:
    """Average blocks of voxels: the value of a voxel from its equal parts.

    Args:
        fine: array (z, y, x) on ``grid.refined(factors_zyx)``.
        factors_zyx: size of a block.

    Raises:
        ValueError: if the array is not made of whole blocks.
    """
    if any(n % f for n, f in zip(fine.shape, factors_zyx, strict=True)):
        raise ValueError(f"fine must be made of whole blocks of {factors_zyx}, got shape {fine.shape}")
    fz, fy, fx = factors_zyx
    nz, ny, nx = fine.shape
    if factors_zyx == (1, 1, 1):
        return fine
    parts = fine.reshape(nz // fz, fz, ny // fy, fy, nx // fx, fx)
    return np.asarray(parts.mean(axis=(1, 3, 5), dtype=np.float32))
