"""Intensities well beyond the plausible, so that a network learns shapes and places rather than HU numbers."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import torch
from torch import Tensor

from KidneySegLib.training.fields import chance, normal, smooth_noise, uniform

#: HU between which soft tissue is stretched and squeezed: from fat's lower end to dense contrast and bone.
_KNOTS_HU = (-150.0, -60.0, 0.0, 30.0, 60.0, 90.0, 130.0, 180.0, 240.0, 320.0, 450.0)
#: HU of nothing, and of what gamma treats as full brightness.
_GAMMA_RANGE_HU = (-200.0, 500.0)


@dataclass(frozen=True)
class ContrastSettings:
    """Ranges of random contrast changes.

    Attributes:
        probability: that a sample is changed at all.
        remap: standard deviation of the logarithm of the slopes of a random monotone curve through soft tissue.
        gain: least and greatest factor.
        offset_hu: greatest shift.
        gamma: least and greatest exponent.
        gamma_probability: how many of the changed samples get one.
        field_gain: greatest standard deviation of a smooth multiplicative field.
        field_hu: greatest standard deviation of a smooth additive field.
        texture_hu: greatest standard deviation of a mottle within tissue.
        parenchyma_hu: standard deviation of a shift of all parenchyma against its surroundings.
        cortex_hu: standard deviation of a shift of cortex against medulla; targets must be fractions.
        lesion_hu: standard deviation of a shift of cysts, and of masses, where targets have such channels.
        strand_probability: of strands (vessels, septa) through fat, which the phantom draws too cleanly.
        strand_node_voxels: distance over which strands change their course.
        strand_hu: least and greatest brightness of strands above the fat.
        field_node_voxels: distance over which the fields become independent.
        texture_node_voxels: the same of the mottle.
        table_probability: of a patient table: a plate in the air behind the body.
    """

    probability: float = 0.7
    remap: float = 0.3
    gain: tuple[float, float] = (0.85, 1.2)
    offset_hu: float = 30.0
    gamma: tuple[float, float] = (0.75, 1.35)
    gamma_probability: float = 0.3
    field_gain: float = 0.10
    field_hu: float = 12.0
    texture_hu: float = 10.0
    parenchyma_hu: float = 15.0
    cortex_hu: float = 12.0
    lesion_hu: float = 10.0
    strand_probability: float = 0.4
    strand_node_voxels: float = 6.0
    strand_hu: tuple[float, float] = (20.0, 110.0)
    field_node_voxels: float = 40.0
    texture_node_voxels: float = 7.0
    table_probability: float = 0.3


def _wide(values: Tensor) -> Tensor:
    return values.view(-1, 1, 1, 1, 1)


def remap(hu: Tensor, slopes: Tensor) -> Tensor:
    """A monotone curve through soft tissue.

    Args:
        hu: (N, 1, z, y, x).
        slopes: (N, 10), positive, one for each stretch between the knots; outside of them the slope is 1.

    Returns:
        HU; with slopes of 1 the same as came.
    """
    result = hu.clamp(max=_KNOTS_HU[0])
    for number, (low, high) in enumerate(itertools.pairwise(_KNOTS_HU)):
        result = result + _wide(slopes[:, number]) * (hu.clamp(low, high) - low)
    return result + (hu - _KNOTS_HU[-1]).clamp(min=0)


def _table(hu: Tensor, probability: float, generator: torch.Generator) -> Tensor:
    """Lay a plate into the air of the patch's back half."""
    batch, rows, columns = hu.shape[0], hu.shape[3], hu.shape[4]
    shape = (batch, 1, 1, 1, 1)
    y = torch.arange(rows, device=hu.device, dtype=torch.float32).view(1, 1, 1, -1, 1)
    x = torch.linspace(-1, 1, columns, device=hu.device).view(1, 1, 1, 1, -1)
    depth = y - rows * uniform(0.55, 0.98, shape, generator) + uniform(-0.1, 0.2, shape, generator) * rows * x.square()
    inside = (depth.abs() < uniform(0.4, 3.0, shape, generator)) & (hu < -800)
    inside = inside & (chance(probability, shape, generator) > 0)
    return torch.where(inside, uniform(-400, 250, shape, generator), hu)


def _strands(hu: Tensor, settings: ContrastSettings, generator: torch.Generator) -> Tensor:
    """Thin winding sheets and threads through fat: where a smooth field crosses zero (threads: where two do)."""
    batch = hu.shape[0]
    shape = (batch, 1, 1, 1, 1)
    size = (hu.shape[2], hu.shape[3], hu.shape[4])
    fields = smooth_noise(batch, 2, size, settings.strand_node_voxels, generator)
    threads = chance(0.6, shape, generator)
    distance = fields[:, :1].abs() + threads * fields[:, 1:].abs()
    width = uniform(0.04, 0.22, shape, generator) * (1 + 0.8 * threads)
    coverage = (1.5 - distance / width).clamp(0, 1)
    fat = ((hu + 160) / 20).clamp(0, 1) * ((-50 - hu) / 20).clamp(0, 1)
    amount = uniform(*settings.strand_hu, shape, generator) * chance(settings.strand_probability, shape, generator)
    return hu + coverage * fat * amount


def random_contrast(
    hu: Tensor, targets: Tensor, settings: ContrastSettings, fractions: bool, generator: torch.Generator
) -> Tensor:
    """Change the brightness of tissues at random.

    Args:
        hu: (N, 1, z, y, x), noise-free.
        targets: (N, channels, z, y, x); where ``fractions``, channel 0 is parenchyma, channel 1 cortex, and all
            others are lesions.

    Returns:
        HU of the same shape; air stays air.
    """
    batch = hu.shape[0]
    shape = (hu.shape[2], hu.shape[3], hu.shape[4])

    def u(low: float, high: float) -> Tensor:
        return uniform(low, high, (batch, 1, 1, 1, 1), generator)

    hu = _table(hu, settings.table_probability, generator)
    hu = _strands(hu, settings, generator)
    changed = hu
    if fractions:
        # Only as far as the kidney's own contrast goes: never cortex far darker than medulla.
        changed = changed + normal(settings.parenchyma_hu, (batch, 1, 1, 1, 1), generator) * targets[:, :1]
        changed = changed + normal(settings.cortex_hu, (batch, 1, 1, 1, 1), generator) * targets[:, 1:2]
        for channel in range(2, targets.shape[1]):
            shift = normal(settings.lesion_hu, (batch, 1, 1, 1, 1), generator)
            changed = changed + shift * targets[:, channel : channel + 1]
    changed = remap(changed, normal(settings.remap, (batch, len(_KNOTS_HU) - 1), generator).exp())
    low, high = _GAMMA_RANGE_HU
    unit = ((changed - low) / (high - low)).clamp(0, 1)
    bent = unit.clamp(min=1e-4) ** u(*settings.gamma) * (high - low) + low
    within = (changed > low) & (changed < high) & (u(0, 1) < settings.gamma_probability)
    changed = torch.where(within, bent, changed)
    fields = smooth_noise(batch, 2, shape, settings.field_node_voxels, generator)
    mottle = smooth_noise(batch, 1, shape, settings.texture_node_voxels, generator)
    changed = changed * (u(*settings.gain) * (1 + u(0, settings.field_gain) * fields[:, :1]))
    changed = changed + u(-settings.offset_hu, settings.offset_hu)
    changed = changed + u(0, settings.field_hu) * fields[:, 1:] + u(0, settings.texture_hu) * mottle
    tissue = hu > -500
    chosen = chance(settings.probability, (batch, 1, 1, 1, 1), generator) > 0
    return torch.where(tissue & chosen, changed, hu)
