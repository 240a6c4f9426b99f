"""The 3-D U-Net of Luo and Li (2025), with the options that its siblings need.

Five resolutions; at each, two 3x3x3 convolutions; 2x2x2 max-pooling down while the channels double; 2x2x2
transposed convolution up; skip connections by concatenation; a 1x1x1 convolution at the end. The sigmoid or
softmax belongs to the loss and to the engine: a network gives logits.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import cast

import torch
from torch import Tensor, nn

from KidneySegLib.networks.instance_norm import InstanceNorm
from KidneySegLib.networks.upsampling import Upsampling

Size3 = tuple[int, int, int]

NORMALISATIONS = ("none", "batch", "instance")
DOWNSAMPLINGS = ("max_pool", "strided_conv")
ACTIVATIONS = ("relu", "leaky_relu")
#: Negative slope of the leaky ReLU, and of He initialisation, as in nnU-Net.
LEAKY_SLOPE = 0.01
CONVOLUTIONS_PER_STAGE = 2


def _size3(value: int | Sequence[int], name: str) -> Size3:
    size = (value,) * 3 if isinstance(value, int) else tuple(int(v) for v in value)
    if len(size) != 3 or min(size) < 1:
        raise ValueError(f"{name} must be a positive integer or three of them (z, y, x), got {value!r}")
    return size


def _choice(value: str, choices: tuple[str, ...], name: str) -> str:
    if value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(choices)}, got {value!r}")
    return value


def _norm(kind: str, channels: int) -> list[nn.Module]:
    if kind == "batch":
        return [nn.BatchNorm3d(channels)]
    if kind == "instance":
        return [InstanceNorm(channels)]
    return []


def _activation(kind: str) -> nn.Module:
    return nn.ReLU(inplace=True) if kind == "relu" else nn.LeakyReLU(LEAKY_SLOPE, inplace=True)


def _stage(
    in_channels: int, out_channels: int, kernel: Size3, stride: Size3, normalisation: str, activation: str
) -> nn.Sequential:
    """Two convolutions, each with its normalisation and activation; the first one strides."""
    padding = tuple(k // 2 for k in kernel)
    layers: list[nn.Module] = []
    for number in range(CONVOLUTIONS_PER_STAGE):
        layers.append(
            nn.Conv3d(
                in_channels if number == 0 else out_channels,
                out_channels,
                kernel,
                stride=stride if number == 0 else 1,
                padding=cast(Size3, padding),
            )
        )
        layers.extend(_norm(normalisation, out_channels))
        layers.append(_activation(activation))
    return nn.Sequential(*layers)


class UNet3D(nn.Module):
    """A plain 3-D U-Net.

    Args:
        in_channels: channels of the input, 1 for a CT.
        out_channels: logits per voxel.
        features: channels of each resolution, finest first. The default is Luo and Li's doubling.
        strides: one (z, y, x) stride, or integer, for each resolution: how much coarser it is than the one
            before it. The first must be 1. ``None``: 2 everywhere after the first.
        kernel_sizes: one (z, y, x) odd size, or integer, for each resolution. ``None``: 3 everywhere.
        normalisation: ``none``, ``batch`` or ``instance``.
        downsampling: ``max_pool``, or ``strided_conv`` (the first convolution of a stage strides).
        activation: ``relu`` or ``leaky_relu`` (slope 0.01).
        deep_supervision: while training, also give logits of the coarser decoder stages.

    Raises:
        ValueError: for an argument that makes no network.
    """

    def __init__(
        self,
        in_channels: int = 1,
        out_channels: int = 2,
        features: Sequence[int] = (16, 32, 64, 128, 256),
        strides: Sequence[int | Sequence[int]] | None = None,
        kernel_sizes: Sequence[int | Sequence[int]] | None = None,
        normalisation: str = "none",
        downsampling: str = "max_pool",
        activation: str = "relu",
        deep_supervision: bool = False,
    ) -> None:
        super().__init__()
        count = len(features)
        if count < 2 or min(features) < 1 or in_channels < 1 or out_channels < 1:
            raise ValueError(
                "UNet3D needs positive channel numbers and at least two resolutions, got "
                f"in_channels={in_channels}, out_channels={out_channels}, features={tuple(features)}"
            )
        stride_sizes = [_size3(s, "stride") for s in (strides if strides is not None else [1] + [2] * (count - 1))]
        kernels = [_size3(k, "kernel size") for k in (kernel_sizes if kernel_sizes is not None else [3] * count)]
        if len(stride_sizes) != count or len(kernels) != count:
            raise ValueError(
                f"strides and kernel_sizes must have one entry for each of {count} resolutions, "
                f"got {len(stride_sizes)} and {len(kernels)}"
            )
        if stride_sizes[0] != (1, 1, 1):
            raise ValueError(f"the first stride must be 1 (the output has the input's size), got {stride_sizes[0]}")
        if any(k % 2 == 0 for kernel in kernels for k in kernel):
            raise ValueError(f"kernel sizes must be odd, got {kernels}")
        _choice(normalisation, NORMALISATIONS, "normalisation")
        _choice(downsampling, DOWNSAMPLINGS, "downsampling")
        _choice(activation, ACTIVATIONS, "activation")

        self.deep_supervision = deep_supervision
        #: Input sizes (z, y, x) must be multiples of this.
        self.divisor: Size3 = cast(Size3, tuple(prod(s[axis] for s in stride_sizes) for axis in range(3)))

        self.downs = nn.ModuleList()
        self.encoder = nn.ModuleList()
        channels = in_channels
        for level in range(count):
            pooled = downsampling == "max_pool" and level > 0
            self.downs.append(nn.MaxPool3d(stride_sizes[level], stride_sizes[level]) if pooled else nn.Identity())
            stride = (1, 1, 1) if pooled else stride_sizes[level]
            self.encoder.append(_stage(channels, features[level], kernels[level], stride, normalisation, activation))
            channels = features[level]
        # Decoder, coarse to fine: index 0 is the second coarsest resolution, the last is the finest.
        self.ups = nn.ModuleList()
        self.decoder = nn.ModuleList()
        for level in reversed(range(count - 1)):
            stride = stride_sizes[level + 1]
            self.ups.append(Upsampling(features[level + 1], features[level], stride))
            self.decoder.append(
                _stage(2 * features[level], features[level], kernels[level], (1, 1, 1), normalisation, activation)
            )
        self.head = nn.Conv3d(features[0], out_channels, 1)
        # Heads of the coarser decoder stages, finest first; a bundle does not carry them.
        self.auxiliary_heads = nn.ModuleList(
            nn.Conv3d(features[level], out_channels, 1) for level in range(1, count - 1 if deep_supervision else 1)
        )
        self._initialise()

    def _initialise(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Conv3d | nn.ConvTranspose3d):
                nn.init.kaiming_normal_(module.weight, a=LEAKY_SLOPE)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, image: Tensor) -> Tensor | list[Tensor]:
        """Logits of an image batch.

        Args:
            image: (N, in_channels, z, y, x), each size a multiple of `divisor`.

        Returns:
            (N, out_channels, z, y, x). With deep supervision and in training mode: a list of these, finest
            first, each next one at the next coarser resolution.

        Raises:
            ValueError: if a size is no multiple of `divisor`.
        """
        sizes = tuple(int(n) for n in image.shape[2:])
        if any(n % d for n, d in zip(sizes, self.divisor, strict=True)):
            raise ValueError(f"input sizes (z, y, x) must be multiples of {self.divisor}, got {sizes}: pad the image")
        skips: list[Tensor] = []
        features = image
        for down, stage in zip(self.downs, self.encoder, strict=True):
            features = stage(down(features))
            skips.append(features)
        skips.pop()
        decoded: list[Tensor] = []
        for up, stage in zip(self.ups, self.decoder, strict=True):
            features = stage(torch.cat((up(features), skips.pop()), dim=1))
            decoded.append(features)
        logits: Tensor = self.head(features)
        if not (self.deep_supervision and self.training):
            return logits
        coarser = decoded[-2::-1]
        return [logits, *(head(maps) for head, maps in zip(self.auxiliary_heads, coarser, strict=True))]
