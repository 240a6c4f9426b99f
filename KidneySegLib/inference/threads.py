"""How many threads the heavy steps use."""

from __future__ import annotations

import os

from KidneySegLib.errors import KidneySegError


def thread_count() -> int:
    """``$KIDNEYSEG_THREADS`` where set, else the processors that this process may use.

    Raises:
        KidneySegError: if the variable is not a whole number of at least 1.
    """
    wanted = os.environ.get("KIDNEYSEG_THREADS", "").strip()
    if wanted:
        if not wanted.isdigit() or int(wanted) < 1:
            raise KidneySegError(f"KIDNEYSEG_THREADS must be a whole number of at least 1, got '{wanted}'.")
        return int(wanted)
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
