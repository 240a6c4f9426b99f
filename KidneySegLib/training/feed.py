"""Brings renderings from the workers into the pools, in a thread beside the training loop."""

from __future__ import annotations

import threading
import time
from pathlib import Path

from KidneySegLib.errors import KidneySegError
from KidneySegLib.training.pool import SamplePool
from KidneySegLib.training.samples import Sample, SampleSource
from KidneySegLib.training.seeds import TRAINING_SEEDS, VALIDATION_SEEDS
from KidneySegLib.training.workers import RenderingWorkers

_POLL_SECONDS = 0.1
#: Without any rendering for so long, something is wrong with the phantom or the workers.
_PATIENCE_SECONDS = 300.0


class SampleFeed:
    """Fills a training and a validation pool from worker processes, or at once and in this process with 0 workers.

    Args:
        source: makes the samples of a seed.
        training: pool of samples from training seeds.
        validation: pool of samples from validation seeds; once it is full no more are taken.
        validation_seeds: how many held-out phantoms to render, before all others.
        first_seed: training seed to begin with.
        start: training samples to wait for in `wait`.
        workers: number of processes.
        folder: where workers lay their files.

    Raises:
        ValueError: if ``first_seed`` is not a training seed.
    """

    def __init__(
        self,
        source: SampleSource,
        training: SamplePool,
        validation: SamplePool,
        *,
        validation_seeds: int,
        first_seed: int,
        start: int,
        workers: int,
        folder: Path,
    ) -> None:
        if first_seed not in TRAINING_SEEDS:
            raise ValueError(f"first_seed must be a training seed, got {first_seed}")
        self._source = source
        self._pools = {TRAINING_SEEDS.name: training, VALIDATION_SEEDS.name: validation}
        self._held_out = [VALIDATION_SEEDS.seed(index) for index in range(validation_seeds)]
        self._start_count = min(start, training.capacity)
        self._last_seed = first_seed - 1
        self._first_seed = first_seed
        self._stop = threading.Event()
        self._error: BaseException | None = None
        self._workers = RenderingWorkers(source, folder, workers, self._held_out, first_seed) if workers else None
        self._thread: threading.Thread | None = None

    @property
    def next_seed(self) -> int:
        """The training seed after all that were used."""
        return self._last_seed + 1

    @property
    def failures(self) -> str:
        """Tracebacks of phantoms that could not be rendered."""
        return self._workers.failures() if self._workers else ""

    @property
    def worker_restarts(self) -> int:
        return self._workers.restarts if self._workers else 0

    def __enter__(self) -> SampleFeed:
        if self._workers is None:
            self._fill_here()
            return self
        self._workers.__enter__()
        self._thread = threading.Thread(target=self._run, name="sample feed", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join(timeout=30)
        if self._workers is not None:
            self._workers.__exit__()

    def ready(self) -> bool:
        """Whether there are enough samples to begin.

        Raises:
            KidneySegError: if samples do not come.
        """
        if self._error is not None:
            raise KidneySegError(f"No more training samples come: {self._error}") from self._error
        return len(self._pools[TRAINING_SEEDS.name]) >= self._start_count

    def _fill_here(self) -> None:
        for seed in self._held_out:
            for sample in self._source(seed):
                self._put(sample)
        seed = self._first_seed
        while not self.ready():
            for sample in self._source(seed):
                self._put(sample)
            seed += 1

    def _put(self, sample: Sample) -> None:
        held_out = sample.seed in VALIDATION_SEEDS
        if not held_out and sample.seed not in TRAINING_SEEDS:
            raise ValueError(f"seed {sample.seed} is neither for training nor for validation")
        pool = self._pools[VALIDATION_SEEDS.name if held_out else TRAINING_SEEDS.name]
        if not held_out:
            self._last_seed = max(self._last_seed, sample.seed)
        if not held_out or len(pool) < pool.capacity:
            pool.add(sample)

    def _run(self) -> None:
        assert self._workers is not None
        last = time.monotonic()
        try:
            while not self._stop.is_set():
                got = False
                for path, sample in self._workers.read_new():
                    self._put(sample)
                    path.unlink(missing_ok=True)
                    got = True
                if got:
                    last = time.monotonic()
                    continue
                self._workers.revive()
                if time.monotonic() - last > _PATIENCE_SECONDS:
                    raise TimeoutError(f"none in {_PATIENCE_SECONDS:.0f} s. {self._workers.failures()[-2000:]}")
                self._stop.wait(_POLL_SECONDS)
        except BaseException as error:
            self._error = error
