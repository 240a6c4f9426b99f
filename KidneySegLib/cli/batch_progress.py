"""What the terminal shows of a batch: cases, speed, remaining time."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from KidneySegLib.cli.terminal import PLAIN_INTERVAL_S

if TYPE_CHECKING:
    from KidneySegLib.cohort import BatchState


@contextmanager
def shown_batch(*, quiet: bool = False) -> Iterator[Callable[[BatchState], None] | None]:
    """A listener for a batch: a bar on a terminal, plain lines in a log, nothing if quiet."""
    if quiet:
        yield None
        return
    if not sys.stderr.isatty():
        yield _Lines()
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (
        TextColumn("Cases"),
        BarColumn(bar_width=28),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[facts]}", markup=False),
    )
    with Progress(*columns, console=Console(stderr=True)) as bars:
        task = bars.add_task("cases", total=None, facts="")

        def show(state: BatchState) -> None:
            bars.update(task, total=state.total, completed=state.finished, facts=facts(state))

        yield show


def facts(state: BatchState) -> str:
    """Failures, speed and remaining time in a few words."""
    parts = [f"{state.failed} failed"] if state.failed else []
    if state.cases_per_hour is not None:
        parts.append(f"{state.cases_per_hour:.0f}/h")
    if state.remaining_s is not None and state.finished < state.total:
        parts.append(f"{duration(state.remaining_s)} left")
    if state.workers > 1:
        parts.append(f"{state.workers} workers")
    return ", ".join(parts)


def duration(seconds: float) -> str:
    """A span of time as a person says it: ``2 d 3 h``, ``3 h 20 min``, ``4 min``, ``30 s``."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes} min"
    return f"{hours // 24} d {hours % 24} h"


class _Lines:
    """A line now and then, when something is new."""

    def __init__(self) -> None:
        self._start_s = time.monotonic()
        self._last_s = -PLAIN_INTERVAL_S
        self._finished = -1

    def __call__(self, state: BatchState) -> None:
        now_s = time.monotonic() - self._start_s
        is_last = state.finished == state.total and self._finished != state.total
        if state.finished == self._finished or (now_s - self._last_s < PLAIN_INTERVAL_S and not is_last):
            return
        self._finished, self._last_s = state.finished, now_s
        more = facts(state)
        text = f"{state.finished} of {state.total} cases" + (f" ({more})" if more else "")
        print(f"[{now_s:6.1f} s] {text}", file=sys.stderr, flush=True)
