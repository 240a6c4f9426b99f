"""How good a network is on phantoms that it never saw, while it is being trained."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from KidneySegLib.training.augment import AugmentSettings, Normalisation, augment
from KidneySegLib.training.losses import dice_scores
from KidneySegLib.training.patch import centre
from KidneySegLib.training.pool import SamplePool
from KidneySegLib.training.precision import autocast

Size3 = tuple[int, int, int]
#: Every validation sees the same noise and slices.
_NOISE_SEED = 77


@dataclass(frozen=True)
class Validation:
    """Scores on held-out phantoms.

    Attributes:
        dice: mean over the samples that hold the structure, one for each channel (background excluded); NaN: none does.
        false_ml: mean predicted volume, in mL, of the first channel in samples that hold nothing of it; NaN: none such.
    """

    dice: tuple[float, ...]
    false_ml: float


def masks(values: Tensor, activation: str) -> Tensor:
    """Binary masks (N, channels without background, z, y, x) of probabilities or, for ``softmax``, of any scores."""
    if activation == "sigmoid":
        return values >= 0.5
    classes = torch.arange(1, values.shape[1], device=values.device).view(1, -1, 1, 1, 1)
    return values.argmax(dim=1, keepdim=True) == classes


@torch.no_grad()
def validate(
    network: nn.Module,
    pool: SamplePool,
    patch: Size3,
    settings: AugmentSettings,
    normalisation: Normalisation,
    activation: str,
    voxel_ml: float,
    generator: torch.Generator,
) -> Validation:
    """Score a network on all samples of a pool, each scanned by a random but repeatable scanner.

    Args:
        network: left in evaluation mode.
        patch: size of what the network sees, margin included.
        generator: re-seeded here; must not be the one that training draws from.
    """
    network.eval()
    generator.manual_seed(_NOISE_SEED)
    device = generator.device
    scores, volumes, present = [], [], []
    for index in range(len(pool)):
        hu, targets, _ = pool.take(torch.full((1,), index, dtype=torch.int64, device=device))
        fractions = activation == "sigmoid"
        image, targets = augment(hu, targets, patch, settings.for_validation(), normalisation, fractions, generator)
        with autocast(device):
            logits = network(image)
        predicted = masks(logits.float().sigmoid() if fractions else logits, activation)
        truth = masks(centre(targets, logits.shape[2:]), activation)
        scores.append(dice_scores(predicted, truth))
        present.append(truth.flatten(2).any(dim=2))
        volumes.append(predicted[:, 0].sum().float() * voxel_ml)
    if not scores:
        return Validation((), float("nan"))
    holds = torch.cat(present)
    dice = torch.cat(scores).masked_fill(~holds, float("nan")).nanmean(dim=0)
    nothing = torch.stack(volumes).masked_fill(holds[:, 0], float("nan")).nanmean()
    return Validation(tuple(float(v) for v in dice.cpu()), float(nothing.cpu()))
