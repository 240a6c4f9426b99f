"""From boxes of the pool to what a network sees: pose, contrast, scanner, field of view, normalisation."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from KidneySegLib.training.augment_contrast import ContrastSettings, random_contrast
from KidneySegLib.training.augment_geometry import OUTSIDE_HU, STILL, PoseSettings, random_pose
from KidneySegLib.training.augment_lesions import LesionSettings, implant_lesions
from KidneySegLib.training.augment_scanner import ScannerSettings, random_field_of_view, random_scan

Size3 = tuple[int, int, int]
#: Where channels are fractions, those before this one are parenchyma and cortex, those from it on cysts and masses.
FIRST_LESION = 2


@dataclass(frozen=True)
class Normalisation:
    """HU are clipped to ``low``..``high``, then ``mean`` is subtracted and the rest divided by ``sd``."""

    low: float
    high: float
    mean: float
    sd: float

    def apply(self, hu: Tensor) -> Tensor:
        return (hu.clamp(self.low, self.high) - self.mean) / self.sd


@dataclass(frozen=True)
class AugmentSettings:
    """All ranges of the random changes.

    Attributes:
        lesions: cysts and masses put into kidneys, where targets have channels for them.
        cut_probability: of the scan's end, and again of a side of the field of view, crossing the patch.
    """

    pose: PoseSettings = field(default_factory=PoseSettings)
    contrast: ContrastSettings = field(default_factory=ContrastSettings)
    scanner: ScannerSettings = field(default_factory=ScannerSettings)
    lesions: LesionSettings = field(default_factory=lambda: LesionSettings(implant_probability=0.0))
    cut_probability: float = 0.08

    def for_validation(self) -> AugmentSettings:
        """Scanners as in training, but the phantom's own pose and contrast."""
        contrast = replace(self.contrast, probability=0.0, table_probability=0.0, strand_probability=0.0)
        lesions = replace(self.lesions, implant_probability=0.0)
        return replace(self, pose=STILL, contrast=contrast, lesions=lesions, cut_probability=0.0)


def augment(
    hu: Tensor,
    targets: Tensor,
    patch: Size3,
    settings: AugmentSettings,
    normalisation: Normalisation,
    fractions: bool,
    generator: torch.Generator,
) -> tuple[Tensor, Tensor]:
    """Make a batch from boxes.

    Args:
        hu: (N, 1, z, y, x) noise-free HU.
        targets: (N, channels, z, y, x) in 0..1, background not among them.
        patch: size (z, y, x) of the result.
        fractions: whether channels are parenchyma and cortex, which may overlap, and then lesions; else they are
            classes that exclude each other, and the background is put before them.
        generator: lives on the same device as the boxes.

    Returns:
        Normalised image (N, 1, \\*patch) and soft targets (N, channels or channels + 1, \\*patch).
    """
    hu, targets = random_pose(hu, targets, patch, settings.pose, generator)
    if fractions and targets.shape[1] > FIRST_LESION and settings.lesions.implant_probability > 0:
        hu, targets = implant_lesions(hu, targets, settings.lesions, generator, FIRST_LESION)
    hu = random_contrast(hu, targets, settings.contrast, fractions, generator)
    hu, targets = random_scan(hu, targets, settings.scanner, generator)
    hu, targets = random_field_of_view(hu, targets, settings.cut_probability, OUTSIDE_HU, generator)
    if not fractions:
        background = (1 - targets.sum(dim=1, keepdim=True)).clamp(min=0)
        targets = torch.cat((background, targets), dim=1)
    return normalisation.apply(hu), targets
