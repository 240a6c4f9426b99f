"""How bundle folders appear: made in a private place beside their own, then renamed, whole or not at all."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from KidneySegLib.errors import ModelError
from KidneySegLib.models.bundle import MANIFEST


@contextmanager
def fresh_folder(target: Path, prefix: str = ".bundle-") -> Iterator[Path]:
    """An empty folder to fill, which takes ``target``'s place when the block ends well.

    What was at ``target`` is deleted then. After an error it is as it was, and nothing else is left.

    Args:
        target: where the folder shall be; missing parents are made.
        prefix: of the temporary folder beside it. One that begins with a dot is no model.

    Raises:
        OSError: the folder cannot be made or renamed.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=prefix, dir=target.parent))
    try:
        fresh = staging / target.name
        fresh.mkdir()
        yield fresh
        _put_in_place(fresh, target, staging)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def check_folder_is_free(folder: Path, replace: bool) -> None:
    """Raise a `ModelError` where something is at a path but an empty folder or a bundle that may be replaced."""
    if folder.exists() and not (replace and ((folder / MANIFEST).is_file() or not any(folder.iterdir()))):
        raise ModelError(f"{folder} exists already. Choose another folder, or replace the model in it (replace=True).")


def _put_in_place(fresh: Path, target: Path, staging: Path) -> None:
    """Rename ``fresh`` to ``target``; what was there goes to ``staging`` and comes back if the rename fails."""
    old = staging / ".old"
    had_old = target.exists()
    if had_old:
        target.rename(old)
    try:
        fresh.rename(target)
    except OSError:
        if had_old:
            old.rename(target)
        raise
