"""Keeping other libraries' chatter off the user's terminal while files are read.

What matters in it is found again by the checks of this package and told in its own words; the rest ("Invalid value
for VR UI") would only hide the one line that the user should read.
"""

from __future__ import annotations

import logging
import os
import threading
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

_LOGGERS = ("pydicom", "pylibjpeg")


# Both settings belong to the whole process. Where several threads read at once, the first one in sets them and the
# last one out puts back what was there, so that none takes another's silence for the normal state.
_lock = threading.Lock()
_quiet_depth = 0
_quiet_kept = ExitStack()
_stderr_depth = 0
_stderr_kept: int | None = None


@contextmanager
def quiet() -> Iterator[None]:
    """Hold back warnings of pydicom, its plugins and ITK."""
    global _quiet_depth, _quiet_kept

    with _lock:
        if _quiet_depth == 0:
            _quiet_kept = _silenced()
        _quiet_depth += 1
    try:
        yield
    finally:
        with _lock:
            _quiet_depth -= 1
            if _quiet_depth == 0:
                _quiet_kept.close()


def _silenced() -> ExitStack:
    """Silence, and how to end it."""
    import SimpleITK as sitk

    stack = ExitStack()
    stack.callback(sitk.ProcessObject.SetGlobalWarningDisplay, sitk.ProcessObject.GetGlobalWarningDisplay())
    sitk.ProcessObject.SetGlobalWarningDisplay(False)
    stack.enter_context(warnings.catch_warnings())
    warnings.simplefilter("ignore")
    silence = logging.NullHandler()
    for logger in map(logging.getLogger, _LOGGERS):
        stack.callback(setattr, logger, "propagate", logger.propagate)
        stack.callback(logger.removeHandler, silence)
        logger.addHandler(silence)  # without any handler Python prints warnings to stderr itself
        logger.propagate = False
    return stack


@contextmanager
def quiet_stderr() -> Iterator[None]:
    """Hold back what C++ code writes straight to the standard error stream (MetaIO and VNL inside ITK do).

    The stream belongs to the whole process, so keep this round single calls.
    """
    global _stderr_depth, _stderr_kept

    with _lock:
        if _stderr_depth == 0:
            _stderr_kept = _stderr_to_nowhere()
        _stderr_depth += 1
    try:
        yield
    finally:
        with _lock:
            _stderr_depth -= 1
            if _stderr_depth == 0 and _stderr_kept is not None:
                os.dup2(_stderr_kept, 2)
                os.close(_stderr_kept)


def _stderr_to_nowhere() -> int | None:
    """A copy of the stream as it was; None if there is no standard error at all, as in a windowed program."""
    try:
        kept = os.dup(2)
    except OSError:
        return None
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 2)
    os.close(null)
    return kept
