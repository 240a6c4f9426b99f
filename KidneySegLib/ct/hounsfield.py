"""Whether the numbers of an image can be Hounsfield units."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from KidneySegLib.errors import InputError

if TYPE_CHECKING:
    import SimpleITK as sitk

#: HU that reconstructed tissue and air have; lower values are padding outside the field of view.
LOWEST_HU = -1100
#: Air, lung and fat lie below this. Every body scan holds fat.
FAT_BELOW_HU = -20
#: Enhanced tissue, bone or calcium lie above this in every body scan.
TISSUE_ABOVE_HU = 20
#: Highest HU that scanners store: 12 bits less 1024, or the extended range of 16 bits (metal).
HIGHEST_HU = 32767
#: Ends of the ordinary 12-bit range; a maximum here is no sign of clipping.
TWELVE_BIT_MAX_HU = 3000
#: Fat, muscle and organs, enhanced or not, lie between these, and are at least this share of a scan of a body.
SOFT_TISSUE_HU = (-200, 300)
MIN_SOFT_TISSUE_SHARE = 0.02
#: Share of voxels inside the body's HU range that a scan must have.
MIN_SHARE = 0.001
#: As many voxels of one end value are a clipped range, not chance.
MIN_CLIPPED_VOXELS = 100
_OFFSET = 32768


def count_hu(image: sitk.Image, name: str) -> NDArray[np.int64]:
    """Histogram of an image: element ``i`` counts voxels of ``i - 32768`` HU (rounded, ends collect the rest).

    Works slice by slice, so no second volume is made.

    Raises:
        InputError: voxels that are NaN or infinite.
    """
    import SimpleITK as sitk

    counts = np.zeros(65536, dtype=np.int64)
    for plane in sitk.GetArrayViewFromImage(image):
        values = plane
        if np.issubdtype(values.dtype, np.floating):
            if not np.isfinite(values).all():
                raise InputError(no_number(name))
            values = np.rint(np.clip(values, -_OFFSET, _OFFSET - 1))
        counts += np.bincount((values.astype(np.int32) + _OFFSET).ravel(), minlength=65536)
    return counts


def no_number(name: str) -> str:
    """The message about voxels that are NaN or infinite."""
    return (
        f"{name} has voxels without a number (NaN or infinite), so it cannot be measured. "
        "Replace them with -1024 (air), or export the CT again."
    )


def check_hu(image: sitk.Image, name: str) -> tuple[str, ...]:
    """Flags about the HU range (``hu_clipped``).

    Args:
        image: 3-D, integer or floating point pixels.
        name: the file or series, for the message.

    Raises:
        InputError: values that cannot be HU: NaN, one single value, no negative voxel (a picture, or rescaling
            was not applied), a range that is too small, too large, or misses fat or tissue.
    """
    import SimpleITK as sitk

    if image.GetPixelID() in (sitk.sitkUInt8, sitk.sitkInt8):
        raise InputError(
            f"{name} has 8-bit pixels, so it is a picture and holds no Hounsfield units (HU). "
            "Export the CT again as DICOM, or as NIfTI with HU."
        )
    counts = count_hu(image, name)
    total = int(counts.sum())
    present = np.flatnonzero(counts) - _OFFSET
    low, high = int(present[0]), int(present[-1])
    again = "Export the CT again as DICOM, or as NIfTI with HU."
    if low == high:
        raise InputError(f"All voxels of {name} are {low}: it holds no picture. {again}")
    if low >= 0:
        raise InputError(
            f"{name} has no negative voxel (range {low} to {high}), so it does not hold Hounsfield units: it is a "
            f"picture, another modality, or its rescaling was lost. {again}"
        )
    tissue = counts[LOWEST_HU + _OFFSET :]
    in_body = int(counts[LOWEST_HU + _OFFSET : TWELVE_BIT_MAX_HU + _OFFSET].sum())
    fat = int(counts[LOWEST_HU + _OFFSET : FAT_BELOW_HU + _OFFSET].sum())
    above = int(counts[TISSUE_ABOVE_HU + _OFFSET :].sum())
    outside = int(counts[0]) + int(counts[-1])
    soft = int(counts[SOFT_TISSUE_HU[0] + _OFFSET : SOFT_TISSUE_HU[1] + _OFFSET].sum())
    few = MIN_SHARE * total
    if (
        soft < MIN_SOFT_TISSUE_SHARE * int(tissue.sum())
        or fat < few
        or above < few
        or in_body < 0.5 * int(tissue.sum())
        or (high >= HIGHEST_HU and outside > few)
    ):
        raise InputError(
            f"The values of {name} (range {low} to {high}) cannot be Hounsfield units: a CT of a body has air or fat "
            f"below {FAT_BELOW_HU} and tissue above {TISSUE_ABOVE_HU} HU. {again}"
        )
    clipped_above = high < TWELVE_BIT_MAX_HU and counts[high + _OFFSET] >= MIN_CLIPPED_VOXELS
    clipped_below = low > -900 and counts[low + _OFFSET] >= MIN_CLIPPED_VOXELS
    return ("hu_clipped",) if clipped_above or clipped_below else ()
