"""The triple concatenated model of Shtaiyat and Younes for kidneys on ultrasound.

DeepLabV3+ on ResNet-18, DeepLabV3+ on ResNet-152 and LinkNet see the same image; their outputs are concatenated and one
convolution fuses them. The paper leaves open what is concatenated, the convolution's size and LinkNet's encoder. Our
choices: the three logit maps, 3x3, ResNet-18.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from KidneySegLib.networks.deeplabv3plus import RATES, DeepLabV3Plus, check_size
from KidneySegLib.networks.linknet import LinkNet
from KidneySegLib.networks.resnet import STANDARD_WIDTH

#: ResNets of the two DeepLabV3+ in the paper.
DEEPLAB_DEPTHS = (18, 152)
LINKNET_DEPTH = 18


class TripleConcat(nn.Module):
    """Two DeepLabV3+ and a LinkNet, fused by one convolution.

    Args:
        in_channels: channels of the image.
        out_channels: logits per pixel.
        deeplab_depths: ResNets of the small and the large DeepLabV3+.
        linknet_depth: ResNet of LinkNet.
        width: channels of each ResNet's first stage; 64 is the paper's, less makes a lighter ensemble.
        decoder_channels, low_level_channels, rates: of both DeepLabV3+.

    Raises:
        ValueError: for an argument that makes no network.
    """

    #: Image sizes must be multiples of this.
    divisor = 32

    def __init__(
        self,
        in_channels: int = 3,
        out_channels: int = 1,
        deeplab_depths: Sequence[int] = DEEPLAB_DEPTHS,
        linknet_depth: int = LINKNET_DEPTH,
        width: int = STANDARD_WIDTH,
        decoder_channels: int = 256,
        low_level_channels: int = 48,
        rates: Sequence[int] = RATES,
    ) -> None:
        super().__init__()
        if len(deeplab_depths) != 2:
            raise ValueError(f"deeplab_depths must be two ResNet depths, got {tuple(deeplab_depths)}")
        small, large = (
            DeepLabV3Plus(in_channels, out_channels, depth, width, decoder_channels, low_level_channels, rates)
            for depth in deeplab_depths
        )
        self.deeplab_small = small
        self.deeplab_large = large
        self.linknet = LinkNet(in_channels, out_channels, linknet_depth, width)
        self.fusion = nn.Conv2d(3 * out_channels, out_channels, 3, padding=1)
        self._start_as_mean(out_channels)

    def _start_as_mean(self, out_channels: int) -> None:
        """Before training, the fusion is the mean of the three logits, so that each network learns from the start."""
        with torch.no_grad():
            self.fusion.weight.zero_()
            self.fusion.bias.zero_()  # type: ignore[union-attr]
            for member in range(3):
                for channel in range(out_channels):
                    self.fusion.weight[channel, member * out_channels + channel, 1, 1] = 1 / 3

    @property
    def members(self) -> tuple[nn.Module, nn.Module, nn.Module]:
        """The three networks before fusion."""
        return self.deeplab_small, self.deeplab_large, self.linknet

    def member_logits(self, image: Tensor) -> list[Tensor]:
        """Logits of each of the three networks."""
        check_size(image, self.divisor)
        return [member(image) for member in self.members]

    def fuse(self, logits: Sequence[Tensor]) -> Tensor:
        """Fused logits of what `member_logits` gave."""
        fused: Tensor = self.fusion(torch.cat(list(logits), dim=1))
        return fused

    def forward(self, image: Tensor) -> Tensor:
        """Logits (N, out_channels, y, x) of an image batch (N, in_channels, y, x).

        Raises:
            ValueError: if a size is no multiple of `divisor`.
        """
        return self.fuse(self.member_logits(image))
