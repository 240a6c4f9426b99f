"""Pictures made ready once: cropped to their view and fitted into the network's size, with their kidneys."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from KidneySegLib.errors import InputError
from KidneySegLib.progress import Progress
from KidneySegLib.training.ultrasound.dataset import OutlinedImage
from KidneySegLib.ultrasound.preparation import Size, fit, place
from KidneySegLib.ultrasound.reading import read_ultrasound


def prepare(images: Sequence[OutlinedImage], size: Size, progress: Progress = Progress()) -> npt.NDArray[np.uint8]:
    """(pictures, 3, y, x) uint8: grey level, view (0 or 255) and kidney (0 or 255).

    Raises:
        InputError: a picture or a mask cannot be read, or a picture has several frames.
    """
    samples = np.zeros((len(images), 3, *size), np.uint8)
    for index, one in enumerate(images):
        progress.report("read", index / max(1, len(images)), one.image.name)
        scan = read_ultrasound(one.image)
        if len(scan.frames) != 1:
            raise InputError(f"{one.image} holds {len(scan.frames)} frames. Training takes single pictures.")
        frame, view = scan.frames[0], scan.view
        kidney = one.kidney((frame.shape[0], frame.shape[1]))
        placement = place(view, size)
        grey = fit(np.where(view, frame, 0).astype(np.float32), placement)
        samples[index, 0] = np.clip(np.round(grey), 0, 255).astype(np.uint8)
        samples[index, 1] = (fit(view.astype(np.float32), placement) >= 0.5) * np.uint8(255)
        samples[index, 2] = (fit((kidney & view).astype(np.float32), placement) >= 0.5) * np.uint8(255)
    progress.report("read", 1.0)
    return samples
