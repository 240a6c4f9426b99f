"""Keeping other libraries' chatter off the user's terminal while files are read.

What matters in it is found again by the checks of this package and told in its own words; the rest ("Invalid value
for VR UI") would only hide the one line that the user should read.
"""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

_LOGGERS = ("pydicom", "pylibjpeg")


@contextmanager
def quiet() -> Iterator[None]:
    """Hold back warnings of pydicom, its plugins and ITK."""
    import SimpleITK as sitk

    shown = sitk.ProcessObject.GetGlobalWarningDisplay()
    loggers = [logging.getLogger(name) for name in _LOGGERS]
    silence = logging.NullHandler()
    propagated = [logger.propagate for logger in loggers]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        sitk.ProcessObject.SetGlobalWarningDisplay(False)
        for logger in loggers:
            logger.addHandler(silence)  # without any handler Python prints warnings to stderr itself
            logger.propagate = False
        try:
            yield
        finally:
            for logger, propagate in zip(loggers, propagated, strict=True):
                logger.removeHandler(silence)
                logger.propagate = propagate
            sitk.ProcessObject.SetGlobalWarningDisplay(shown)


@contextmanager
def quiet_stderr() -> Iterator[None]:
    """Hold back what C++ code writes straight to the standard error stream (MetaIO and VNL inside ITK do).

    The stream belongs to the whole process, so keep this round single calls.
    """
    try:
        kept = os.dup(2)
    except OSError:  # no standard error at all, as in a windowed program
        yield
        return
    null = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(null, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(null)
