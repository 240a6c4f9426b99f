"""What a scanner does to a body, as one matrix per axis: slices of any thickness, coarse pixels, kernels, noise.

Acquiring is ``A``: row k of it holds the weights with which voxels of the true body enter slice k. Looking at the
scan on the fine grid again, as the engine does, is linear interpolation ``R``. The truth goes through the same ``R A``,
so that at a slice's centre it is the fraction of the thick voxel that is kidney, and half of it is where a reader
would draw the border. Kernels and noise touch only the image, between ``A`` and ``R``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from KidneySegLib.training.fields import chance, log_uniform, normal, uniform

#: Slices beyond the patch on either side, so that interpolation at its ends has neighbours.
_SPARE_SLICES = 2


@dataclass(frozen=True)
class ScannerSettings:
    """Ranges of random scanners. Lengths are in voxels of the patch's grid.

    Attributes:
        thick_probability: how many scans have slices thicker than a voxel.
        thickness: least and greatest slice thickness.
        overlap_probability: how many thick scans have slices closer together, or further apart, than their thickness.
        spacing_per_thickness: range of slice distance by thickness in those.
        coarse_probability: how many scans have pixels larger than a voxel.
        pixel: least and greatest pixel size in those.
        blur: greatest standard deviation of the kernel's blur, in-plane.
        sharpen: greatest strength of an edge-enhancing kernel (overshoot).
        sharpen_probability: how many scans have one.
        noise_hu: least and greatest standard deviation of the noise.
        noise_grain: greatest correlation length (standard deviation) of the noise in acquired voxels.
        streak_probability: how many scans have streaks.
        streak_hu: greatest amplitude of streaks.
    """

    thick_probability: float = 0.75
    thickness: tuple[float, float] = (1.0, 8.0)
    overlap_probability: float = 0.3
    spacing_per_thickness: tuple[float, float] = (0.5, 1.3)
    coarse_probability: float = 0.3
    pixel: tuple[float, float] = (1.0, 2.2)
    blur: float = 1.0
    sharpen: float = 2.0
    sharpen_probability: float = 0.3
    noise_hu: tuple[float, float] = (2.0, 60.0)
    noise_grain: float = 1.5
    streak_probability: float = 0.2
    streak_hu: float = 40.0


def acquisition_matrices(size: int, thickness: Tensor, spacing: Tensor, offset: Tensor) -> tuple[Tensor, Tensor]:
    """How slices see voxels, and how voxels are interpolated from slices.

    Args:
        size: voxels along the axis.
        thickness: (N,) of a slice in voxels, at least 1.
        spacing: (N,) distance of slice centres in voxels, at least 1.
        offset: (N,) 0..1, where between voxel 0 and one spacing before it the first slice but one lies.

    Returns:
        Acquiring (N, slices, size), rows sum to 1, and looking again (N, size, slices), rows sum to 1, where slices
        is ``size + 4``; beyond its ends the body goes on as at the end.
    """
    device = thickness.device
    count = size + 2 * _SPARE_SLICES
    voxels = torch.arange(size, device=device, dtype=torch.float32)
    slices = torch.arange(count, device=device, dtype=torch.float32)
    first = -(offset + 1) * spacing
    centres = first[:, None] + slices * spacing[:, None]
    # Far slices see only the last voxel; keep their numbers small and their rows whole.
    centres = centres.clamp(-2.0 * size, 3.0 * size)[:, :, None]
    half = (thickness / 2)[:, None, None]
    low_edge, high_edge = voxels - 0.5, voxels + 0.5
    low_edge = torch.where(voxels == 0, torch.full_like(voxels, -1e6), low_edge)
    high_edge = torch.where(voxels == size - 1, torch.full_like(voxels, 1e6), high_edge)
    overlap = torch.minimum(centres + half, high_edge) - torch.maximum(centres - half, low_edge)
    acquire = overlap.clamp(min=0)
    acquire = acquire / acquire.sum(dim=2, keepdim=True)
    position = (voxels - first[:, None]) / spacing[:, None]
    look = (1 - (position[:, :, None] - slices).abs()).clamp(min=0)
    return acquire, look


def gaussian_matrices(size: int, deviation: Tensor) -> Tensor:
    """(N, size, size) Gaussian blurs; a row sums to 1. ``deviation`` (N,) is in voxels, 0 for none."""
    index = torch.arange(size, device=deviation.device, dtype=torch.float32)
    distance = (index[:, None] - index) / deviation.clamp(min=1e-2)[:, None, None]
    weights = (-0.5 * distance.square()).exp()
    return weights / weights.sum(dim=2, keepdim=True)


def apply_along(volume: Tensor, matrices: Tensor, axis: int) -> Tensor:
    """Multiply one axis of (N, channels, z, y, x) by a matrix (N, out, in) of each sample; ``axis`` is 2, 3 or 4."""
    batch = volume.shape[0]
    shape = [*volume.shape[:axis], matrices.shape[1], *volume.shape[axis + 1 :]]
    if axis == volume.ndim - 1:
        return torch.bmm(volume.reshape(batch, -1, volume.shape[axis]), matrices.transpose(1, 2)).view(shape)
    # What lies behind the axis stays together, so that nothing is copied to bring the axis last.
    behind = volume.reshape(batch, -1, volume.shape[axis], math.prod(volume.shape[axis + 1 :]))
    return torch.matmul(matrices[:, None], behind).view(shape)


def _apply_all(volume: Tensor, matrices: tuple[Tensor, Tensor, Tensor]) -> Tensor:
    for axis, matrix in zip((2, 3, 4), matrices, strict=True):
        volume = apply_along(volume, matrix, axis)
    return volume


def _grain(deviation: Tensor, size: int) -> Tensor:
    """A blur that keeps the variance of white noise."""
    blur = gaussian_matrices(size, deviation)
    return blur / blur.square().sum(dim=2, keepdim=True).sqrt()


def streaks(shape: tuple[int, int, int], batch: int, generator: torch.Generator) -> Tensor:
    """Rays of alternating sign from a random point of each slice stack, (N, 1, z, y, x), about 1 in strength."""
    slices, rows, columns = shape
    rays = 180
    device = generator.device
    centre = uniform(-0.2, 1.2, (batch, 2, 1, 1), generator)
    y = torch.arange(rows, device=device, dtype=torch.float32).view(1, -1, 1) - centre[:, 0] * rows
    x = torch.arange(columns, device=device, dtype=torch.float32).view(1, 1, -1) - centre[:, 1] * columns
    angle = torch.atan2(y, x)
    ray = ((angle / torch.pi).remainder(1.0) * rays).long().clamp_(0, rays - 1).view(batch, 1, -1)
    # Few strong rays rather than many weak ones: the cube of a normal variate, of deviation about 1.
    strength = normal(1.0, (batch, slices, rays), generator) ** 3 / 15**0.5
    pattern = strength.gather(2, ray.expand(-1, slices, -1)).view(batch, 1, slices, rows, columns)
    fade = 1 / (1 + torch.sqrt(x.square() + y.square()) / (0.5 * columns))
    return pattern * fade.view(batch, 1, 1, rows, columns)


def random_scan(
    hu: Tensor, targets: Tensor, settings: ScannerSettings, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Scan a body that is known on a fine grid, and look at the scan on that grid.

    Args:
        hu: (N, 1, z, y, x).
        targets: (N, channels, z, y, x) in 0..1.

    Returns:
        HU and targets of the same shapes.
    """
    batch = hu.shape[0]
    shape = (hu.shape[2], hu.shape[3], hu.shape[4])

    def u(low: float, high: float) -> Tensor:
        return uniform(low, high, (batch,), generator)

    def p(probability: float) -> Tensor:
        return chance(probability, (batch,), generator)

    # Logarithmic: half of the thick slices are thinner than 3 mm.
    thick = log_uniform(*settings.thickness, (batch,), generator).clamp(min=1)
    thickness = 1 + p(settings.thick_probability) * (thick - 1)
    overlap = p(settings.overlap_probability)
    spacing = (thickness * (1 + overlap * (u(*settings.spacing_per_thickness) - 1))).clamp(min=1)
    pixel = 1 + p(settings.coarse_probability) * (u(*settings.pixel).clamp(min=1) - 1)
    # Slices of a voxel's thickness lie on the voxels: thin scans stay sharp.
    z_offset = u(0, 1) * (thickness > 1)
    y_offset, x_offset = u(0, 1) * (pixel > 1), u(0, 1) * (pixel > 1)
    pairs = [
        acquisition_matrices(n, extent, distance, offset)
        for n, extent, distance, offset in zip(
            shape, (thickness, pixel, pixel), (spacing, pixel, pixel), (z_offset, y_offset, x_offset), strict=True
        )
    ]
    acquire, look = [pair[0] for pair in pairs], [pair[1] for pair in pairs]

    blur = u(0, settings.blur)
    kernel = [gaussian_matrices(n, deviation) for n, deviation in zip(shape, (0.5 * blur, blur, blur), strict=True)]
    scan = _apply_all(hu, (acquire[0] @ kernel[0], acquire[1] @ kernel[1], acquire[2] @ kernel[2]))
    sizes = (scan.shape[2], scan.shape[3], scan.shape[4])

    sharpening = p(settings.sharpen_probability) * u(0, settings.sharpen)
    soft = gaussian_matrices(sizes[1], u(0.6, 1.6))
    softened = apply_along(apply_along(scan, soft, 3), gaussian_matrices(sizes[2], u(0.6, 1.6)), 4)
    scan = scan + sharpening.view(-1, 1, 1, 1, 1) * (scan - softened)

    grain = u(0, settings.noise_grain)
    stretch = u(0.6, 1.6)
    noise = _apply_all(
        normal(1.0, (batch, 1, *sizes), generator),
        (_grain(0.5 * grain * u(0, 1), sizes[0]), _grain(grain * stretch, sizes[1]), _grain(grain / stretch, sizes[2])),
    )
    level = log_uniform(*settings.noise_hu, (batch, 1, 1, 1, 1), generator)
    scan = scan + level * noise
    streaking = (p(settings.streak_probability) * u(0, settings.streak_hu)).view(-1, 1, 1, 1, 1)
    scan = scan + streaking * streaks(sizes, batch, generator)

    seen = _apply_all(scan, (look[0], look[1], look[2]))
    through = tuple(again @ first for again, first in zip(look, acquire, strict=True))
    truth = _apply_all(targets, (through[0], through[1], through[2]))
    return seen, truth.clamp(0, 1)


def random_field_of_view(
    hu: Tensor, targets: Tensor, probability: float, outside_hu: float, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Cut the patch by the edge of the scan: air beyond, and nothing to find there.

    Args:
        probability: of a cut across the slices, and again of one by a side of the field of view.
    """
    batch, device = hu.shape[0], hu.device
    z, y, x = (torch.linspace(-1, 1, n, device=device) for n in hu.shape[2:])

    def u(low: float, high: float) -> Tensor:
        return uniform(low, high, (batch, 1, 1, 1, 1), generator)

    direction = u(0, 2 * torch.pi)
    along = direction.cos() * x.view(1, 1, 1, 1, -1) + direction.sin() * y.view(1, 1, 1, -1, 1)
    in_plane = along > torch.where(u(0, 1) < probability, u(0.3, 1.0), u(9, 9))
    sign = torch.where(u(0, 1) < 0.5, -u(1, 1), u(1, 1))
    slices = (sign * z.view(1, 1, -1, 1, 1)) > torch.where(u(0, 1) < probability, u(0.2, 1.0), u(9, 9))
    cut = in_plane | slices
    return hu.masked_fill(cut, outside_hu), targets.masked_fill(cut, 0.0)


def average_pool(targets: Tensor, size: tuple[int, ...]) -> Tensor:
    """Truth at a coarser resolution: the mean over each coarse voxel."""
    if tuple(targets.shape[2:]) == tuple(size):
        return targets
    factors = [fine // coarse for fine, coarse in zip(targets.shape[2:], size, strict=True)]
    return functional.avg_pool3d(targets, factors, factors)
