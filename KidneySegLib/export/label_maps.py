"""Label maps on the scan's own grid: ``segmentation.nii.gz`` and ``raw_labels.nii.gz``."""

from __future__ import annotations

import errno
import gzip
import os
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

from KidneySegLib.errors import InputError
from KidneySegLib.postprocessing.grid import VoxelGrid, offset_in

if TYPE_CHECKING:
    import SimpleITK as sitk

_BLOCK_BYTES = 1 << 22


def on_whole_grid(labels: sitk.Image, image: sitk.Image) -> sitk.Image:
    """A label map on a part of the scan's grid, set into the whole grid; geometry exactly the scan's.

    Raises:
        InputError: if it lies on another grid.
    """
    import SimpleITK as sitk

    offset = offset_in(VoxelGrid.of(labels), VoxelGrid.of(image))
    if offset is None:
        raise InputError("The label map does not lie on the grid of the scan. Give a label map made on this scan.")
    above = [n - o - m for n, o, m in zip(image.GetSize(), offset, labels.GetSize(), strict=True)]
    whole: sitk.Image = sitk.ConstantPad(sitk.Cast(labels, sitk.sitkUInt8), offset, above, 0)
    whole.CopyInformation(image)
    return whole


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
