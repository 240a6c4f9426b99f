"""UNet++ (Zhou et al. 2018) in two dimensions: nested skips, deep supervision, and pruning.

Node (i, j) lies at resolution i (0 is the image's own) and is the j-th of its row; it sees all earlier nodes of its
row and the node (i + 1, j - 1) below it, doubled in size by a transposed 2x2 convolution. Every node is two 3x3
convolutions with ReLU and dropout. Each node of the first row but (0, 0) has a 1x1 head of its own, which learns the
same target, so that the network can be pruned to an earlier head after training.

Source: Zhou Z et al., UNet++, DLMIA 2018, and its published code (filters, dropout 0.5, He's normal initialisation).
With five levels and the published filters there are 9,042,540 parameters for three channels in and out.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from KidneySegLib.networks.deeplabv3plus import check_size

#: Channels at each resolution of the published network.
FILTERS = (32, 64, 128, 256, 512)
#: After every convolution of the published code.
DROPOUT = 0.5


class _Node(nn.Module):
    """Two 3x3 convolutions, each with ReLU and dropout, and with batch normalisation if wanted."""

    def __init__(self, in_channels: int, channels: int, dropout: float, batch_norm: bool) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for number in (in_channels, channels):
            layers.append(nn.Conv2d(number, channels, 3, padding=1, bias=not batch_norm))
            if batch_norm:
                layers.append(nn.BatchNorm2d(channels))
            layers += [nn.ReLU(inplace=True), nn.Dropout(dropout)]
        self.layers = nn.Sequential(*layers)

    def forward(self, maps: Tensor) -> Tensor:
        result: Tensor = self.layers(maps)
        return result


class UNetPlusPlus(nn.Module):
    """2-D UNet++.

    Args:
        in_channels: channels of the image.
        out_channels: logits a pixel.
        filters: channels at each resolution, finest first.
        dropout: after every convolution.
        batch_norm: normalise after every convolution; the published network does not.
        head: which head answers in evaluation mode: ``last``, ``average`` (of the heads' logits), or the number of an
            earlier one, 1 being the shallowest: nothing deeper is then computed.

    Raises:
        ValueError: for arguments that make no network.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        filters: tuple[int, ...] = FILTERS,
        dropout: float = DROPOUT,
        batch_norm: bool = False,
        head: str | int = "last",
    ) -> None:
        super().__init__()
        if in_channels < 1 or out_channels < 1 or len(filters) < 2 or min(filters) < 1:
            raise ValueError(
                f"channels and filters must be at least 1, and levels at least 2; got in_channels {in_channels}, "
                f"out_channels {out_channels}, filters {tuple(filters)}"
            )
        self._depth = len(filters) - 1
        self._head = head
        if head not in ("last", "average", *range(1, self._depth + 1)):
            raise ValueError(f"head must be last, average or 1 to {self._depth}, got {head!r}")
        self.nodes = nn.ModuleDict()
        self.ups = nn.ModuleDict()
        for i, channels in enumerate(filters):
            for j in range(self._depth - i + 1):
                given = (in_channels if i == 0 else filters[i - 1]) if j == 0 else channels * (j + 1)
                self.nodes[_key(i, j)] = _Node(given, channels, dropout, batch_norm)
                if j > 0:
                    self.ups[_key(i, j)] = nn.ConvTranspose2d(filters[i + 1], channels, 2, stride=2)
        self.heads = nn.ModuleList(nn.Conv2d(filters[0], out_channels, 1) for _ in range(self._depth))
        self.pool = nn.MaxPool2d(2)
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    @property
    def divisor(self) -> int:
        """Image sizes must be multiples of this."""
        return int(2**self._depth)

    @property
    def answering_depth(self) -> int:
        """Depth of the head that answers in evaluation mode; deeper nodes are pruned."""
        return self._head if isinstance(self._head, int) else self._depth

    def all_heads(self, image: Tensor, depth: int | None = None) -> list[Tensor]:
        """Logits of each head, shallowest first: what deep supervision learns from.

        Args:
            image: (N, in_channels, y, x), sizes multiples of `divisor`.
            depth: of the deepest head that is computed; None is the whole network.

        Returns:
            ``depth`` logits (N, out_channels, y, x).

        Raises:
            ValueError: if a size is no multiple of `divisor`.
        """
        check_size(image, self.divisor)
        depth = self._depth if depth is None else depth
        rows: list[list[Tensor]] = []
        for i in range(depth + 1):
            rows.append([self.nodes[_key(i, 0)](image if i == 0 else self.pool(rows[i - 1][0]))])
        for j in range(1, depth + 1):
            for i in range(depth - j + 1):
                up = self.ups[_key(i, j)](rows[i + 1][j - 1])
                rows[i].append(self.nodes[_key(i, j)](torch.cat([*rows[i], up], dim=1)))
        return [head(rows[0][j + 1]) for j, head in enumerate(list(self.heads)[:depth])]

    def forward(self, image: Tensor) -> Any:
        """Logits of the head that answers, or in training mode of all heads (see `all_heads`)."""
        if self.training:
            return self.all_heads(image)
        logits = self.all_heads(image, self.answering_depth)
        if self._head == "average":
            return torch.stack(logits).mean(dim=0)
        return logits[-1]


def _key(i: int, j: int) -> str:
    return f"x{i}{j}"
