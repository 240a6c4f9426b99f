"""What the terminal shows: progress on standard error, results on standard output."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from KidneySegLib.progress import CancelToken, Progress, ProgressEvent

if TYPE_CHECKING:
    from rich.progress import Progress as Bars
    from rich.progress import TaskID

#: Without a terminal, a stage says something at least this often.
PLAIN_INTERVAL_S = 10.0

#: What a stage is called in front of a person.
STAGE_NAMES = {
    "read": "Reading the scan",
    "check": "Checking the scan",
    "localise": "Finding the kidneys",
    "preprocess": "Preparing",
    "network": "Running the network",
    "resample": "Back to the scan's grid",
    "postprocess": "Telling kidneys apart",
    "measure": "Measuring",
    "write": "Writing results",
    "case": "Making synthetic CT",
    "scan": "Scanning the phantom",
    "score": "Scoring",
    "train": "Training",
    "prepare": "Planning, preprocessing",
    "import": "Copying the model",
}


@contextmanager
def shown_progress(token: CancelToken, *, quiet: bool = False) -> Iterator[Progress]:
    """Progress that a person sees: bars on a terminal, plain lines in a log, nothing if quiet.

    Args:
        token: raised by Ctrl-C.
        quiet: show nothing.
    """
    if quiet:
        yield Progress(None, token)
    elif sys.stderr.isatty():
        with _bars() as bars:
            yield Progress(_Bars(bars), token)
    else:
        yield Progress(_Lines(), token)


def _bars() -> Bars:
    from rich.console import Console
    from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bars

    return Bars(
        TextColumn("{task.description:<24}"),
        BarColumn(bar_width=32),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        TextColumn("[dim]{task.fields[message]}"),
        console=Console(stderr=True),
        transient=False,
    )


class _Bars:
    """One bar a stage, in the order in which stages begin."""

    def __init__(self, bars: Bars) -> None:
        self._bars = bars
        self._tasks: dict[str, TaskID] = {}
        self._current = ""

    def __call__(self, event: ProgressEvent) -> None:
        if event.stage not in self._tasks:
            name = STAGE_NAMES.get(event.stage, event.stage)
            self._tasks[event.stage] = self._bars.add_task(name, total=1.0, message="")
        if event.stage != self._current and self._current:
            self._bars.update(self._tasks[self._current], message="")
        self._current = event.stage
        message = event.message.replace("[", r"\[")
        self._bars.update(self._tasks[event.stage], completed=event.fraction, message=message)


class _Lines:
    """A line when a stage is new, and now and then while it lasts."""

    def __init__(self) -> None:
        self._start_s = self._last_s = time.monotonic()
        self._seen: set[str] = set()

    def __call__(self, event: ProgressEvent) -> None:
        now_s = time.monotonic()
        if event.stage in self._seen and now_s - self._last_s < PLAIN_INTERVAL_S:
            return
        self._seen.add(event.stage)
        self._last_s = now_s
        name = STAGE_NAMES.get(event.stage, event.stage)
        percent = f" {event.fraction:.0%}" if 0 < event.fraction < 1 else ""
        message = f" ({event.message})" if event.message else ""
        print(f"[{now_s - self._start_s:6.1f} s] {name}{percent}{message}", file=sys.stderr, flush=True)


def print_table(header: Sequence[str], rows: Sequence[Sequence[str]], *, numbers: bool = True) -> None:
    """A table on standard output, narrow enough for 80 columns where its texts are.

    Args:
        header: one word or two for each column.
        rows: the cells.
        numbers: all columns but the first hold numbers, and are set to the right.
    """
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD, pad_edge=False, header_style="bold")
    for index, name in enumerate(header):
        table.add_column(name, justify="right" if numbers and index else "left")
    for row in rows:
        table.add_row(*row)
    # A pipe or a log has no width of its own; wide enough keeps each row on one line.
    console = Console(width=None if sys.stdout.isatty() else 160, highlight=False, markup=False)
    console.print(table)
