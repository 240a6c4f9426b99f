"""Reading nnU-Net's checkpoints without running anything in them.

A checkpoint is a pickle, which could hold any program. `torch.load` with ``weights_only=True`` builds tensors and plain
Python values and refuses all else; numpy's scalars and arrays, which nnU-Net's training log holds, are added here.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from KidneySegLib.errors import DependencyError, ModelError

if TYPE_CHECKING:
    from torch import Tensor

#: nnU-Net's networks register each layer twice; these parts of a key stand in the second names.
_SECOND_NAMES = (".all_modules.", "decoder.encoder.")


@dataclass(frozen=True)
class Checkpoint:
    """What of a checkpoint is needed to predict.

    Attributes:
        weights: the network's parameters, second names left out.
        trainer: name of the trainer class, for the record.
        configuration: name of the configuration in plans.json.
        mirror_axes: axes that may be mirrored; None where mirroring was not allowed.
        epoch: epochs done; None if not told.
    """

    weights: Mapping[str, Tensor]
    trainer: str
    configuration: str
    mirror_axes: tuple[int, ...] | None
    epoch: int | None


def read_checkpoint(path: Path) -> Checkpoint:
    """Read a ``checkpoint_*.pth`` of nnU-Net v2.

    Raises:
        DependencyError: if torch is not installed.
        ModelError: if the file is damaged, holds anything but plain data, or is no checkpoint of nnU-Net v2.
    """
    content = _load(path)
    if not isinstance(content, dict) or not isinstance(content.get("network_weights"), dict):
        raise ModelError(f"{path} is no checkpoint of nnU-Net v2: it holds no network_weights.")
    from torch import Tensor

    weights = content["network_weights"]
    if not weights or not all(isinstance(k, str) and isinstance(v, Tensor) for k, v in weights.items()):
        raise ModelError(f"{path}: network_weights must name tensors, and something else was found in it.")
    init = content.get("init_args")
    configuration = init.get("configuration") if isinstance(init, dict) else None
    if not isinstance(configuration, str):
        raise ModelError(f"{path} does not say which configuration of plans.json it was trained with.")
    epoch = content.get("current_epoch")
    return Checkpoint(
        weights=unique_state(weights),
        trainer=str(content.get("trainer_name", "unknown")),
        configuration=configuration,
        mirror_axes=_mirror_axes(content.get("inference_allowed_mirroring_axes"), path),
        epoch=epoch if isinstance(epoch, int) else None,
    )


def unique_state(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A checkpoint's parameters without second names, and without what torch's compiler puts before the names."""
    plain = {key.removeprefix("module.").removeprefix("_orig_mod."): value for key, value in state.items()}
    return {key: value for key, value in plain.items() if not any(part in key for part in _SECOND_NAMES)}


def _mirror_axes(value: Any, path: Path) -> tuple[int, ...] | None:
    if value is None:
        return None
    if not isinstance(value, list | tuple) or not all(isinstance(v, int) and 0 <= v <= 2 for v in value):
        raise ModelError(f"{path}: mirrored axes must be of 0, 1 and 2, got {value!r:.80}.")
    return tuple(dict.fromkeys(int(v) for v in value)) or None


def _load(path: Path) -> Any:
    try:
        import torch
    except ImportError as error:
        raise DependencyError(
            "Importing an nnU-Net model needs torch, which is not installed (the imported model then runs without it). "
            "Install it: pip install 'kidneyseg[gpu]'."
        ) from error
    import pickle

    try:
        with _plain_numpy():
            # Mapped, so that the optimiser's state (two thirds of the file) is not read.
            return torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except pickle.UnpicklingError as error:
        reason = str(error).splitlines()[0]
        for line in str(error).splitlines():
            if "GLOBAL" in line or "Unsupported" in line:
                reason = line.strip()
                break
        raise ModelError(
            f"{path} holds more than plain data, or is damaged: {reason:.300} It was not loaded, since such a file can "
            "run any program. Get the model from its makers again."
        ) from error
    except Exception as error:  # A damaged pickle raises whatever it runs into: IndexError, struct.error, EOFError ...
        raise ModelError(f"{path} could not be read as a checkpoint: {error!s:.300} Get the model again.") from error


@contextmanager
def _plain_numpy() -> Iterator[None]:
    """Let `torch.load` build numpy scalars and arrays of numbers, whatever numpy's version wrote them."""
    import numpy as np
    import torch

    multiarray: Any = import_module("numpy._core.multiarray" if np.__version__[0] != "1" else "numpy.core.multiarray")
    scalar, rebuild = multiarray.scalar, multiarray._reconstruct
    kinds = {type(np.dtype(kind)) for kind in ("f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "?")}
    named: list[Any] = [
        (f, f"numpy.{core}.multiarray.{f.__name__}") for core in ("core", "_core") for f in (scalar, rebuild)
    ]
    allowed = [np.dtype, np.ndarray, *kinds, *named]
    with torch.serialization.safe_globals(allowed):
        yield
