"""The errors that a user may see.

Each message says what was expected, what came instead and what the user can do about it. The command line
prints it on standard error and exits with status 2; the panel shows it. Anything that is not a
`KidneySegError` (or `Cancelled`) is a bug and keeps its traceback.
"""

from __future__ import annotations


class KidneySegError(Exception):
    """Something that the user can mend: the message says what is wrong with which input, and what to do."""


class InputError(KidneySegError):
    """An image, series, table or label map cannot be read, or cannot be trusted. Choose or repair the input."""


class SeveralSeriesError(InputError):
    """A folder holds several CT series. Choose one with ``--series UID``; the message lists them."""


class OutputError(KidneySegError):
    """A result cannot be written (no permission, no space, a folder that is not ours). Choose another place."""


class ModelError(KidneySegError):
    """A model bundle is missing, damaged or of an unknown kind. Verify it or import it again."""


class DeviceError(KidneySegError):
    """A requested device is absent or ran out of memory. Choose another device, or ``auto``."""


class DependencyError(KidneySegError):
    """An optional package is not installed. The message names the extra that brings it."""


class Cancelled(Exception):
    """The user asked to stop. Not an error: nothing was written, and the command line exits with status 130."""
