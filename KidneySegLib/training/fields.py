"""Random numbers and smooth random fields in batches, on whatever device the generator lives.

Nothing here looks at a value on the host, so a GPU is never waited for.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

Size3 = tuple[int, int, int]
#: Standard deviation, along one axis, of a cubic B-spline whose coefficients are white noise of deviation 1
#: (the root of the mean over positions of the sum of squared weights: 151/315).
_SPLINE_DEVIATION = (151 / 315) ** 0.5


def uniform(low: float, high: float, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """Random numbers between ``low`` and ``high``."""
    return low + (high - low) * torch.rand(shape, generator=generator, device=generator.device)


def log_uniform(low: float, high: float, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """Random numbers between ``low`` and ``high``, every octave equally likely."""
    return (uniform(0.0, 1.0, shape, generator) * math.log(high / low)).exp() * low


def normal(deviation: float, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """Gaussian random numbers of mean 0."""
    return deviation * torch.randn(shape, generator=generator, device=generator.device)


def chance(probability: float, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """1 with a probability, else 0, as float32."""
    return (torch.rand(shape, generator=generator, device=generator.device) < probability).float()


def spline_matrix(size: int, node_distance: float, device: torch.device) -> Tensor:
    """Weights that turn coefficients of a cubic B-spline into its values at voxels.

    Args:
        size: voxels along the axis.
        node_distance: of the coefficients, in voxels.

    Returns:
        (size, number of coefficients); every row sums to 1.
    """
    position = torch.arange(size, device=device, dtype=torch.float32) / node_distance
    count = int((size - 1) / node_distance) + 4
    distance = (position[:, None] + 1 - torch.arange(count, device=device, dtype=torch.float32)[None]).abs()
    near = 2 / 3 - distance**2 + distance**3 / 2
    far = (2 - distance).clamp(min=0) ** 3 / 6
    return torch.where(distance < 1, near, far)


def smooth_noise(batch: int, channels: int, shape: Size3, node_distance: float, generator: torch.Generator) -> Tensor:
    """Smooth Gaussian random fields of mean 0 and standard deviation 1.

    Args:
        node_distance: distance in voxels over which values become independent.

    Returns:
        float32 (batch, channels, z, y, x).
    """
    matrices = [spline_matrix(size, node_distance, generator.device) for size in shape]
    coefficients = normal(1 / _SPLINE_DEVIATION**3, (batch, channels, *(int(m.shape[1]) for m in matrices)), generator)
    fields = torch.matmul(coefficients, matrices[2].T)
    fields = torch.matmul(matrices[1], fields)
    return torch.einsum("zk,bckyx->bczyx", matrices[0], fields)
