"""One protocol for progress and cancelling, listened to by the terminal, the panel and the worker alike."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from KidneySegLib.errors import Cancelled

#: Stages of one case, in order. A listener may show them as a list.
STAGES = (
    "read",
    "check",
    "localise",
    "preprocess",
    "network",
    "resample",
    "postprocess",
    "measure",
    "write",
)


@dataclass(frozen=True)
class ProgressEvent:
    """One report.

    Attributes:
        stage: one of `STAGES`, or a name of the command's own (``train``, ``case``).
        fraction: how much of the stage is done, 0 to 1.
        message: a few words for a person, may be empty.
    """

    stage: str
    fraction: float
    message: str = ""


Listener = Callable[[ProgressEvent], None]


class CancelToken:
    """A flag that one thread raises and every loop looks at."""

    def __init__(self) -> None:
        self._event = threading.Event()

    def cancel(self) -> None:
        self._event.set()

    @property
    def cancelled(self) -> bool:
        return self._event.is_set()


@dataclass(frozen=True)
class Progress:
    """What a long function is given: where to report, and whether to stop.

    ``Progress()`` reports to nobody and is never cancelled, so every function can take one as a default.
    """

    listener: Listener | None = None
    token: CancelToken = field(default_factory=CancelToken)

    def report(self, stage: str, fraction: float, message: str = "") -> None:
        """Tell the listener, then raise `Cancelled` if the user asked to stop."""
        if self.listener is not None:
            self.listener(ProgressEvent(stage, min(max(fraction, 0.0), 1.0), message))
        self.check()

    def check(self) -> None:
        """Raise `Cancelled` if the user asked to stop."""
        if self.token.cancelled:
            raise Cancelled("Stopped at the user's request; nothing was written.")
