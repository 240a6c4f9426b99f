"""Voxels between the panel and the child process: ``.npy`` files in a private folder, memory-mapped by both.

A volume is described in a line as ``{"array": NAME, "spacing_mm": [x, y, z], "origin_mm": [x, y, z],
"direction": [9 numbers, row by row]}``; world is LPS in mm. Arrays are (z, y, x).
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from KidneySegLib.errors import InputError
from KidneySegLib.worker_parts.protocol import ProtocolError

if TYPE_CHECKING:
    import SimpleITK as sitk

#: Rounding of direction cosines in files; a shear beyond this moves a voxel at the far end of a scan visibly.
DIRECTION_TOLERANCE = 1e-3


def array_path(workspace: Path, name: object) -> Path:
    """The file of that name inside the workspace.

    Raises:
        ProtocolError: for anything but a plain ``NAME.npy``: no folder, no way out of the workspace.
    """
    if not isinstance(name, str) or not name.endswith(".npy") or Path(name).name != name or "\\" in name:
        raise ProtocolError(f"an array must be named NAME.npy inside the workspace, got {name!r}")
    return workspace / name


def _numbers(description: Mapping[str, Any], key: str, count: int) -> tuple[float, ...]:
    values = description.get(key)
    if (
        not isinstance(values, list)
        or len(values) != count
        or not all(type(value) in (int, float) and abs(value) < 1e300 for value in values)
    ):
        raise ProtocolError(f"{key} must be a list of {count} numbers, got {values!r}")
    return tuple(float(value) for value in values)


def read_image(workspace: Path, description: Mapping[str, Any]) -> sitk.Image:
    """The described volume as an image in LPS, with int16 voxels where they fit without loss, else float32.

    Args:
        workspace: private folder of this session.
        description: see above. A label map (uint8) stays uint8.

    Raises:
        ProtocolError: if the description is not of this protocol.
        InputError: if the file is missing, is no array of three axes, or its geometry is not orthonormal.
    """
    import SimpleITK as sitk

    path = array_path(workspace, description.get("array"))
    try:
        voxels = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError) as error:
        raise InputError(f"The volume {path.name} could not be read from the workspace: {error}.") from error
    if voxels.ndim != 3 or 0 in voxels.shape:
        raise InputError(f"A volume must have three axes, none of them empty; got the shape {voxels.shape}.")
    spacing, direction = _numbers(description, "spacing_mm", 3), _numbers(description, "direction", 9)
    axes = np.array(direction).reshape(3, 3)
    if min(spacing) <= 0 or not np.allclose(axes.T @ axes, np.eye(3), atol=DIRECTION_TOLERANCE):
        raise InputError(
            "The volume's axes must be at right angles to each other, and its spacing must be positive; "
            f"got the direction {direction} and the spacing {spacing} mm."
        )
    image: Any = sitk.GetImageFromArray(_narrow(voxels))
    image.SetSpacing(spacing)
    image.SetOrigin(_numbers(description, "origin_mm", 3))
    image.SetDirection(direction)
    return cast("sitk.Image", image)


def _narrow(voxels: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    if voxels.dtype in (np.uint8, np.int16):
        return voxels
    if voxels.dtype.kind in "iu":
        low, high = int(voxels.min()), int(voxels.max())
        if np.iinfo(np.int16).min <= low and high <= np.iinfo(np.int16).max:
            return voxels.astype(np.int16)
    if voxels.dtype.kind not in "iuf":
        raise InputError(f"Voxels must be numbers, got {voxels.dtype}.")
    return voxels.astype(np.float32)


def write_image(workspace: Path, name: str, image: Any) -> dict[str, Any]:
    """Write a SimpleITK image's voxels as ``NAME`` into the workspace and describe it for a line.

    The file appears under its name only when it is whole.
    """
    import SimpleITK as sitk

    path = array_path(workspace, name)
    unfinished = path.with_suffix(".part")
    try:
        with unfinished.open("wb") as stream:
            np.save(stream, sitk.GetArrayViewFromImage(image), allow_pickle=False)
        os.replace(unfinished, path)
    except OSError:
        unfinished.unlink(missing_ok=True)
        raise
    return {
        "array": name,
        "spacing_mm": [float(value) for value in image.GetSpacing()],
        "origin_mm": [float(value) for value in image.GetOrigin()],
        "direction": [float(value) for value in image.GetDirection()],
    }
