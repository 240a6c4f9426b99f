"""Processes that render samples without end and lay them as files into a folder.

Files and nothing else cross the border between processes: a worker that dies takes no lock and no queue with it,
its successor goes on with the next seed, and samples that nobody read yet are still there after a restart.
Imported by the workers: no torch.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import time
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from KidneySegLib.training.samples import SampleSource, read_sample, write_sample

#: Unread files at which workers pause, so that a slow reader does not fill the disk.
MAX_UNREAD_FILES = 48
_PAUSE_SECONDS = 0.2
#: One thread each: there are as many workers as cores.
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
_ERRORS_FILE = "errors.txt"


@contextlib.contextmanager
def one_thread_each() -> Iterator[None]:
    """Processes that are started meanwhile compute with one thread."""
    before = {name: os.environ.get(name) for name in _THREAD_VARIABLES}
    os.environ.update(dict.fromkeys(_THREAD_VARIABLES, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@dataclass(frozen=True)
class Share:
    """The seeds of one worker: first ``head`` in order, then ``first``, ``first + step``, ... without end."""

    head: tuple[int, ...]
    first: int
    step: int

    def __iter__(self) -> Iterator[int]:
        yield from self.head
        seed = self.first
        while True:
            yield seed
            seed += self.step

    def after_death(self) -> Share:
        """The share without its next seed, which may be what killed the worker."""
        if self.head:
            return Share(self.head[1:], self.first, self.step)
        return Share((), self.first + self.step, self.step)


def _unread(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.npz"))


def _work(source: SampleSource, share: Share, folder: Path, parent: int) -> None:
    for seed in share:
        while len(_unread(folder)) >= MAX_UNREAD_FILES and os.getppid() == parent:
            time.sleep(_PAUSE_SECONDS)
        if os.getppid() != parent:
            return
        try:
            for number, sample in enumerate(source(seed)):
                write_sample(folder / f"{seed:010d}-{number}.npz", sample)
        except Exception:
            # One phantom that cannot be drawn must not end the run; the reader counts these.
            with open(folder / _ERRORS_FILE, "a", encoding="utf-8") as file:
                file.write(f"seed {seed}\n{traceback.format_exc()}\n")


class RenderingWorkers:
    """Worker processes and the folder that they fill.

    Args:
        source: makes the samples of a seed.
        folder: for the files; made if missing, files in it from an earlier run are read first.
        count: number of processes.
        head_seeds: rendered before all others (validation cases).
        first_seed: of the seeds that follow without end.
    """

    def __init__(
        self, source: SampleSource, folder: Path, count: int, head_seeds: Sequence[int], first_seed: int
    ) -> None:
        if count < 1:
            raise ValueError(f"count of workers must be at least 1, got {count}")
        self._source = source
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        for leftover in folder.glob("*.part"):
            leftover.unlink()
        (folder / _ERRORS_FILE).unlink(missing_ok=True)
        self._shares = [Share(tuple(head_seeds[w::count]), first_seed + w, count) for w in range(count)]
        self._processes: list[Any] = [None] * count
        self._restarts = 0

    def __enter__(self) -> RenderingWorkers:
        self.revive()
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._processes:
            if process is not None:
                process.terminate()
        for process in self._processes:
            if process is not None:
                process.join(timeout=10)

    def revive(self) -> None:
        """Start the workers that do not run; one that died skips the seed after the last one it delivered."""
        for number, process in enumerate(self._processes):
            if process is None or not process.is_alive():
                if process is not None:
                    self._restarts += 1
                    self._shares[number] = self._shares[number].after_death()
                self._processes[number] = self._start(number)

    def _start(self, number: int) -> Any:
        context = multiprocessing.get_context("spawn")
        process = context.Process(
            target=_work, args=(self._source, self._shares[number], self._folder, os.getpid()), daemon=True
        )
        with one_thread_each():
            process.start()
        return process

    @property
    def restarts(self) -> int:
        """How many workers died and were replaced."""
        return self._restarts

    def failures(self) -> str:
        """Tracebacks of phantoms that could not be rendered, empty if there were none."""
        with contextlib.suppress(FileNotFoundError):
            return (self._folder / _ERRORS_FILE).read_text(encoding="utf-8")
        return ""

    def read_new(self, limit: int = 8) -> Iterator[tuple[Path, Any]]:
        """Up to ``limit`` samples that were not read yet, with their files. Delete a file once it is used."""
        for path in _unread(self._folder)[:limit]:
            try:
                sample = read_sample(path)
            except ValueError:
                path.unlink(missing_ok=True)
                continue
            self._note(sample.seed)
            yield path, sample

    def _note(self, seed: int) -> None:
        for number, share in enumerate(self._shares):
            if seed in share.head:
                rest = share.head[share.head.index(seed) + 1 :]
                self._shares[number] = Share(rest, share.first, share.step)
            elif seed >= share.first and (seed - share.first) % share.step == 0:
                self._shares[number] = Share(share.head, seed + share.step, share.step)
