"""A trainer that learns from corrected cases, and from phantoms what it could do before."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from KidneySegLib.errors import ModelError
from KidneySegLib.training.augment import FIRST_LESION, AugmentSettings
from KidneySegLib.training.config import NetworkConfig
from KidneySegLib.training.ema import WeightAverage
from KidneySegLib.training.patch import centre
from KidneySegLib.training.pool import SamplePool
from KidneySegLib.training.precision import autocast
from KidneySegLib.training.recipe_file import updated
from KidneySegLib.training.trainer import StepOptions, Trainer

from .settings import FinetuneSettings


class MixedTrainer(Trainer):
    """`Trainer` whose every step sees patches of corrected cases and as many of phantoms.

    Corrected cases teach their labels. On phantoms the answer of the network as it was before is what must be
    answered, not the truth ("learning without forgetting", Li and Hoiem, doi 10.1109/TPAMI.2017.2773081): there a
    network that has forgotten nothing has nothing to learn, where the truth would keep pulling at weights that had
    settled long ago. Both are in each step, because an optimiser that scales by the size of gradients would else take
    the small ones of the phantoms for little.

    Args:
        cases: boxes of corrected cases.
        phantoms: boxes of phantoms, or None where nothing is to be remembered.
        Others: as for `Trainer`.
    """

    def __init__(
        self,
        name: str,
        config: NetworkConfig,
        settings: FinetuneSettings,
        device: torch.device,
        cases: SamplePool,
        phantoms: SamplePool | None,
        options: StepOptions | None = None,
    ) -> None:
        nothing = SamplePool(1, config.patch, len(config.outputs), False, device)
        super().__init__(name, config, settings.seed, device, cases, nothing, options)
        self._cases, self._phantoms = cases, phantoms
        self._case_augment = updated(AugmentSettings(), settings.case_augment, "case_augment")
        self._phantom_augment = self.settings
        self._memory_weight = settings.memory_weight
        self._before: nn.Module | None = None

    def batch(self) -> tuple[Tensor, Tensor, Tensor | None]:
        """Patches of cases, then as many of phantoms.

        A kidney that is not divided teaches no cortex. A patch in which no cyst or mass is outlined says nothing of
        them: most data sets outline none.

        Raises:
            RuntimeError: with phantoms, before `remember`.
        """
        self.pool, self.settings = self._cases, self._case_augment
        image, targets, weights = super().batch()
        targets = centre(targets, self.config.patch)
        if weights is not None:
            outlined = (targets[:, FIRST_LESION:] > 0).flatten(2).any(dim=2)
            weights[:, FIRST_LESION:] *= outlined.to(weights.dtype)
        if self._phantoms is None:
            return image, targets, weights
        self.pool, self.settings = self._phantoms, self._phantom_augment
        seen, _, all_count = super().batch()
        targets = torch.cat((targets, self._answer_before(seen)))
        if weights is not None and all_count is not None:
            weights = torch.cat((weights, torch.ones_like(all_count)))
        return torch.cat((image, seen)), targets, weights

    def loss(self, outputs: Any, targets: Tensor, weights: Tensor | None) -> Tensor:
        """The loss on cases, and that on phantoms times the recipe's weight of memory."""
        if self._phantoms is None:
            return super().loss(outputs, targets, weights)
        half = len(targets) // 2
        cases, phantoms = (
            super(MixedTrainer, self).loss(
                _part(outputs, part), targets[part], None if weights is None else weights[part]
            )
            for part in (slice(None, half), slice(half, None))
        )
        return cases + self._memory_weight * phantoms

    def _answer_before(self, image: Tensor) -> Tensor:
        """Probabilities (N, channels, z, y, x) of the network as it was."""
        if self._before is None:
            raise RuntimeError("what the network could do before is not known: call remember() first")
        with torch.no_grad(), autocast(self.device):
            logits = self._before(image)
        return (logits if isinstance(logits, Tensor) else logits[0]).float().sigmoid()

    def remember(self, weights: Mapping[str, Tensor]) -> None:
        """Let these weights, a bundle's, say what must not be forgotten.

        Raises:
            ModelError: if they do not fit.
        """
        before = copy.deepcopy(self.network).eval()
        try:
            before.load_state_dict({name: value.float() for name, value in weights.items()})
        except RuntimeError as error:
            raise ModelError(f"The weights of {self.name} do not fit its network: {error}.") from error
        self._before = before

    def begin(self) -> None:
        """Start from what is remembered.

        Raises:
            RuntimeError: before `remember`.
        """
        if self._before is None:
            raise RuntimeError("there is nothing to begin with: call remember() first")
        self.network.load_state_dict(self._before.state_dict())
        self.average = WeightAverage(self.network, self.config.average_decay)


def _part(outputs: Any, part: slice) -> Any:
    """Some of a batch's logits, at each resolution that there is."""
    return outputs[part] if isinstance(outputs, Tensor) else [one[part] for one in outputs]
