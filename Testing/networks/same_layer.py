"""What a layer that goes its own way has in common with torch's own: answers and gradients."""

from __future__ import annotations

from typing import Any

import torch


def check_same_answers(mine: Any, theirs: Any, image: Any, gradient: Any = None) -> list[Any]:
    """Two layers of the same parameters answer the same, forward and backward.

    Args:
        mine, theirs: the layers.
        image: (N, channels, z, y, x).
        gradient: of the answer; None is a line from -1 to 1.

    Returns:
        The first layer's answer and gradients, those of the image first.
    """
    results = []
    for layer in (mine, theirs):
        leaf = image.clone().requires_grad_()
        output = layer(leaf)
        output.backward(torch.linspace(-1, 1, output.numel()).view(output.shape) if gradient is None else gradient)
        results.append([output.detach(), leaf.grad, *(p.grad for p in layer.parameters())])
    for one, other in zip(*results, strict=True):
        assert one.shape == other.shape
        assert torch.allclose(one, other, atol=1e-4)
    return results[0]


def check_learns_in_bfloat16(mine: Any, theirs: Any, image: Any) -> None:
    """Under autocast two layers of the same parameters answer the same, and gradients are finite, the weight's float32.

    Args:
        mine, theirs: the layers.
        image: (N, channels, z, y, x), a leaf that wants a gradient.
    """
    with torch.autocast("cpu", dtype=torch.bfloat16):
        one, other = mine(image), theirs(image)
    assert one.dtype == torch.bfloat16
    assert torch.allclose(one.float(), other.float(), atol=0.05)
    one.float().square().sum().backward()
    assert image.grad.isfinite().all()
    assert mine.weight.grad.dtype == torch.float32
