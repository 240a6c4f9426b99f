"""A trainer that learns from corrected cases, and from phantoms what it could do before, in turn."""

from __future__ import annotations

import copy
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from KidneySegLib.errors import ModelError
from KidneySegLib.training.augment import AugmentSettings
from KidneySegLib.training.config import NetworkConfig
from KidneySegLib.training.ema import WeightAverage
from KidneySegLib.training.pool import SamplePool
from KidneySegLib.training.recipe_file import updated
from KidneySegLib.training.trainer import StepOptions, Trainer
from KidneySegLib.training.validate import autocast

from .settings import FinetuneSettings


class MixedTrainer(Trainer):
    """`Trainer` with two pools; at each step the lot says which one teaches.

    Corrected cases teach their labels. On phantoms the answer of the network as it was before is what must be
    answered, not the truth ("learning without forgetting", Li and Hoiem, doi 10.1109/TPAMI.2017.2773081): there a
    network that has forgotten nothing has nothing to learn, where the truth would keep pulling at weights that had
    settled long ago.

    Args:
        cases: boxes of corrected cases.
        phantoms: boxes of phantoms, or None where they have no share.
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
        super().__init__(name, config, settings.seed, device, phantoms or cases, nothing, options)
        self._pools = (cases, phantoms or cases)
        case_augment = updated(AugmentSettings(), settings.case_augment, "case_augment")
        self._augment = (case_augment, self.settings)
        self._share = settings.phantom_share if phantoms is not None else 0.0
        self._before: nn.Module | None = None

    def batch(self) -> tuple[Tensor, Tensor, Tensor | None]:
        """A batch of one of the two; in it a kidney that is not divided teaches no cortex.

        Raises:
            RuntimeError: for phantoms before `remember`.
        """
        lot = float(torch.rand((), generator=self.generator, device=self.generator.device))
        which = int(lot < self._share)
        self.pool, self.settings = self._pools[which], self._augment[which]
        image, targets, weights = super().batch()
        return image, self._answer_before(image) if which else targets, weights

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
