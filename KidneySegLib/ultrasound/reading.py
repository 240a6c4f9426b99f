"""The door for ultrasound: a picture file or a DICOM file becomes grey frames with a view and, where known, mm."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from KidneySegLib.errors import InputError
from KidneySegLib.progress import Progress
from KidneySegLib.ultrasound.image import GIVEN, PIXEL_MM_RANGE, PixelMm, UltrasoundImage, make_image

PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")
_FORMATS = "a PNG, JPEG, BMP or TIFF picture, or a DICOM ultrasound file"
#: More pixels than any scanner's picture has.
MAX_PIXELS = 64_000_000
MIN_EDGE = 32


def read_ultrasound(
    path: Path | str,
    *,
    pixel_mm: PixelMm | None = None,
    frame: int | None = None,
    progress: Progress | None = None,
) -> UltrasoundImage:
    """Read one ultrasound picture or cine loop.

    Args:
        path: a picture, a DICOM file, or a folder that holds one of these.
        pixel_mm: edges of a pixel (y, x) in mm where the file does not say; goes before what the file says.
        frame: read this frame of a cine loop only, counted from 1.
        progress: is told the stage ``read``.

    Raises:
        InputError: what cannot be read, or is no ultrasound; the message names the file and says what to do.
    """
    progress = progress or Progress()
    source = _single(Path(path).expanduser())
    progress.report("read", 0.0, source.name)
    if pixel_mm is not None and not all(PIXEL_MM_RANGE[0] <= edge <= PIXEL_MM_RANGE[1] for edge in pixel_mm):
        raise InputError(
            f"A pixel's edge must be {PIXEL_MM_RANGE[0]} to {PIXEL_MM_RANGE[1]} mm, got {pixel_mm}. Give mm."
        )
    try:
        image = _read(source, frame)
    except OSError as error:
        raise InputError(f"{source} cannot be read ({error.strerror or error}). Check the file.") from error
    if pixel_mm is not None:
        flags = tuple(flag for flag in image.flags if flag != "us_not_calibrated")
        image = replace(image, pixel_mm=pixel_mm, calibration=GIVEN, flags=flags)
    progress.report("read", 1.0, source.name)
    return image


def _single(path: Path) -> Path:
    if path.is_file():
        return path
    if not path.exists():
        raise InputError(f"{path} does not exist. Check the path.")
    found = sorted(p for p in path.rglob("*") if p.is_file() and not p.name.startswith(".") and _is_known(p))
    if len(found) == 1:
        return found[0]
    names = ", ".join(p.name for p in found[:5]) + (", ..." if len(found) > 5 else "")
    what = f"holds {len(found)} pictures ({names})" if found else "holds no picture"
    raise InputError(f"The folder {path} {what}. Give one of: {_FORMATS}.")


def _is_known(path: Path) -> bool:
    return path.suffix.lower() in PICTURE_SUFFIXES or _is_dicom(path)


def _is_dicom(path: Path) -> bool:
    with path.open("rb") as file:
        head = file.read(132)
    return head[128:132] == b"DICM" or path.suffix.lower() in (".dcm", ".dicom", ".ima")


def _read(path: Path, frame: int | None) -> UltrasoundImage:
    if _is_dicom(path):
        from KidneySegLib.ultrasound.dicom import read_dicom

        return read_dicom(path, frame)
    if path.suffix.lower() not in PICTURE_SUFFIXES:
        raise InputError(f"{path.name} is of no known kind. Give {_FORMATS}.")
    if frame not in (None, 1):
        raise InputError(f"{path.name} is a single picture; it has no frame {frame}. Leave out --frame.")
    return make_image(_picture(path)[None], source=path)


def _picture(path: Path) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """(y, x) or (y, x, 3) uint8."""
    import warnings

    from PIL import Image

    try:
        with warnings.catch_warnings(), Image.open(path) as picture:
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            width, height = picture.size
            check_size(height, width, path.name)
            mode = picture.mode
            if mode in ("I;16", "I;16B", "I;16L", "I", "F"):
                values = np.asarray(picture, dtype=np.float64)
                return to_grey_levels(values)
            # Transparency over black, as a viewer shows it on a scanner's background.
            if mode in ("LA", "PA", "RGBA") or "transparency" in picture.info:
                coloured = picture.convert("RGBA")
                black = Image.new("RGBA", coloured.size, (0, 0, 0, 255))
                return np.asarray(Image.alpha_composite(black, coloured).convert("RGB"), dtype=np.uint8)
            return np.asarray(picture.convert("L" if mode in ("1", "L") else "RGB"), dtype=np.uint8)
    except (ValueError, SyntaxError, OSError, Image.DecompressionBombError) as error:
        raise InputError(f"{path.name} is damaged or no picture ({error}). Export it again as PNG.") from error


def to_grey_levels(
    values: np.ndarray[tuple[int, ...], np.dtype[np.float64]],
) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """Values of more than 8 bits as 0 to 255; negative ones are black."""
    top = float(values.max()) if values.size else 0.0
    if not np.isfinite(top):
        raise ValueError("values that are no numbers")
    scale = 255.0 / top if top > 255 else 1.0
    return np.clip(np.round(values * scale), 0, 255).astype(np.uint8)


def check_size(height: int, width: int, name: str) -> None:
    """Refuse a picture that is none.

    Raises:
        InputError: it is tiny or huge.
    """
    if min(height, width) < MIN_EDGE or height * width > MAX_PIXELS:
        raise InputError(
            f"{name} is {width} x {height} pixels; an ultrasound picture of {MIN_EDGE} pixels a side at least and "
            f"{MAX_PIXELS // 10**6} megapixels at most was expected. Export it from the scanner again."
        )
