"""DICOM ultrasound: single frames and cine loops, and what their calibrated regions say."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from KidneySegLib.errors import InputError
from KidneySegLib.ultrasound.image import (
    DICOM_REGION,
    DICOM_SPACING,
    PIXEL_MM_RANGE,
    PixelMm,
    UltrasoundImage,
    make_image,
)

if TYPE_CHECKING:
    from pydicom import Dataset

#: Region Spatial Format: 2-D (tissue or flow); Region Data Type: tissue (PS3.3 C.8.5.5.1.1 and C.8.5.5.1.2).
_SPATIAL_2D = 1
_TISSUE = 1
#: Physical Units: cm (PS3.3 C.8.5.5.1.15).
_CM = 3
MAX_FRAMES = 2000
#: Decoded bytes of one loop.
MAX_BYTES = 2 * 1024**3
_ACQUISITION = ("Manufacturer", "ManufacturerModelName", "TransducerType", "FrameTime", "CineRate")


@dataclass(frozen=True)
class Region:
    """A calibrated 2-D region: top, left, bottom, right (the last two excluded), and its pixels' edges (y, x) in mm."""

    box: tuple[int, int, int, int]
    pixel_mm: PixelMm | None

    @property
    def area(self) -> int:
        top, left, bottom, right = self.box
        return (bottom - top) * (right - left)


def read_dicom(path: Path, frame: int | None = None) -> UltrasoundImage:
    """One DICOM ultrasound file.

    Args:
        path: the file.
        frame: read this frame only, counted from 1; None: all.

    Raises:
        InputError: no ultrasound, damaged, or no such frame.
    """
    from pydicom import dcmread

    from KidneySegLib.ct.quiet import quiet

    with quiet():
        try:
            dataset = dcmread(path, force=True)
            modality = str(dataset.get("Modality", ""))
            if modality not in ("US", "IVUS", "OT", "SC", ""):
                raise InputError(
                    f"{path.name} is of modality {modality}, not ultrasound (US). For CT use: kidneyseg segment."
                )
            frames = _frames(dataset, path, frame)
            regions = find_regions(dataset, frames.shape[1:3])
        except (InputError, OSError):
            raise
        except Exception as error:  # pydicom and its plugins raise whatever a damaged byte leads to
            reason = " ".join(str(error).split())[:200]
            raise InputError(f"{path.name} is damaged or cannot be decoded ({reason}). Export it again.") from error
    region = max(regions, key=lambda r: r.area, default=None)
    pixel_mm, calibration = (region.pixel_mm, DICOM_REGION) if region is not None else (None, "")
    if pixel_mm is None:
        pixel_mm, calibration = _pixel_spacing(dataset), DICOM_SPACING
    return make_image(
        frames,
        source=path,
        pixel_mm=pixel_mm,
        calibration=calibration,
        region=region.box if region is not None else None,
        acquisition={name: str(dataset[name].value) for name in _ACQUISITION if name in dataset},
        flags=("us_several_regions",) if len(regions) > 1 else (),
    )


def find_regions(dataset: Dataset, shape: tuple[int, ...]) -> list[Region]:
    """Calibrated 2-D tissue regions of a file whose frames have a shape (y, x); those that lie outside are left out."""
    found = []
    for item in dataset.get("SequenceOfUltrasoundRegions") or ():
        if item.get("RegionSpatialFormat") != _SPATIAL_2D or item.get("RegionDataType", _TISSUE) != _TISSUE:
            continue
        edges = [item.get(name) for name in _BOX]
        if any(edge is None for edge in edges):
            continue
        left, top, right, bottom = (int(edge) for edge in edges)
        # Both corners belong to the region; some scanners give one pixel more than there is.
        box = (max(top, 0), max(left, 0), min(bottom + 1, shape[0]), min(right + 1, shape[1]))
        if box[2] - box[0] >= 16 and box[3] - box[1] >= 16:
            found.append(Region(box, _region_mm(item)))
    return found


_BOX = ("RegionLocationMinX0", "RegionLocationMinY0", "RegionLocationMaxX1", "RegionLocationMaxY1")


def _region_mm(item: Dataset) -> PixelMm | None:
    if item.get("PhysicalUnitsXDirection") != _CM or item.get("PhysicalUnitsYDirection") != _CM:
        return None
    return _plausible(
        10 * abs(float(item.get("PhysicalDeltaY") or 0)), 10 * abs(float(item.get("PhysicalDeltaX") or 0))
    )


def _pixel_spacing(dataset: Dataset) -> PixelMm | None:
    spacing = dataset.get("PixelSpacing")
    return _plausible(float(spacing[0]), float(spacing[1])) if spacing is not None and len(spacing) == 2 else None


def _plausible(y_mm: float, x_mm: float) -> PixelMm | None:
    low, high = PIXEL_MM_RANGE
    return (y_mm, x_mm) if low <= y_mm <= high and low <= x_mm <= high else None


def _frames(dataset: Dataset, path: Path, frame: int | None) -> npt.NDArray[np.uint8]:
    """(frame, y, x) or (frame, y, x, 3) uint8."""
    from KidneySegLib.ultrasound.reading import check_size

    if "PixelData" not in dataset:
        raise InputError(f"{path.name} holds no picture. Give an ultrasound image, not a report or a directory.")
    rows, columns = int(dataset.Rows), int(dataset.Columns)
    check_size(rows, columns, path.name)
    count = int(dataset.get("NumberOfFrames") or 1)
    if frame is not None and not 1 <= frame <= count:
        raise InputError(f"{path.name} has {count} frames; there is no frame {frame}. Choose one of 1 to {count}.")
    wanted = [frame - 1] if frame is not None else list(range(count))
    samples = int(dataset.get("SamplesPerPixel") or 1)
    if len(wanted) > MAX_FRAMES or len(wanted) * rows * columns * samples > MAX_BYTES:
        raise InputError(f"{path.name} is a loop of {count} frames, too many at once. Choose one with --frame.")
    return np.stack([_frame(dataset, index) for index in wanted])


def _frame(dataset: Dataset, index: int) -> npt.NDArray[np.uint8]:
    from pydicom.pixels.processing import apply_color_lut, apply_modality_lut
    from pydicom.pixels.utils import pixel_array

    from KidneySegLib.ultrasound.reading import to_grey_levels

    photometric = str(dataset.get("PhotometricInterpretation", "MONOCHROME2"))
    count = int(dataset.get("NumberOfFrames") or 1)
    # YBR comes back as RGB.
    values: npt.NDArray[Any] = pixel_array(dataset, index=index if count > 1 else None)
    if photometric == "PALETTE COLOR":
        values = apply_color_lut(values, dataset)
    elif values.ndim == 2:
        values = apply_modality_lut(values, dataset)
    if values.ndim == 3 and values.dtype != np.uint8:
        values = values >> 8 if values.dtype == np.uint16 and values.max() > 255 else values
    if values.dtype != np.uint8:
        values = to_grey_levels(values.astype(np.float64))
    if photometric == "MONOCHROME1":
        values = 255 - values
    return np.ascontiguousarray(values, dtype=np.uint8)
