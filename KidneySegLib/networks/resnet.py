"""Residual networks (He et al. 2016) as encoders of 2-D images, with torchvision's names of the parameters.

ResNet-18 and -34 are made of basic blocks (two 3x3 convolutions), -50, -101 and -152 of bottlenecks (1x1, 3x3, 1x1,
four times as many channels out; the 3x3 strides, as in torchvision). There is no classifier: what is wanted are the
maps of the stages.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from torch import Tensor, nn

#: Blocks of the four stages, and whether they are bottlenecks, for each depth.
DEPTHS: dict[int, tuple[tuple[int, int, int, int], bool]] = {
    18: ((2, 2, 2, 2), False),
    34: ((3, 4, 6, 3), False),
    50: ((3, 4, 6, 3), True),
    101: ((3, 4, 23, 3), True),
    152: ((3, 8, 36, 3), True),
}
#: Channels of the first stage of the published networks.
STANDARD_WIDTH = 64
#: The classifier's parameters in files of ImageNet weights.
CLASSIFIER_PREFIX = "fc."

Block = Callable[[int, int, int, int], nn.Module]


def _convolution(in_channels: int, out_channels: int, size: int, stride: int = 1, dilation: int = 1) -> nn.Conv2d:
    padding = dilation * (size // 2)
    return nn.Conv2d(in_channels, out_channels, size, stride, padding, dilation, bias=False)


def _downsample(in_channels: int, out_channels: int, stride: int) -> nn.Sequential | None:
    """The shortcut where a block changes size or channels; None where the input itself is the shortcut."""
    if stride == 1 and in_channels == out_channels:
        return None
    return nn.Sequential(_convolution(in_channels, out_channels, 1, stride), nn.BatchNorm2d(out_channels))


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut."""

    expansion = 1

    def __init__(self, in_channels: int, channels: int, stride: int, dilation: int) -> None:
        super().__init__()
        self.conv1 = _convolution(in_channels, channels, 3, stride, dilation)
        self.bn1 = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = _convolution(channels, channels, 3, 1, dilation)
        self.bn2 = nn.BatchNorm2d(channels)
        self.downsample = _downsample(in_channels, channels, stride)

    def forward(self, maps: Tensor) -> Tensor:
        shortcut = maps if self.downsample is None else self.downsample(maps)
        inner = self.relu(self.bn1(self.conv1(maps)))
        result: Tensor = self.relu(self.bn2(self.conv2(inner)) + shortcut)
        return result


class Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolutions and a shortcut; four times as many channels come out."""

    expansion = 4

    def __init__(self, in_channels: int, channels: int, stride: int, dilation: int) -> None:
        super().__init__()
        self.conv1 = _convolution(in_channels, channels, 1)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = _convolution(channels, channels, 3, stride, dilation)
        self.bn2 = nn.BatchNorm2d(channels)
        self.conv3 = _convolution(channels, self.expansion * channels, 1)
        self.bn3 = nn.BatchNorm2d(self.expansion * channels)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = _downsample(in_channels, self.expansion * channels, stride)

    def forward(self, maps: Tensor) -> Tensor:
        shortcut = maps if self.downsample is None else self.downsample(maps)
        inner = self.relu(self.bn1(self.conv1(maps)))
        inner = self.relu(self.bn2(self.conv2(inner)))
        result: Tensor = self.relu(self.bn3(self.conv3(inner)) + shortcut)
        return result


class ResNetEncoder(nn.Module):
    """A ResNet without its classifier.

    Args:
        depth: 18, 34, 50, 101 or 152.
        in_channels: channels of the image.
        width: channels of the first stage; 64 is the published network, less makes a lighter one.
        output_stride: 32, or 16: then the last stage keeps its size and dilates by 2 instead (as DeepLab does).

    Attributes:
        channels: of the five maps that `forward` gives.

    Raises:
        ValueError: for an argument that makes no network.
    """

    def __init__(
        self, depth: int = 18, in_channels: int = 3, width: int = STANDARD_WIDTH, output_stride: int = 32
    ) -> None:
        super().__init__()
        if depth not in DEPTHS:
            raise ValueError(f"depth must be one of {', '.join(map(str, DEPTHS))}, got {depth}")
        if output_stride not in (16, 32):
            raise ValueError(f"output_stride must be 16 or 32, got {output_stride}")
        if in_channels < 1 or width < 4:
            raise ValueError(f"in_channels must be at least 1 and width at least 4, got {in_channels} and {width}")
        blocks, bottleneck = DEPTHS[depth]
        block: type[BasicBlock] | type[Bottleneck] = Bottleneck if bottleneck else BasicBlock
        self.depth = depth
        self.conv1 = nn.Conv2d(in_channels, width, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        channels = width
        widths = [width]
        for stage, count in enumerate(blocks):
            dilated = stage == 3 and output_stride == 16
            stride = 1 if stage == 0 or dilated else 2
            planes = width * 2**stage
            layers: list[nn.Module] = []
            for index in range(count):
                layers.append(block(channels, planes, stride if index == 0 else 1, 2 if dilated else 1))
                channels = planes * block.expansion
            setattr(self, f"layer{stage + 1}", nn.Sequential(*layers))
            widths.append(channels)
        self.channels: tuple[int, ...] = tuple(widths)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, image: Tensor) -> list[Tensor]:
        """Maps of an image batch (N, in_channels, y, x), finest first: after the first convolution (half the size) and
        after each of the four stages (1/4, 1/8, 1/16 and 1/32 or, dilated, 1/16)."""
        maps = self.relu(self.bn1(self.conv1(image)))
        found = [maps]
        maps = self.maxpool(maps)
        for stage in range(1, 5):
            maps = getattr(self, f"layer{stage}")(maps)
            found.append(maps)
        return found


def load_imagenet_weights(encoder: ResNetEncoder, weights: Mapping[str, Tensor]) -> None:
    """Put the weights of a torchvision ResNet into an encoder.

    The classifier (``fc``) is left out. For an encoder with another number of image channels than three, the first
    convolution's weights are summed over colour and shared out evenly: a grey image then gives the same maps as the
    same image with three equal channels.

    Raises:
        ValueError: if the weights are of another network.
    """
    state = {key: value for key, value in weights.items() if not key.startswith(CLASSIFIER_PREFIX)}
    first = state.get("conv1.weight")
    wanted = encoder.conv1.weight.shape[1]
    if first is not None and first.ndim == 4 and first.shape[1] != wanted:
        state["conv1.weight"] = first.sum(dim=1, keepdim=True).expand(-1, wanted, -1, -1) / wanted
    try:
        encoder.load_state_dict(state)
    except RuntimeError as error:
        raise ValueError(f"expected the weights of torchvision's ResNet-{encoder.depth}: {error}") from error
