"""nnU-Net's U-Net with a residual encoder (its presets M, L and XL), with torch alone.

A stem convolution; stages of residual blocks, the first of which strides; the plain decoder. A block's short cut is
average pooling where it strides and a 1x1x1 convolution where channels change (ResNet-D). Parameters are named as
in nnU-Net's checkpoints (`conv_blocks`).

Source: Isensee et al., nnU-Net Revisited, MICCAI 2024, arXiv 2404.09556; the layout is that of
``ResidualEncoderUNet`` in dynamic-network-architectures 0.4.4.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from KidneySegLib.networks.conv_blocks import (
    ConvNorm,
    ConvStack,
    Decoder,
    Layers,
    NnUNet,
    Size3,
    Sizes,
    counts,
    sizes,
)

_ONE: Size3 = (1, 1, 1)


class _Block(nn.Module):
    """Two convolutions and a short cut round them."""

    def __init__(self, in_channels: int, out_channels: int, kernel: Size3, stride: Size3, layers: Layers) -> None:
        super().__init__()
        self.conv1 = ConvNorm(in_channels, out_channels, kernel, stride, layers)
        self.conv2 = ConvNorm(out_channels, out_channels, kernel, _ONE, layers, active=False)
        self.nonlin2 = layers.activation()
        short_cut: list[nn.Module] = []
        if stride != _ONE:
            short_cut.append(nn.AvgPool3d(stride, stride))
        if in_channels != out_channels:
            short_cut.append(ConvNorm(in_channels, out_channels, _ONE, _ONE, layers, bias=False, active=False))
        self.skip = nn.Sequential(*short_cut)

    def forward(self, features: Tensor) -> Tensor:
        result: Tensor = self.nonlin2(self.conv2(self.conv1(features)) + self.skip(features))
        return result


class _Stage(nn.Module):
    def __init__(
        self, count: int, in_channels: int, out_channels: int, kernel: Size3, stride: Size3, layers: Layers
    ) -> None:
        super().__init__()
        self.blocks = nn.Sequential(
            _Block(in_channels, out_channels, kernel, stride, layers),
            *(_Block(out_channels, out_channels, kernel, _ONE, layers) for _ in range(count - 1)),
        )

    def forward(self, features: Tensor) -> Tensor:
        result: Tensor = self.blocks(features)
        return result


class _Encoder(nn.Module):
    def __init__(self, stem: ConvStack, stages: Sequence[_Stage]) -> None:
        super().__init__()
        self.stem = stem
        self.stages = nn.Sequential(*stages)

    def forward(self, features: Tensor) -> list[Tensor]:
        features = self.stem(features)
        skips = []
        for stage in self.stages:
            features = stage(features)
            skips.append(features)
        return skips


class ResidualEncoderUNet(NnUNet):
    """A 3-D U-Net with residual blocks on the way down.

    Args:
        n_blocks_per_stage: residual blocks of each encoder stage.
        stem_channels: of the first convolution; None: those of the finest stage.
        input_channels, num_classes, features_per_stage, kernel_sizes, strides, n_conv_per_stage_decoder,
            deep_supervision, conv_bias, normalisation, norm_eps, activation, negative_slope, activation_first: see
            `plain_conv_unet.PlainConvUNet`.

    Raises:
        ValueError: for an argument that makes no network.
    """

    def __init__(
        self,
        input_channels: int = 1,
        num_classes: int = 2,
        features_per_stage: Sequence[int] = (32, 64, 128, 256, 320, 320),
        kernel_sizes: Sizes = 3,
        strides: Sizes = (1, 2, 2, 2, 2, 2),
        n_blocks_per_stage: int | Sequence[int] = (1, 3, 4, 6, 6, 6),
        n_conv_per_stage_decoder: int | Sequence[int] = 1,
        stem_channels: int | None = None,
        deep_supervision: bool = False,
        conv_bias: bool = True,
        normalisation: str = "instance",
        norm_eps: float = 1e-5,
        activation: str = "leaky_relu",
        negative_slope: float = 0.01,
        activation_first: bool = False,
    ) -> None:
        count = len(features_per_stage)
        features = counts(features_per_stage, count, "features_per_stage")
        kernels, steps = sizes(kernel_sizes, count, "kernel_sizes"), sizes(strides, count, "strides")
        n_blocks = counts(n_blocks_per_stage, count, "n_blocks_per_stage")
        n_conv_up = counts(n_conv_per_stage_decoder, count - 1, "n_conv_per_stage_decoder")
        layers = Layers(
            conv_bias=conv_bias,
            normalisation=normalisation,
            norm_eps=norm_eps,
            activation=activation,
            negative_slope=negative_slope,
            activation_first=activation_first,
        )
        super().__init__(steps, Decoder(features, kernels, steps, n_conv_up, num_classes, layers, deep_supervision))
        first = stem_channels or features[0]
        self.encoder = _Encoder(
            ConvStack(1, input_channels, first, kernels[0], _ONE, layers),
            [
                _Stage(n_blocks[s], features[s - 1] if s else first, features[s], kernels[s], steps[s], layers)
                for s in range(count)
            ],
        )
        self.initialise()
