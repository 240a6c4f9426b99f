"""What the operating system says while a data set is written, as an error that the user can mend."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from KidneySegLib.errors import OutputError
from KidneySegLib.files import why_not_written

_ADVICE = {
    errno.ENOSPC: "Free some space",
    errno.EDQUOT: "Free some space",
    errno.EACCES: "Ask for permission, or choose another folder",
    errno.EPERM: "Ask for permission, or choose another folder",
}


@contextmanager
def plain_disk_errors(folder: Path) -> Iterator[None]:
    """Turn an `OSError` into an `OutputError` that says what to do."""
    try:
        yield
    except OSError as error:
        advice = _ADVICE.get(error.errno or 0, "Try again, or choose another folder")
        raise OutputError(f"Nothing was added to the data set {folder}: {why_not_written(error)}. {advice}.") from error
