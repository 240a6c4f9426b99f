"""nnU-Net's plain convolutional U-Net, with torch alone.

Stages of convolution, instance normalisation and leaky ReLU; strided convolutions down, transposed ones up, skip
connections by concatenation. Parameters are named as in nnU-Net's checkpoints (`conv_blocks`).

Source: Isensee et al., nnU-Net, Nature Methods 2021, doi:10.1038/s41592-020-01008-z; the layout is that of
``PlainConvUNet`` in dynamic-network-architectures 0.4.4.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from KidneySegLib.networks.conv_blocks import ConvStack, Decoder, Layers, NnUNet, Sizes, counts, sizes


class _Encoder(nn.Module):
    def __init__(self, stages: Sequence[ConvStack]) -> None:
        super().__init__()
        self.stages = nn.Sequential(*(nn.Sequential(stage) for stage in stages))

    def forward(self, features: Tensor) -> list[Tensor]:
        skips = []
        for stage in self.stages:
            features = stage(features)
            skips.append(features)
        return skips


class PlainConvUNet(NnUNet):
    """A plain 3-D U-Net of any depth.

    Args:
        input_channels: 1 for a CT.
        num_classes: logits per voxel.
        features_per_stage: channels of each resolution, finest first.
        kernel_sizes: (z, y, x) odd size, or integer, of each resolution.
        strides: how much coarser each resolution is than the one before it.
        n_conv_per_stage: convolutions of each encoder stage.
        n_conv_per_stage_decoder: convolutions of each decoder stage, coarse to fine.
        deep_supervision: while training, also give logits of the coarser decoder stages.
        conv_bias, normalisation, norm_eps, activation, negative_slope, activation_first: see `conv_blocks.Layers`.

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
        n_conv_per_stage: int | Sequence[int] = 2,
        n_conv_per_stage_decoder: int | Sequence[int] = 2,
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
        n_conv = counts(n_conv_per_stage, count, "n_conv_per_stage")
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
        self.encoder = _Encoder(
            [
                ConvStack(
                    n_conv[s], features[s - 1] if s else input_channels, features[s], kernels[s], steps[s], layers
                )
                for s in range(count)
            ]
        )
        self.initialise()
