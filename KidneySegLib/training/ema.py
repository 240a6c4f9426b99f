"""The exponential moving average of a network's weights, which is what ships."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn


class WeightAverage:
    """Average of the weights of past steps, recent ones counting more.

    Args:
        network: whose weights are followed.
        decay: how much of the average stays at a step; in the first steps less, (1 + step) / (10 + step).
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        if not 0 <= decay < 1:
            raise ValueError(f"decay must be at least 0 and below 1, got {decay}")
        self._decay = decay
        self._names = list(network.state_dict())
        self._weights = [value.detach().clone() for value in network.state_dict().values()]
        # Counters of batch normalisation are taken over as they are.
        self._averaged = [index for index, value in enumerate(self._weights) if value.is_floating_point()]
        self.steps = 0

    @torch.no_grad()
    def update(self, network: nn.Module) -> None:
        """Take in the network's present weights."""
        self.steps += 1
        decay = min(self._decay, (1 + self.steps) / (10 + self.steps))
        present = [value.detach() for value in network.state_dict().values()]
        averages = [self._weights[index] for index in self._averaged]
        torch._foreach_lerp_(averages, [present[index] for index in self._averaged], 1 - decay)
        for mine, theirs in zip(self._weights, present, strict=True):
            if not mine.is_floating_point():
                mine.copy_(theirs)

    def state_dict(self) -> dict[str, Tensor]:
        """The averaged weights under the network's names."""
        return dict(zip(self._names, self._weights, strict=True))

    def load_state_dict(self, weights: Mapping[str, Tensor], steps: int) -> None:
        """Go on from a stored average.

        Raises:
            ValueError: if the names are not the network's.
        """
        if list(weights) != self._names:
            raise ValueError("averaged weights must have the network's names in its order")
        for mine, theirs in zip(self._weights, weights.values(), strict=True):
            mine.copy_(theirs)
        self.steps = steps
