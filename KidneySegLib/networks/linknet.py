"""LinkNet (Chaurasia and Culurciello 2017) on a ResNet: a light decoder whose skips are added, not concatenated.

Five decoder blocks with four skips, the first of them from the first convolution, and a transposed 4x4 convolution in
each (the original: four blocks with three skips, transposed 3x3).
"""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn

from KidneySegLib.networks.deeplabv3plus import check_size
from KidneySegLib.networks.resnet import STANDARD_WIDTH, ResNetEncoder

#: Channels before the last convolution, for the standard width.
FINAL_CHANNELS = 32


class LinkBlock(nn.Module):
    """1x1 to a quarter of the channels, transposed convolution to twice the size, 1x1 to the channels out."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        middle = in_channels // 4
        self.block = nn.Sequential(
            nn.Conv2d(in_channels, middle, 1, bias=False),
            nn.BatchNorm2d(middle),
            nn.ReLU(inplace=True),
            nn.ConvTranspose2d(middle, middle, 4, stride=2, padding=1),
            nn.BatchNorm2d(middle),
            nn.ReLU(inplace=True),
            nn.Conv2d(middle, out_channels, 1, bias=False),
            nn.BatchNorm2d(out_channels),
            nn.ReLU(inplace=True),
        )

    def forward(self, maps: Tensor) -> Tensor:
        result: Tensor = self.block(maps)
        return result


class LinkNet(nn.Module):
    """LinkNet with a ResNet encoder.

    Args:
        in_channels: channels of the image.
        out_channels: logits per pixel.
        depth: of the ResNet.
        width: channels of the ResNet's first stage; 64 is the published network.

    Raises:
        ValueError: for an argument that makes no network.
    """

    #: Image sizes must be multiples of this.
    divisor = 32

    def __init__(
        self, in_channels: int = 3, out_channels: int = 1, depth: int = 18, width: int = STANDARD_WIDTH
    ) -> None:
        super().__init__()
        if out_channels < 1:
            raise ValueError(f"out_channels must be at least 1, got {out_channels}")
        self.encoder = ResNetEncoder(depth, in_channels, width)
        last = max(4, FINAL_CHANNELS * width // STANDARD_WIDTH)
        channels = [*reversed(self.encoder.channels), last]
        self.decoder = nn.ModuleList(LinkBlock(before, after) for before, after in pairwise(channels))
        self.head = nn.Conv2d(last, out_channels, 1)

    def forward(self, image: Tensor) -> Tensor:
        """Logits (N, out_channels, y, x) of an image batch (N, in_channels, y, x).

        Raises:
            ValueError: if a size is no multiple of `divisor`.
        """
        check_size(image, self.divisor)
        *skips, maps = self.encoder(image)
        for block in self.decoder:
            maps = block(maps)
            if skips:
                maps = maps + skips.pop()
        logits: Tensor = self.head(maps)
        return logits
