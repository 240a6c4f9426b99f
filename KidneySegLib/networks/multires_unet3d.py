"""A 3-D U-Net with an end-to-end multi-resolution path, after Humpire Mamani et al. (2023), arXiv:2309.03383.

The network sees a wide patch. Its centre goes, at full resolution, through a U-Net; all of it, averaged to voxels
``context_factor`` times as large, through a smaller U-Net beside it. The context's features of the same centre join the
fine decoder at the resolution where voxels are equally large, so nothing is interpolated, and both paths learn
together. Only the abstract and first page of the paper could be read: that the path exists and is trained end to end is
theirs, its wiring is this program's. With spatial dropout, whole channels are dropped while training (Tompson et al.
2015, arXiv:1411.4280), as the paper names it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from KidneySegLib.networks.unet3d import Size3, UNet3D, _size3, _stage


class MultiResUNet3D(UNet3D):
    """A `UNet3D` with a context path; parameters of the fine path have the names that they have there.

    Args:
        in_channels: channels of the input, 1 for a CT.
        out_channels: logits per voxel.
        features: channels of each resolution of the fine path, finest first; each is half as fine as the one before.
        context_features: the same of the context path, whose finest resolution is ``context_factor`` times as coarse as
            the fine path's; empty: no context path, and the input is the fine patch.
        context_factor: how much larger a voxel of the context is: a power of 2 that the fine path reaches before its
            coarsest resolution.
        margin: how far, in voxels, the wide patch reaches beyond the fine patch on every side (z, y, x): multiples of
            ``context_factor``. Without a context path it must be 0.
        dropout: probability with which spatial dropout zeroes a channel after each stage but the finest.
        normalisation, activation: as for `UNet3D`.
        deep_supervision: while training, also give the context path's own logits.

    Raises:
        ValueError: for an argument that makes no network.
    """

    def __init__(
        self,
        in_channels: int = 1,
        out_channels: int = 3,
        features: Sequence[int] = (16, 32, 64, 128, 128),
        context_features: Sequence[int] = (16, 32, 64),
        context_factor: int = 4,
        margin: int | Sequence[int] = 24,
        dropout: float = 0.1,
        normalisation: str = "instance",
        activation: str = "leaky_relu",
        deep_supervision: bool = False,
    ) -> None:
        super().__init__(in_channels, out_channels, features, normalisation=normalisation, activation=activation)
        if not 0 <= dropout < 1:
            raise ValueError(f"dropout must be at least 0 and below 1, got {dropout}")
        self.deep_supervision = deep_supervision
        self.dropout = nn.Dropout3d(dropout)
        given = (margin,) * 3 if isinstance(margin, int) else tuple(margin)
        self.margin: Size3 = (0, 0, 0) if not any(given) else _size3(given, "margin")
        self.context_factor = context_factor
        self.context: UNet3D | None = None
        if not context_features:
            if any(self.margin):
                raise ValueError(f"margin must be 0 without a context path, got {self.margin}")
            return
        level = context_factor.bit_length() - 1
        if context_factor != 2**level or not 1 <= level < len(features) - 1:
            raise ValueError(
                f"context_factor must be a power of 2 from 2 to {2 ** (len(features) - 2)}, got {context_factor}"
            )
        if any(m % context_factor for m in self.margin):
            raise ValueError(f"margin must be a multiple of context_factor {context_factor}, got {self.margin}")
        # The head of the context path serves training only, so it lies among the auxiliary heads.
        self.context = UNet3D(
            in_channels, out_channels, context_features, normalisation=normalisation, activation=activation
        )
        self.auxiliary_heads = nn.ModuleList([self.context.head] if deep_supervision else [])
        del self.context.head
        # Decoder stages stand coarse to fine; the one at the context's voxel size takes its features in.
        self.joint = len(features) - 2 - level
        kernel: Size3 = (3, 3, 3)
        self.decoder[self.joint] = _stage(
            2 * features[level] + context_features[0], features[level], kernel, (1, 1, 1), normalisation, activation
        )
        self._initialise()

    def _maps(self, network: UNet3D, image: Tensor, context: Tensor | None = None) -> Tensor:
        """Features at full resolution of a U-Net, with spatial dropout; ``context`` joins at its decoder stage."""
        skips: list[Tensor] = []
        features = image
        for level, (down, stage) in enumerate(zip(network.downs, network.encoder, strict=True)):
            features = stage(down(features))
            if level:
                features = self.dropout(features)
            skips.append(features)
        skips.pop()
        last = len(network.decoder) - 1
        for number, (up, stage) in enumerate(zip(network.ups, network.decoder, strict=True)):
            parts = [up(features), skips.pop()]
            if context is not None and number == self.joint:
                parts.append(context)
            features = stage(torch.cat(parts, dim=1))
            if number < last:
                features = self.dropout(features)
        return features

    def forward(self, image: Tensor) -> Tensor | list[Tensor]:
        """Logits of the centre of a batch of wide patches.

        Args:
            image: (N, in_channels, z, y, x); each size is twice the margin and a multiple of `divisor` more, and,
                divided by ``context_factor``, a multiple of the context path's own divisor.

        Returns:
            (N, out_channels, z, y, x), each size twice the margin less than the input's. With deep supervision and in
            training mode: a list of these, and of the context path's logits of the whole wide patch at its resolution.

        Raises:
            ValueError: if a size does not fit.
        """
        sizes = tuple(int(n) for n in image.shape[2:])
        fine = tuple(n - 2 * m for n, m in zip(sizes, self.margin, strict=True))
        if any(n < d or n % d for n, d in zip(fine, self.divisor, strict=True)):
            raise ValueError(
                f"input sizes (z, y, x) must be multiples of {self.divisor} and twice the margin {self.margin} more, "
                f"got {sizes}: pad the image"
            )
        if self.context is None:
            return cast(Tensor, self.head(self._maps(self, image)))
        coarse_sizes = tuple(n / self.context_factor for n in sizes)
        if any(n % d for n, d in zip(coarse_sizes, self.context.divisor, strict=True)):
            raise ValueError(
                f"input sizes (z, y, x) must be multiples of {self.context_factor * self.context.divisor[0]}, "
                f"got {sizes}: pad the image"
            )
        # All three sizes given: OpenVINO's converter does not repeat a single one.
        cube = (self.context_factor,) * 3
        coarse = functional.avg_pool3d(image, cube, cube)
        surroundings = self._maps(self.context, coarse)
        inner = _centre(surroundings, cast(Size3, tuple(m // self.context_factor for m in self.margin)))
        logits: Tensor = self.head(self._maps(self, _centre(image, self.margin), inner))
        if not (self.deep_supervision and self.training):
            return logits
        return [logits, self.auxiliary_heads[0](surroundings)]


def _centre(volume: Tensor, margin: Size3) -> Tensor:
    """A volume (N, channels, z, y, x) without a margin on each side."""
    # An empty margin must not become the slice 0:-0. Slices, not `narrow`, whose lengths would be fixed in a graph.
    z, y, x = (slice(width, -width) if width else slice(None) for width in margin)
    return volume[:, :, z, y, x]
