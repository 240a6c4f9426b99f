"""One batch at a time in an output folder. A lock that the operating system takes back whatever kills its owner."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from KidneySegLib.errors import OutputError
from KidneySegLib.files import plain_write_errors

LOCK_NAME = ".batch.lock"
#: What to do where a batch cannot begin.
OTHER_FOLDER = "Choose another folder with -o."
#: What a disk answers that knows no locks (some network drives).
_NO_LOCKS = {errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL}
#: Byte that is locked on Windows, far behind the text, so that others can read who holds the lock.
_WINDOWS_BYTE = 1 << 20


@contextmanager
def only_batch(output: Path) -> Iterator[None]:
    """Hold the folder's lock while the block lasts.

    The lock is the operating system's own: it ends with its process, also one that was killed, so there is nothing
    stale to clear. Where the disk has no locks, the file itself is the lock and names its owner; then an owner of
    this computer that no longer runs is passed over.

    Raises:
        OutputError: another batch runs in this folder, or the lock's file cannot be written.
    """
    path = output / LOCK_NAME
    with plain_write_errors(f"{path} cannot be written", OTHER_FOLDER):
        handle = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o666)
    try:
        try:
            _lock(handle)
        except BlockingIOError as error:
            raise _refusal(output, _owner(path)) from error
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise OutputError(f"{path} cannot be locked ({error.strerror}). Choose another disk.") from error
            owner = _owner(path)
            if _runs(owner):
                raise _refusal(output, owner) from error
        with contextlib.suppress(OSError):  # only who it is; on a full disk the lock holds all the same
            os.ftruncate(handle, 0)
            os.write(handle, json.dumps({"host": socket.gethostname(), "pid": os.getpid()}).encode())
        yield
        with contextlib.suppress(OSError):
            os.ftruncate(handle, 0)
    finally:
        # The file stays: to remove it would let two others each lock another file of the same name.
        os.close(handle)


def _lock(handle: int) -> None:
    if sys.platform == "win32":
        import msvcrt

        os.lseek(handle, _WINDOWS_BYTE, os.SEEK_SET)
        try:
            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
        except OSError as error:
            raise BlockingIOError(*error.args) from error
        finally:
            os.lseek(handle, 0, os.SEEK_SET)
        return
    import fcntl

    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except PermissionError as error:  # what some systems say for "somebody else's"
        raise BlockingIOError(*error.args) from error


def _owner(path: Path) -> dict[str, object]:
    try:
        content = json.loads(path.read_bytes() or b"{}")
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _runs(owner: dict[str, object]) -> bool:
    """Whether the process that the file names may still be at work. One of another computer may."""
    from KidneySegLib.worker_parts.lifeline import is_alive

    pid = owner.get("pid")
    if not isinstance(pid, int) or pid == os.getpid():
        return False
    return owner.get("host") != socket.gethostname() or is_alive(pid)


def _refusal(output: Path, owner: dict[str, object]) -> OutputError:
    who = f" (process {owner['pid']} on {owner['host']})" if {"pid", "host"} <= owner.keys() else ""
    return OutputError(
        f"Another kidneyseg batch is writing to {output}{who}. Wait for it, stop it, or choose another folder with -o. "
        f"If none runs anywhere, delete {output / LOCK_NAME}."
    )
