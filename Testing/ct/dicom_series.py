"""Writes small DICOM CT series for tests, with pydicom: real files of a chosen geometry, rescaling and syntax.

The picture is a function of world coordinates (`world_hu`), so any geometry has a known right answer at every point.
"""

from __future__ import annotations

import zipfile
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import (
    CTImageStorage,
    EnhancedCTImageStorage,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    generate_uid,
)

ROOT = "1.2.826.0.1.3680043.8.498."


def world_hu(points_mm: np.ndarray) -> np.ndarray:
    """HU at world points (..., 3) in LPS mm: linear in all coordinates, from air to bone over a few centimetres."""
    return points_mm @ np.array([4.0, 7.0, -11.0]) + 420.0


@dataclass(frozen=True)
class SeriesSpec:
    """A series to write. `row`, `column` are unit vectors; slices lie at `positions_mm` along `step`."""

    rows: int = 36
    columns: int = 40
    positions_mm: tuple[float, ...] = tuple(2.0 * i for i in range(12))
    origin_mm: tuple[float, float, float] = (-20.0, -15.0, 30.0)
    row: tuple[float, float, float] = (1.0, 0.0, 0.0)
    column: tuple[float, float, float] = (0.0, 1.0, 0.0)
    step: tuple[float, float, float] | None = None  # None: the normal
    pixel_mm: tuple[float, float] = (1.5, 1.25)  # down a column, along a row
    thickness_mm: float | None = 2.5
    slope: float = 1.0
    intercept: float = -1024.0
    signed: bool = False
    syntax: str = ExplicitVRLittleEndian
    modality: str = "CT"
    description: str = "Abdomen arterial"
    series_uid: str = ROOT + "1"
    image_type: tuple[str, ...] = ("ORIGINAL", "PRIMARY", "AXIAL")
    acquisition: int | None = 1
    suffix: str = ".dcm"
    tags: dict[str, Any] = field(default_factory=dict)

    def axes(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        row, column = np.array(self.row), np.array(self.column)
        return row, column, np.cross(row, column) if self.step is None else np.array(self.step)

    def slice_origin(self, index: int) -> np.ndarray:
        return np.array(self.origin_mm) + self.positions_mm[index] * self.axes()[2]

    def slice_hu(self, index: int) -> np.ndarray:
        row, column, _ = self.axes()
        down, along = np.mgrid[: self.rows, : self.columns]
        points = (
            self.slice_origin(index)
            + along[..., None] * self.pixel_mm[1] * row
            + down[..., None] * self.pixel_mm[0] * column
        )
        return world_hu(points)

    def stored(self, index: int) -> np.ndarray:
        values = np.rint((np.rint(self.slice_hu(index)) - self.intercept) / self.slope)
        return values.astype(np.int16 if self.signed else np.uint16)


def write_series(folder: Path, spec: SeriesSpec, first: int = 1, **changes: Any) -> list[Path]:
    """Write one file a slice, shuffled names included (the order of names is not the order of slices)."""
    spec = replace(spec, **changes)
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for index in range(len(spec.positions_mm)):
        dataset = slice_dataset(spec, index, number=first + index)
        path = folder / f"IM{(index * 7) % 101:03d}_{first + index:04d}{spec.suffix}"
        dataset.save_as(path, enforce_file_format=True)
        paths.append(path)
    return paths


def slice_dataset(spec: SeriesSpec, index: int, number: int) -> FileDataset:
    dataset = _common(spec, CTImageStorage, generate_uid(entropy_srcs=[spec.series_uid, str(number)]))
    dataset.InstanceNumber = number
    if spec.acquisition is not None:
        dataset.AcquisitionNumber = spec.acquisition
    dataset.ImagePositionPatient = [f"{v:.6g}" for v in spec.slice_origin(index)]
    dataset.ImageOrientationPatient = [f"{v:.9g}" for v in (*spec.row, *spec.column)]
    dataset.PixelSpacing = [f"{v:g}" for v in spec.pixel_mm]
    if spec.thickness_mm is not None:
        dataset.SliceThickness = f"{spec.thickness_mm:g}"
    dataset.RescaleSlope = f"{spec.slope:g}"
    dataset.RescaleIntercept = f"{spec.intercept:g}"
    dataset.RescaleType = "HU"
    _set_pixels(dataset, spec.stored(index), spec.syntax)
    _apply(dataset, spec.tags)
    return dataset


def write_enhanced(path: Path, spec: SeriesSpec, shared_geometry: bool = False) -> Path:
    """Write the whole series as one Enhanced CT file, frames in reverse order."""
    dataset = _common(spec, EnhancedCTImageStorage, generate_uid(entropy_srcs=[spec.series_uid, "enhanced"]))
    dataset.InstanceNumber = 1
    count = len(spec.positions_mm)
    shared, frames = Dataset(), []
    order = list(reversed(range(count)))
    for place, index in enumerate(order):
        frame = Dataset()
        position = Dataset()
        position.ImagePositionPatient = [f"{v:.6g}" for v in spec.slice_origin(index)]
        frame.PlanePositionSequence = Sequence([position])
        content = Dataset()
        content.FrameAcquisitionNumber = 1
        content.DimensionIndexValues = [1, place + 1]
        frame.FrameContentSequence = Sequence([content])
        frames.append(frame)
    orientation = Dataset()
    orientation.ImageOrientationPatient = [f"{v:.9g}" for v in (*spec.row, *spec.column)]
    measures = Dataset()
    measures.PixelSpacing = [f"{v:g}" for v in spec.pixel_mm]
    if spec.thickness_mm is not None:
        measures.SliceThickness = f"{spec.thickness_mm:g}"
    values = Dataset()
    values.RescaleSlope, values.RescaleIntercept, values.RescaleType = f"{spec.slope:g}", f"{spec.intercept:g}", "HU"
    details = Dataset()
    details.KVP = "120"
    for group in [shared] if shared_geometry else frames:
        group.PlaneOrientationSequence = Sequence([orientation])
        group.PixelMeasuresSequence = Sequence([measures])
        group.PixelValueTransformationSequence = Sequence([values])
    shared.CTXRayDetailsSequence = Sequence([details])
    dataset.SharedFunctionalGroupsSequence = Sequence([shared])
    dataset.PerFrameFunctionalGroupsSequence = Sequence(frames)
    dataset.NumberOfFrames = count
    _set_pixels(dataset, np.stack([spec.stored(index) for index in order]), spec.syntax)
    _apply(dataset, spec.tags)
    path.parent.mkdir(parents=True, exist_ok=True)
    dataset.save_as(path, enforce_file_format=True)
    return path


def zip_folder(folder: Path, target: Path) -> Path:
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                archive.write(path, path.relative_to(folder).as_posix())
    return target


def edit(path: Path, **tags: Any) -> None:
    """Change attributes of a written file; None deletes."""
    from pydicom import dcmread

    dataset = dcmread(path)
    _apply(dataset, tags)
    dataset.save_as(path, enforce_file_format=True)


def _common(spec: SeriesSpec, sop_class: str, sop_uid: str) -> FileDataset:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = sop_class
    meta.MediaStorageSOPInstanceUID = sop_uid
    compressed = spec.syntax not in (ExplicitVRLittleEndian, ImplicitVRLittleEndian)
    meta.TransferSyntaxUID = ExplicitVRLittleEndian if compressed else spec.syntax
    dataset = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset.SOPClassUID = sop_class
    dataset.SOPInstanceUID = sop_uid
    dataset.StudyInstanceUID = ROOT + "99"
    dataset.SeriesInstanceUID = spec.series_uid
    dataset.Modality = spec.modality
    dataset.SeriesDescription = spec.description
    dataset.ImageType = list(spec.image_type)
    dataset.PatientName = "Žlutý^Kůň"
    dataset.PatientID = "secret-id"
    dataset.PatientSex = "F"
    dataset.PatientAge = "065Y"
    dataset.PatientSize = "1.65"
    dataset.PatientWeight = "70"
    dataset.StudyDate = "20240501"
    dataset.Manufacturer = "Testwerk"
    dataset.KVP = "100"
    dataset.ConvolutionKernel = "B30f"
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.Rows, dataset.Columns = spec.rows, spec.columns
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 16, 15
    dataset.PixelRepresentation = int(spec.signed)
    return dataset


def _set_pixels(dataset: FileDataset, stored: np.ndarray, syntax: str) -> None:
    dataset.PixelData = stored.tobytes()
    dataset["PixelData"].VR = "OW"
    if dataset.file_meta.TransferSyntaxUID != syntax:
        dataset.compress(syntax, generate_instance_uid=False)


def _apply(dataset: Dataset, tags: dict[str, Any]) -> None:
    for keyword, value in tags.items():
        if value is None:
            if keyword in dataset:
                delattr(dataset, keyword)
        else:
            setattr(dataset, keyword, value)
