"""How folders of the data set appear: made whole in a private place, then renamed. No lock is held while writing.

Renaming a folder to a name that is taken by a folder with files fails on every system (Linux, macOS, Windows, NFS,
SMB), so of two that want one name exactly one gets it and the other learns of it.
"""

from __future__ import annotations

import os
import secrets
import shutil
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

STAGING = ".staging"
CREATING = ".creating"
CLOCK = ".clock"
#: Names that begin so are a writer's own and gone in a moment.
PASSING = (STAGING, CREATING, CLOCK)
#: What a writer that was killed left is removed after this time. Adding one case takes well under a minute, so a
#: writer that is alive is never disturbed, wherever it runs.
ABANDONED_AFTER_S = 24 * 3600.0
#: How long making a new data set (two small files) may take before the next one takes over.
_CREATING_S = 60.0
#: Virus scanners and indexers of Windows keep new files open for a moment.
_RENAME_TRIES = 6


@contextmanager
def staging_folder(root: Path) -> Iterator[Path]:
    """A private folder on the data set's own disk; whatever is left in it at the end is removed.

    Raises:
        OSError: it cannot be made.
    """
    place = root / STAGING
    place.mkdir(exist_ok=True)
    mine = place / uuid.uuid4().hex
    mine.mkdir()
    try:
        _remove_abandoned(place, mine)
        yield mine
    finally:
        shutil.rmtree(mine, ignore_errors=True)


def publish(folder: Path, target: Path) -> bool:
    """Give a whole folder its name.

    Returns:
        False if the name is taken; then the folder stays where it was.

    Raises:
        OSError: anything else that keeps it from being renamed.
    """
    sync_tree(folder)
    target.parent.mkdir(parents=True, exist_ok=True)
    for attempt in range(_RENAME_TRIES):
        try:
            os.rename(folder, target)
            break
        except OSError:
            if not folder.exists() and target.exists():
                break  # NFS repeats a request whose answer was lost, and reports that of the second
            if target.exists():
                return False
            if attempt == _RENAME_TRIES - 1 or os.name != "nt":
                raise
            time.sleep(0.1 * 2**attempt)
    _sync_folder(target.parent)
    return True


def replace_file(path: Path, content: bytes, staging: Path) -> None:
    """A small file that readers see either whole or not at all."""
    temporary = staging / uuid.uuid4().hex
    with temporary.open("wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())
    os.replace(temporary, path)
    _sync_folder(path.parent)


@contextmanager
def creating(root: Path) -> Iterator[None]:
    """One at a time: making the two files of a new data set. One who was killed over it is not waited for.

    Raises:
        OSError: the folder cannot be written to.
    """
    lock = root / CREATING
    while True:
        try:
            lock.mkdir()
            break
        except FileExistsError:
            with suppress(FileNotFoundError):
                if _age_s(lock, root) > _CREATING_S:
                    # Only one of several who see this can rename it.
                    with suppress(OSError):
                        os.rename(lock, root / f"{CREATING}-{uuid.uuid4().hex}")
            time.sleep(0.02)
    try:
        yield
    finally:
        with suppress(OSError):
            lock.rmdir()
        for old in root.glob(f"{CREATING}-*"):
            with suppress(OSError):
                old.rmdir()


def new_secret() -> bytes:
    """The content of ``private.key``."""
    return secrets.token_hex(32).encode() + b"\n"


def sync_tree(folder: Path) -> None:
    """Make sure that all below a folder is on the disk and not only in memory: after a power cut a name must never
    stand for less than was written."""
    for root, _, files in os.walk(folder):
        for name in files:
            with open(Path(root) / name, "rb+") as stream:
                os.fsync(stream.fileno())
        _sync_folder(Path(root))


def _sync_folder(folder: Path) -> None:
    if os.name == "nt":  # folders cannot be opened there, and NTFS keeps a journal of names
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):  # some network drives refuse
            os.fsync(handle)
    finally:
        os.close(handle)


def _remove_abandoned(place: Path, mine: Path) -> None:
    for other in place.iterdir():
        with suppress(OSError):
            if other != mine and _age_s(other, mine) > ABANDONED_AFTER_S:
                shutil.rmtree(other)


def _age_s(path: Path, beside: Path) -> float:
    """Age of a folder by the clock of the disk that it lies on, which may be another computer's.

    Args:
        beside: a folder on the same disk that this process may write into.
    """
    probe = beside / f"{CLOCK}-{uuid.uuid4().hex}"
    probe.mkdir()
    try:
        return probe.stat().st_mtime - path.stat().st_mtime
    finally:
        probe.rmdir()
