"""One ultrasound picture, or a cine loop, as it was read."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from KidneySegLib.ultrasound.view import Mask, View, coloured_pixels, find_view, without

#: What a scan's size in mm may rest on, for a person.
DICOM_REGION = "calibrated region of the DICOM file"
DICOM_SPACING = "pixel spacing of the DICOM file"
GIVEN = "given by the user"
VOLUME_SPACING = "spacing of the volume"

PixelMm = tuple[float, float]
#: Smallest and largest edge of a pixel that an abdominal scan has, in mm; others are no calibration.
PIXEL_MM_RANGE = (0.01, 5.0)


@dataclass(frozen=True)
class UltrasoundImage:
    """Grey frames and where they show echoes.

    Attributes:
        frames: (frame, y, x) uint8; one frame for a picture. Coloured annotations are painted over.
        view: (y, x), the same for all frames: True where echoes are. What lies outside (text, scales, logos) is nowhere
            used and nowhere shown.
        pixel_mm: edges of a pixel (y, x), or None where nothing says.
        calibration: what ``pixel_mm`` rests on; empty without.
        source: the file.
        sha256: of frames and calibration.
        flags: keys of `flags.FLAGS`.
        acquisition: technical facts that name nobody.
    """

    frames: npt.NDArray[np.uint8]
    view: Mask
    pixel_mm: PixelMm | None
    calibration: str
    source: Path
    sha256: str
    flags: tuple[str, ...] = ()
    acquisition: Mapping[str, str] = field(default_factory=dict)


def make_image(
    frames: npt.NDArray[np.uint8],
    *,
    source: Path,
    pixel_mm: PixelMm | None = None,
    calibration: str = "",
    region: tuple[int, int, int, int] | None = None,
    acquisition: Mapping[str, str] | None = None,
    flags: tuple[str, ...] = (),
) -> UltrasoundImage:
    """Find the view and leave out annotations.

    Args:
        frames: (frame, y, x) grey or (frame, y, x, 3) colour, uint8.
        source: where it came from.
        pixel_mm, calibration: see `UltrasoundImage`.
        region: top, left, bottom, right (the last two excluded) of the part that holds the view, or None.
        acquisition, flags: see `UltrasoundImage`.
    """
    grey = frames if frames.ndim == 3 else _without_colour(frames)
    shape = grey.shape[1:]
    top, left, bottom, right = region or (0, 0, *shape)
    found: View = find_view(grey[:, top:bottom, left:right])
    view = np.zeros(shape, bool)
    view[top:bottom, left:right] = found.mask
    said = list(flags)
    if found.is_whole and region is None:
        said.append("us_view_not_found")
    if pixel_mm is None:
        said.append("us_not_calibrated")
    digest = hashlib.sha256(f"{grey.shape} {pixel_mm}".encode())
    digest.update(np.ascontiguousarray(grey).tobytes())
    return UltrasoundImage(
        frames=grey,
        view=view,
        pixel_mm=pixel_mm,
        calibration=calibration if pixel_mm else "",
        source=source,
        sha256=digest.hexdigest(),
        flags=tuple(said),
        acquisition=dict(acquisition or {}),
    )


def _without_colour(frames: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Grey frames (frame, y, x) of colour frames (frame, y, x, 3); coloured strokes take their neighbours' grey."""
    result = np.empty(frames.shape[:3], np.uint8)
    for index, frame in enumerate(frames):
        # Rec. 601; equal channels stay as they are.
        red, green, blue = np.moveaxis(frame.astype(np.int32), -1, 0)
        grey = (299 * red + 587 * green + 114 * blue + 500) // 1000
        result[index] = without(grey.astype(np.uint8), coloured_pixels(frame))
    return result
