"""The first stage of Zhu et al. (KiTS19): a V-net whose fine levels are two- and whose coarse levels three-dimensional.

Their Figure 1, as their code (zhukequan/segmentation) builds it: a slab of 5 mm slices is laid out in 2x2 blocks of
pixels as four channels; a two-dimensional level at half the in-plane resolution; a strided convolution; then three
three-dimensional levels; and back up with transposed convolutions, concatenated skips and residual sums.

What their code does wrong is not repeated:

- BatchNorm stays in training mode at inference there, so that a slab's answer depends on its own statistics. Here
  evaluation mode uses the running statistics.
- Softmax is clipped to [1e-6, 0.99999] before the logarithm there, which stops the gradient where the network is most
  wrong. Here logits come out, and the loss takes their log-softmax.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

#: Channels of the two-dimensional levels in the paper's network.
WIDTH = 32


class _Unit(nn.Module):
    """Convolution, BatchNorm (eps 1e-5) and ReLU.

    TensorFlow's symmetric padding by one voxel repeats the edge, which is torch's ``replicate``.
    """

    def __init__(self, in_channels: int, channels: int, *, flat: bool, stride: int = 1) -> None:
        super().__init__()
        size = (1 if flat else 3, 3, 3)
        steps = (1 if flat else stride, stride, stride)
        self.convolution = nn.Conv3d(in_channels, channels, size, steps, bias=False)
        self.normalise = nn.BatchNorm3d(channels, eps=1e-5)
        self._padding = (1, 1, 1, 1, 0, 0) if flat else (1,) * 6

    def forward(self, maps: Tensor) -> Tensor:
        padded = functional.pad(maps, self._padding, mode="replicate")
        return functional.relu(self.normalise(self.convolution(padded)))


class _Up(nn.Module):
    """Transposed 3x3 convolution to twice the size, BatchNorm and ReLU."""

    def __init__(self, in_channels: int, channels: int, *, flat: bool) -> None:
        super().__init__()
        depth = 1 if flat else 3
        along = (1 if flat else 2, 2, 2)
        around = (0 if flat else 1, 1, 1)
        self.convolution = nn.ConvTranspose3d(in_channels, channels, (depth, 3, 3), along, around, around, bias=False)
        self.normalise = nn.BatchNorm3d(channels, eps=1e-5)

    def forward(self, maps: Tensor) -> Tensor:
        return functional.relu(self.normalise(self.convolution(maps)))


class _Residual(nn.Module):
    """Two units, whose results are added."""

    def __init__(self, in_channels: int, channels: int, *, flat: bool) -> None:
        super().__init__()
        self.first = _Unit(in_channels, channels, flat=flat)
        self.second = _Unit(channels, channels, flat=flat)

    def forward(self, maps: Tensor) -> Tensor:
        first: Tensor = self.first(maps)
        return first + self.second(first)


class VNet2D3D(nn.Module):
    """The 2D-3D V-net.

    Args:
        in_channels: channels of the slab.
        out_channels: logits a voxel.
        width: channels of the two-dimensional levels; the three-dimensional ones have 2, 4 and 8 times as many.

    Raises:
        ValueError: for an argument that makes no network.
    """

    #: Sizes (z, y, x) of a slab must be multiples of this.
    divisor = (4, 16, 16)

    def __init__(self, in_channels: int = 1, out_channels: int = 2, width: int = WIDTH) -> None:
        super().__init__()
        if min(in_channels, out_channels, width) < 1:
            raise ValueError(
                f"channels and width must be at least 1, got {in_channels}, {out_channels} and width {width}"
            )
        self.plane = _Residual(4 * in_channels, width, flat=True)
        self.plane_down = _Unit(width, width, flat=True, stride=2)
        self.level1 = _Residual(width, 2 * width, flat=False)
        self.down1 = _Unit(2 * width, 4 * width, flat=False, stride=2)
        self.level2 = _Residual(4 * width, 4 * width, flat=False)
        self.down2 = _Unit(4 * width, 8 * width, flat=False, stride=2)
        self.level3 = _Residual(8 * width, 8 * width, flat=False)
        self.up2 = _Up(8 * width, 4 * width, flat=False)
        self.merge2 = _Residual(8 * width, 4 * width, flat=False)
        self.up1 = _Up(4 * width, 2 * width, flat=False)
        self.merge1 = _Residual(4 * width, 2 * width, flat=False)
        self.plane_up = _Up(2 * width, width, flat=True)
        self.plane_merge = _Residual(2 * width, width, flat=True)
        self.head = nn.ConvTranspose3d(width, out_channels, (1, 3, 3), (1, 2, 2), (0, 1, 1), (0, 1, 1))

    def forward(self, slab: Tensor) -> Tensor:
        """Logits (N, out_channels, z, y, x) of slabs (N, in_channels, z, y, x).

        Raises:
            ValueError: if a size is no multiple of `divisor`.
        """
        tracing = torch.jit.is_tracing()  # type: ignore[no-untyped-call, attr-defined]
        if not tracing and any(n % d for n, d in zip(slab.shape[2:], self.divisor, strict=True)):
            raise ValueError(f"slab sizes (z, y, x) must be multiples of {self.divisor}, got {tuple(slab.shape[2:])}")
        corners = [slab[:, :, :, y::2, x::2] for y in (0, 1) for x in (0, 1)]
        plane = self.plane(torch.cat(corners, dim=1))
        level1 = self.level1(self.plane_down(plane))
        level2 = self.level2(self.down1(level1))
        level3 = self.level3(self.down2(level2))
        maps = self.merge2(torch.cat([self.up2(level3), level2], dim=1))
        maps = self.merge1(torch.cat([self.up1(maps), level1], dim=1))
        maps = self.plane_merge(torch.cat([self.plane_up(maps), plane], dim=1))
        logits: Tensor = self.head(maps)
        return logits
