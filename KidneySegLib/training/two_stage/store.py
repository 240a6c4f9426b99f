"""Slabs on disk: made once by worker processes, used by both stages and again when a run is resumed."""

from __future__ import annotations

import multiprocessing
import os
import time
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from KidneySegLib.errors import KidneySegError
from KidneySegLib.training.kept_samples import KeptSamples
from KidneySegLib.training.samples import Sample, SampleSource, read_sample
from KidneySegLib.training.workers import one_thread_each

_ERRORS_FILE = "errors.txt"
#: A file system's clock may be as coarse as this.
_TICK_NS = 2_000_000_000


def make_samples(source: SampleSource, seeds: Sequence[int], folder: Path, parent: int | None = None) -> None:
    """Write the samples of each seed that are not there yet. One that fails is noted and left out.

    Args:
        parent: process without which there is no more need for samples.
    """
    kept = KeptSamples(source, folder)
    for seed in seeds:
        if parent is not None and os.getppid() != parent:
            return
        try:
            kept.make(seed)
        except Exception:  # One case that cannot be drawn or read must not end the run.
            with open(folder / _ERRORS_FILE, "a", encoding="utf-8") as file:
                file.write(f"seed {seed}\n{traceback.format_exc()}\n")
            kept.marker(seed).touch()


class SampleStore:
    """A folder that fills with samples while training goes on.

    Args:
        source: makes the samples of a seed.
        seeds: in the order in which they are made.
        folder: of the files; what lies there from an earlier run is used.
        workers: processes; 0 makes all samples at once, in this process.
    """

    def __init__(self, source: SampleSource, seeds: Sequence[int], folder: Path, workers: int) -> None:
        self._source, self._seeds, self._folder, self._workers = source, tuple(seeds), folder, workers
        self._wanted = frozenset(self._seeds)
        self._kept = KeptSamples(source, folder)
        self._read: set[str] = set()
        self._found: list[Path] = []
        self._changed_ns = -1
        self._processes: list[Any] = []

    def __enter__(self) -> SampleStore:
        self._folder.mkdir(parents=True, exist_ok=True)
        (self._folder / _ERRORS_FILE).unlink(missing_ok=True)
        for leftover in self._folder.glob(".*.part"):
            leftover.unlink()
        missing = [seed for seed in self._seeds if not self._kept.marker(seed).exists()]
        if not self._workers:
            make_samples(self._source, missing, self._folder)
        else:
            self._start(missing)
        return self

    def _start(self, missing: Sequence[int]) -> None:
        context = multiprocessing.get_context("spawn")
        with one_thread_each():
            for number in range(min(self._workers, len(missing))):
                process = context.Process(
                    target=make_samples,
                    args=(self._source, missing[number :: self._workers], self._folder, os.getpid()),
                    daemon=True,
                )
                process.start()
                self._processes.append(process)

    def __exit__(self, *_: object) -> None:
        for process in self._processes:
            process.terminate()
        for process in self._processes:
            process.join(timeout=10)

    @property
    def working(self) -> int:
        """Worker processes that still make samples."""
        return sum(process.is_alive() for process in self._processes)

    @property
    def growing(self) -> bool:
        """Whether more samples may come."""
        return self.working > 0

    @property
    def failures(self) -> str:
        """Tracebacks of the seeds that could not be made; empty if there were none."""
        file = self._folder / _ERRORS_FILE
        return file.read_text(encoding="utf-8") if file.exists() else ""

    def new(self, limit: int | None = None) -> Iterator[Sample]:
        """Samples that were not given yet, at most ``limit``, of the store's own seeds only.

        Raises:
            KidneySegError: if there are none, none were given before, and none will come.
        """
        self._look()
        if not self._found and not self._read and not self.growing:
            raise KidneySegError(f"No training samples could be made. {self.failures[-1500:]}".strip())
        count = len(self._found) if limit is None else limit
        given, self._found = self._found[:count], self._found[count:]
        for path in given:
            self._read.add(path.name)
            try:
                yield read_sample(path)
            except ValueError:
                path.unlink(missing_ok=True)  # Cut short by a power failure: made again next time.
                self._kept.marker(int(path.name.split("-")[0])).unlink(missing_ok=True)

    def _look(self) -> None:
        """List what came since the last time. Thousands of files take longer than a step, so only when some did."""
        if self._found:
            return
        changed_ns = self._folder.stat().st_mtime_ns
        if changed_ns == self._changed_ns:
            return
        self._found = [
            path
            for path in sorted(self._folder.glob("*.npz"))
            if path.name not in self._read and int(path.name.split("-")[0]) in self._wanted
        ]
        # A file that comes within the clock's tick would not change the time again.
        self._changed_ns = changed_ns if time.time_ns() - changed_ns > _TICK_NS else -1
