"""Is a kidney cut by the edge of the scan? Judged on the CT's own grid, never on a crop of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from KidneySegLib.postprocessing.grid import VoxelGrid, padded

if TYPE_CHECKING:
    import SimpleITK as sitk

#: A kidney whose outermost voxel lies this near to the edge is cut: networks are shy of the last thin slice.
EDGE_MM = 1.0
#: Scanners fill the corners outside a round field of view with one value, air or below.
MAX_PADDING_HU = -1000
#: A kidney that borders on filling over this area is cut by the round field of view.
MIN_PADDING_CONTACT_MM2 = 30.0


def cut_by_scan(
    kidney: NDArray[np.bool_], start_zyx: tuple[int, int, int], image: sitk.Image, padding: float | None
) -> bool:
    """Whether a kidney reaches the first or last slice, an in-plane border, or the edge of a round field of view.

    Args:
        kidney: (z, y, x) mask in its tight box.
        start_zyx: index of the box's first voxel in the scan.
        image: the whole scan.
        padding: value outside the round field of view (`padding_value`), None if there is none.
    """
    import SimpleITK as sitk

    grid = VoxelGrid.of(image)
    for axis, (n, mm) in enumerate(zip(grid.size[::-1], grid.spacing_mm[::-1], strict=True)):
        margin = int(EDGE_MM / mm)
        if start_zyx[axis] <= margin or start_zyx[axis] + kidney.shape[axis] >= n - margin:
            return True
    if padding is None:
        return False
    tight = tuple(slice(a, a + n) for a, n in zip(start_zyx, kidney.shape, strict=True))
    box = padded(tight, 1, grid.size[::-1])
    filled = sitk.GetArrayViewFromImage(image)[box] == padding
    if not filled.any():
        return False
    mask = np.zeros(filled.shape, dtype=np.bool_)
    mask[tuple(slice(t.start - b.start, t.stop - b.start) for t, b in zip(tight, box, strict=True))] = kidney
    area_mm2 = 0.0
    for axis in range(3):
        face_mm2 = grid.voxel_mm3 / grid.spacing_mm[2 - axis]
        first, second = _shifted(axis)
        touching = (mask[first] & filled[second]) | (mask[second] & filled[first])
        area_mm2 += face_mm2 * np.count_nonzero(touching)
    return area_mm2 >= MIN_PADDING_CONTACT_MM2


def padding_value(image: sitk.Image) -> float | None:
    """The value outside a round field of view: what all corners of the grid hold, if it is air or below."""
    import SimpleITK as sitk

    values: NDArray[Any] = sitk.GetArrayViewFromImage(image)
    corners = values[:: values.shape[0] - 1 or 1, :: values.shape[1] - 1 or 1, :: values.shape[2] - 1 or 1]
    value = float(corners.flat[0])
    return value if value <= MAX_PADDING_HU and bool((corners == value).all()) else None


def _shifted(axis: int) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    first, second = [slice(None)] * 3, [slice(None)] * 3
    first[axis], second[axis] = slice(1, None), slice(None, -1)
    return tuple(first), tuple(second)
