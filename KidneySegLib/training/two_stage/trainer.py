"""Trains one stage: the loop, its checkpoints, its log and its look at held-out slabs."""

from __future__ import annotations

import copy
import json
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from KidneySegLib.errors import Cancelled, InputError
from KidneySegLib.networks import build_network
from KidneySegLib.networks.weights import load_weights
from KidneySegLib.progress import Progress
from KidneySegLib.training.checkpoint import load_safely, save_atomically
from KidneySegLib.training.ema import WeightAverage
from KidneySegLib.training.log import TrainingLog, plot_log
from KidneySegLib.training.precision import autocast, faster_in_bfloat16
from KidneySegLib.training.process_settings import settings_for_learning
from KidneySegLib.training.same_recipe import check_same_recipe
from KidneySegLib.training.schedule import Budget, rate_factor
from KidneySegLib.training.two_stage.config import StageConfig, TwoStageConfig
from KidneySegLib.training.two_stage.losses import cross_entropy, masked_cross_entropy
from KidneySegLib.training.two_stage.slabs import (
    SlabPool,
    first_batch,
    first_stage,
    normalised,
    second_batch,
    second_input,
    with_neighbours,
)
from KidneySegLib.training.two_stage.store import SampleStore

CHECKPOINT_FILE = "checkpoint.pt"
WEIGHTS_FILE = "weights.pt"
LOG_FILE = "log.csv"
STAGES = ("first", "second")
_LOG_STEPS = 10
_CHECKPOINT_SECONDS = 90.0
#: Between looks at the held-out slabs, which may take so much of the time.
_VALIDATION_SECONDS = 240.0
_VALIDATION_SHARE = 0.05


def network_name(stage: str) -> str:
    """Name that `build_network` knows."""
    return "VNet2D3D" if stage == "first" else "UNetPlusPlus"


def network_arguments(config: TwoStageConfig, stage: str) -> dict[str, Any]:
    """Arguments of a stage's network, channels included."""
    if stage == "first":
        return {"in_channels": 1, "out_channels": 2, **config.first.arguments}
    return {"in_channels": 3 * config.second_slices, "out_channels": len(config.outputs), **config.second.arguments}


def new_network(config: TwoStageConfig, stage: str) -> nn.Module:
    """The network of a stage with fresh weights.

    Raises:
        InputError: if the recipe's arguments make none.
    """
    try:
        return build_network(network_name(stage), network_arguments(config, stage))
    except (TypeError, ValueError) as error:
        raise InputError(f"{stage}.arguments: {error}. Mend the recipe.") from error


class StageTrainer:
    """One stage in training.

    Args:
        stage: one of `STAGES`.
        config: of the run.
        device: where the network is; slabs and augmentation stay on the processor.
        store: gives training slabs.
        held_out: slabs that are looked at and never trained on.
        first: the trained first stage, for the second.
    """

    def __init__(
        self,
        stage: str,
        config: TwoStageConfig,
        device: torch.device,
        store: SampleStore,
        held_out: SampleStore,
        first: nn.Module | None = None,
    ) -> None:
        self.stage, self.config, self.device = stage, config, device
        self.own: StageConfig = config.first if stage == "first" else config.second
        torch.manual_seed(config.seed)
        network: Any = new_network(config, stage).to(device)
        self._layout = torch.channels_last_3d if stage == "first" else torch.channels_last
        self.network: nn.Module = network.to(memory_format=self._layout)
        self.average = WeightAverage(self.network, self.own.average_decay) if self.own.average_decay else None
        weights: list[Any] = [p for p in self.network.parameters() if p.ndim > 1]
        others = [p for p in self.network.parameters() if p.ndim <= 1]
        groups: list[dict[str, Any]] = [
            {"params": weights, "weight_decay": self.own.weight_decay},
            {"params": others},
        ]
        self.optimizer = torch.optim.Adam(groups, lr=self.own.learning_rate)
        self.generator = torch.Generator().manual_seed(config.seed)
        given = first.cpu() if stage == "second" and first is not None else None
        self.pool = SlabPool(config, config.pool_capacity, given)
        self.held_out = SlabPool(config, 10_000, given)
        self._store, self._held_out_store = store, held_out
        self.step = 0
        self.seconds = 0.0
        self.last_dice: list[float | None] = []
        self.bfloat16 = False

    def kept_weights(self) -> dict[str, Tensor]:
        """What the bundle is made of."""
        state = self.average.state_dict() if self.average is not None else self.network.state_dict()
        return {name: value.detach().cpu() for name, value in state.items()}

    def finished(self, folder: Path) -> bool:
        """Whether the budget is used and the folder holds the stage's weights."""
        used = Budget(self.own.minutes, self.own.steps).used(self.step, self.seconds)
        return used >= 1 and (folder / WEIGHTS_FILE).exists()

    @settings_for_learning()
    def run(self, folder: Path, progress: Progress) -> None:
        """Train until the budget is used; leave ``weights.pt``, ``checkpoint.pt`` and ``log.csv``.

        Raises:
            Cancelled: the user stopped it; a checkpoint is left.
        """
        budget = Budget(self.own.minutes, self.own.steps)
        names = ["kidney_and_mass", *(self.config.classes if self.stage == "second" else ())]
        columns = ("step", "seconds", "loss", "slabs", *(f"dice_{name}" for name in names))
        log = TrainingLog(folder / LOG_FILE, columns, self.step)
        begin = saved = looked = time.monotonic()
        before, total, since, pause = self.seconds, 0.0, 0, _VALIDATION_SECONDS
        threads = torch.get_num_threads()
        try:
            self._take_in(progress)
            self._leave_cores(threads)
            self.bfloat16 = self._try_bfloat16()
            while budget.used(self.step, self.seconds) < 1:
                progress.check()
                self._take_in(progress)
                self._leave_cores(threads)
                total += self._learn(budget.used(self.step, self.seconds))
                since += 1
                now = time.monotonic()
                self.seconds = before + now - begin
                row: dict[str, Any] = {}
                done = budget.used(self.step, self.seconds) >= 1
                if now - looked > pause or done:
                    self.last_dice = self.validate()
                    looked = time.monotonic()
                    pause = max(_VALIDATION_SECONDS, (looked - now) / _VALIDATION_SHARE)
                    row = {f"dice_{n}": d for n, d in zip(names, self.last_dice, strict=True)}
                if since >= _LOG_STEPS or row:
                    loss = total / since
                    log.write(
                        {"step": self.step, "seconds": self.seconds, "loss": loss, "slabs": len(self.pool), **row}
                    )
                    total, since = 0.0, 0
                    said = "".join(f", {n} {d:.3f}" for n, d in zip(names, self.last_dice, strict=False) if d)
                    progress.report(
                        "train",
                        budget.used(self.step, self.seconds),
                        f"{self.stage} stage: step {self.step}, loss {loss:.4f}, {len(self.pool)} slabs{said}",
                    )
                if now - saved > _CHECKPOINT_SECONDS:
                    self.save(folder)
                    saved = now
        except Cancelled:
            self.save(folder)
            raise
        finally:
            torch.set_num_threads(threads)
        self.save(folder)
        save_atomically(folder / WEIGHTS_FILE, self.kept_weights())
        plot_log(folder / LOG_FILE, folder / "log.png")

    def _take_in(self, progress: Progress) -> None:
        """New slabs into the pools; waits until there are enough to begin with."""
        while True:
            for sample in self._held_out_store.new(2):
                self.held_out.add(sample)
            for sample in self._store.new(8):
                self.pool.add(sample)
            enough = len(self.pool) >= min(self.config.pool_start, self.config.pool_capacity)
            if enough or (len(self.pool) and not self._store.growing):
                return
            progress.check()
            progress.report("train", 0.0, f"{self.stage} stage: {len(self.pool)} slabs")
            time.sleep(0.2)

    def _leave_cores(self, threads: int) -> None:
        """A core to each worker that still makes samples.

        The threads of a step wait for each other: beside one worker on two cores, two took 1.1 s and one 0.65 s.
        """
        torch.set_num_threads(max(1, threads - self._store.working))

    def _learn(self, used: float) -> float:
        factor = 1.0
        if self.own.decay:
            factor = rate_factor(self.step, used, self.own.warmup_steps, final=0.01)
        elif self.step < self.own.warmup_steps:
            factor = (self.step + 1) / self.own.warmup_steps
        for group in self.optimizer.param_groups:
            group["lr"] = self.own.learning_rate * factor
        self.network.train()
        loss = self._loss(self.network, self.generator, self.bfloat16)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        norm = nn.utils.clip_grad_norm_(self.network.parameters(), 5.0)
        if torch.isfinite(norm):
            self.optimizer.step()
        if self.average is not None:
            self.average.update(self.network)
        self.step += 1
        return float(loss.detach())

    def _loss(self, network: nn.Module, generator: torch.Generator, bfloat16: bool) -> Tensor:
        """Of a batch that the generator draws."""
        if self.stage == "first":
            image, targets = (t.to(self.device) for t in first_batch(self.pool, generator))
            with autocast(self.device, bfloat16=bfloat16):
                logits = network(image.contiguous(memory_format=self._layout))
            return cross_entropy(logits, targets)
        given, targets, mask = (t.to(self.device) for t in second_batch(self.pool, generator))
        with autocast(self.device, bfloat16=bfloat16):
            heads = network(given.contiguous(memory_format=self._layout))
        return masked_cross_entropy(heads, targets, mask, self.config.class_weights)

    def _try_bfloat16(self) -> bool:
        """Whether steps are shorter in bfloat16; network and generator stay as they are."""
        network, generator = copy.deepcopy(self.network).train(), torch.Generator().manual_seed(self.config.seed)

        def step(bfloat16: bool) -> None:
            self._loss(network, generator, bfloat16).backward()  # type: ignore[no-untyped-call]

        return faster_in_bfloat16(self.device, step)

    @torch.no_grad()
    def validate(self) -> list[float | None]:
        """Dice over all held-out slabs together: of the foreground, and in the second stage of each class."""
        for sample in self._held_out_store.new():
            self.held_out.add(sample)
        network = new_network(self.config, self.stage)
        network.load_state_dict(self.kept_weights())
        network.eval()
        classes = len(self.config.classes) if self.stage == "second" else 0
        shared, sizes = torch.zeros(1 + classes), torch.zeros(1 + classes)
        for hu, targets in self.held_out.slabs:
            truth = targets[: len(self.config.classes)].float() / 255
            if self.stage == "first":
                found = first_stage(network, hu.float()[None, None], self.config)[0] > 0.5
                pairs = [(found, truth.sum(dim=0) > 0.5)]
            else:
                labels = self._second_labels(network, hu, targets)
                pairs = [(labels > 0, truth.sum(dim=0) > 0.5)]
                pairs += [(labels == 1 + n, truth[n] > 0.5) for n in range(classes)]
            for n, (found, true) in enumerate(pairs):
                shared[n] += float((found & true).sum())
                sizes[n] += float(found.sum() + true.sum())
        return [float(2 * s / n) if n else None for s, n in zip(shared, sizes, strict=True)]

    def _second_labels(self, network: nn.Module, hu: Tensor, targets: Tensor) -> Tensor:
        """Class ids of a slab, within the mask that the second stage learns in."""
        y1, mask = targets[-2].float() / 255, (targets[-1] > 0).float()
        used = torch.nonzero(mask.amax(dim=(1, 2)))[:, 0]
        labels = torch.zeros(hu.shape, dtype=torch.long)
        if len(used) == 0:
            return labels
        volumes = normalised(hu.float(), self.config), y1, mask
        given = second_input(*(with_neighbours(volume, self.config.neighbours)[used] for volume in volumes))
        missing = [(-n) % 16 for n in given.shape[2:]]
        padded = functional.pad(given, (0, missing[1], 0, missing[0]))
        with autocast(torch.device("cpu"), bfloat16=self.bfloat16):
            logits = torch.cat([network(part) for part in padded.split(4)]).float()
        logits = logits[:, :, : hu.shape[1], : hu.shape[2]]
        labels[used] = logits.argmax(dim=1) * (mask[used] > 0)
        return labels

    def save(self, folder: Path) -> None:
        """Write ``checkpoint.pt``."""
        content: dict[str, Any] = {
            "stage": self.stage,
            "config": json.dumps(asdict(self.config)),
            "step": self.step,
            "seconds": self.seconds,
            "bfloat16": self.bfloat16,
            "dice": self.last_dice,
            "weights": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "generator": self.generator.get_state(),
        }
        if self.average is not None:
            content |= {"average": self.average.state_dict(), "average_steps": self.average.steps}
        save_atomically(folder / CHECKPOINT_FILE, content)

    def resume(self, folder: Path) -> None:
        """Go on from ``checkpoint.pt``.

        Raises:
            InputError: if it is of another stage or recipe, or its weights do not fit.
        """
        content = load_safely(folder / CHECKPOINT_FILE)
        try:
            if content["stage"] != self.stage:
                raise InputError(f"{folder} holds the {content['stage']} stage, not the {self.stage}. Choose another.")
            check_same_recipe(folder / CHECKPOINT_FILE, content["config"], asdict(self.config))
            load_weights(self.network, content["weights"])
            self.optimizer.load_state_dict(content["optimizer"])
            self.generator.set_state(content["generator"])
            if self.average is not None and "average" in content:
                self.average.load_state_dict(content["average"], content["average_steps"])
        except (KeyError, RuntimeError, ValueError) as error:
            raise InputError(
                f"{folder}: the checkpoint does not fit this recipe: {error}. Take the recipe that the run began with."
            ) from error
        self.step, self.seconds = int(content["step"]), float(content["seconds"])
        self.last_dice, self.bfloat16 = list(content.get("dice", ())), bool(content.get("bfloat16", False))
