"""A stand-in for the phantom: a bright ball with a brighter shell, in a box. Only for tests."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from KidneySegLib.training.samples import Sample, as_fraction, as_hu


@dataclass(frozen=True)
class Balls:
    """One ball a seed; parenchyma is the ball, cortex its outer third. With ``labels``: one channel of ids 0 and 1."""

    shape: tuple[int, int, int] = (24, 24, 24)
    labels: bool = False
    fail_on: int | None = None
    die_on: int | None = None

    def __call__(self, seed: int) -> Iterator[Sample]:
        if seed == self.fail_on:
            raise RuntimeError("this phantom cannot be drawn")
        if seed == self.die_on:
            os._exit(3)
        random = np.random.default_rng(seed)
        centre = (np.array(self.shape) - 1) / 2 + random.uniform(-2, 2, 3)
        radius = random.uniform(5, 7)
        axes = np.meshgrid(*(np.arange(n) for n in self.shape), indexing="ij")
        distance = np.sqrt(sum((a - c) ** 2 for a, c in zip(axes, centre, strict=True)))
        ball = np.clip(radius - distance + 0.5, 0, 1)
        inner = np.clip(0.66 * radius - distance + 0.5, 0, 1)
        hu = -80 + 180 * ball + 100 * (ball - inner)
        fractions = as_fraction(np.stack((ball, ball - inner)))
        ids = (ball >= 0.5).astype(np.uint8)[None]
        yield Sample(as_hu(hu), ids if self.labels else fractions, seed)
