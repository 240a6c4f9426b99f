"""What can go wrong in the host, and the record of exceptions that Qt and VTK would only have printed."""

from __future__ import annotations

import sys
import traceback
from types import TracebackType


class NotModelled(NotImplementedError):
    """The member exists in Slicer but the host has no behaviour for it: test that part inside Slicer, or model
    it here.
    """


class UiFileError(ValueError):
    """A .ui file names a class, property, signal, slot or widget that Slicer does not have."""


class RecordedErrors(list[BaseException]):
    """Exceptions raised inside slots, timers and VTK observers, oldest first.

    Qt and VTK cannot pass an exception through C++, so Slicer prints it and goes on. A test that asserts
    ``not host.errors`` sees them all the same. ``take()`` empties the record, for a test that provokes one.
    """

    def record(self, error: BaseException) -> None:
        self.append(error)
        traceback.print_exception(error)

    def take(self) -> list[BaseException]:
        taken = list(self)
        self.clear()
        return taken


recorded = RecordedErrors()


def record_unraisable() -> None:
    """Record what Qt and VTK hand to ``sys.excepthook`` (both call PyErr_Print for an exception in a callback)."""

    def hook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        recorded.record(error.with_traceback(trace))

    sys.excepthook = hook
