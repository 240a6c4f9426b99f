"""What nnU-Net's U-Nets are built of, with the parameters' names of its checkpoints.

``dynamic-network-architectures`` registers each layer twice (``conv`` and ``all_modules.0``, ``decoder.encoder.*``);
here each has the first of its names only.

Source of the layout: dynamic-network-architectures 0.4.4 (Apache-2.0), to which nnunetv2 2.8.1 leaves its networks.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import cast

import torch
from torch import Tensor, nn

from KidneySegLib.networks.convolution import Convolution
from KidneySegLib.networks.instance_norm import InstanceNorm
from KidneySegLib.networks.upsampling import Upsampling

Size3 = tuple[int, int, int]
Sizes = int | Sequence[int | Sequence[int]]

NORMALISATIONS = ("instance", "batch", "none")
ACTIVATIONS = ("leaky_relu", "relu")
#: Negative slope for He initialisation, as in nnU-Net.
INITIAL_SLOPE = 0.01


def size3(value: int | Sequence[int], name: str) -> Size3:
    """Three positive integers (z, y, x) of an integer or of three.

    Raises:
        ValueError: for anything else.
    """
    size = (value,) * 3 if isinstance(value, int) else tuple(int(v) for v in value)
    if len(size) != 3 or min(size) < 1:
        raise ValueError(f"{name} must be a positive integer or three of them (z, y, x), got {value!r}")
    return size


def sizes(values: Sizes, count: int, name: str) -> list[Size3]:
    """One size for each of ``count`` resolutions; a single integer stands for all."""
    each = [values] * count if isinstance(values, int) else list(values)
    if len(each) != count:
        raise ValueError(f"{name} must have one entry for each of {count} resolutions, got {len(each)}")
    return [size3(value, name) for value in each]


def counts(values: int | Sequence[int], count: int, name: str) -> list[int]:
    """``count`` positive integers; a single one stands for all."""
    each = [values] * count if isinstance(values, int) else [int(v) for v in values]
    if len(each) != count or min(each, default=0) < 1:
        raise ValueError(f"{name} must be {count} positive integers, got {values!r}")
    return each


class Layers:
    """Makes the layers that all stages of a network share.

    Args:
        conv_bias: whether convolutions have a bias.
        normalisation: ``instance``, ``batch`` or ``none``.
        norm_eps: added to the variance.
        activation: ``leaky_relu`` or ``relu``.
        negative_slope: of the leaky ReLU.
        activation_first: activation before normalisation.

    Raises:
        ValueError: for an unknown name.
    """

    def __init__(
        self,
        *,
        conv_bias: bool = True,
        normalisation: str = "instance",
        norm_eps: float = 1e-5,
        activation: str = "leaky_relu",
        negative_slope: float = 0.01,
        activation_first: bool = False,
    ) -> None:
        if normalisation not in NORMALISATIONS:
            raise ValueError(f"normalisation must be one of {', '.join(NORMALISATIONS)}, got {normalisation!r}")
        if activation not in ACTIVATIONS:
            raise ValueError(f"activation must be one of {', '.join(ACTIVATIONS)}, got {activation!r}")
        self.conv_bias = conv_bias
        self.activation_first = activation_first
        self._normalisation = normalisation
        self._norm_eps = norm_eps
        self._activation = activation
        self._negative_slope = negative_slope

    def norm(self, channels: int) -> nn.Module | None:
        """The normalisation of a number of channels; None without one."""
        if self._normalisation == "batch":
            return nn.BatchNorm3d(channels, eps=self._norm_eps)
        if self._normalisation == "instance":
            norm = InstanceNorm(channels)
            norm.eps = self._norm_eps
            return norm
        return None

    def activation(self) -> nn.Module:
        if self._activation == "relu":
            return nn.ReLU(inplace=True)
        return nn.LeakyReLU(self._negative_slope, inplace=True)


class ConvNorm(nn.Module):
    """Convolution, normalisation and (unless ``active`` is False) activation; sizes are kept but for the stride."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: Size3,
        stride: Size3,
        layers: Layers,
        *,
        bias: bool | None = None,
        active: bool = True,
    ) -> None:
        super().__init__()
        if any(k % 2 == 0 for k in kernel):
            raise ValueError(f"kernel sizes must be odd, got {kernel}")
        padding = cast(Size3, tuple((k - 1) // 2 for k in kernel))
        with_bias = layers.conv_bias if bias is None else bias
        self.conv = Convolution(in_channels, out_channels, kernel, stride, padding, bias=with_bias)
        norm = layers.norm(out_channels)
        if norm is not None:
            self.norm = norm
        self._normalises = norm is not None
        self._activate = layers.activation() if active else None
        self._activation_first = layers.activation_first

    def forward(self, features: Tensor) -> Tensor:
        features = self.conv(features)
        if self._activate is not None and self._activation_first:
            features = self._activate(features)
        if self._normalises:
            features = self.norm(features)
        if self._activate is not None and not self._activation_first:
            features = self._activate(features)
        return features


class ConvStack(nn.Module):
    """Convolutions one after the other; the first one strides."""

    def __init__(
        self, count: int, in_channels: int, out_channels: int, kernel: Size3, stride: Size3, layers: Layers
    ) -> None:
        super().__init__()
        self.convs = nn.Sequential(
            *(
                ConvNorm(
                    in_channels if number == 0 else out_channels,
                    out_channels,
                    kernel,
                    stride if number == 0 else (1, 1, 1),
                    layers,
                )
                for number in range(count)
            )
        )

    def forward(self, features: Tensor) -> Tensor:
        result: Tensor = self.convs(features)
        return result


class Decoder(nn.Module):
    """The way up: transposed convolution, concatenation with the skip connection, convolutions; coarse to fine.

    Each stage has a head (``seg_layers``), as checkpoints do; the last one's logits are the network's.
    """

    def __init__(
        self,
        features: Sequence[int],
        kernels: Sequence[Size3],
        strides: Sequence[Size3],
        n_conv: Sequence[int],
        num_classes: int,
        layers: Layers,
        deep_supervision: bool,
    ) -> None:
        super().__init__()
        self.deep_supervision = deep_supervision
        self.transpconvs = nn.ModuleList()
        self.stages = nn.ModuleList()
        self.seg_layers = nn.ModuleList()
        for number, level in enumerate(reversed(range(len(features) - 1))):
            stride = strides[level + 1]
            self.transpconvs.append(Upsampling(features[level + 1], features[level], stride, bias=layers.conv_bias))
            self.stages.append(
                ConvStack(n_conv[number], 2 * features[level], features[level], kernels[level], (1, 1, 1), layers)
            )
            self.seg_layers.append(nn.Conv3d(features[level], num_classes, 1))

    def forward(self, skips: list[Tensor]) -> Tensor | list[Tensor]:
        """Logits of the encoder's maps, finest first in ``skips``; see `NnUNet.forward`."""
        features = skips[-1]
        supervised = self.deep_supervision and self.training
        outputs: list[Tensor] = []
        for number, (up, stage) in enumerate(zip(self.transpconvs, self.stages, strict=True)):
            features = stage(torch.cat((up(features), skips[-(number + 2)]), dim=1))
            if supervised or number == len(self.stages) - 1:
                outputs.append(self.seg_layers[number](features))
        return outputs[::-1] if supervised else outputs[-1]


class NnUNet(nn.Module):
    """An encoder and a decoder; `PlainConvUNet` and `ResidualEncoderUNet` bring their encoders.

    Attributes:
        divisor: input sizes (z, y, x) must be multiples of this.
    """

    encoder: nn.Module

    def __init__(self, strides: Sequence[Size3], decoder: Decoder) -> None:
        super().__init__()
        self.divisor: Size3 = cast(Size3, tuple(prod(s[axis] for s in strides) for axis in range(3)))
        self.decoder = decoder

    def initialise(self) -> None:
        """He initialisation of convolutions, as in nnU-Net."""
        for module in self.modules():
            if isinstance(module, nn.Conv3d | nn.ConvTranspose3d):
                nn.init.kaiming_normal_(module.weight, a=INITIAL_SLOPE)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, image: Tensor) -> Tensor | list[Tensor]:
        """Logits of an image batch.

        Args:
            image: (N, input_channels, z, y, x), each size a multiple of `divisor`.

        Returns:
            (N, num_classes, z, y, x). With deep supervision and in training mode: a list of these, finest first, each
            next one at the next coarser resolution.
        """
        result: Tensor | list[Tensor] = self.decoder(self.encoder(image))
        return result
