"""Trains the abnormality network: the common trainer with another loss, another augmentation and wide patches."""

from __future__ import annotations

import math
from dataclasses import asdict, replace
from typing import Any

import torch
from torch import Tensor

from KidneySegLib.errors import InputError
from KidneySegLib.models import find_bundle
from KidneySegLib.training.abnormality.config import AbnormalityRecipe
from KidneySegLib.training.abnormality.losses import abnormality_loss
from KidneySegLib.training.augment import AugmentSettings
from KidneySegLib.training.augment_contrast import random_contrast
from KidneySegLib.training.augment_geometry import OUTSIDE_HU, STILL, random_pose
from KidneySegLib.training.augment_lesions import implant_lesions, shift_lesions
from KidneySegLib.training.augment_scanner import random_field_of_view, random_scan
from KidneySegLib.training.ema import WeightAverage
from KidneySegLib.training.losses import dice_scores
from KidneySegLib.training.patch import centre
from KidneySegLib.training.pool import SamplePool
from KidneySegLib.training.precision import autocast
from KidneySegLib.training.trainer import StepOptions, Trainer
from KidneySegLib.training.validate import Validation

_NOISE_SEED = 20230906
#: Logit of a rare class in a network that begins with another's weights: e^-2 of a voxel's odds.
_RARE_BIAS = -2.0


class AbnormalityTrainer(Trainer):
    """One variant of the network in training.

    Args:
        recipe: with its switches.
        real_scans: samples are scans that a scanner made: none is simulated.
        device, pool, validation, options: as for `Trainer`; pools hold fractions.
    """

    def __init__(
        self,
        recipe: AbnormalityRecipe,
        device: torch.device,
        pool: SamplePool,
        validation: SamplePool,
        *,
        real_scans: bool = False,
        options: StepOptions | None = None,
    ) -> None:
        super().__init__("abnormality", recipe.network, recipe.seed, device, pool, validation, options)
        self.recipe = recipe
        self.real_scans = real_scans
        if not recipe.additions["task_augmentation"]:
            # What is left is the random place of a patch, and the scanner without which a phantom is no scan.
            still = replace(self.settings.for_validation(), cut_probability=0.0)
            self.settings = replace(still, pose=replace(STILL, shift_voxels=self.settings.pose.shift_voxels))
        self._class_weights = [recipe.class_weights[name] for name in self.config.outputs]

    def recipe_settings(self) -> dict[str, Any]:
        """The whole recipe, its switches too."""
        return asdict(self.recipe)

    def start_from_bundle(self, name: str) -> int:
        """Begin with a bundle's weights where they fit; gives how many tensors did.

        Of a convolution that has more inputs here, the inputs that both have take over. A sigmoid network's outputs
        become softmax logits against a background of 0, which of one alone is the same probability.

        Raises:
            InputError: if nothing fits.
        """
        from safetensors.torch import load_file

        bundle = find_bundle(name)
        given = load_file(str(bundle.path / bundle.folds[0].weights))
        fresh = self.network.state_dict()
        taken = 0
        for key, value in given.items():
            own = fresh.get(key)
            if key.startswith("head.") or own is None or own.ndim != value.ndim:
                continue
            if own.shape == value.shape:
                fresh[key] = value.to(own.dtype)
            elif own.ndim == 5 and own.shape[1] > value.shape[1] and own[:, : value.shape[1]].shape == value.shape:
                fresh[key] = own.clone() * 0.1
                fresh[key][:, : value.shape[1]] = value.to(own.dtype)
            else:
                continue
            taken += 1
        if not taken:
            raise InputError(f"The weights of the model {name} do not fit this network. Leave start_from empty.")
        if "parenchyma" in bundle.outputs and given["head.weight"].shape[1] == fresh["head.weight"].shape[1]:
            weight, bias = fresh["head.weight"] * 0.1, torch.full_like(fresh["head.bias"], _RARE_BIAS)
            weight[0], bias[0] = 0.0, 0.0
            for own_row, name in enumerate(self.config.outputs):
                if own_row and name in bundle.outputs:
                    row = bundle.outputs.index(name)
                    weight[own_row] = given["head.weight"][row].to(weight.dtype)
                    bias[own_row] = given["head.bias"][row].to(bias.dtype)
            fresh["head.weight"], fresh["head.bias"] = weight, bias
            taken += 2
        self.network.load_state_dict(fresh)
        self.average = WeightAverage(self.network, self.config.average_decay)
        return taken

    def batch(self) -> tuple[Tensor, Tensor, Tensor | None]:
        """A freshly augmented batch: wide image and wide targets, background first."""
        hu, targets, _ = self.pool.draw(self.config.batch_size, self.generator)
        with torch.no_grad():
            image, targets = self._prepare(hu, targets, self.settings, self.recipe.additions["task_augmentation"])
        if self._channels_last:
            image = image.contiguous(memory_format=torch.channels_last_3d)
        return image, targets, None

    def _prepare(
        self, hu: Tensor, targets: Tensor, settings: AugmentSettings, task: bool, generator: Any = None
    ) -> tuple[Tensor, Tensor]:
        generator = generator or self.generator
        hu, targets = random_pose(hu, targets, self.config.seen, settings.pose, generator)
        if task:
            hu = shift_lesions(hu, targets, self.recipe.lesions, generator)
            hu, targets = implant_lesions(hu, targets, self.recipe.lesions, generator)
            hu = random_contrast(hu, targets, settings.contrast, False, generator)
        if not self.real_scans:
            hu, targets = random_scan(hu, targets, settings.scanner, generator)
        hu, targets = random_field_of_view(hu, targets, settings.cut_probability, OUTSIDE_HU, generator)
        background = (1 - targets.sum(dim=1, keepdim=True)).clamp(min=0)
        return self.normalisation.apply(hu), torch.cat((background, targets), dim=1)

    def loss(self, outputs: Any, targets: Tensor, weights: Tensor | None) -> Tensor:
        """See `losses.abnormality_loss`; targets are those of the wide patch."""
        recipe = self.recipe
        return abnormality_loss(
            outputs,
            centre(targets, self.config.patch),
            targets,
            top_k=recipe.top_k_share if recipe.additions["top_k"] else 1.0,
            class_weights=self._class_weights,
            context_weight=recipe.context_weight,
        )

    @torch.no_grad()
    def validate(self) -> Validation:
        """Dice of each structure over the held-out samples that hold it, and false abnormality in mL elsewhere."""
        network = self._average_network
        network.load_state_dict(self.average.state_dict())
        network.eval()
        generator = self._validation_generator
        generator.manual_seed(_NOISE_SEED)
        scores, false_ml = [], []
        classes = torch.arange(1, len(self.config.outputs), device=self.device).view(1, -1, 1, 1, 1)
        for index in range(len(self.validation_pool)):
            hu, targets, _ = self.validation_pool.take(torch.full((1,), index, device=self.device))
            image, wide = self._prepare(hu, targets, self.settings.for_validation(), False, generator)
            with autocast(self.device):
                logits = network(image)
            predicted = logits.float().argmax(dim=1, keepdim=True) == classes
            truth = centre(wide, self.config.patch).argmax(dim=1, keepdim=True) == classes
            there = truth.flatten(2).any(dim=2)
            scores.append(dice_scores(predicted, truth).masked_fill(~there, float("nan")))
            if not there[:, 1:].any():
                false_ml.append(predicted[:, 1:].sum().float() * self.config.spacing_mm**3 / 1000)
        if not scores:
            self.last_validation = Validation((), math.nan)
            return self.last_validation
        dice = torch.cat(scores).nanmean(dim=0)
        nothing = float(torch.stack(false_ml).mean()) if false_ml else math.nan
        self.last_validation = Validation(tuple(float(v) for v in dice), nothing)
        return self.last_validation
