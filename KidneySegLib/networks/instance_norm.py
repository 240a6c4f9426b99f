"""Instance normalisation that keeps the memory layout of its input while training.

`torch.nn.InstanceNorm3d` copies a channels-last tensor to the default layout and back, forward and backward.
Normalising each sample as a batch of one is the same arithmetic without the copies: a training step of a small 3-D
U-Net takes 30 % less on a CPU. In evaluation mode, and under a compiler, it is torch's own.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from KidneySegLib.networks.learning import learns


class _NormaliseEachSample(torch.autograd.Function):
    """Batch normalisation, in training mode, of every sample on its own."""

    @staticmethod
    def forward(ctx: Any, image: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
        result = torch.empty_like(image)
        moments: list[Tensor] = []
        for sample in range(image.shape[0]):
            one = slice(sample, sample + 1)
            mean, inverse = (torch.empty(0, dtype=weight.dtype, device=weight.device) for _ in range(2))
            # Into its place in the batch: as a tensor of its own that is copied it takes half as long again.
            torch.ops.aten.native_batch_norm.out(
                image[one],
                weight,
                bias,
                None,
                None,
                True,
                0.0,
                eps,
                out=result[one],
                save_mean=mean,
                save_invstd=inverse,
            )
            moments += (mean, inverse)
        ctx.save_for_backward(image, weight, *moments)
        ctx.eps = eps
        return result

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        image, weight, *moments = ctx.saved_tensors
        of_result = gradients[0]
        of_image = torch.empty_like(image)
        of_weight, of_bias = torch.zeros_like(weight), torch.zeros_like(weight)
        for sample in range(image.shape[0]):
            one = slice(sample, sample + 1)
            parts = torch.ops.aten.native_batch_norm_backward(
                of_result[one],
                image[one],
                weight,
                None,
                None,
                moments[2 * sample],
                moments[2 * sample + 1],
                True,
                ctx.eps,
                [True, True, True],
            )
            of_image[one] = parts[0]
            of_weight += parts[1]
            of_bias += parts[2]
        return of_image, of_weight, of_bias, None


class InstanceNorm(nn.InstanceNorm3d):
    """``torch.nn.InstanceNorm3d`` with learnt scale and shift, and the same parameters' names.

    Args:
        channels: of the image, (N, channels, z, y, x).
    """

    def __init__(self, channels: int) -> None:
        super().__init__(channels, affine=True)

    def forward(self, input: Tensor) -> Tensor:
        """Normalise each sample and channel over space."""
        if not learns(self):
            return super().forward(input)
        result: Tensor = _NormaliseEachSample.apply(input, self.weight, self.bias, self.eps)
        return result
