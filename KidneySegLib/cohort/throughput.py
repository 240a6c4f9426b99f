"""How far a batch is, how fast it goes, and how long it will take."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

#: The speed is that of this many cases that finished last.
_WINDOW = 200
#: With fewer finished cases nothing is foretold.
_FEWEST = 2


@dataclass(frozen=True)
class BatchState:
    """A batch at one moment.

    Attributes:
        total: cases of the cohort.
        made: segmented in this run.
        skipped: done before, still valid.
        failed: failed in this run.
        workers: processes at work; 0 if not known yet.
        seconds: since cases are being segmented.
        cases_per_hour: finished cases (made or failed) per hour of late; None before there is something to measure.
        remaining_s: seconds until the end at this speed, or None.
        last: id of the case that finished last, may be empty.
    """

    total: int
    made: int = 0
    skipped: int = 0
    failed: int = 0
    workers: int = 0
    seconds: float = 0.0
    cases_per_hour: float | None = None
    remaining_s: float | None = None
    last: str = ""

    @property
    def finished(self) -> int:
        """Cases that need no more work in this run."""
        return self.made + self.skipped + self.failed


class Counter:
    """Counts cases and measures their speed on the monotonic clock, which no change of the time of day disturbs.

    Args:
        total: cases of the cohort.
        skipped: cases of it that are done already.
        clock: seconds, monotonic.
    """

    def __init__(self, total: int, skipped: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._total, self._skipped, self._clock = total, skipped, clock
        self._made = self._failed = 0
        self._last = ""
        self._begin_s = clock()
        self._ends_s: deque[float] = deque([self._begin_s], maxlen=_WINDOW + 1)

    def made(self, case_id: str) -> None:
        self._made += 1
        self._end(case_id)

    def failed(self, case_id: str) -> None:
        self._failed += 1
        self._end(case_id)

    def skipped(self, case_id: str) -> None:
        """A case whose result will do, found only after a look at its scan: it says nothing about the speed."""
        self._skipped += 1
        self._last = case_id

    def _end(self, case_id: str) -> None:
        self._last = case_id
        self._ends_s.append(self._clock())

    def state(self, workers: int = 0) -> BatchState:
        count = len(self._ends_s) - 1
        span_s = self._ends_s[-1] - self._ends_s[0]
        per_hour = remaining_s = None
        if count >= _FEWEST and span_s > 0:
            per_hour = 3600.0 * count / span_s
            left = self._total - self._made - self._failed - self._skipped
            since_s = self._clock() - self._ends_s[-1]
            remaining_s = max(left * span_s / count - since_s, 0.0)
        return BatchState(
            total=self._total,
            made=self._made,
            skipped=self._skipped,
            failed=self._failed,
            workers=workers,
            seconds=self._clock() - self._begin_s,
            cases_per_hour=per_hour,
            remaining_s=remaining_s,
            last=self._last,
        )
