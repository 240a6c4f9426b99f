"""Random changes to batches of prepared pictures, on the device."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from KidneySegLib.training.ultrasound.config import Augmentation
from KidneySegLib.ultrasound.preparation import MIN_SPREAD


def augment(samples: Tensor, ranges: Augmentation, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Network input and truth of a batch, changed at random.

    Args:
        samples: (N, 3, y, x) uint8: grey level, view (0 or 255), kidney (0 or 255), as `samples.prepare` makes them.
        ranges: what may change.
        generator: source of randomness, on the samples' device.

    Returns:
        Pictures (N, 1, y, x), evened out within their view, and kidneys (N, 1, y, x), 0 or 1, float32.
    """
    warped = _warp(samples.float() / 255, ranges, generator)
    grey, inside, kidney = warped[:, :1], warped[:, 1:2] >= 0.5, (warped[:, 2:] >= 0.5).float()
    grey = _change_grey(grey, ranges, generator)
    return even_out(grey, inside), kidney * inside


def plain(samples: Tensor) -> tuple[Tensor, Tensor]:
    """Network input and truth of a batch as they are."""
    values = samples.float() / 255
    return even_out(values[:, :1], values[:, 1:2] >= 0.5), (values[:, 2:] >= 0.5).float()


def even_out(grey: Tensor, inside: Tensor) -> Tensor:
    """`ultrasound.preparation.even_out` for batches (N, 1, y, x) of grey levels 0 to 1."""
    weight = inside.float()
    count = weight.sum(dim=(2, 3), keepdim=True).clamp(min=1)
    mean = (grey * weight).sum(dim=(2, 3), keepdim=True) / count
    spread = ((grey - mean).square() * weight).sum(dim=(2, 3), keepdim=True).div(count).sqrt()
    return (grey * weight - mean) / spread.clamp(min=MIN_SPREAD / 255)


def _draw(count: int, low: float, high: float, generator: torch.Generator) -> Tensor:
    return low + (high - low) * torch.rand(count, generator=generator, device=generator.device)


def _warp(values: Tensor, ranges: Augmentation, generator: torch.Generator) -> Tensor:
    count = values.shape[0]
    turn = math.radians(ranges.rotation_degrees)
    angle = _draw(count, -turn, turn, generator)
    scale = torch.exp(_draw(count, math.log(ranges.scale[0]), math.log(ranges.scale[1]), generator))
    stretch = torch.exp(_draw(count, -math.log(ranges.stretch) / 2, math.log(ranges.stretch) / 2, generator))
    mirror = torch.where(_draw(count, 0, 1, generator) < ranges.mirror, -1.0, 1.0)
    shift = [2 * _draw(count, -ranges.shift, ranges.shift, generator) for _ in range(2)]
    cosine, sine = torch.cos(angle), torch.sin(angle)
    # From places in the new picture to places in the old one, both -1 to 1.
    theta = torch.stack(
        (
            torch.stack((mirror * cosine / (scale * stretch), mirror * -sine / (scale * stretch), shift[0]), dim=1),
            torch.stack((sine * stretch / scale, cosine * stretch / scale, shift[1]), dim=1),
        ),
        dim=1,
    )
    grid = F.affine_grid(theta, list(values.shape), align_corners=False)
    return F.grid_sample(values, grid, mode="bilinear", padding_mode="zeros", align_corners=False)


def _change_grey(grey: Tensor, ranges: Augmentation, generator: torch.Generator) -> Tensor:
    count, _, height, width = grey.shape
    device = grey.device
    low, high = (math.log(g) for g in ranges.gamma)
    gamma = torch.exp(_draw(count, low, high, generator)).view(-1, 1, 1, 1)
    grey = grey.clamp(min=1e-4) ** gamma
    gain = _draw(count, -ranges.gain, ranges.gain, generator).view(-1, 1, 1, 1)
    slope = _draw(count, -ranges.gain, ranges.gain, generator).view(-1, 1, 1, 1)
    depth = torch.linspace(-1, 1, height, device=device).view(1, 1, -1, 1)
    grey = grey * (1 + 2 * (gain + slope * depth))
    strength = _draw(count, 0, ranges.speckle, generator).view(-1, 1, 1, 1)
    noise = torch.randn((count, 1, height, width), generator=generator, device=device)
    grey = grey * (1 + strength * noise)
    blurred = F.avg_pool2d(grey, 3, stride=1, padding=1, count_include_pad=False)
    chosen = (_draw(count, 0, 1, generator) < ranges.blur).view(-1, 1, 1, 1)
    return torch.where(chosen, blurred, grey).clamp(0, 1)
