"""A CT scan from DICOM files: choose the series, order its slices, decode them, make the grid regular."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from KidneySegLib.ct.dicom_pixels import decode
from KidneySegLib.ct.dicom_series import choose_series, find_series
from KidneySegLib.ct.dicom_stack import Stack, build_stack
from KidneySegLib.ct.entries import Entry
from KidneySegLib.ct.geometry import check_grid
from KidneySegLib.ct.hounsfield import check_hu
from KidneySegLib.ct.image_file import compact
from KidneySegLib.ct.patient import acquisition_tags, patient_data
from KidneySegLib.ct.scan import CtScan, content_hash
from KidneySegLib.ct.upright import even_slices, upright
from KidneySegLib.progress import Progress

if TYPE_CHECKING:
    import SimpleITK as sitk


def read_dicom(entries: Sequence[Entry], source: Path, name: str, series_uid: str | None, progress: Progress) -> CtScan:
    """The one CT volume among DICOM files, or the one that was asked for.

    Args:
        entries: the DICOM files.
        source: the input they come from.
        name: the input in messages.
        series_uid: value of ``--series``, or None.
        progress: is told the stage ``read``.

    Raises:
        InputError, SeveralSeriesError: see `KidneySegLib.ct.read_ct`.
    """
    series = choose_series(find_series(entries, progress), series_uid, name)
    info = series.info
    called = f"series {info.description or info.uid} of {name}"
    stack = build_stack(series.slices, called)
    voxels = decode(stack.slices, progress)
    positions = "" if stack.even else " ".join(f"{mm:.4f}" for mm in stack.positions_mm)
    flags = [*series.flags, *stack.flags]
    if stack.even:
        image = _image(voxels, stack)
        sha256 = content_hash(image)
        flags += check_hu(image, called)
    else:
        uneven = _image(voxels, stack)
        sha256 = content_hash(uneven, positions)
        flags += check_hu(uneven, called)
        del uneven
        image = _image(even_slices(voxels, stack.positions_mm, stack.spacing_mm), stack)
    del voxels
    if "gantry_tilt_corrected" in stack.flags:
        image = upright(image, called)
    check_grid(image, called)
    return CtScan(
        image=image,
        source=source,
        series_uid=info.uid,
        sha256=sha256,
        slice_thickness_mm=stack.thickness_mm,
        flags=tuple(dict.fromkeys(flags)),
        patient=patient_data(series.header),
        acquisition=acquisition_tags(series.header),
    )


def _image(voxels: NDArray[Any], stack: Stack) -> sitk.Image:
    import SimpleITK as sitk

    image = compact(sitk.GetImageFromArray(voxels))
    image.SetSpacing((*stack.pixel_mm, stack.spacing_mm))
    image.SetOrigin([float(v) for v in np.array(stack.slices[0].position_mm)])
    image.SetDirection([float(v) for v in np.column_stack([stack.row, stack.column, stack.step]).ravel()])
    return image
