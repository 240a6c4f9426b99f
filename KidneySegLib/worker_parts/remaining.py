"""Progress of one command as the panel shows it: overall fraction and remaining time, a few lines a second."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from KidneySegLib.progress import ProgressEvent

#: Share of the whole that each stage usually takes on a CPU; they need not add up to 1.
STAGE_SHARES: Mapping[str, float] = {
    "read": 0.02,
    "check": 0.02,
    "localise": 0.12,
    "preprocess": 0.06,
    "network": 0.56,
    "resample": 0.08,
    "postprocess": 0.06,
    "measure": 0.05,
    "write": 0.03,
}
#: Below this fraction an extrapolation is a guess.
EARLIEST_ESTIMATE = 0.08
#: Least seconds between two lines of the same stage.
INTERVAL_S = 0.1


class ProgressLines:
    """A `progress.Listener` that turns events into ``progress`` messages for one request."""

    def __init__(
        self, send: Callable[[dict[str, Any]], None], request_id: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._send = send
        self._id = request_id
        self._clock = clock
        self._start = clock()
        self._last_time = -1e9
        self._last_stage = ""
        self._overall = 0.0

    def __call__(self, event: ProgressEvent) -> None:
        now = self._clock()
        self._overall = max(self._overall, overall_fraction(event.stage, event.fraction))
        if event.stage == self._last_stage and event.fraction < 1 and now - self._last_time < INTERVAL_S:
            return
        self._last_time, self._last_stage = now, event.stage
        self._send(
            {
                "id": self._id,
                "event": "progress",
                "stage": event.stage,
                "fraction": round(event.fraction, 4),
                "overall": round(self._overall, 4),
                "remaining_s": remaining_seconds(self._overall, now - self._start),
                "message": event.message,
            }
        )


def overall_fraction(stage: str, fraction: float) -> float:
    """How much of a whole case is done, 0 to 1; 0 for a stage that is not one of a case."""
    if stage not in STAGE_SHARES:
        return 0.0
    stages = list(STAGE_SHARES)
    before = sum(STAGE_SHARES[name] for name in stages[: stages.index(stage)])
    return (before + STAGE_SHARES[stage] * fraction) / sum(STAGE_SHARES.values())


def remaining_seconds(overall: float, elapsed_s: float) -> float | None:
    """Extrapolated seconds to the end, None while too little is done to say."""
    if overall < EARLIEST_ESTIMATE:
        return None
    return round(elapsed_s * (1 - overall) / overall, 1)
