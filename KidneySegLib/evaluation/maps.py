"""Two label maps of one case, from whatever files they are in to arrays on one grid."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from KidneySegLib.errors import InputError
from KidneySegLib.measurement.read_labels import read_labels
from KidneySegLib.measurement.seg_nrrd import is_seg_nrrd, read_seg_nrrd
from KidneySegLib.postprocessing.grid import VoxelGrid, bounding_box, offset_in

if TYPE_CHECKING:
    import SimpleITK as sitk

Labels = NDArray[np.uint8]


@dataclass(frozen=True)
class MapPair:
    """A reference and a prediction, cut to the smallest box around both.

    Attributes:
        reference, prediction: ids 0 to 15 (z, y, x), of one shape; outside the box both are 0.
        spacing_mm_zyx: edge lengths of a voxel.
        voxel_ml: volume of a voxel.
        voxels: of the whole scan.
    """

    reference: Labels
    prediction: Labels
    spacing_mm_zyx: tuple[float, float, float]
    voxel_ml: float
    voxels: int


def read_map(path: Path, scheme: str) -> sitk.Image:
    """Read a label map as ids of `labels.LABELS`.

    Args:
        path: an image file, a ``.seg.nrrd`` of 3D Slicer (whose segments' names count, not the scheme) or a DICOM SEG.
        scheme: one of `measurement.SCHEMES`.

    Raises:
        InputError: unreadable, or labels outside the scheme.
    """
    if is_seg_nrrd(path):
        return read_seg_nrrd(path)
    if path.suffix.lower() == ".dcm":
        from KidneySegLib.export.dicom_seg_read import read_dicom_seg

        return read_dicom_seg(path)[0]
    return read_labels(path, scheme)


def pair_maps(reference: sitk.Image, prediction: sitk.Image) -> MapPair:
    """Both maps on one grid. One may be a part of the other's grid, and their axes may be stored in another order.

    Raises:
        InputError: the grids differ; the message says how.
    """
    found = _on_one_grid(reference, prediction)
    if found is None:
        import SimpleITK as sitk

        found = _on_one_grid(sitk.DICOMOrient(reference, "LPS"), sitk.DICOMOrient(prediction, "LPS"))
    if found is None:
        raise InputError(
            f"The prediction's grid differs from the reference's: {grid_difference(prediction, reference)}. "
            "Give masks of the same scan, or resample one of them (nearest neighbour) to the other's grid."
        )
    return found


def _on_one_grid(reference: sitk.Image, prediction: sitk.Image) -> MapPair | None:
    import SimpleITK as sitk

    grids = VoxelGrid.of(reference), VoxelGrid.of(prediction)
    # Where each map's first voxel lies in the larger of the two grids, as x, y, z.
    offset = offset_in(grids[1], grids[0])
    offsets, whole = ((0, 0, 0), offset), grids[0]
    if offset is None:
        offset = offset_in(grids[0], grids[1])
        offsets, whole = (offset or (0, 0, 0), (0, 0, 0)), grids[1]
    if offset is None:
        return None
    arrays = [sitk.GetArrayViewFromImage(image) for image in (reference, prediction)]
    box = _union_box(arrays, [np.array(where)[::-1] for where in offsets])
    cut = [_cut(array, np.array(where)[::-1], box) for array, where in zip(arrays, offsets, strict=True)]
    x, y, z = whole.spacing_mm
    return MapPair(cut[0], cut[1], (z, y, x), whole.voxel_mm3 / 1000, int(np.prod(whole.size)))


def _union_box(arrays: list[NDArray[Any]], offsets: list[NDArray[Any]]) -> NDArray[np.int64]:
    """Start and stop (2, 3) as z, y, x in the whole grid of all that is not 0; an empty box if nothing is."""
    ends = []
    for array, offset in zip(arrays, offsets, strict=True):
        box = bounding_box(array)
        if box is not None:
            ends.append([[side.start for side in box] + offset, [side.stop for side in box] + offset])
    if not ends:
        return np.zeros((2, 3), np.int64)
    both = np.array(ends)
    return np.array([both[:, 0].min(axis=0), both[:, 1].max(axis=0)])


def _cut(array: NDArray[Any], offset: NDArray[Any], box: NDArray[np.int64]) -> Labels:
    """The part of a map in a box of the whole grid; 0 where the map does not reach."""
    out = np.zeros(box[1] - box[0], np.uint8)
    start = np.maximum(box[0], offset)
    stop = np.minimum(box[1], offset + array.shape)
    if (stop > start).all():
        inside = tuple(slice(a, b) for a, b in zip(start - box[0], stop - box[0], strict=True))
        source = tuple(slice(a, b) for a, b in zip(start - offset, stop - offset, strict=True))
        out[inside] = array[source]
    return out


def grid_difference(a: sitk.Image, b: sitk.Image) -> str:
    """In words, how the grid of one image differs from another's."""
    first, second = VoxelGrid.of(a), VoxelGrid.of(b)
    differences = []
    if first.size != second.size:
        differences.append(f"{_by(first.size)} voxels, not {_by(second.size)}")
    if not np.allclose(first.spacing_mm, second.spacing_mm, rtol=1e-3):
        differences.append(f"voxels of {_by(first.spacing_mm)} mm, not {_by(second.spacing_mm)} mm")
    cosines = (first.linear / first.spacing_mm * (second.linear / second.spacing_mm)).sum(axis=0)
    angle = float(np.degrees(np.arccos(np.clip(cosines.min(), -1, 1))))
    if angle > 0.1:
        differences.append(f"axes that point elsewhere (by up to {angle:.1f} degrees)")
    shift_mm = float(np.linalg.norm(first.origin_mm - second.origin_mm))
    if shift_mm > 0.01:
        differences.append(f"first voxel {shift_mm:.1f} mm away")
    return ", ".join(differences) or "not the same lattice"


def _by(numbers: tuple[float, ...]) -> str:
    return " x ".join(f"{number:g}" if isinstance(number, int) else f"{number:.3g}" for number in numbers)
