"""Which of some works takes less time here: no list of a processor's features tells."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence


def seconds_in_turn(
    works: Sequence[Callable[[], object]], turns: int, most_seconds: float = float("inf")
) -> list[float]:
    """Median seconds of each work; they take turns, so that what disturbs one disturbs all.

    Args:
        works: what is timed.
        turns: how often each is run.
        most_seconds: after which no further turn begins; there is always one.
    """
    seconds: list[list[float]] = [[] for _ in works]
    start = time.perf_counter()
    for turn in range(turns):
        if turn and time.perf_counter() - start > most_seconds:
            break
        for work, own in zip(works, seconds, strict=True):
            begin = time.perf_counter()
            work()
            own.append(time.perf_counter() - begin)
    return [statistics.median(own) for own in seconds]
