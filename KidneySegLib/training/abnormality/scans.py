"""Training samples from labelled scans in the layout of Zenodo 8014290: ``CASE.mha`` and ``CASE_segmentations.mha``.

The labels are 1 for kidney (its parenchyma) and 2 for abnormality. Imported by worker processes: no torch.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from KidneySegLib.errors import InputError
from KidneySegLib.training.samples import Sample, as_fraction, as_hu
from KidneySegLib.training.seeds import TRAINING_SEEDS, VALIDATION_SEEDS

if TYPE_CHECKING:
    import SimpleITK as sitk

Size3 = tuple[int, int, int]
LABELS_SUFFIX = "_segmentations.mha"
KIDNEY, ABNORMALITY = 1, 2
#: Every so many cases, in the order of their names, one is held out for validation.
HOLD_OUT_EVERY = 10
#: Boxes cut from a scan each time that it is read, which takes far longer than cutting one.
BOXES_A_READING = 6
#: Share of boxes that are centred on abnormality, in scans that have some.
ABNORMAL_SHARE = 0.6


@dataclass(frozen=True)
class Case:
    """A scan and its labels."""

    name: str
    scan: Path
    labels: Path


def find_cases(folder: Path) -> tuple[Case, ...]:
    """The cases of a folder and its sub-folders, by name.

    Raises:
        InputError: if there are fewer than two, or a scan lacks its labels or labels their scan.
    """
    labels = {path.name.removesuffix(LABELS_SUFFIX): path for path in folder.rglob(f"*{LABELS_SUFFIX}")}
    scans = {path.stem: path for path in folder.rglob("*.mha") if not path.name.endswith(LABELS_SUFFIX)}
    alone = sorted(set(scans) ^ set(labels))
    if alone:
        raise InputError(
            f"{folder}: expected CASE.mha and CASE{LABELS_SUFFIX} for each case, but one of the two is missing for "
            f"{', '.join(alone[:5])}{' and others' if len(alone) > 5 else ''}. Complete or remove them."
        )
    if len(scans) < 2:
        raise InputError(
            f"{folder}: expected at least two cases, CASE.mha with CASE{LABELS_SUFFIX}, found {len(scans)}. "
            "Choose the folder into which the zips of Zenodo 8014290 were unpacked."
        )
    return tuple(Case(name, scans[name], labels[name]) for name in sorted(scans))


def held_out(cases: tuple[Case, ...]) -> tuple[Case, ...]:
    """The cases that validation uses and training does not: at least one."""
    return cases[HOLD_OUT_EVERY - 1 :: HOLD_OUT_EVERY] or cases[-1:]


@dataclass(frozen=True)
class ScanBoxes:
    """Boxes of one scan a seed. Seeds for validation stand for held-out scans, others for the rest, in turn.

    Targets are fractions of parenchyma and abnormality.

    Attributes:
        cases: all cases.
        shape: of a box in voxels (z, y, x).
        spacing_mm: isotropic.
        low_hu, high_hu: HU are clipped to these; outside of the scan it is ``low_hu``.
        jitter_mm: how far a box's centre may lie from the voxel that it is about, along each axis.
    """

    cases: tuple[Case, ...]
    shape: Size3
    spacing_mm: float
    low_hu: float = -1000.0
    high_hu: float = 3000.0
    jitter_mm: float = 14.0

    def __call__(self, seed: int) -> Iterator[Sample]:
        import SimpleITK as sitk

        kept_out = held_out(self.cases)
        validating = seed in VALIDATION_SEEDS
        chosen = kept_out if validating else tuple(case for case in self.cases if case not in kept_out)
        first = (VALIDATION_SEEDS if validating else TRAINING_SEEDS).first
        case = chosen[(seed - first) % len(chosen)]
        random = np.random.default_rng((seed, 5))
        scan, labels = (_plain(sitk.ReadImage(str(path))) for path in (case.scan, case.labels))
        if scan.GetSize() != labels.GetSize():
            raise InputError(
                f"{case.labels}: the labels have {labels.GetSize()} voxels, their scan {scan.GetSize()}. Remove it."
            )
        labels.CopyInformation(scan)
        values = sitk.GetArrayViewFromImage(labels)
        places = {kind: np.flatnonzero(values == kind) for kind in (KIDNEY, ABNORMALITY)}
        for _ in range(BOXES_A_READING):
            about = places[ABNORMALITY] if random.random() < ABNORMAL_SHARE else places[KIDNEY]
            about = about if len(about) else places[KIDNEY]
            flat = int(about[random.integers(len(about))]) if len(about) else int(random.integers(values.size))
            z, y, x = (int(v) for v in np.unravel_index(flat, values.shape))
            centre = np.array(labels.TransformIndexToPhysicalPoint((x, y, z)))
            centre += random.uniform(-self.jitter_mm, self.jitter_mm, 3)
            yield self._cut(scan, labels, centre, seed)

    def _cut(self, scan: sitk.Image, labels: sitk.Image, centre_mm: npt.NDArray[np.float64], seed: int) -> Sample:
        import SimpleITK as sitk

        half_mm = (np.array(self.shape[::-1]) - 1) / 2 * self.spacing_mm
        resampler = sitk.ResampleImageFilter()
        resampler.SetSize([int(n) for n in reversed(self.shape)])
        resampler.SetOutputSpacing((self.spacing_mm,) * 3)
        resampler.SetOutputOrigin((centre_mm - half_mm).tolist())
        resampler.SetInterpolator(sitk.sitkLinear)
        resampler.SetOutputPixelType(sitk.sitkFloat32)

        def resampled(image: Any, outside: float) -> npt.NDArray[np.float32]:
            resampler.SetDefaultPixelValue(outside)
            array: npt.NDArray[np.float32] = sitk.GetArrayFromImage(resampler.Execute(image))
            return array

        hu = np.clip(resampled(scan, self.low_hu), self.low_hu, self.high_hu)
        targets = [
            as_fraction(resampled(sitk.Cast(labels == kind, sitk.sitkFloat32), 0.0)) for kind in (KIDNEY, ABNORMALITY)
        ]
        return Sample(as_hu(hu), np.stack(targets), seed)


def _plain(image: sitk.Image) -> sitk.Image:
    """A 3-D image with one int16 value a voxel, whatever the pixel type of its file."""
    import SimpleITK as sitk

    if image.GetNumberOfComponentsPerPixel() != 1 or image.GetDimension() != 3:
        raise InputError("A training scan must be 3-D with one value a voxel. Remove the case.")
    return sitk.Cast(image, sitk.sitkInt16)
