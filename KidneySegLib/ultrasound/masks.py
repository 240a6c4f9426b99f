"""Masks as picture files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from KidneySegLib.errors import InputError


def read_mask(path: Path, shape: tuple[int, int] | None = None) -> npt.NDArray[np.bool_]:
    """A mask picture (y, x): what is not 0 is kidney.

    Raises:
        InputError: it cannot be read, or its size is not ``shape``.
    """
    from PIL import Image

    try:
        with Image.open(path) as picture:
            values = np.asarray(picture)
    except (OSError, ValueError, SyntaxError) as error:
        raise InputError(f"The mask {path} cannot be read: {error}. Give masks as PNG files.") from error
    if values.ndim == 3:
        values = values[..., :3].max(axis=2)
    if shape is not None and values.shape != shape:
        raise InputError(
            f"The mask {path} is {values.shape[1]} x {values.shape[0]} pixels, but its picture is {shape[1]} x "
            f"{shape[0]}. A mask must have its picture's size."
        )
    return np.asarray(values != 0)
