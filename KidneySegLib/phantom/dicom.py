"""A phantom as a DICOM CT series, one file a slice, written with pydicom.

Attributes follow the CT Image IOD (PS3.3 A.3). The images say that they are of a phantom (Quality Control Image,
0028,0300) and carry no date of any real study. UIDs are made from the seed: the same case has the same UIDs.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from KidneySegLib.phantom.contrast import Enhancement
from KidneySegLib.phantom.grid import Grid
from KidneySegLib.phantom.protocol import KERNELS, Protocol
from KidneySegLib.phantom.subject import Subject

if TYPE_CHECKING:
    from pydicom.dataset import Dataset, FileDataset

#: Stored value = HU + 1024, as scanners do.
INTERCEPT_HU = -1024
STUDY_DATE, START_OF_INJECTION_S = "20250102", 9 * 3600.0


def write_series(
    folder: Path,
    hu: npt.NDArray[np.int16],
    grid: Grid,
    *,
    seed: int,
    case_id: str,
    protocol: Protocol,
    enhancement: Enhancement,
    subject: Subject,
) -> tuple[Path, ...]:
    """Write a CT as a DICOM series.

    Args:
        folder: made if absent; gets ``IM0001.dcm`` and so on, from head to feet as scanners number them.
        hu: int16 (z, y, x).
        grid: of ``hu``.
        seed: makes the UIDs.
        case_id: goes into the study's identifiers, and with "Phantom" into the patient's.

    Returns:
        The files in the order of their instance numbers.

    Raises:
        ValueError: if the array's shape is not the grid's.
        OSError: if the folder cannot be written.
    """
    if hu.shape != grid.shape_zyx:
        raise ValueError(f"hu must have the grid's shape {grid.shape_zyx}, got {hu.shape}")
    folder.mkdir(parents=True, exist_ok=True)
    shared = _header(grid, seed, case_id, protocol, enhancement, subject)
    files = []
    count = grid.shape_zyx[0]
    for number in range(1, count + 1):
        index = count - number
        path = folder / f"IM{number:04d}.dcm"
        _slice(shared, hu[index], grid, index, number, seed).save_as(path, enforce_file_format=True)
        files.append(path)
    return tuple(files)


def _uid(seed: int, *parts: object) -> str:
    from pydicom.uid import generate_uid

    return str(generate_uid(entropy_srcs=["KidneySeg phantom", str(seed), *map(str, parts)]))


def _time(seconds: float) -> str:
    """Seconds of the day as a DICOM TM."""
    whole = int(seconds)
    return f"{whole // 3600:02d}{whole // 60 % 60:02d}{whole % 60:02d}.{int((seconds - whole) * 1000):03d}"


def _ds(value: float) -> str:
    """A number as a DICOM decimal string of at most 16 characters."""
    from pydicom.valuerep import format_number_as_ds

    return format_number_as_ds(float(value))


def _header(
    grid: Grid, seed: int, case_id: str, protocol: Protocol, enhancement: Enhancement, subject: Subject
) -> Dataset:
    """What all slices share."""
    from pydicom.dataset import Dataset
    from pydicom.uid import CTImageStorage

    ds = Dataset()
    ds.SpecificCharacterSet = "ISO_IR 192"
    ds.SOPClassUID = CTImageStorage
    ds.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    ds.StudyInstanceUID = _uid(seed, case_id, "study")
    ds.SeriesInstanceUID = _uid(seed, case_id, "series", protocol)
    ds.FrameOfReferenceUID = _uid(seed, case_id, "frame")
    ds.PositionReferenceIndicator = ""
    seconds = enhancement.seconds_after_injection
    scan_time = START_OF_INJECTION_S + (seconds or 0.0)
    ds.StudyDate = ds.SeriesDate = ds.AcquisitionDate = ds.ContentDate = STUDY_DATE
    ds.StudyTime = _time(START_OF_INJECTION_S - 300)
    ds.SeriesTime = ds.AcquisitionTime = ds.ContentTime = _time(scan_time)
    ds.AccessionNumber = ""
    ds.Modality = "CT"
    ds.Manufacturer = "KidneySeg"
    ds.ManufacturerModelName = "Phantom scanner"
    ds.SoftwareVersions = _version()
    ds.DeviceSerialNumber = "0"
    ds.InstitutionName = ""
    ds.ReferringPhysicianName = ""
    ds.StudyID = "1"
    ds.StudyDescription = "Synthetic CT abdomen"
    kernel = KERNELS[protocol.kernel]
    ds.SeriesDescription = f"Synthetic {enhancement.phase} {protocol.slice_thickness_mm:g} mm {kernel.dicom_name}"
    ds.ProtocolName = protocol.name
    ds.SeriesNumber = 2
    ds.AcquisitionNumber = 1
    # The patient: a phantom, but with facts that measures are indexed by.
    ds.PatientName = f"Phantom^{case_id}"
    ds.PatientID = f"PHANTOM-{seed}"
    ds.PatientBirthDate = ""
    ds.PatientSex = subject.sex.upper()
    ds.PatientAge = f"{subject.age_years:03d}Y"
    ds.PatientSize = _ds(subject.height_cm / 100)
    ds.PatientWeight = _ds(subject.weight_kg)
    ds.PatientIdentityRemoved = "YES"
    ds.DeidentificationMethod = "Synthetic: no patient"
    ds.QualityControlImage = "YES"
    ds.BurnedInAnnotation = "NO"
    # Acquisition and reconstruction.
    ds.BodyPartExamined = "ABDOMEN"
    ds.PatientPosition = "HFS"
    ds.KVP = str(enhancement.kvp)
    ds.GantryDetectorTilt = "0"
    ds.RotationDirection = "CW"
    ds.ConvolutionKernel = kernel.dicom_name
    ds.FilterType = "0"
    ds.DataCollectionDiameter = "500"
    ds.ReconstructionDiameter = _ds(protocol.matrix * protocol.pixel_mm)
    ds.SliceThickness = _ds(protocol.slice_thickness_mm)
    ds.SpacingBetweenSlices = _ds(grid.spacing_mm_zyx[0])
    if enhancement.injection is not None and seconds is not None:
        injection = enhancement.injection
        ds.ContrastBolusAgent = f"Iodine {injection.iodine_mg_ml:g} mg/mL"
        ds.ContrastBolusRoute = "IV"
        ds.ContrastBolusVolume = _ds(injection.volume_ml)
        ds.ContrastBolusStartTime = _time(START_OF_INJECTION_S)
        ds.ContrastBolusStopTime = _time(START_OF_INJECTION_S + injection.duration_s)
        ds.ContrastBolusTotalDose = _ds(injection.volume_ml)
        ds.ContrastFlowRate = _ds(injection.rate_ml_s)
        ds.ContrastFlowDuration = _ds(round(injection.duration_s, 3))
        ds.ContrastBolusIngredient = "IODINE"
        ds.ContrastBolusIngredientConcentration = _ds(injection.iodine_mg_ml)
    # Pixels.
    _, rows, columns = grid.shape_zyx
    ds.Rows, ds.Columns = rows, columns
    ds.SamplesPerPixel = 1
    ds.PhotometricInterpretation = "MONOCHROME2"
    ds.BitsAllocated = ds.BitsStored = 16
    ds.HighBit = 15
    ds.PixelRepresentation = 1
    ds.PixelSpacing = [_ds(grid.spacing_mm_zyx[1]), _ds(grid.spacing_mm_zyx[2])]
    ds.ImageOrientationPatient = ["1", "0", "0", "0", "1", "0"]
    ds.RescaleIntercept, ds.RescaleSlope, ds.RescaleType = str(INTERCEPT_HU), "1", "HU"
    if protocol.circular_field and protocol.padding_hu < INTERCEPT_HU:
        ds.add_new("PixelPaddingValue", "SS", protocol.padding_hu - INTERCEPT_HU)
    ds.WindowCenter, ds.WindowWidth = "60", "400"
    return ds


def _slice(shared: Dataset, hu: npt.NDArray[np.int16], grid: Grid, index: int, number: int, seed: int) -> FileDataset:
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import UID, ExplicitVRLittleEndian

    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = shared.SOPClassUID
    meta.MediaStorageSOPInstanceUID = UID(_uid(seed, shared.SeriesInstanceUID, "instance", number))
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.ImplementationVersionName = "KIDNEYSEG"
    x, y, z = grid.origin_mm_xyz[0], grid.origin_mm_xyz[1], float(grid.z_mm[index])
    ds = FileDataset("", dict(shared.items()), file_meta=meta, preamble=b"\0" * 128)
    ds.SOPInstanceUID = meta.MediaStorageSOPInstanceUID
    ds.InstanceNumber = number
    # Six decimals: DS has room for 16 characters, and float noise has no meaning.
    ds.ImagePositionPatient = [_ds(round(value, 6)) for value in (x, y, z)]
    ds.SliceLocation = _ds(round(z, 6))
    stored = (hu.astype(np.int32) - INTERCEPT_HU).astype("<i2")
    ds.add_new("PixelData", "OW", stored.tobytes())
    return ds


def _version() -> str:
    from KidneySegLib import __version__

    return __version__
