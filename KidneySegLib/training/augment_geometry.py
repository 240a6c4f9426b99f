"""Random pose: rotation, anisotropic scaling, mirroring and a smooth warp, in one resampling of image and truth."""

from __future__ import annotations

from dataclasses import dataclass
from math import pi

import torch
from torch import Tensor
from torch.nn import functional

from KidneySegLib.training.fields import chance, log_uniform, smooth_noise, uniform

Size3 = tuple[int, int, int]
#: What lies outside a rendered box: air.
OUTSIDE_HU = -1000.0


@dataclass(frozen=True)
class PoseSettings:
    """Ranges of random poses.

    Attributes:
        rotation_degrees: greatest angle about each axis.
        scale: least and greatest magnification of each axis.
        flip_probability: of mirroring along (z, y, x).
        shift_voxels: greatest distance along each axis of the patch's centre from the box's.
        warp_voxels: standard deviation of the warp's displacements; a sample's own lies between 0 and this.
        warp_node_voxels: distance over which displacements become independent.
    """

    rotation_degrees: float = 20.0
    scale: tuple[float, float] = (0.75, 1.35)
    flip_probability: tuple[float, float, float] = (0.05, 0.05, 0.5)
    shift_voxels: tuple[float, float, float] = (16.0, 16.0, 16.0)
    warp_voxels: float = 3.0
    warp_node_voxels: float = 28.0


#: No change but a crop round the centre.
STILL = PoseSettings(0.0, (1.0, 1.0), (0.0, 0.0, 0.0), (0.0, 0.0, 0.0), 0.0)


def _rotation_matrices(angles: Tensor) -> Tensor:
    """(N, 3, 3) rotations acting on (x, y, z), from angles (N, 3) about x, y and z."""
    cosine, sine = angles.cos(), angles.sin()
    one, zero = torch.ones_like(angles[:, 0]), torch.zeros_like(angles[:, 0])

    def matrix(*rows: Tensor) -> Tensor:
        return torch.stack(rows, dim=1).view(-1, 3, 3)

    about_x = matrix(one, zero, zero, zero, cosine[:, 0], -sine[:, 0], zero, sine[:, 0], cosine[:, 0])
    about_y = matrix(cosine[:, 1], zero, sine[:, 1], zero, one, zero, -sine[:, 1], zero, cosine[:, 1])
    about_z = matrix(cosine[:, 2], -sine[:, 2], zero, sine[:, 2], cosine[:, 2], zero, zero, zero, one)
    return about_z @ about_y @ about_x


def random_pose(
    hu: Tensor, targets: Tensor, patch: Size3, settings: PoseSettings, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Cut a patch out of each box, in a random pose.

    Args:
        hu: (N, 1, z, y, x).
        targets: (N, channels, z, y, x), on the same grid.
        patch: size (z, y, x) of the result.

    Returns:
        HU (N, 1, \\*patch) and targets (N, channels, \\*patch); outside of the boxes there is air and no target.
    """
    batch = hu.shape[0]
    device = hu.device

    limit = settings.rotation_degrees * pi / 180
    rotations = _rotation_matrices(uniform(-limit, limit, (batch, 3), generator))
    magnification = log_uniform(*settings.scale, (batch, 3), generator)
    flips = torch.stack([1 - 2 * chance(p, (batch,), generator) for p in settings.flip_probability[::-1]], dim=1)
    # A voxel of the patch, seen from the patch's centre, in the box: rotate, then shrink by the magnification.
    linear = rotations / magnification[:, None, :] * flips[:, None, :]
    shift = torch.stack([uniform(-far, far, (batch,), generator) for far in settings.shift_voxels[::-1]], dim=1)

    axes = [torch.arange(n, device=device, dtype=torch.float32) - (n - 1) / 2 for n in patch]
    z, y, x = torch.meshgrid(*axes, indexing="ij")
    points = torch.stack((x, y, z), dim=-1).view(1, -1, 3)
    positions = torch.baddbmm(shift[:, None, :], points.expand(batch, -1, -1), linear.transpose(1, 2))
    grid = positions.view(batch, *patch, 3)
    if settings.warp_voxels > 0:
        strength = uniform(0, settings.warp_voxels, (batch, 1, 1, 1, 1), generator)
        warp = smooth_noise(batch, 3, patch, settings.warp_node_voxels, generator)
        grid = grid + (strength * warp).permute(0, 2, 3, 4, 1)
    # The box's voxel centres lie at -1..1 (align_corners).
    grid = torch.stack([grid[..., axis] * (2 / (hu.shape[4 - axis] - 1)) for axis in range(3)], dim=-1)
    stacked = torch.cat((hu - OUTSIDE_HU, targets), dim=1)
    moved = functional.grid_sample(stacked, grid, mode="bilinear", padding_mode="zeros", align_corners=True)
    return moved[:, :1] + OUTSIDE_HU, moved[:, 1:]
