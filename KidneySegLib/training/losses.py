"""Losses with soft targets: fractions of a voxel, not only 0 and 1."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from KidneySegLib.training.augment import FIRST_LESION
from KidneySegLib.training.augment_scanner import average_pool

#: Added to numerator and denominator of Dice, in voxels: a batch without a kidney must not divide by zero.
DICE_SMOOTH = 10.0
#: How many times the cross-entropy of a lesion counts.
LESION_ENTROPY = 4.0
#: How much the cross-entropy of cortex within parenchyma counts: a mean over parenchyma alone, not over the patch.
CORTEX_ENTROPY = 1.0
#: Channel of each where targets are fractions.
PARENCHYMA, CORTEX = 0, 1


def soft_dice_loss(probabilities: Tensor, targets: Tensor, weights: Tensor | None = None) -> Tensor:
    """1 - Dice, pooled over the batch, mean over channels.

    The denominator has squares, so that with soft targets the best answer is the target itself; with plain sums it
    would be rounded outwards and volumes would be too large.

    Args:
        probabilities: (N, channels, z, y, x) in 0..1.
        targets: the same shape, in 0..1.
        weights: (N, channels), how much a sample counts; ``None``: all the same.
    """
    axes = (2, 3, 4)
    shared = (probabilities * targets).sum(axes)
    total = (probabilities.square() + targets.square()).sum(axes)
    if weights is not None:
        shared, total = shared * weights, total * weights
    dice = (2 * shared.sum(0) + DICE_SMOOTH) / (total.sum(0) + DICE_SMOOTH)
    return 1 - dice.mean()


def sigmoid_loss(logits: Tensor, targets: Tensor, weights: Tensor | None = None) -> Tensor:
    """Binary cross-entropy plus soft Dice, for channels that may overlap.

    Channels from `FIRST_LESION` on are lesions, which most samples lack and which are small. Their entropy counts
    `LESION_ENTROPY` times, and their Dice only where a sample has some: else a network learns first of all to find
    none, and never unlearns it.

    Where cortex ends within parenchyma is asked once more by itself: a tenth of a patch is parenchyma, so in a mean
    over the patch this border counts for next to nothing, and a network draws what kidneys look like on the average
    instead of the rim and the columns that it sees.
    """
    if weights is None:
        weights = torch.ones_like(targets[:, :, 0, 0, 0])
    entropy_weights, dice_weights = weights.clone(), weights.clone()
    entropy_weights[:, FIRST_LESION:] *= LESION_ENTROPY
    dice_weights[:, FIRST_LESION:] *= (targets[:, FIRST_LESION:].sum((2, 3, 4)) > 1).to(weights.dtype)
    entropy = functional.binary_cross_entropy_with_logits(logits, targets, reduction="none").mean((2, 3, 4))
    loss = (entropy * entropy_weights).mean() + soft_dice_loss(logits.sigmoid(), targets, dice_weights)
    if targets.shape[1] > CORTEX:
        loss = loss + CORTEX_ENTROPY * _cortex_within_parenchyma(logits, targets, weights[:, CORTEX])
    return loss


def _cortex_within_parenchyma(logits: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
    """Cross-entropy of cortex, mean over the batch's parenchyma; ``weights`` (N,); 0 without parenchyma."""
    inside = targets[:, PARENCHYMA] * weights.view(-1, 1, 1, 1)
    entropy = functional.binary_cross_entropy_with_logits(logits[:, CORTEX], targets[:, CORTEX], reduction="none")
    return (entropy * inside).sum() / (inside.sum() + DICE_SMOOTH)


def softmax_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """Cross-entropy plus soft Dice of all classes but the first, which is background."""
    entropy = -(targets * functional.log_softmax(logits, dim=1)).sum(1).mean()
    return entropy + soft_dice_loss(logits.softmax(1)[:, 1:], targets[:, 1:])


def deep_loss(
    outputs: Tensor | Sequence[Tensor], targets: Tensor, activation: str, weights: Tensor | None = None
) -> Tensor:
    """The loss of a network's output, or the weighted mean over resolutions: 1, 1/2, 1/4, ...

    Args:
        outputs: logits, or a list of them, finest first.
        targets: at the finest resolution; coarser ones are their means.
        activation: ``sigmoid`` or ``softmax``.
        weights: (N, channels) for ``sigmoid``.

    Raises:
        ValueError: for another activation.
    """
    if activation not in ("sigmoid", "softmax"):
        raise ValueError(f"activation must be sigmoid or softmax, got {activation!r}")
    levels = [outputs] if isinstance(outputs, Tensor) else list(outputs)
    total = torch.zeros((), device=targets.device)
    for level, logits in enumerate(levels):
        truth = average_pool(targets, tuple(logits.shape[2:]))
        logits = logits.float()
        part = sigmoid_loss(logits, truth, weights) if activation == "sigmoid" else softmax_loss(logits, truth)
        total = total + part * 0.5**level
    return total / sum(0.5**level for level in range(len(levels)))


def dice_scores(predicted: Tensor, truth: Tensor) -> Tensor:
    """Dice of binary masks.

    Args:
        predicted: bool (N, channels, z, y, x).
        truth: bool, the same shape.

    Returns:
        (N, channels) float32; NaN where both are empty.
    """
    axes = (2, 3, 4)
    shared = (predicted & truth).sum(axes).float()
    return 2 * shared / (predicted.sum(axes) + truth.sum(axes)).float()
