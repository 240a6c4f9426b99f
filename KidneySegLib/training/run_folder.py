"""The folder of a training run: made, or found to hold the run that is to go on."""

from __future__ import annotations

from pathlib import Path

from KidneySegLib.errors import InputError
from KidneySegLib.files import plain_write_errors


def claim(output: Path, *, begun: bool, resume: bool, parts: tuple[str, ...] = ()) -> None:
    """Make the folder of a run, and folders in it.

    Args:
        output: the folder.
        begun: whether it holds a checkpoint already.
        resume: whether that is to go on.
        parts: folders in it.

    Raises:
        InputError: if it holds a run that is not to go on.
        OutputError: if it cannot be made.
    """
    if begun and not resume:
        raise InputError(f"{output} holds a training run already. Resume it (--resume), or choose another folder.")
    with plain_write_errors(f"{output} cannot be made", "Choose another folder."):
        for folder in (output, *(output / part for part in parts)):
            folder.mkdir(parents=True, exist_ok=True)
