"""Trains one network of the recipe from start to end: workers, pools, loop, record."""

from __future__ import annotations

import os
import platform
import subprocess
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from KidneySegLib.errors import InputError
from KidneySegLib.files import write_json
from KidneySegLib.progress import Progress
from KidneySegLib.training.config import EmbeddedConfig, NetworkConfig
from KidneySegLib.training.feed import SampleFeed
from KidneySegLib.training.phantom_samples import KidneyBoxes, WholeBodies
from KidneySegLib.training.pool import SamplePool
from KidneySegLib.training.run_folder import claim
from KidneySegLib.training.samples import SampleSource
from KidneySegLib.training.schedule import Budget
from KidneySegLib.training.seeds import SEED_RANGES, TRAINING_SEEDS
from KidneySegLib.training.trainer import CHECKPOINT_FILE, WEIGHTS_FILE, StepOptions, Trainer

RECORD_FILE = "record.json"
SAMPLES_FOLDER = "samples"
#: Boxes of a phantom that validation can hold: one for each kidney and one elsewhere.
_BOXES_PER_PHANTOM = 3


def training_device(name: str) -> torch.device:
    """The torch device for ``auto``, ``cpu``, ``cuda`` or ``mps``.

    Raises:
        InputError: if it is not there.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    present = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    kind = name.split(":")[0]
    if not present.get(kind, False):
        have = ", ".join(k for k, there in present.items() if there)
        raise InputError(f"device {name} is not here; training can use {have}. Choose one of them, or auto.")
    return torch.device(name)


def sample_source(config: NetworkConfig) -> SampleSource:
    """The phantom's samples for a network.

    Raises:
        InputError: for an unknown source or argument.
    """
    kinds: dict[str, type[KidneyBoxes] | type[WholeBodies]] = {"kidney_boxes": KidneyBoxes, "whole_bodies": WholeBodies}
    if config.source not in kinds:
        raise InputError(f"source must be one of {', '.join(kinds)}, got {config.source!r}. Mend the configuration.")
    arguments: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in config.source_arguments.items()}
    if config.source == "kidney_boxes":
        arguments["structures"] = config.outputs
    try:
        return kinds[config.source](shape=config.box, spacing_mm=config.spacing_mm, **arguments)
    except TypeError as error:
        raise InputError(f"source_arguments of {config.source}: {error}. Mend the configuration.") from error


def _bytes_for_a_pool(device: torch.device) -> float:
    """Memory that a pool may take, leaving enough for training and for other programs."""
    if device.type == "cuda":
        return 0.65 * torch.cuda.mem_get_info(device)[0]
    try:
        return 0.5 * os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError):
        return 2.0 * 2**30


def make_pools(config: NetworkConfig, device: torch.device) -> tuple[SamplePool, SamplePool]:
    """Empty pools for training and validation; the first is smaller than configured where memory is."""
    labels = config.activation == "softmax"
    channels = len(config.outputs) - 1 if labels else len(config.outputs)
    boxes = max(1, config.validation_seeds * (1 if labels else _BOXES_PER_PHANTOM))
    held_out = SamplePool(boxes, config.box, channels, labels, device)
    fits = int(_bytes_for_a_pool(device) / (held_out.size_bytes / boxes))
    return SamplePool(max(1, min(config.pool_capacity, fits)), config.box, channels, labels, device), held_out


def train_network(
    name: str,
    config: EmbeddedConfig,
    output: Path,
    *,
    device: str = "auto",
    resume: bool = False,
    workers: int | None = None,
    initial_weights: Path | None = None,
    options: StepOptions | None = None,
    source: SampleSource | None = None,
    progress: Progress | None = None,
) -> Path:
    """Train a network and leave its weights, checkpoint, log, plot and record in a folder.

    Args:
        name: of the network in the recipe.
        config: the recipe.
        output: folder for the results.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``.
        resume: go on from the checkpoint in ``output``, if there is one.
        workers: rendering processes; ``None``: one fewer than cores. 0: render a fixed set here before the first step.
        initial_weights: weights of an earlier run to begin with.
        options: how the device is used.
        source: of samples, in place of the phantom's.
        progress: is told the share of the budget; its cancel token is looked at after every step.

    Returns:
        The file with the weights as they ship.

    Raises:
        InputError: for a configuration that does not fit, or an output folder with another run in it.
    """
    progress = progress or Progress()
    part = config.networks.get(name)
    if part is None:
        raise InputError(f"network must be one of {', '.join(config.networks)}, got {name!r}")
    began = time.monotonic()
    torch_device = training_device(device)
    has_checkpoint = (output / CHECKPOINT_FILE).exists()
    claim(output, begun=has_checkpoint, resume=resume)
    if workers is None:
        workers = max(1, (os.cpu_count() or 2) - 1)

    pool, held_out = make_pools(part, torch_device)
    trainer = Trainer(name, part, config.seed, torch_device, pool, held_out, options)
    if has_checkpoint:
        trainer.resume(output)
    elif initial_weights is not None:
        trainer.start_from(initial_weights)
    budget = Budget(part.minutes, part.steps)
    if budget.used(trainer.step, trainer.seconds) >= 1 and (output / RECORD_FILE).exists():
        return output / WEIGHTS_FILE  # An interrupted recipe goes on with its next network.
    # Without workers the samples are a fixed set, the same one after a break.
    first_seed = trainer.next_seed if workers else TRAINING_SEEDS.first
    feed = SampleFeed(
        source or sample_source(part),
        pool,
        held_out,
        validation_seeds=part.validation_seeds,
        first_seed=first_seed,
        start=part.pool_start,
        workers=workers,
        folder=output / SAMPLES_FOLDER,
    )
    with feed:
        told = -1
        while not feed.ready():
            if len(pool) != told:
                told = len(pool)
                progress.report("train", 0.0, f"{name}: {told} renderings, waiting for {part.pool_start}")
            progress.check()
            time.sleep(0.2)
        trainer.seconds += time.monotonic() - began
        trainer.run(budget, output, progress, (lambda: feed.next_seed) if workers else None)
        _write_record(trainer, config, output, feed, workers)
    return output / WEIGHTS_FILE


def _write_record(trainer: Trainer, config: EmbeddedConfig, output: Path, feed: SampleFeed, workers: int) -> None:
    device = trainer.device
    scores = trainer.last_validation
    names = [n for n in trainer.config.outputs if n != "background"]
    record: dict[str, Any] = {
        "recipe": "embedded",
        "network": trainer.name,
        "commit": source_commit(),
        "seed": config.seed,
        "steps": trainer.step,
        "batch_size": trainer.config.batch_size,
        "hours": round(trainer.seconds / 3600, 4),
        "machine": torch.cuda.get_device_name(device) if device.type == "cuda" else _processor(),
        "workers": workers,
        "renderings": trainer.pool.added,
        "renderings_failed": feed.failures.count("seed "),
        "phantom_seeds": {
            **{r.name: [r.first, r.last] for r in SEED_RANGES},
            "training_used": [TRAINING_SEEDS.first, feed.next_seed - 1],
            "validation_used": trainer.config.validation_seeds,
        },
        "versions": {"python": platform.python_version(), "torch": str(torch.__version__)},
        "validation": None if scores is None else dict(zip(names, scores.dice, strict=False)),
        "config": asdict(trainer.config),
    }
    write_json(output / RECORD_FILE, record)


def source_commit() -> str:
    """The commit of the source that runs: ``$KIDNEYSEG_COMMIT``, else what git says, else ``unknown``."""
    given = os.environ.get("KIDNEYSEG_COMMIT")
    if given:
        return given
    try:
        answer = subprocess.run(
            ["git", "rev-parse", "HEAD"],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return answer.stdout.strip()


def _processor() -> str:
    """The processor's own name where the system tells it."""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return f"{line.split(':', 1)[1].strip()}, {os.cpu_count()} cores"
    except OSError:
        pass
    return f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores"
