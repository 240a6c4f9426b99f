"""What the operating system says while a data set is written, as an error that the user can mend."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from KidneySegLib.errors import OutputError

_ADVICE = {
    errno.ENOSPC: "the disk is full. Free some space",
    errno.EDQUOT: "your disk quota is used up. Free some space",
    errno.EROFS: "the disk can only be read. Choose another folder",
    errno.EACCES: "you may not write there. Ask for permission, or choose another folder",
    errno.EPERM: "you may not write there. Ask for permission, or choose another folder",
    errno.ENOTDIR: "a part of its path is a file. Choose another folder",
}


@contextmanager
def plain_disk_errors(folder: Path) -> Iterator[None]:
    """Turn an `OSError` into an `OutputError` that says what to do."""
    try:
        yield
    except OSError as error:
        why = _ADVICE.get(error.errno or 0, f"{error.strerror or error}. Try again, or choose another folder")
        raise OutputError(f"Nothing was added to the data set {folder}: {why}.") from error
