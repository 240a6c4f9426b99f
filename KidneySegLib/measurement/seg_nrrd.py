"""Segmentations as 3D Slicer saves them (``.seg.nrrd``), turned into ids 1-15 by the names of their segments."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from KidneySegLib.errors import InputError
from KidneySegLib.labels import LABELS

if TYPE_CHECKING:
    import SimpleITK as sitk

_ID_OF_NAME = {name.lower(): label.id for label in LABELS for name in (label.key, label.name)}


def is_seg_nrrd(path: Path) -> bool:
    """Whether a file is a segmentation of 3D Slicer, by its name."""
    return path.name.lower().endswith(".seg.nrrd")


def read_seg_nrrd(path: Path) -> sitk.Image:
    """Read a segmentation of 3D Slicer.

    Slicer numbers segments in its own way; they are told apart by their name or id ("Right renal cortex" or
    ``right_cortex``).

    Returns:
        uint8 ids of `labels.LABELS` on the file's own grid, which may be a part of the scan's.

    Raises:
        InputError: no such file, damaged, or with segments that overlap or are not known.
    """
    import SimpleITK as sitk

    from KidneySegLib.ct.image_file import read_image_file

    if not path.is_file():
        raise InputError(f"{path} is not a file. Give a segmentation (.seg.nrrd).")
    id_of_value = _id_of_value(path)
    image = read_image_file(path, path.name)
    ids = np.zeros(256, dtype=np.uint8)
    for value, label_id in id_of_value.items():
        ids[value] = label_id
    values = sitk.GetArrayViewFromImage(image)
    if values.size and (values.min() < 0 or values.max() > 255):
        raise InputError(f"{path.name} holds values that no segment has. Save it again from 3D Slicer.")
    labels = sitk.GetImageFromArray(ids[values.astype(np.uint8)])
    labels.CopyInformation(image)
    return labels


def _id_of_value(path: Path) -> dict[int, int]:
    """Our label id for each voxel value."""
    import SimpleITK as sitk

    from KidneySegLib.ct.quiet import quiet

    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    try:
        with quiet():
            reader.ReadImageInformation()
    except RuntimeError:
        return {}  # read_image_file says what is wrong with it.
    fields = {key: reader.GetMetaData(key) for key in reader.GetMetaDataKeys()}
    numbers = [key[len("Segment") : -len("_ID")] for key in fields if key.startswith("Segment") and key.endswith("_ID")]
    if reader.GetNumberOfComponents() > 1 or reader.GetDimension() > 3:
        raise InputError(f"Segments of {path.name} overlap, so a voxel has no single label. Save it without overlaps.")
    ids: dict[int, int] = {}
    unknown = []
    for number in filter(str.isdigit, numbers):
        name, key = (fields.get(f"Segment{number}_{part}", "").strip() for part in ("Name", "ID"))
        value = fields.get(f"Segment{number}_LabelValue", "")
        label_id = _ID_OF_NAME.get(name.lower()) or _ID_OF_NAME.get(key.lower())
        if label_id is None:
            unknown.append(name or key)
        elif value.isdigit() and 0 < int(value) < 256:
            ids[int(value)] = label_id
        else:
            raise InputError(f"The segment {name!r} of {path.name} has no label value. Save it again from 3D Slicer.")
    if unknown:
        raise InputError(
            f"{path.name} has segments that are not known: {', '.join(unknown)}. Known are {LABELS[0].name}, "
            f"{LABELS[1].name} and so on (kidneyseg measure --help); rename or remove the others."
        )
    return ids
