"""The losses of both stages, as the paper means them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional


def cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """First stage: standard cross-entropy, mean over voxels.

    Args:
        logits, targets: (N, classes, ...); targets are shares that sum to 1.
    """
    return -(targets * functional.log_softmax(logits.float(), dim=1)).sum(dim=1).mean()


def masked_cross_entropy(
    heads: Sequence[Tensor], targets: Tensor, mask: Tensor, class_weights: Sequence[float] = ()
) -> Tensor:
    """Second stage: -mean(mask * L * log(y2)) over all pixels and channels, mean over the heads of deep supervision.

    The paper prints it without the minus sign, which would be maximised where the network is most wrong; its code
    negates it, and so does this.

    Args:
        heads: logits (N, classes, y, x) of each head.
        targets: (N, classes, y, x), shares that sum to 1.
        mask: (N, 1, y, x), 0 or 1.
        class_weights: how much each class counts; empty: all alike, as in the paper.
    """
    if class_weights:
        targets = targets * torch.tensor(list(class_weights), device=targets.device).view(1, -1, 1, 1)
    parts = [-(mask * targets * functional.log_softmax(head.float(), dim=1)).mean() for head in heads]
    return torch.stack(parts).mean()
