"""The loss of the abnormality recipe: cross-entropy over the hardest voxels, plus Dice of what is there."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from KidneySegLib.training.augment_scanner import average_pool
from KidneySegLib.training.losses import soft_dice_loss

#: A class counts in a sample's Dice where it fills more voxels than this.
PRESENT_VOXELS = 8.0


def top_k_entropy(logits: Tensor, targets: Tensor, share: float, class_weights: Sequence[float]) -> Tensor:
    """Mean cross-entropy of the given share of voxels in the batch, those where it is greatest.

    Args:
        logits: (N, classes, z, y, x).
        targets: the same shape, fractions that sum to 1.
        share: over 0, at most 1; 1 is plain cross-entropy.
        class_weights: how much each class counts.

    Raises:
        ValueError: for a share out of range.
    """
    if not 0 < share <= 1:
        raise ValueError(f"share must be over 0 and at most 1, got {share}")
    weights = torch.tensor(list(class_weights), dtype=logits.dtype, device=logits.device).view(1, -1, 1, 1, 1)
    entropy = -(weights * targets * functional.log_softmax(logits, dim=1)).sum(1).flatten()
    if share == 1:
        return entropy.mean()
    count = max(1, round(share * entropy.numel()))
    return entropy.topk(count, sorted=False).values.mean()


def present_dice_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """1 - soft Dice of all classes but the background, each over the samples that hold it; 0 where none does.

    A class that is missing from a sample costs entropy there, not Dice: else a network learns first of all to find
    none of the rare class, and never unlearns it.
    """
    probabilities, truth = logits.softmax(1)[:, 1:], targets[:, 1:]
    present = (truth.sum((2, 3, 4)) > PRESENT_VOXELS).to(logits.dtype)
    return soft_dice_loss(probabilities, truth, present)


def abnormality_loss(
    outputs: Tensor | Sequence[Tensor],
    targets: Tensor,
    wide_targets: Tensor,
    *,
    top_k: float,
    class_weights: Sequence[float],
    context_weight: float,
) -> Tensor:
    """The loss of the fine answer, plus ``context_weight`` times that of the context path's own, if there is one.

    Args:
        outputs: logits (N, classes, z, y, x), or these and the context's of the wide patch.
        targets: of the fine patch, background first.
        wide_targets: of the wide patch; their means over the context's voxels are its truth.
    """
    fine, *coarse = [outputs] if isinstance(outputs, Tensor) else list(outputs)
    total = top_k_entropy(fine.float(), targets, top_k, class_weights) + present_dice_loss(fine.float(), targets)
    for logits in coarse:
        truth = average_pool(wide_targets, tuple(logits.shape[2:]))
        part = top_k_entropy(logits.float(), truth, top_k, class_weights) + present_dice_loss(logits.float(), truth)
        total = total + context_weight * part
    return total
