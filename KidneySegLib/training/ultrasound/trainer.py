"""The training loop of the ultrasound recipe: epochs over prepared pictures, checkpoints, a log."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from KidneySegLib.errors import Cancelled, InputError
from KidneySegLib.networks import build_network
from KidneySegLib.networks.triple_concat import TripleConcat
from KidneySegLib.progress import Progress
from KidneySegLib.training.checkpoint import load_safely, save_atomically
from KidneySegLib.training.log import TrainingLog
from KidneySegLib.training.precision import autocast
from KidneySegLib.training.process_settings import settings_for_learning
from KidneySegLib.training.same_recipe import check_same_recipe
from KidneySegLib.training.schedule import Budget, rate_factor
from KidneySegLib.training.ultrasound.augment import augment, plain
from KidneySegLib.training.ultrasound.config import UltrasoundConfig, as_plain

CHECKPOINT = "checkpoint.pt"
BEST = "best.pt"
LOG = "log.csv"
COLUMNS = ("step", "epoch", "seconds", "learning_rate", "loss", "dice_kidney", "false_pixels")
CHECKPOINT_MINUTES = 5.0
#: Where the cosine schedule ends.
FINAL_RATE = 0.01
_EPSILON = 1.0


@dataclass(frozen=True)
class Score:
    """Validation: mean Dice over pictures with a kidney, and mean kidney pixels found in those without; NaN: none
    such."""

    dice: float
    false_pixels: float


def loss_of(logits: Tensor, kidney: Tensor) -> Tensor:
    """Binary cross-entropy plus soft Dice loss, each a mean over pictures. Our choice: the paper names no loss."""
    entropy = F.binary_cross_entropy_with_logits(logits, kidney)
    probability = logits.sigmoid()
    overlap = (probability * kidney).sum(dim=(1, 2, 3))
    total = probability.sum(dim=(1, 2, 3)) + kidney.sum(dim=(1, 2, 3))
    return entropy + (1 - (2 * overlap + _EPSILON) / (total + _EPSILON)).mean()


class UltrasoundTrainer:
    """One model in training.

    Args:
        config: the recipe.
        network: with the weights to start from.
        training, validation: prepared pictures (N, 3, y, x) uint8, on the device.
        folder: of the run.
        device: where everything happens.
    """

    def __init__(
        self,
        config: UltrasoundConfig,
        network: nn.Module,
        training: Tensor,
        validation: Tensor,
        folder: Path,
        device: torch.device,
    ) -> None:
        if len(training) < 2:
            raise InputError(f"At least two pictures to train on were expected, got {len(training)}.")
        self.config, self.folder, self.device = config, folder, device
        self.training, self.validation = training, validation
        placed: Any = network.to(device)
        self.network: nn.Module = placed.to(memory_format=torch.channels_last)
        self.optimizer = torch.optim.Adam(self.network.parameters(), lr=config.learning_rate)
        # Batch normalisation needs two pictures: a last single one is left out of its epoch.
        self.batch_size = min(config.batch_size, len(training))
        rest = len(training) % self.batch_size
        self.steps_per_epoch = len(training) // self.batch_size + (1 if rest > 1 else 0)
        self.budget = Budget(config.minutes, self.steps_per_epoch * config.epochs)
        self.step = 0
        self.seconds = 0.0
        self.best = -1.0

    def resume(self) -> None:
        """Go on from the run's checkpoint, if there is one.

        Raises:
            InputError: it is damaged, or of another recipe.
        """
        path = self.folder / CHECKPOINT
        if not path.exists():
            return
        state = load_safely(path)
        check_same_recipe(path, json.dumps(state.get("config", {})), as_plain(self.config), free=())
        self.network.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.step, self.seconds, self.best = int(state["step"]), float(state["seconds"]), float(state["best"])

    @settings_for_learning()
    def run(self, progress: Progress) -> dict[str, Tensor]:
        """Train to the end and give the weights that did best in validation (the last ones without validation).

        Raises:
            Cancelled: at the user's request; a checkpoint is left.
        """
        log = TrainingLog(self.folder / LOG, COLUMNS, self.step)
        saved_s = time.monotonic()
        try:
            while self.used < 1:
                epoch = self.step // self.steps_per_epoch
                total, count = torch.zeros((), device=self.device), 0
                started_s = time.monotonic()
                for indices in self._batches(epoch, self.step % self.steps_per_epoch):
                    rate = self._rate()
                    total += self._learn(indices, rate)
                    count += 1
                    self.step += 1
                    self.seconds += time.monotonic() - started_s
                    started_s = time.monotonic()
                    progress.report("train", self.used, f"epoch {epoch + 1} of {self.config.epochs}")
                    if started_s - saved_s > 60 * CHECKPOINT_MINUTES:
                        self._save()
                        saved_s = started_s
                    if self.used >= 1:
                        break
                score = self.validate()
                self.seconds += time.monotonic() - started_s
                log.write(
                    {
                        "step": self.step,
                        "epoch": epoch + 1,
                        "seconds": self.seconds,
                        "learning_rate": rate,
                        "loss": float(total) / count,
                        "dice_kidney": None if math.isnan(score.dice) else score.dice,
                        "false_pixels": None if math.isnan(score.false_pixels) else score.false_pixels,
                    }
                )
                if math.isnan(score.dice) or score.dice > self.best:
                    self.best = self.best if math.isnan(score.dice) else score.dice
                    save_atomically(self.folder / BEST, {"network": self.network.state_dict(), "step": self.step})
        except Cancelled:
            self._save()
            raise
        self._save()
        weights: Mapping[str, Tensor] = load_safely(self.folder / BEST)["network"]
        return dict(weights)

    def _batches(self, epoch: int, first: int) -> list[Tensor]:
        """Indices of an epoch's batches from number ``first`` on; the same whenever it is asked."""
        generator = torch.Generator().manual_seed(self.config.seed * 1_000_003 + epoch)
        order = torch.randperm(len(self.training), generator=generator)
        return list(order.split(self.batch_size))[first : self.steps_per_epoch]

    @property
    def used(self) -> float:
        """How much of the run is done, 0 to 1."""
        return self.budget.used(self.step, self.seconds)

    def _rate(self) -> float:
        if self.config.schedule == "constant":
            return self.config.learning_rate
        return self.config.learning_rate * rate_factor(self.step, self.used, 1, FINAL_RATE)

    def _learn(self, indices: Tensor, rate: float) -> Tensor:
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        # Seeded by the step, so that a resumed run sees what an unbroken one would have seen.
        generator = torch.Generator(self.device).manual_seed(self.config.seed * 7_000_003 + self.step)
        with torch.no_grad():
            image, kidney = augment(self.training[indices.to(self.device)], self.config.augmentation, generator)
        self.network.train()
        logits = self._logits(image)
        loss = loss_of(logits[0], kidney)
        for other in logits[1:]:
            loss = loss + self.config.member_weight / len(logits[1:]) * loss_of(other, kidney)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        return loss.detach()

    def _logits(self, image: Tensor) -> list[Tensor]:
        """Logits of the network and, for `TripleConcat`, of its three members."""
        image = image.expand(-1, self.config.in_channels, -1, -1).contiguous(memory_format=torch.channels_last)
        with autocast(self.device):
            if isinstance(self.network, TripleConcat) and self.config.member_weight > 0:
                members = self.network.member_logits(image)
                found = [self.network.fuse(members), *members]
            else:
                found = [self.network(image)]
        return [logits.float() for logits in found]

    @torch.no_grad()
    def validate(self) -> Score:
        """Score on the validation pictures."""
        self.network.eval()
        dice, false_pixels = [], []
        for start in range(0, len(self.validation), self.batch_size):
            image, kidney = plain(self.validation[start : start + self.batch_size])
            found = (self._logits(image)[0] > 0).float()
            for one, truth in zip(found, kidney, strict=True):
                if truth.any():
                    dice.append(float(2 * (one * truth).sum() / (one.sum() + truth.sum())))
                else:
                    false_pixels.append(float(one.sum()))

        def mean(values: list[float]) -> float:
            return sum(values) / len(values) if values else float("nan")

        return Score(mean(dice), mean(false_pixels))

    def _save(self) -> None:
        save_atomically(
            self.folder / CHECKPOINT,
            {
                "config": as_plain(self.config),
                "network": self.network.state_dict(),
                "optimizer": self.optimizer.state_dict(),
                "step": self.step,
                "seconds": self.seconds,
                "best": self.best,
            },
        )


def new_network(config: UltrasoundConfig) -> nn.Module:
    """The recipe's network with fresh weights.

    Raises:
        InputError: the recipe's network or its arguments do not exist.
    """
    torch.manual_seed(config.seed)
    try:
        return build_network(config.network, {**config.arguments, "in_channels": config.in_channels, "out_channels": 1})
    except (TypeError, ValueError) as error:
        raise InputError(f"The recipe's network {config.network} cannot be made: {error}.") from error
