"""Label maps on the scan's own grid: ``segmentation.nii.gz`` and ``raw_labels.nii.gz``."""

from __future__ import annotations

import errno
import gzip
import os
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

from KidneySegLib.errors import InputError
from KidneySegLib.postprocessing.grid import SAME_GRID_VOXELS, VoxelGrid, offset_in

if TYPE_CHECKING:
    import SimpleITK as sitk

_BLOCK_BYTES = 1 << 22


def on_whole_grid(labels: sitk.Image, image: sitk.Image) -> sitk.Image:
    """A label map on a part of the scan's grid, set into the whole grid; geometry exactly the scan's.

    Raises:
        InputError: if it lies on another grid.
    """
    import SimpleITK as sitk

    whole = set_into_grid(labels, image, sitk.sitkUInt8)
    if whole is None:
        raise InputError("The label map does not lie on the grid of the scan. Give a label map made on this scan.")
    return whole


def set_into_grid(part: sitk.Image, image: sitk.Image, pixel_type: int) -> sitk.Image | None:
    """Values on a part of a scan's grid, set into the whole grid with 0 elsewhere; None if they lie on another grid."""
    import SimpleITK as sitk

    offset = offset_in(VoxelGrid.of(part), VoxelGrid.of(image))
    if offset is None:
        return None
    whole = sitk.Image(image.GetSize(), pixel_type)
    whole.CopyInformation(image)
    whole[tuple(slice(o, o + n) for o, n in zip(offset, part.GetSize(), strict=True))] = sitk.Cast(part, pixel_type)
    return whole


def on_scan(labels: sitk.Image, image: sitk.Image) -> sitk.Image:
    """As `on_whole_grid`, for a label map whose axes may be swapped or flipped against the scan's.

    Programs order and turn the slices of one series in their own way; the voxels are the same.

    Raises:
        InputError: if its voxels are not those of the scan.
    """
    import numpy as np
    import SimpleITK as sitk

    if offset_in(VoxelGrid.of(labels), VoxelGrid.of(image)) is not None:
        return on_whole_grid(labels, image)
    moved: sitk.Image = sitk.Resample(labels, image, sitk.Transform(), sitk.sitkNearestNeighbor, 0)
    grids = VoxelGrid.of(labels), VoxelGrid.of(image)
    steps = np.linalg.inv(grids[1].linear) @ grids[0].linear
    first = grids[1].index(grids[0].origin_mm[None])[0]
    aligned = np.abs(steps - np.rint(steps)).max() < 1e-3 and np.abs(first - np.rint(first)).max() < SAME_GRID_VOXELS
    inside = np.count_nonzero(sitk.GetArrayViewFromImage(moved)) == np.count_nonzero(sitk.GetArrayViewFromImage(labels))
    if not aligned or not inside:
        raise InputError(
            "The label map does not lie on the grid of the DICOM series: the volume was resampled or moved. Save the "
            "label map as NIfTI, or segment the volume as it was loaded from DICOM."
        )
    return moved


def write_image(image: sitk.Image, path: Path) -> None:
    """Write an image compressed, and make sure that it is all there: ITK does not always notice a full disk.

    Raises:
        OSError: if it could not be written, or not completely.
    """
    import SimpleITK as sitk

    from KidneySegLib.ct.quiet import quiet_stderr

    try:
        with quiet_stderr():
            sitk.WriteImage(image, str(path), useCompression=True)
    except RuntimeError as error:
        raise _why(path) from error
    if not path.is_file():
        raise _why(path)
    if path.suffix == ".gz" and not _is_whole_gzip(path, image):
        raise _why(path)


def _is_whole_gzip(path: Path, image: sitk.Image) -> bool:
    voxels = image.GetNumberOfPixels() * image.GetSizeOfPixelComponent()
    unpacked = 0
    try:
        with gzip.open(path) as file:
            while block := file.read(_BLOCK_BYTES):
                unpacked += len(block)
    except (OSError, EOFError, zlib.error):
        return False
    return bool(unpacked > voxels)


def _why(path: Path) -> OSError:
    """The system's own error for a file that an image library could not write."""
    try:
        with path.with_name(path.name + ".probe").open("wb") as probe:
            probe.write(b"\0" * _BLOCK_BYTES)
            probe.flush()
            os.fsync(probe.fileno())
    except OSError as error:
        return error
    finally:
        path.with_name(path.name + ".probe").unlink(missing_ok=True)
    return OSError(errno.EIO, f"{path.name} could not be written")
