"""How fast a machine trains a network: renderings, augmentation and steps, each on its own and together."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch

from KidneySegLib.training.config import EmbeddedConfig
from KidneySegLib.training.feed import SampleFeed
from KidneySegLib.training.network_run import make_pools, sample_source, training_device
from KidneySegLib.training.process_settings import settings_for_learning
from KidneySegLib.training.seeds import TRAINING_SEEDS
from KidneySegLib.training.trainer import StepOptions, Trainer


@settings_for_learning()
def _rate(action: Callable[[], object], seconds: float, device: torch.device, warm: int = 3) -> float:
    """Calls a second."""

    def wait() -> None:
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    for _ in range(warm):
        action()
    wait()
    began, count = time.monotonic(), 0
    while time.monotonic() - began < seconds or count == 0:
        for _ in range(5 if device.type == "cuda" else 1):
            action()
            count += 1
        wait()
    return count / (time.monotonic() - began)


def benchmark(
    name: str,
    config: EmbeddedConfig,
    *,
    device: str = "auto",
    workers: int = 1,
    seconds: float = 5.0,
    variants: tuple[StepOptions, ...] = (StepOptions(), StepOptions(channels_last=False), StepOptions(compile=True)),
) -> Iterator[str]:
    """Measure, and say so line by line.

    Args:
        name: of the network in the recipe.
        config: the recipe.
        device: as in training.
        workers: rendering processes.
        seconds: for each measurement.
        variants: ways of using the device to compare.
    """
    part = config.networks[name]
    torch_device = training_device(device)
    pool, held_out = make_pools(part, torch_device)
    yield f"{name}: pool of {pool.capacity} samples takes {pool.size_bytes / 2**30:.1f} GiB"
    with tempfile.TemporaryDirectory(prefix="kidneyseg-benchmark-") as folder:
        feed = SampleFeed(
            sample_source(part),
            pool,
            held_out,
            validation_seeds=0,
            first_seed=TRAINING_SEEDS.first,
            start=min(part.pool_start, 4),
            workers=workers,
            folder=Path(folder),
        )
        began = time.monotonic()
        with feed:
            while not feed.ready():
                time.sleep(0.05)
            yield f"first {len(pool)} samples after {time.monotonic() - began:.1f} s with {workers} workers"
            before, since = pool.added, time.monotonic()
            for options in variants:
                label = f"compile={options.compile} channels_last={options.channels_last}"
                start = time.monotonic()
                trainer = Trainer(name, part, config.seed, torch_device, pool, held_out, options)
                trainer.learn(*trainer.batch())
                if torch_device.type == "cuda":
                    torch.cuda.synchronize()
                    torch.cuda.reset_peak_memory_stats()
                yield f"{label}: first step after {time.monotonic() - start:.1f} s"
                batch = trainer.batch()
                augmenting = _rate(trainer.batch, seconds, torch_device)
                learning = _rate(lambda t=trainer, b=batch: t.learn(*b), seconds, torch_device)  # type: ignore[misc]
                both = _rate(lambda t=trainer: t.learn(*t.batch()), seconds, torch_device)  # type: ignore[misc]
                memory = (
                    f", peak GPU memory {torch.cuda.max_memory_allocated() / 2**30:.1f} GiB"
                    if torch_device.type == "cuda"
                    else ""
                )
                yield (
                    f"{label}: augment {augmenting:.2f}/s, learn {learning:.2f}/s, both {both:.2f} steps/s of "
                    f"{part.batch_size}{memory}"
                )
                del trainer, batch
            yield f"renderings meanwhile: {(pool.added - before) / (time.monotonic() - since):.2f}/s"
            if feed.failures:
                yield f"FAILED RENDERINGS:\n{feed.failures[-1500:]}"
