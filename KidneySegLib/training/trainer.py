"""Trains one network on batches drawn from a pool: the loop, its checkpoints and its log."""

from __future__ import annotations

import json
import math
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from KidneySegLib.errors import Cancelled, InputError
from KidneySegLib.networks import build_network
from KidneySegLib.networks.weights import load_weights
from KidneySegLib.progress import Progress
from KidneySegLib.training.ahead import Ahead
from KidneySegLib.training.augment import AugmentSettings, Normalisation, augment
from KidneySegLib.training.augment_scanner import average_pool
from KidneySegLib.training.checkpoint import load_safely, save_atomically, shipped_weights
from KidneySegLib.training.config import NetworkConfig
from KidneySegLib.training.ema import WeightAverage
from KidneySegLib.training.log import TrainingLog, plot_log
from KidneySegLib.training.losses import deep_loss
from KidneySegLib.training.patch import centre
from KidneySegLib.training.pool import SamplePool
from KidneySegLib.training.precision import autocast
from KidneySegLib.training.process_settings import settings_for_learning
from KidneySegLib.training.recipe_file import updated
from KidneySegLib.training.same_recipe import check_same_recipe
from KidneySegLib.training.schedule import Budget, rate_factor
from KidneySegLib.training.seeds import TRAINING_SEEDS
from KidneySegLib.training.validate import Validation, validate

CHECKPOINT_FILE = "checkpoint.pt"
WEIGHTS_FILE = "weights.pt"
LOG_FILE = "log.csv"
PLOT_FILE = "log.png"
CHECKPOINT_FORMAT = 1
#: Steps between two rows of the log. Reading the loss waits for the GPU, so not every step.
LOG_STEPS = 50


@dataclass(frozen=True)
class StepOptions:
    """How the device is used; no influence on what is learnt.

    Attributes:
        compile: fuse the network's kernels with `torch.compile`; costs a minute or two at the start.
        channels_last: memory layout of the convolutions.
    """

    compile: bool = False
    channels_last: bool = True


def use_device_well(device: torch.device) -> None:
    """Switches that make training fast on a device and change no result that matters."""
    if device.type == "cuda":
        torch.backends.cudnn.benchmark = True
        torch.backends.cudnn.allow_tf32 = True
        torch.backends.cuda.matmul.allow_tf32 = True


class Trainer:
    """One network in training.

    Args:
        name: of the network, in messages and files.
        config: its part of the recipe.
        seed: of weights, draws and augmentation.
        device: where everything happens.
        pool: training samples, on the same device.
        validation: held-out samples, on the same device; may be empty.
        options: how the device is used.
    """

    def __init__(
        self,
        name: str,
        config: NetworkConfig,
        seed: int,
        device: torch.device,
        pool: SamplePool,
        validation: SamplePool,
        options: StepOptions | None = None,
    ) -> None:
        options = options or StepOptions()
        self.name, self.config, self.device = name, config, device
        self.pool, self.validation_pool = pool, validation
        self.settings = updated(AugmentSettings(), config.augment, f"networks.{name}.augment")
        self.normalisation = Normalisation(**config.normalisation)
        use_device_well(device)
        torch.manual_seed(seed)
        network: Any = build_network(config.network, config.arguments).to(device)
        if options.channels_last:
            network = network.to(memory_format=torch.channels_last_3d)
        self.network: nn.Module = network
        self._channels_last = options.channels_last
        self._forward: Any = torch.compile(self.network) if options.compile else self.network
        self.average = WeightAverage(self.network, config.average_decay)
        self._average_network = build_network(config.network, config.arguments).to(device).eval()
        decayed = [p for p in self.network.parameters() if p.ndim > 1]
        others = [p for p in self.network.parameters() if p.ndim <= 1]
        self.optimizer = torch.optim.AdamW(
            [{"params": decayed, "weight_decay": config.weight_decay}, {"params": others, "weight_decay": 0.0}],
            lr=config.learning_rate,
            fused=device.type in ("cuda", "cpu"),
        )
        self.generator = torch.Generator(device).manual_seed(seed)
        self._validation_generator = torch.Generator(device)
        # Where the draws of the last batch that was learnt from ended: the one that is made ahead does not count.
        self._drawn_until: Tensor | None = None
        self.step = 0
        self.seconds = 0.0
        self.next_seed = TRAINING_SEEDS.first
        self.last_validation: Validation | None = None
        self._loss_sum = torch.zeros((), device=device)

    @property
    def fractions(self) -> bool:
        """Whether outputs are fractions that may overlap, not classes."""
        return self.config.activation == "sigmoid"

    def batch(self) -> tuple[Tensor, Tensor, Tensor | None]:
        """A freshly augmented batch, margin included: image, targets, and weights (N, channels) or ``None``."""
        hu, targets, cortex_weight = self.pool.draw(self.config.batch_size, self.generator)
        with torch.no_grad():
            image, targets = augment(
                hu, targets, self.config.seen, self.settings, self.normalisation, self.fractions, self.generator
            )
        if self._channels_last:
            image = image.contiguous(memory_format=torch.channels_last_3d)
        weights = None
        hidden = self.config.hidden_cortex_weight
        if self.fractions and hidden < 1 and "cortex" in self.config.outputs:
            weights = torch.ones_like(targets[:, :, 0, 0, 0])
            weights[:, self.config.outputs.index("cortex")] = hidden + (1 - hidden) * cortex_weight
        return image, targets, weights

    def learn(self, image: Tensor, targets: Tensor, weights: Tensor | None) -> Tensor:
        """One step of the optimiser on a batch; gives the loss, which is not waited for."""
        self.network.train()
        with autocast(self.device):
            outputs = self._forward(image)
        loss = self.loss(outputs, targets, weights)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        norm = nn.utils.clip_grad_norm_(self.network.parameters(), self.config.gradient_norm, foreach=True)
        # The fused optimiser leaves everything as it is where this is 1, and nobody has to wait for the answer.
        self.optimizer.found_inf = (~torch.isfinite(norm)).float()  # type: ignore[attr-defined]
        self.optimizer.step()
        self.average.update(self.network)
        self.step += 1
        return loss.detach()

    def loss(self, outputs: Any, targets: Tensor, weights: Tensor | None) -> Tensor:
        """What a step makes smaller; targets as `batch` gives them.

        A network with a margin answers for the patch alone. While it is training its context path answers too, for all
        that it sees.
        """
        activation = self.config.activation
        if not any(self.config.margin):
            return deep_loss(outputs, targets, activation, weights)
        fine, *context = [outputs] if isinstance(outputs, Tensor) else list(outputs)
        total = deep_loss(fine, centre(targets, fine.shape[2:]), activation, weights)
        for answer in context:
            truth = average_pool(targets, tuple(answer.shape[2:]))
            total = total + self.config.context_weight * deep_loss(answer, truth, activation, weights)
        return total

    def set_rate(self, used: float) -> float:
        """Set the learning rate for the next step, from the used share of the budget."""
        rate = self.config.learning_rate * rate_factor(self.step, used, self.config.warmup_steps)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        return rate

    def validate(self) -> Validation:
        """Scores of the averaged weights on held-out phantoms."""
        self._average_network.load_state_dict(self.average.state_dict())
        self.last_validation = validate(
            self._average_network,
            self.validation_pool,
            self.config.seen,
            self.settings,
            self.normalisation,
            self.config.activation,
            self.config.spacing_mm**3 / 1000,
            self._validation_generator,
        )
        return self.last_validation

    def recipe_settings(self) -> dict[str, Any]:
        """What a resumed run must have in common with the one that left the checkpoint."""
        return asdict(self.config)

    def state(self) -> dict[str, Any]:
        """All that `resume` needs: tensors and plain values only."""
        return {
            "format": CHECKPOINT_FORMAT,
            "network": self.name,
            "config": json.dumps(self.recipe_settings()),
            "step": self.step,
            "seconds": self.seconds,
            "next_seed": self.next_seed,
            "weights": self.network.state_dict(),
            "average": self.average.state_dict(),
            "average_steps": self.average.steps,
            "optimizer": self.optimizer.state_dict(),
            "generator": self.generator.get_state() if self._drawn_until is None else self._drawn_until,
            "loss_sum": self._loss_sum,
        }

    def save(self, folder: Path) -> None:
        """Write the checkpoint and the weights as they would ship now."""
        self.save_checkpoint(folder)
        save_atomically(folder / WEIGHTS_FILE, shipped_weights(self.average.state_dict()))

    def save_checkpoint(self, folder: Path) -> None:
        """Write what `resume` needs."""
        folder.mkdir(parents=True, exist_ok=True)
        save_atomically(folder / CHECKPOINT_FILE, self.state())

    def resume(self, folder: Path) -> None:
        """Go on from a checkpoint exactly as if there had been no break.

        Raises:
            InputError: if there is none, or it is of another network or recipe.
        """
        path = folder / CHECKPOINT_FILE
        state = load_safely(path)
        if state.get("format") != CHECKPOINT_FORMAT or state.get("network") != self.name:
            raise InputError(f"{path}: expected a checkpoint of the network {self.name}. Choose another output folder.")
        check_same_recipe(path, state["config"], self.recipe_settings())
        try:
            load_weights(self.network, state["weights"])
        except ValueError as error:
            raise InputError(
                f"{path}: its weights do not fit the configuration: {error}. Go on with the one that it began with."
            ) from error
        self.average.load_state_dict(state["average"], state["average_steps"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.generator.set_state(state["generator"])
        self._drawn_until = None
        self.step, self.seconds, self.next_seed = state["step"], state["seconds"], state["next_seed"]
        self._loss_sum = state["loss_sum"].to(self.device)

    def start_from(self, weights: Path) -> None:
        """Begin with weights that another run left; optimiser and schedule begin anew."""
        given = load_safely(weights)
        fresh = self.network.state_dict()
        if not set(given) <= set(fresh) or any(given[k].shape != fresh[k].shape for k in given):
            raise InputError(f"{weights}: these weights do not fit the configuration of {self.name}.")
        self.network.load_state_dict({**fresh, **{k: v.to(fresh[k].dtype) for k, v in given.items()}})
        self.average = WeightAverage(self.network, self.config.average_decay)

    @settings_for_learning()
    def run(self, budget: Budget, folder: Path, progress: Progress, next_seed: Any = None) -> None:
        """Train until the budget is used; at the end validate, save and plot.

        Args:
            next_seed: called for the training seed to store in checkpoints.

        Raises:
            Cancelled: at the user's wish, and `KeyboardInterrupt` likewise; a checkpoint is left.
        """
        try:
            self._run(budget, folder, progress, next_seed)
        except (Cancelled, KeyboardInterrupt):
            self.save_checkpoint(folder)
            raise

    def _run(self, budget: Budget, folder: Path, progress: Progress, next_seed: Any) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        dice = tuple(f"dice_{name}" for name in self.config.outputs if name != "background")
        columns = ("step", "seconds", "loss", "rate", "samples", *dice, "false_ml")
        log = TrainingLog(folder / LOG_FILE, columns, self.step)
        with Ahead(self._batch_and_state, enabled=self.device.type == "cpu") as batches:
            self._steps(batches, log, dice, budget, folder, progress, next_seed)
        self.save(folder)
        plot_log(folder / LOG_FILE, folder / PLOT_FILE)

    def _batch_and_state(self) -> tuple[tuple[Tensor, Tensor, Tensor | None], Tensor]:
        return self.batch(), self.generator.get_state()

    def _steps(
        self,
        batches: Ahead[tuple[tuple[Tensor, Tensor, Tensor | None], Tensor]],
        log: TrainingLog,
        dice: tuple[str, ...],
        budget: Budget,
        folder: Path,
        progress: Progress,
        next_seed: Any,
    ) -> None:
        clock = time.monotonic() - self.seconds
        validated = saved = time.monotonic()
        used = budget.used(self.step, self.seconds)
        while used < 1:
            rate = self.set_rate(used)
            batch, drawn_until = batches.take()
            self._loss_sum += self.learn(*batch)
            self._drawn_until = drawn_until
            self.seconds = time.monotonic() - clock
            used = budget.used(self.step, self.seconds)
            row: dict[str, float | int | None] = {"step": self.step, "seconds": self.seconds, "rate": rate}
            if self.step % LOG_STEPS == 0:
                row["loss"], row["samples"] = self._take_loss(), self.pool.added
                progress.report("train", used, f"{self.name}: step {self.step}, loss {row['loss']:.3f}")
            now = time.monotonic()
            if now - validated > 60 * self.config.validation_minutes or used >= 1:
                row.update(zip((*dice, "false_ml"), self._scores(progress, used), strict=True))
                validated = time.monotonic()
            if len(row) > 3:
                log.write(row)
            if next_seed is not None:
                self.next_seed = next_seed()
            if now - saved > 60 * self.config.checkpoint_minutes:
                self.save(folder)
                saved = time.monotonic()
            progress.check()

    def _take_loss(self) -> float:
        loss = float(self._loss_sum) / LOG_STEPS
        self._loss_sum.zero_()
        return loss

    def _scores(self, progress: Progress, used: float) -> list[float | None]:
        scores = self.validate()
        values = scores.dice or (math.nan,) * sum(name != "background" for name in self.config.outputs)
        text = ", ".join(f"{value:.3f}" for value in values)
        progress.report("train", used, f"{self.name}: step {self.step}, Dice on held-out phantoms {text}")
        return [value if math.isfinite(value) else None for value in (*values, scores.false_ml)]
