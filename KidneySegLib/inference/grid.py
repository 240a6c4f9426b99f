"""Where the network's voxels lie in the patient: frames, grids and boxes.

A scan may be stored in any orientation, with left-handed axes too. The network always sees z towards the head, y
towards the back and x towards the patient's left. A `Frame` fixes that orientation and the part of space that the
scan fills; a `Grid` puts voxels of the network's size into it; a `Box` is a part of a grid. A frame coordinate is
in mm from the frame's low corner, in the order (z, y, x) like everything else here.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from KidneySegLib.models.bundle import Size, SpacingMm

if TYPE_CHECKING:
    import SimpleITK as sitk

#: Scans whose axes lie within this angle of the patient's are taken along their own axes: exact and fast, and less
#: than how far patients themselves lie askew. Beyond it the network's grid is laid along the patient's axes.
ALIGNED_WITHIN_DEGREES = 10.0

Float3 = tuple[float, float, float]


@dataclass(frozen=True)
class Frame:
    """Orientation of the network's axes, and the extent of the scan along them.

    Attributes:
        axes: 3x3, its columns are the unit vectors z, y, x of the frame in world LPS.
        corner_mm: world LPS (x, y, z) of frame coordinate (0, 0, 0), the outer corner of the extent.
        extent_mm: size of the extent along z, y, x; voxels' outer faces included.
        array_axes: for an aligned scan, the axis of the scan's array (0 slowest) that runs along z, y, x; else None.
        signs: for an aligned scan, +1 where that array axis runs with the frame's axis, -1 where against; else None.
        scan_size: voxels of the scan in array order.
        scan_spacing_mm: voxel size of the scan in array order.
    """

    axes: NDArray[np.float64]
    corner_mm: NDArray[np.float64]
    extent_mm: Float3
    array_axes: tuple[int, int, int] | None
    signs: tuple[int, int, int] | None
    scan_size: Size
    scan_spacing_mm: SpacingMm

    @property
    def aligned(self) -> bool:
        """Whether the frame's axes are the scan's own axes, but for order and direction."""
        return self.array_axes is not None

    @property
    def scan_spacing_zyx_mm(self) -> Float3:
        """Voxel size of the scan along z, y, x of the frame; 0 for a scan that lies askew, which has no such axes."""
        if self.array_axes is None:
            return 0.0, 0.0, 0.0
        z, y, x = (self.scan_spacing_mm[axis] for axis in self.array_axes)
        return z, y, x


@dataclass(frozen=True)
class Box:
    """Half-open range of voxels of a grid: ``start`` is in it, ``stop`` is not. Order (z, y, x)."""

    start: Size
    stop: Size

    @property
    def shape(self) -> Size:
        a, b, c = (stop - start for start, stop in zip(self.start, self.stop, strict=True))
        return a, b, c

    @property
    def voxels(self) -> int:
        return math.prod(max(n, 0) for n in self.shape)

    @property
    def slices(self) -> tuple[slice, slice, slice]:
        a, b, c = (slice(start, stop) for start, stop in zip(self.start, self.stop, strict=True))
        return a, b, c

    def within(self, outer: Box) -> tuple[slice, slice, slice]:
        """The slices that take this box out of an array on an outer box."""
        a, b, c = (
            slice(start - o, stop - o) for start, stop, o in zip(self.start, self.stop, outer.start, strict=True)
        )
        return a, b, c

    def overlaps(self, other: Box) -> bool:
        """Whether they share a voxel."""
        return all(
            max(a, c) < min(b, d) for a, b, c, d in zip(self.start, self.stop, other.start, other.stop, strict=True)
        )

    def grown(self, margin: Size, limit: Size) -> Box:
        """The box with a margin on each side, as far as the grid reaches."""
        return Box(
            size3(max(0, a - m) for a, m in zip(self.start, margin, strict=True)),
            size3(min(n, b + m) for b, m, n in zip(self.stop, margin, limit, strict=True)),
        )

    def union(self, other: Box) -> Box:
        """The smallest box that holds both."""
        return Box(
            size3(map(min, zip(self.start, other.start, strict=True))),
            size3(map(max, zip(self.stop, other.stop, strict=True))),
        )


def bounds_of(mask: NDArray[Any]) -> Box | None:
    """Smallest box of what is not 0 in an array (z, y, x); None if there is nothing. Reads the array about once."""
    rows = np.asarray(mask.any(axis=2))
    if not rows.any():
        return None
    z, y = (np.flatnonzero(line) for line in (rows.any(axis=1), rows.any(axis=0)))
    x = np.flatnonzero(mask[z[0] : z[-1] + 1, y[0] : y[-1] + 1].any(axis=(0, 1)))
    return Box(size3(line[0] for line in (z, y, x)), size3(line[-1] + 1 for line in (z, y, x)))


@dataclass(frozen=True)
class Grid:
    """Voxels of the network's size that fill a frame.

    Attributes:
        frame: where it lies.
        spacing_mm: voxel size.
        shape: voxels along z, y, x.
        first_mm: frame coordinate of the first voxel's centre.
    """

    frame: Frame
    spacing_mm: SpacingMm
    shape: Size
    first_mm: Float3

    @property
    def whole(self) -> Box:
        return Box((0, 0, 0), self.shape)

    def box_between(self, low_mm: Sequence[float], high_mm: Sequence[float]) -> Box:
        """The box of voxels that touch a range of frame coordinates, cut to the grid; at least one voxel wide."""
        start, stop = [], []
        for low, high, first, step, count in zip(
            low_mm, high_mm, self.first_mm, self.spacing_mm, self.shape, strict=True
        ):
            edge = first - step / 2
            begin = min(max(math.floor((low - edge) / step + 1e-6), 0), count - 1)
            start.append(begin)
            stop.append(min(max(math.ceil((high - edge) / step - 1e-6), begin + 1), count))
        return Box(size3(start), size3(stop))

    def faces_mm(self, box: Box) -> tuple[Float3, Float3]:
        """Frame coordinates of a box's outer faces: low and high."""
        low = [f + (i - 0.5) * s for f, i, s in zip(self.first_mm, box.start, self.spacing_mm, strict=True)]
        high = [f + (i - 0.5) * s for f, i, s in zip(self.first_mm, box.stop, self.spacing_mm, strict=True)]
        return float3(low), float3(high)

    def centre_of_mm(self, index: Sequence[float]) -> NDArray[np.float64]:
        """World LPS (x, y, z) of a voxel's centre."""
        position = np.array(self.first_mm) + np.array(index, dtype=np.float64) * np.array(self.spacing_mm)
        world: NDArray[np.float64] = self.frame.corner_mm + self.frame.axes @ position
        return world

    def place(self, image: sitk.Image, box: Box) -> None:
        """Give an image of a box's size, voxels in (z, y, x) order, its place in the world."""
        image.SetSpacing([float(s) for s in reversed(self.spacing_mm)])
        image.SetDirection(self.frame.axes[:, ::-1].ravel().tolist())
        image.SetOrigin(self.centre_of_mm(box.start).tolist())


def frame_of(image: sitk.Image) -> Frame:
    """The frame of a scan: its own axes turned and flipped to z, y, x where they are near, else the patient's axes."""
    direction = np.array(image.GetDirection(), dtype=np.float64).reshape(3, 3)
    array_vectors = direction[:, ::-1]  # Columns: array axes 0, 1, 2 in world.
    size, spacing = _array_size(image), _array_spacing(image)
    canonical = (2, 1, 0)  # World axes of the frame's z, y, x.
    order = max(
        itertools.permutations(range(3)),
        key=lambda p: sum(abs(array_vectors[canonical[i], p[i]]) for i in range(3)),
    )
    cosines = [float(array_vectors[canonical[i], order[i]]) for i in range(3)]
    if min(abs(c) for c in cosines) < math.cos(math.radians(ALIGNED_WITHIN_DEGREES)):
        return _oblique_frame(image)
    signs = size3(1 if c > 0 else -1 for c in cosines)
    return _aligned_frame(image, size3(order), signs, size, spacing)


def own_frame_of(image: sitk.Image) -> Frame:
    """The frame along a scan's own array axes, in their order and direction."""
    return _aligned_frame(image, (0, 1, 2), (1, 1, 1), _array_size(image), _array_spacing(image))


def grid_of(frame: Frame, spacing_mm: SpacingMm) -> Grid:
    """Voxels of a size that cover a frame, centred on it."""
    shape = [max(1, math.ceil(e / s - 1e-3)) for e, s in zip(frame.extent_mm, spacing_mm, strict=True)]
    first = [(e - (n - 1) * s) / 2 for e, n, s in zip(frame.extent_mm, shape, spacing_mm, strict=True)]
    return Grid(frame, spacing_mm, size3(shape), float3(first))


def size3(values: Iterable[int]) -> Size:
    """Three integers as a typed triple."""
    a, b, c = (int(v) for v in values)
    return a, b, c


def float3(values: Sequence[float]) -> Float3:
    """Three floats as a typed triple."""
    a, b, c = (float(v) for v in values)
    return a, b, c


def _array_size(image: sitk.Image) -> Size:
    return size3(reversed(image.GetSize()))


def _array_spacing(image: sitk.Image) -> SpacingMm:
    return float3(tuple(reversed(image.GetSpacing())))


def _aligned_frame(
    image: sitk.Image, order: Size, signs: tuple[int, int, int], size: Size, spacing: SpacingMm
) -> Frame:
    vectors = np.array(image.GetDirection(), dtype=np.float64).reshape(3, 3)[:, ::-1]
    corner = np.array(image.GetOrigin(), dtype=np.float64)
    axes = np.empty((3, 3))
    extent = []
    for i, (axis, sign) in enumerate(zip(order, signs, strict=True)):
        axes[:, i] = sign * vectors[:, axis]
        # The outer face on the low side: half a voxel before the first voxel, or beyond the last one.
        steps = -0.5 if sign > 0 else size[axis] - 0.5
        corner += vectors[:, axis] * steps * spacing[axis]
        extent.append(size[axis] * spacing[axis])
    return Frame(axes, corner, float3(extent), order, signs, size, spacing)


def _oblique_frame(image: sitk.Image) -> Frame:
    size = image.GetSize()
    ends = [(-0.5, n - 0.5) for n in size]
    corners = np.array([image.TransformContinuousIndexToPhysicalPoint(c) for c in itertools.product(*ends)])
    low, high = corners.min(axis=0), corners.max(axis=0)
    axes = np.eye(3)[:, ::-1].copy()
    return Frame(axes, low, float3((high - low)[::-1]), None, None, _array_size(image), _array_spacing(image))
