"""DICOM ultrasound files, written with pydicom for the tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

US_IMAGE, US_MULTIFRAME = "1.2.840.10008.5.1.4.1.1.6.1", "1.2.840.10008.5.1.4.1.1.3.1"


def region(box: tuple[int, int, int, int], cm_per_pixel: tuple[float, float], **changes: Any) -> Dataset:
    """A calibrated 2-D tissue region: box is (x0, y0, x1, y1), both corners included; cm per pixel is (x, y)."""
    item = Dataset()
    item.RegionSpatialFormat, item.RegionDataType, item.RegionFlags = 1, 1, 0
    item.RegionLocationMinX0, item.RegionLocationMinY0 = box[:2]
    item.RegionLocationMaxX1, item.RegionLocationMaxY1 = box[2:]
    item.PhysicalUnitsXDirection = item.PhysicalUnitsYDirection = 3
    item.PhysicalDeltaX, item.PhysicalDeltaY = cm_per_pixel
    for name, value in changes.items():
        setattr(item, name, value)
    return item


def write_us(path: Path, pixels: np.ndarray, *, regions: list[Dataset] | None = None, **changes: Any) -> Path:
    """Write (y, x), (y, x, 3), (frames, y, x) with ``NumberOfFrames`` in ``changes``, or the like."""
    colour = pixels.ndim >= 3 and pixels.shape[-1] == 3
    frames = changes.pop("NumberOfFrames", None)
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = US_MULTIFRAME if frames else US_IMAGE
    meta.MediaStorageSOPInstanceUID = generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    file = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    file.SOPClassUID, file.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    file.PatientName, file.PatientID, file.Modality = "Doe^Jane", "4711", "US"
    file.Manufacturer = "Maker"
    shape = pixels.shape[:-1] if colour else pixels.shape
    file.Rows, file.Columns = shape[-2:]
    file.SamplesPerPixel = 3 if colour else 1
    file.PhotometricInterpretation = "RGB" if colour else "MONOCHROME2"
    if colour:
        file.PlanarConfiguration = 0
    bits = pixels.dtype.itemsize * 8
    file.BitsAllocated, file.BitsStored, file.HighBit, file.PixelRepresentation = bits, bits, bits - 1, 0
    if frames:
        file.NumberOfFrames = frames
    if regions is not None:
        file.SequenceOfUltrasoundRegions = Sequence(regions)
    for name, value in changes.items():
        setattr(file, name, value)
    file.PixelData = np.ascontiguousarray(pixels).tobytes()
    file.save_as(path, enforce_file_format=True)
    return path
