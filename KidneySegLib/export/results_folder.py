"""A results folder appears as a whole or not at all."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from KidneySegLib.errors import OutputError
from KidneySegLib.files import why_not_written

#: The file that makes a folder ours. It is written last.
PROVENANCE = "provenance.json"


def check_results_folder(folder: Path) -> None:
    """Refuse a folder that results cannot be written to, before any work is done.

    A missing or empty folder will do, and an older results folder, which will be replaced as a whole.

    Raises:
        OutputError: a file is in the way, the folder holds something else, or its place cannot be written to.
    """
    target = _resolved(folder)
    _check_target(target)
    parent = target.parent
    while not parent.exists():
        parent = parent.parent
    if not parent.is_dir():
        raise OutputError(f"{folder} cannot be made, because {parent} is a file. Choose another results folder.")
    try:
        probe = tempfile.mkdtemp(prefix=".kidneyseg-", dir=parent)
        os.rmdir(probe)
    except OSError as error:
        raise _output_error(folder, error) from error


@contextmanager
def new_results_folder(folder: Path) -> Iterator[Path]:
    """Give a temporary folder beside the wanted one; at the end of the block it takes the wanted one's place.

    If the block raises, or the last step fails, the temporary folder is removed and what was there before stays.

    Raises:
        OutputError: as `check_results_folder`, or writing failed (no space, no permission).
    """
    target = _resolved(folder)
    _check_target(target)
    made: list[Path] = []
    temporary: Path | None = None
    try:
        made = _make_parents(target.parent)
        temporary = Path(tempfile.mkdtemp(prefix=f".{target.name}.", suffix=".part", dir=target.parent))
        # mkdtemp's folders are private; a results folder has the user's usual permissions.
        temporary.chmod(0o777 & ~_umask())
        yield temporary
        _sync(temporary)
        _put_in_place(temporary, target)
    except BaseException as error:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)
        for parent in reversed(made):
            with suppress(OSError):
                parent.rmdir()
        if isinstance(error, OSError):
            raise _output_error(folder, error) from error
        raise


def _resolved(folder: Path) -> Path:
    """The real place, so that a link is followed and not replaced."""
    return Path(os.path.realpath(Path(folder).expanduser()))


def _check_target(target: Path) -> None:
    try:
        if not target.exists():
            return
        if not target.is_dir():
            raise OutputError(f"{target} is a file, but a folder for the results was expected. Choose another one.")
        if any(target.iterdir()) and not (target / PROVENANCE).is_file():
            raise OutputError(
                f"The folder {target} is not empty and holds no results of KidneySeg (no {PROVENANCE}). "
                "Choose an empty or new folder."
            )
    except OSError as error:
        raise _output_error(target, error) from error


def _make_parents(parent: Path) -> list[Path]:
    """Make missing parents; those made, outermost first."""
    missing = []
    while not parent.exists():
        missing.append(parent)
        parent = parent.parent
    made = []
    try:
        for folder in reversed(missing):
            folder.mkdir()
            made.append(folder)
    except OSError:
        for folder in reversed(made):
            with suppress(OSError):
                folder.rmdir()
        raise
    return made


def _sync(folder: Path) -> None:
    """Have the files on the disk before the folder gets its name, so that a power cut leaves no empty ones under it."""
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            with path.open("rb+") as stream:
                os.fsync(stream.fileno())


def _put_in_place(temporary: Path, target: Path) -> None:
    if not target.exists():
        os.rename(temporary, target)
        return
    old = Path(tempfile.mkdtemp(prefix=f".{target.name}.", suffix=".old", dir=target.parent))
    try:
        os.rename(target, old / "results")
    except OSError:
        os.rmdir(old)
        _fill(temporary, target)  # a mount point or a folder in use cannot be renamed
        return
    try:
        os.rename(temporary, target)
    except OSError:
        os.rename(old / "results", target)
        os.rmdir(old)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _fill(temporary: Path, target: Path) -> None:
    """Move files into a folder that cannot be renamed; `PROVENANCE` last, so that a broken result is not ours."""
    with suppress(FileNotFoundError):
        (target / PROVENANCE).unlink()
    for stale in target.iterdir():
        if stale.is_dir() and not stale.is_symlink():
            shutil.rmtree(stale)
        else:
            stale.unlink()
    moved: list[Path] = []
    try:
        for source in sorted(temporary.iterdir(), key=lambda path: path.name == PROVENANCE):
            moved.append(target / source.name)
            shutil.move(source, target / source.name)
    except OSError:
        for path in moved:
            with suppress(OSError):
                path.unlink()
        raise
    temporary.rmdir()


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _output_error(folder: Path, error: OSError) -> OutputError:
    advice = {
        errno.ENOSPC: "Free some space or choose another disk",
        errno.EDQUOT: "Free some space or choose another disk",
        errno.ENAMETOOLONG: "Choose a shorter one",
    }.get(error.errno or 0, "Choose another results folder")
    return OutputError(
        f"The results could not be written to {folder}: {why_not_written(error)}. {advice}. Nothing was left there."
    )
