"""Files that readers see whole or not at all, why one could not be written, and what identifies them."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from KidneySegLib.errors import OutputError

_BLOCK_BYTES = 1 << 20
_REASONS = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "your disk quota is used up",
    errno.EROFS: "the disk can only be read",
    errno.EACCES: "you may not write there",
    errno.EPERM: "you may not write there",
    errno.ENOTDIR: "a part of its path is a file",
    errno.ENAMETOOLONG: "its name is too long",
}


def why_not_written(error: OSError) -> str:
    """What the operating system says to a write, in the same plain words everywhere: ``the disk is full``.

    Args:
        error: of the write.

    Returns:
        The end of a sentence, without a full stop; the system's own words where we have none, and those of the error
        where it comes without a number.
    """
    return _REASONS.get(error.errno or 0) or error.strerror or str(error)


@contextmanager
def plain_write_errors(what: str, advice: str) -> Iterator[None]:
    """Tell a write that fails in one sentence, and what to do in the next.

    Args:
        what: how the first begins: ``volumes.csv could not be written``.
        advice: the next, or more of them.

    Raises:
        OutputError: for an `OSError`; any other error goes on as it is.
    """
    try:
        yield
    except OSError as error:
        raise OutputError(f"{what} ({why_not_written(error)}). {advice}") from error


def write_whole(path: Path, content: bytes, beside: Path | None = None) -> None:
    """Write a file under its name only when it is whole and on the disk.

    Two who write the same file at the same time would share a temporary name: keep them apart by a lock.

    Args:
        path: the file; its folder is made.
        content: all of it.
        beside: folder of the temporary file, on the same disk; None is that of the file.

    Raises:
        OSError: it could not be written; an older one is still there.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # Always the same name, so that a killed writer's is written over.
    name = f".{path.name}.part" if beside is None else f".{path.parent.name}.{path.name}.part"
    unfinished = (beside or path.parent) / name
    try:
        with unfinished.open("wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(unfinished, path)
    except OSError:
        with contextlib.suppress(OSError):
            unfinished.unlink()
        raise


def json_text(content: Any, *, ascii_only: bool = False, allow_nan: bool = True) -> str:
    """JSON for people and programs: indented, ending in a newline.

    Args:
        content: as `json.dumps` takes it.
        ascii_only: escape other letters, for readers that do not open files as UTF-8 (nnU-Net on Windows) and for
            file names to be read back, which need not be UTF-8.
        allow_nan: write a number that is none as Python does; other readers refuse it.

    Raises:
        ValueError: there is such a number, and it is not allowed.
    """
    return json.dumps(content, indent=2, ensure_ascii=ascii_only, allow_nan=allow_nan) + "\n"


def write_json(path: Path, content: Any, *, ascii_only: bool = False, allow_nan: bool = True) -> None:
    """Write `json_text` as UTF-8, whole or not at all; see `write_whole`."""
    write_whole(path, json_text(content, ascii_only=ascii_only, allow_nan=allow_nan).encode("utf-8", "replace"))


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, in lower-case hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()
