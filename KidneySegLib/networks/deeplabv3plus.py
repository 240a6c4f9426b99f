"""DeepLabV3+ (Chen et al. 2018) on a ResNet.

The encoder stops at a sixteenth of the image's size (its last stage dilates). Atrous spatial pyramid pooling looks at
its maps through five windows: 1x1, three dilated 3x3 and the whole image. A small decoder adds the maps of the first
stage, for the outline. 3x3 convolutions of head and decoder are depthwise separable, as in the paper.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from KidneySegLib.networks.resnet import STANDARD_WIDTH, ResNetEncoder

#: Dilations of the pyramid at a sixteenth of the image's size, as the paper gives them.
RATES = (6, 12, 18)
DROPOUT = 0.5
#: How many times smaller than the image the decoder's maps are.
DECODER_STRIDE = 4


def _separable(in_channels: int, out_channels: int, dilation: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(in_channels, in_channels, 3, padding=dilation, dilation=dilation, groups=in_channels, bias=False),
        nn.Conv2d(in_channels, out_channels, 1, bias=False),
    )


def _normalised(convolution: nn.Module, channels: int) -> nn.Sequential:
    return nn.Sequential(convolution, nn.BatchNorm2d(channels), nn.ReLU(inplace=True))


class AtrousPyramid(nn.Module):
    """Atrous spatial pyramid pooling."""

    def __init__(self, in_channels: int, channels: int, rates: Sequence[int]) -> None:
        super().__init__()
        self.point = _normalised(nn.Conv2d(in_channels, channels, 1, bias=False), channels)
        self.atrous = nn.ModuleList(_normalised(_separable(in_channels, channels, rate), channels) for rate in rates)
        self.image = _normalised(nn.Conv2d(in_channels, channels, 1, bias=False), channels)
        windows = 2 + len(rates)
        self.project = _normalised(nn.Conv2d(windows * channels, channels, 1, bias=False), channels)
        self.dropout = nn.Dropout(DROPOUT)

    def forward(self, maps: Tensor) -> Tensor:
        found = [self.point(maps), *(window(maps) for window in self.atrous)]
        whole = self.image(maps.mean(dim=(2, 3), keepdim=True))
        found.append(whole.expand(-1, -1, maps.shape[2], maps.shape[3]))
        result: Tensor = self.dropout(self.project(torch.cat(found, dim=1)))
        return result


class DeepLabV3Plus(nn.Module):
    """DeepLabV3+ with a ResNet encoder.

    Args:
        in_channels: channels of the image.
        out_channels: logits per pixel.
        depth: of the ResNet.
        width: channels of the ResNet's first stage; 64 is the published network.
        decoder_channels: of the pyramid and the decoder, 256 in the paper.
        low_level_channels: what the first stage's maps are reduced to, 48 in the paper.
        rates: dilations of the pyramid.

    Raises:
        ValueError: for an argument that makes no network.
    """

    #: Image sizes must be multiples of this.
    divisor = 16

    def __init__(
        self,
        in_channels: int = 3,
        out_channels: int = 1,
        depth: int = 18,
        width: int = STANDARD_WIDTH,
        decoder_channels: int = 256,
        low_level_channels: int = 48,
        rates: Sequence[int] = RATES,
    ) -> None:
        super().__init__()
        if min(out_channels, decoder_channels, low_level_channels, *rates) < 1:
            raise ValueError(
                "channels and rates must be positive, got "
                f"out_channels={out_channels}, decoder_channels={decoder_channels}, "
                f"low_level_channels={low_level_channels}, rates={tuple(rates)}"
            )
        self.encoder = ResNetEncoder(depth, in_channels, width, output_stride=16)
        channels = self.encoder.channels
        self.pyramid = AtrousPyramid(channels[-1], decoder_channels, rates)
        self.context = _normalised(_separable(decoder_channels, decoder_channels), decoder_channels)
        self.low_level = _normalised(nn.Conv2d(channels[1], low_level_channels, 1, bias=False), low_level_channels)
        self.fuse = _normalised(_separable(decoder_channels + low_level_channels, decoder_channels), decoder_channels)
        self.head = nn.Conv2d(decoder_channels, out_channels, 1)

    def forward(self, image: Tensor) -> Tensor:
        """Logits (N, out_channels, y, x) of an image batch (N, in_channels, y, x).

        While training, a batch must hold two images at least: the whole-image window is normalised over the batch.

        Raises:
            ValueError: if a size is no multiple of `divisor`.
        """
        check_size(image, self.divisor)
        maps = self.encoder(image)
        deep = self.context(self.pyramid(maps[-1]))
        deep = F.interpolate(deep, scale_factor=DECODER_STRIDE, mode="bilinear", align_corners=True)
        logits = self.head(self.fuse(torch.cat((deep, self.low_level(maps[1])), dim=1)))
        return F.interpolate(logits, scale_factor=DECODER_STRIDE, mode="bilinear", align_corners=True)


def check_size(image: Tensor, divisor: int) -> None:
    """Refuse an image (N, channels, y, x) whose sizes are no multiples of ``divisor``."""
    if torch.jit.is_tracing():  # type: ignore[no-untyped-call, attr-defined]
        return  # sizes are symbols then
    if image.ndim != 4 or any(int(n) % divisor for n in image.shape[2:]):
        raise ValueError(
            f"an image batch (N, channels, y, x) with sizes that are multiples of {divisor} was expected, "
            f"got {tuple(image.shape)}: pad or resize it"
        )
