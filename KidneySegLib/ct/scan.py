"""What reading a CT gives: the image in HU and the few facts about it that later rooms need."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import SimpleITK as sitk


@dataclass(frozen=True)
class PatientData:
    """What sizes of kidneys are compared with. Never who the patient is.

    Attributes:
        sex: ``"f"``, ``"m"`` or None.
        age_years: age at the scan, or None.
        height_cm: height, or None.
        weight_kg: weight, or None.
    """

    sex: str | None = None
    age_years: float | None = None
    height_cm: float | None = None
    weight_kg: float | None = None


@dataclass(frozen=True)
class SeriesInfo:
    """One DICOM series of an input, as a person chooses it.

    Attributes:
        uid: value for ``--series``. The SeriesInstanceUID; where one series holds several volumes at the same
            positions (contrast phases), each has ``#`` and its number behind it.
        modality: DICOM modality, ``CT``.
        description: SeriesDescription, may be empty.
        slice_count: number of pictures (frames of a multi-frame file count one by one).
        problem: why it cannot be measured (a localiser, no CT ...); empty if it can.
    """

    uid: str
    modality: str
    description: str
    slice_count: int
    problem: str = ""

    @property
    def readable(self) -> bool:
        """Whether `read_ct` takes this series into the choice."""
        return not self.problem

    def __str__(self) -> str:
        note = f" ({self.problem})" if self.problem else ""
        described = self.description or "no description"
        return f"{self.uid}  {self.modality or '?'}  {described}  {self.slice_count} slices{note}"


@dataclass(frozen=True)
class CtScan:
    """One CT scan in Hounsfield units.

    Attributes:
        image: 3-D, sitkInt16 where that is lossless, else sitkFloat32. World is LPS in mm; any orthonormal direction
            matrix, as the file has it.
        source: what was read.
        series_uid: the series that was read; DICOM only.
        sha256: hash of HU values and geometry as stored (before any resampling), independent of file names, of
            the transfer syntax and of patient data.
        slice_thickness_mm: nominal thickness of a slice; may be larger or smaller than the spacing of slices.
        flags: keys of `KidneySegLib.flags.FLAGS` raised while reading.
        patient: sex, age, height and weight where the file has them.
        acquisition: technical DICOM attributes by keyword, from a white list without identity.
    """

    image: sitk.Image
    source: Path
    series_uid: str | None
    sha256: str
    slice_thickness_mm: float
    flags: tuple[str, ...] = ()
    patient: PatientData = field(default_factory=PatientData)
    acquisition: Mapping[str, str] = field(default_factory=dict)


def content_hash(image: sitk.Image, positions: str = "") -> str:
    """SHA-256 of an image's voxels and geometry.

    Voxels count in file order (x fastest, little-endian) and geometry as text with 4 decimals, so the same scan
    as DICOM and as NIfTI usually has one hash.

    Args:
        image: 3-D image.
        positions: where its slices really lie, if that is not on the image's even grid.
    """
    import numpy as np
    import SimpleITK as sitk

    digest = hashlib.sha256()
    geometry = (*image.GetSpacing(), *image.GetOrigin(), *image.GetDirection())
    # "+ 0.0" turns a rounded -0.0 into 0.0.
    text = " ".join([*map(str, image.GetSize()), *(f"{round(value, 4) + 0.0:.4f}" for value in geometry)])
    digest.update(f"{image.GetPixelIDTypeAsString()} {text} {positions}\n".encode())
    voxels = sitk.GetArrayViewFromImage(image)
    for plane in voxels:
        digest.update(np.ascontiguousarray(plane, dtype=plane.dtype.newbyteorder("<")).data)
    return digest.hexdigest()
