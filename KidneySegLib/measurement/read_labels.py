"""Label maps that a person or another program made, read and turned into ids 1-15."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from KidneySegLib.errors import InputError
from KidneySegLib.labels import LABELS, STRUCTURE_OF_TRAINING_LABEL, Side, Structure, label_id
from KidneySegLib.postprocessing.grid import VoxelGrid, offset_in

if TYPE_CHECKING:
    import SimpleITK as sitk

#: Whose ids mean what. Schemes without sides map to the unsided ids; `postprocessing.assign_sides` gives sides.
SCHEMES: dict[str, dict[int, int]] = {
    "kidneyseg": {label.id: label.id for label in LABELS},
    "training": {
        training.value: label_id(structure, Side.UNSIDED) for training, structure in STRUCTURE_OF_TRAINING_LABEL.items()
    },
    "sides": {1: label_id(Structure.UNDIVIDED, Side.RIGHT), 2: label_id(Structure.UNDIVIDED, Side.LEFT)},
    # KiTS: 1 kidney, 2 tumour, 3 cyst.
    "kits": {
        1: label_id(Structure.UNDIVIDED, Side.UNSIDED),
        2: label_id(Structure.MASS, Side.UNSIDED),
        3: label_id(Structure.CYST, Side.UNSIDED),
    },
    # An abnormality may be a cyst or a tumour; it counts as a mass.
    "abnormality": {1: label_id(Structure.UNDIVIDED, Side.UNSIDED), 2: label_id(Structure.MASS, Side.UNSIDED)},
}


def read_labels(path: Path, scheme: str = "kidneyseg", image: sitk.Image | None = None) -> sitk.Image:
    """Read a label map and turn its ids into those of `KidneySegLib.labels.LABELS`.

    Args:
        path: an image file with whole numbers.
        scheme: whose ids they are, one of `SCHEMES`.
        image: the scan that the map belongs to; its grid must then be the scan's or a part of it.

    Returns:
        uint8 label map on its own grid; all zero if the file is.

    Raises:
        InputError: unreadable, ids that the scheme does not have, values that are no whole numbers, or another grid
            than the scan's (the message says in what they differ).
    """
    import SimpleITK as sitk

    from KidneySegLib.ct.image_file import read_image_file

    if scheme not in SCHEMES:
        raise InputError(f"The label scheme must be one of {', '.join(SCHEMES)}, got {scheme}.")
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path} is not a file. Give a label map (.nii.gz, .nrrd, .mha).")
    found = read_image_file(path, path.name)
    if image is not None:
        check_same_grid(found, image, path.name)
    values = sitk.GetArrayViewFromImage(found)
    ids = SCHEMES[scheme]
    out = np.zeros(values.shape, dtype=np.uint8)
    for source, target in zip(values, out, strict=True):
        present = np.unique(source)
        _check_values(present, ids, scheme, path.name)
        for value in present:
            if value:
                target[source == value] = ids[int(value)]
    labels = sitk.GetImageFromArray(out)
    labels.CopyInformation(found)
    return labels


def check_same_grid(labels: sitk.Image, image: sitk.Image, name: str) -> None:
    """Refuse a label map that lies on another grid than its scan.

    Raises:
        InputError: naming every difference: size, voxel size, direction, position.
    """
    a, b = VoxelGrid.of(labels), VoxelGrid.of(image)
    if offset_in(a, b) is not None:
        return
    differences = []
    if a.size != b.size:
        differences.append(f"size {_by(a.size)} voxels, not {_by(b.size)}")
    if not np.allclose(a.spacing_mm, b.spacing_mm, rtol=1e-3):
        differences.append(f"voxels of {_by(a.spacing_mm)} mm, not {_by(b.spacing_mm)} mm")
    angle = np.degrees(np.arccos(np.clip(_axes_agree(a, b), -1, 1)))
    if angle > 0.1:
        differences.append(f"axes that point elsewhere (by up to {angle:.1f} degrees)")
    shift_mm = float(np.linalg.norm(a.origin_mm - b.origin_mm))
    if shift_mm > 0.01:
        differences.append(f"its first voxel {shift_mm:.1f} mm away")
    raise InputError(
        f"{name} does not lie on the scan's grid: it has {', '.join(differences) or 'another grid'}. "
        "Give the label map that was made on this scan, or resample it to the scan's grid."
    )


def _axes_agree(a: VoxelGrid, b: VoxelGrid) -> float:
    """Cosine of the largest angle between the axes of two grids."""
    cosines = (a.linear / a.spacing_mm * (b.linear / b.spacing_mm)).sum(axis=0)
    return float(cosines.min())


def _check_values(present: NDArray[Any], ids: dict[int, int], scheme: str, name: str) -> None:
    wrong = [float(value) for value in present if value != 0 and (value != np.rint(value) or int(value) not in ids)]
    if not wrong:
        return
    shown = ", ".join(f"{value:g}" for value in wrong[:5]) + (" ..." if len(wrong) > 5 else "")
    if any(value != np.rint(value) for value in wrong):
        raise InputError(f"{name} holds values that are no labels ({shown}). Give a label map, not a picture.")
    raise InputError(
        f"{name} holds the labels {shown}, but the scheme {scheme} knows {', '.join(map(str, ids))}. "
        f"Choose its scheme with --reference-labels ({', '.join(SCHEMES)}), or repair the label map."
    )


def _by(numbers: tuple[float, ...]) -> str:
    return " x ".join(f"{number:g}" if isinstance(number, int) else f"{number:.3g}" for number in numbers)
