"""What a run of the protocol may change; the defaults are the protocol."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from KidneySegLib.errors import InputError

Size3 = tuple[int, int, int]

RECIPE_FILE = Path(__file__).with_name("recipe.json")
FOLD_COUNT = 5
#: Four max-poolings by 2: edges of a patch are multiples of this.
SIZE_MULTIPLE = 16
#: The paper's batch; nnU-Net deals it out to the cards, so there can be no more cards.
BATCH_SIZE = 2
#: One model each, in this order; the second is nested in the first.
STRUCTURES = ("parenchyma", "cortex")


@dataclass(frozen=True)
class LuoLiSettings:
    """How to train. Sizes are in voxels (z, y, x).

    Attributes:
        epochs: of each fold (paper: 200).
        iterations: optimiser steps of an epoch (nnU-Net's 250).
        validation_iterations: patches by which nnU-Net watches training, of an epoch (nnU-Net's 50).
        folds: which of the five folds to train, from 0.
        patch: edges of a patch, multiples of 16; None takes nnU-Net's own, rounded to that.
        width: channels of the finest resolution; they double at each coarser one (nnU-Net's 32).
        test_fraction: share of each group's patients held out, where the patient table does not say (paper: 6 of 16).
        seed: of the split, the initial weights and, as far as nnU-Net allows, the draws.
        checkpoint_epochs: between two checkpoints, from which an interrupted run goes on (nnU-Net: 50).
        learning_rate, momentum, nesterov, weight_decay: of stochastic gradient descent.
    """

    epochs: int = 200
    iterations: int = 250
    validation_iterations: int = 50
    folds: tuple[int, ...] = tuple(range(FOLD_COUNT))
    patch: Size3 | None = None
    width: int = 32
    test_fraction: float = 0.375
    seed: int = 2025
    checkpoint_epochs: int = 5
    learning_rate: float = 0.01
    momentum: float = 0.99
    nesterov: bool = True
    weight_decay: float = 3e-5

    def __post_init__(self) -> None:
        for name in ("epochs", "iterations", "validation_iterations", "width", "checkpoint_epochs"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} must be at least 1, got {getattr(self, name)}.")
        if not self.folds or len(set(self.folds)) != len(self.folds) or not set(self.folds) <= set(range(FOLD_COUNT)):
            raise InputError(f"folds must be different numbers from 0 to {FOLD_COUNT - 1}, got {list(self.folds)}.")
        if self.patch is not None and (len(self.patch) != 3 or any(n < 1 or n % SIZE_MULTIPLE for n in self.patch)):
            raise InputError(
                f"patch must be three multiples of {SIZE_MULTIPLE} (z y x; the network pools four times by 2), "
                f"got {list(self.patch)}."
            )
        if not 0 <= self.test_fraction < 1:
            raise InputError(f"test_fraction must be from 0 to below 1, got {self.test_fraction:g}.")

    @property
    def features(self) -> tuple[int, ...]:
        """Channels of the five resolutions, finest first."""
        return tuple(self.width * 2**level for level in range(5))

    def plain(self) -> dict[str, Any]:
        """As JSON holds it."""
        plain: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        return plain


def read_recipe() -> dict[str, Any]:
    """``recipe.json``: every choice of the protocol with its value and whose choice it is."""
    recipe: dict[str, Any] = json.loads(RECIPE_FILE.read_text(encoding="utf-8"))
    return recipe
