"""A trainer that learns from corrected cases and from phantoms in turn."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from KidneySegLib.errors import ModelError
from KidneySegLib.training.augment import AugmentSettings
from KidneySegLib.training.config import NetworkConfig, updated
from KidneySegLib.training.ema import WeightAverage
from KidneySegLib.training.pool import SamplePool
from KidneySegLib.training.trainer import StepOptions, Trainer

from .settings import FinetuneSettings


class MixedTrainer(Trainer):
    """`Trainer` with two pools; at each step the lot says which one teaches.

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

    def batch(self) -> tuple[Tensor, Tensor, Tensor | None]:
        """A batch of one of the two; in it a kidney that is not divided teaches no cortex."""
        lot = float(torch.rand((), generator=self.generator, device=self.generator.device))
        which = int(lot < self._share)
        self.pool, self.settings = self._pools[which], self._augment[which]
        return super().batch()

    def begin_with(self, weights: Mapping[str, Tensor]) -> None:
        """Start from a bundle's weights.

        Raises:
            ModelError: if they do not fit.
        """
        try:
            self.network.load_state_dict({name: value.float() for name, value in weights.items()})
        except RuntimeError as error:
            raise ModelError(f"The weights of {self.name} do not fit its network: {error}.") from error
        self.average = WeightAverage(self.network, self.config.average_decay)
