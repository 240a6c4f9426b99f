"""A label map that a person made or corrected, read from a file and checked before it is measured."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from KidneySegLib.ct.image_file import read_image_file
from KidneySegLib.errors import InputError
from KidneySegLib.labels import LABELS

if TYPE_CHECKING:
    import SimpleITK as sitk

_SUFFIXES = (".nii", ".nii.gz", ".nrrd", ".nhdr", ".mha", ".mhd")
_IDS = {name.lower(): label.id for label in LABELS for name in (label.key, label.name)}


def read_label_map(path: Path) -> sitk.Image:
    """The label map of a file: uint8 ids of `labels.LABELS`.

    A ``.seg.nrrd`` of 3D Slicer numbers its segments in its own way; they are told apart by name or id there
    ("Right renal cortex" or ``right_cortex``). Every other file holds the ids as they are.

    Args:
        path: NIfTI, NRRD or MetaImage; 3-D, on the scan's grid or a part of it.

    Raises:
        InputError: no such file, no image, values that are no label ids, unknown or overlapping segments.
    """
    import SimpleITK as sitk

    path = path.expanduser()
    if not path.is_file():
        raise InputError(f"The label map {path} does not exist or is no file. Check the path.")
    if not path.name.lower().endswith(_SUFFIXES):
        raise InputError(f"{path} is not a label map. Give a NIfTI, NRRD or MetaImage file.")
    id_of_value = _segments(path) if path.name.lower().endswith((".nrrd", ".nhdr")) else {}
    image = read_image_file(path, str(path))
    values = sitk.GetArrayFromImage(image)
    found = np.unique(values)
    known = set(id_of_value) or {label.id for label in LABELS}
    strange = [f"{value:g}" for value in found if value != 0 and value not in known]
    if strange:
        raise InputError(
            f"{path} holds the values {', '.join(strange[:8])}{' ...' if len(strange) > 8 else ''}, which are no labels: "
            "1-4 cortex and medulla, 5-8 cysts and masses, 9-15 kidneys without side or division "
            "(kidneyseg measure --help)."
        )
    ids = values.astype(np.uint8)
    if id_of_value:
        table = np.zeros(256, dtype=np.uint8)
        for value, label_id in id_of_value.items():
            table[value] = label_id
        ids = table[ids]
    labels = sitk.GetImageFromArray(ids)
    labels.CopyInformation(image)
    return labels


def _segments(path: Path) -> dict[int, int]:
    """Our id for each value of a ``.seg.nrrd``; empty if the file names no segments."""
    import SimpleITK as sitk

    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
    except RuntimeError:
        return {}  # read_image_file says what is wrong with it
    fields = {key: reader.GetMetaData(key) for key in reader.GetMetaDataKeys() if key.startswith("Segment")}
    numbers = sorted({key.split("_")[0][7:] for key in fields} - {"ation", ""}, key=lambda text: (len(text), text))
    if not numbers:
        return {}
    if reader.GetNumberOfComponents() > 1 or reader.GetDimension() > 3:
        raise InputError(
            f"Segments of {path} overlap, so a voxel has no single label. Save it with non-overlapping segments."
        )
    ids: dict[int, int] = {}
    unknown = []
    for number in numbers:
        name, id_text = (fields.get(f"Segment{number}_{part}", "") for part in ("Name", "ID"))
        label_id = _IDS.get(name.strip().lower()) or _IDS.get(id_text.strip().lower())
        value = fields.get(f"Segment{number}_LabelValue", "")
        if label_id is None:
            unknown.append(name or id_text)
        elif value.isdigit() and 0 < int(value) < 256:
            ids[int(value)] = label_id
        else:
            raise InputError(f"The segment '{name}' of {path} has no label value. Save it again from 3D Slicer.")
    if unknown:
        raise InputError(
            f"{path} has segments that are not known: {', '.join(unknown)}. Known names are, for example, "
            f"{', '.join(label.name for label in LABELS[:4])}; remove or rename the others."
        )
    return ids
