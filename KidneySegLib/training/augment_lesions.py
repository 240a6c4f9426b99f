"""Task-specific augmentation: lesions of other brightness, and lesions where the patient has none.

The paper names task-specific augmentations without saying which; these are this program's.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from KidneySegLib.training.fields import chance, log_uniform, normal, smooth_noise, uniform


@dataclass(frozen=True)
class LesionSettings:
    """Ranges of random changes of lesions.

    Attributes:
        shift_hu: standard deviation of a shift of all abnormal tissue of a sample.
        implant_probability: of one new lesion in a kidney.
        implant_radius_voxels: least and greatest radius of it along each axis.
        implant_cyst_share: how many of the new lesions are cysts.
        cyst_hu: range of a new cyst's HU.
        mass_hu: range of a new mass's HU.
        mass_texture_hu: standard deviation of a new mass's texture.
    """

    shift_hu: float = 12.0
    implant_probability: float = 0.25
    implant_radius_voxels: tuple[float, float] = (2.5, 11.0)
    implant_cyst_share: float = 0.6
    cyst_hu: tuple[float, float] = (-8.0, 28.0)
    mass_hu: tuple[float, float] = (25.0, 130.0)
    mass_texture_hu: float = 12.0


def shift_lesions(hu: Tensor, targets: Tensor, settings: LesionSettings, generator: torch.Generator) -> Tensor:
    """Make all abnormal tissue of a sample brighter or darker.

    Args:
        hu: (N, 1, z, y, x).
        targets: (N, channels, z, y, x): parenchyma, then abnormal classes.
    """
    shift = normal(settings.shift_hu, (hu.shape[0], 1, 1, 1, 1), generator)
    return hu + shift * targets[:, 1:].sum(dim=1, keepdim=True)


def implant_lesions(
    hu: Tensor, targets: Tensor, settings: LesionSettings, generator: torch.Generator, first_lesion: int = 1
) -> tuple[Tensor, Tensor]:
    """Put a smooth ellipsoid, a cyst or a mass, round a random voxel of parenchyma of some samples.

    It takes the place of parenchyma and of the fat and soft tissue beside it (exophytic lesions), not of bone, air or
    densely enhanced vessels. Samples without parenchyma stay as they are.

    Args:
        hu: (N, 1, z, y, x) noise-free HU.
        targets: (N, channels, z, y, x): parenchyma first; from ``first_lesion`` on abnormality, or cyst and mass.
    """
    batch, shape = hu.shape[0], (hu.shape[2], hu.shape[3], hu.shape[4])
    hu, targets = hu.clone(), targets.clone()
    chosen = chance(settings.implant_probability, (batch,), generator)
    places = uniform(0.0, 1.0, (batch,), generator)
    radii = log_uniform(*settings.implant_radius_voxels, (batch, 3), generator)
    is_cyst = chance(settings.implant_cyst_share, (batch,), generator)
    levels = torch.stack(
        [uniform(*settings.mass_hu, (batch,), generator), uniform(*settings.cyst_hu, (batch,), generator)]
    )
    texture = settings.mass_texture_hu * smooth_noise(batch, 1, shape, 4.0, generator)
    for sample in range(batch):
        parenchyma = torch.nonzero(targets[sample, 0] > 0.9)
        if not chosen[sample] or len(parenchyma) == 0:
            continue
        centre = parenchyma[int(places[sample] * (len(parenchyma) - 1))]
        axes = [
            ((torch.arange(n, device=hu.device) - centre[axis]) / radii[sample, axis]).square()
            for axis, n in enumerate(shape)
        ]
        distance = (axes[0][:, None, None] + axes[1][:, None] + axes[2]).sqrt()
        # One voxel of the mean radius from full to none.
        cover = ((1 - distance) * radii[sample].mean() + 0.5).clamp(0, 1)
        cover = cover * ((hu[sample, 0] > -140) & (hu[sample, 0] < 260))
        cyst = int(is_cyst[sample])
        content = levels[cyst, sample] + (0.0 if cyst else texture[sample, 0])
        hu[sample, 0] += cover * (content - hu[sample, 0])
        targets[sample] *= 1 - cover
        kind = first_lesion + (targets.shape[1] == first_lesion + 2 and not cyst)
        targets[sample, kind] += cover
    return hu, targets
