"""Files of a training run that others load: written whole or not at all, and loadable without unpickling code."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import torch

from KidneySegLib.errors import InputError

#: Heads that only training uses; a bundle does not carry them.
TRAINING_ONLY_PREFIX = "auxiliary_heads."


def save_atomically(path: Path, content: Mapping[str, Any]) -> None:
    """``torch.save`` to a temporary name beside ``path``, then rename."""
    temporary = path.with_name(f".{path.name}.part")
    with open(temporary, "wb") as file:
        torch.save(dict(content), file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)


def load_safely(path: Path) -> dict[str, Any]:
    """Load tensors and plain values.

    Raises:
        InputError: if there is no such file or it is damaged.
    """
    import pickle

    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        raise InputError(f"{path}: expected a file of a training run, but {error}. Choose another file.") from error
    if not isinstance(content, dict):
        raise InputError(f"{path}: expected a file of a training run, but it holds no table. Choose another file.")
    return cast(dict[str, Any], content)


def shipped_weights(average: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Averaged weights as they ship: float16, without what only training uses."""
    return {
        name: value.detach().to("cpu", torch.float16) if value.is_floating_point() else value.detach().cpu()
        for name, value in average.items()
        if not name.startswith(TRAINING_ONLY_PREFIX)
    }
