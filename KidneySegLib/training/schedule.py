"""The learning rate over a run that ends after some minutes, or some steps, whichever is first."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Budget:
    """When a run ends. At least one of the two must be given.

    Attributes:
        minutes: of wall-clock time, counted over all parts of a resumed run.
        steps: number of optimiser steps.
    """

    minutes: float | None = None
    steps: int | None = None

    def __post_init__(self) -> None:
        if self.minutes is None and self.steps is None:
            raise ValueError("a budget needs minutes or steps, got neither")
        if (self.minutes is not None and self.minutes <= 0) or (self.steps is not None and self.steps <= 0):
            raise ValueError(f"a budget must be positive, got minutes={self.minutes}, steps={self.steps}")

    def used(self, step: int, seconds: float) -> float:
        """How much of the budget is used, 0..1."""
        shares = [0.0]
        if self.minutes is not None:
            shares.append(seconds / (60 * self.minutes))
        if self.steps is not None:
            shares.append(step / self.steps)
        return min(1.0, max(shares))


def rate_factor(step: int, used: float, warmup_steps: int, final: float = 0.005) -> float:
    """What the peak learning rate is multiplied with: a linear rise, then half a cosine down to ``final``.

    Args:
        step: steps done.
        used: share of the budget used, 0..1.
        warmup_steps: length of the rise.
        final: factor at the end.
    """
    rise = min(1.0, (step + 1) / max(1, warmup_steps))
    return rise * (final + (1 - final) * 0.5 * (1 + math.cos(math.pi * min(1.0, max(0.0, used)))))
