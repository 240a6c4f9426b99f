"""Makes the next batch while the present one is learnt from."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Generic, TypeVar

import torch

T = TypeVar("T")


class Ahead(Generic[T]):
    """One item ahead, made in a thread of its own; where the machine has one core, made when it is asked for.

    On a CPU half of a training step is augmentation, whose many small operations gain little from further threads;
    beside the network's they are free. While it is in use, torch computes with one thread fewer in the calling thread.

    Args:
        make: makes an item; called from one thread at a time, in order.
        enabled: False makes each item when it is asked for.
    """

    def __init__(self, make: Callable[[], T], enabled: bool = True) -> None:
        self._make = make
        self._enabled = enabled and (os.cpu_count() or 1) > 1
        self._pool: ThreadPoolExecutor | None = None
        self._next: Future[T] | None = None
        self._threads = torch.get_num_threads()

    def __enter__(self) -> Ahead[T]:
        if self._enabled:
            torch.set_num_threads(max(1, self._threads - 1))
            # In torch's OpenMP builds the number holds for the thread that sets it.
            self._pool = ThreadPoolExecutor(1, "batch ahead", initializer=torch.set_num_threads, initargs=(1,))
            self._next = self._pool.submit(self._make)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)
            torch.set_num_threads(self._threads)
        self._pool = self._next = None

    def take(self) -> T:
        """The next item; what went wrong when it was made is raised here."""
        if self._pool is None or self._next is None:
            return self._make()
        item = self._next.result()
        self._next = self._pool.submit(self._make)
        return item
