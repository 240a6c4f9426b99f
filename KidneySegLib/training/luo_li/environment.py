"""nnU-Net as a library: its folders and processes set here and put back afterwards, its prints kept in a log.

nnU-Net reads environment variables, prints what it does, and starts a pool of processes for every step. Nobody who
runs the protocol should have to know.
"""

from __future__ import annotations

import multiprocessing
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from importlib import import_module
from importlib.util import find_spec
from multiprocessing.pool import ThreadPool
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from KidneySegLib.errors import DependencyError, KidneySegError

LOG_FILE = "nnunet.log"
LOADERS_VARIABLE = "nnUNet_n_proc_DA"
_COMPILE_VARIABLE = "nnUNet_compile"
_MODULES_WITH_POOLS = (
    "nnunetv2.experiment_planning.verify_dataset_integrity",
    "nnunetv2.experiment_planning.dataset_fingerprint.fingerprint_extractor",
    "nnunetv2.preprocessing.preprocessors.default_preprocessor",
    "nnunetv2.training.nnUNetTrainer.nnUNetTrainer",
    "nnunetv2.evaluation.evaluate_predictions",
)


def require_nnunet() -> None:
    """Raise `DependencyError` unless torch and nnunetv2 are installed."""
    missing = [name for name in ("torch", "nnunetv2") if find_spec(name) is None]
    if missing:
        raise DependencyError(
            f"This recipe needs {' and '.join(missing)}, which is not installed. Install the training extra: "
            "pip install 'kidneyseg[train]' (in a checkout: make setup-dev)."
        )


def refuse_respawn() -> None:
    """Refuse to train while a spawned child process is still importing the user's script."""
    if getattr(multiprocessing.current_process(), "_inheriting", False):
        raise KidneySegError(
            "Training was called by a child process that imports the script again. Put the call under "
            "if __name__ == '__main__': (Python's rule for programs that start processes)."
        )


def default_processes() -> int:
    """Processes for preprocessing: half the cores, at most 8 as in nnU-Net; on one or two cores, none but this one."""
    return max(1, min(8, (os.cpu_count() or 1) // 2))


def default_loaders(device: str) -> int:
    """Processes that load and augment: 0 (in this process) on two cores or fewer, nnU-Net's 12 at most beside a GPU."""
    cores = os.cpu_count() or 1
    if cores <= 2:
        return 0
    return min(12, cores - 1) if device == "cuda" else min(2, cores - 2)


@contextmanager
def nnunet_environment(work: Path, *, processes: int, loaders: int) -> Iterator[None]:
    """nnU-Net's folders under ``work``, its output in ``work/nnunet.log``, its processes as given.

    Args:
        work: gets ``nnUNet_raw``, ``nnUNet_preprocessed``, ``nnUNet_results``.
        processes: for preprocessing and validation. With 1, threads of this process do the work of nnU-Net's pools: a
            new process takes seconds to import torch, and on Windows asks for a guarded script.
        loaders: processes that load and augment while training; 0: this one.
    """
    values = {f"nnUNet_{part}": str(work / f"nnUNet_{part}") for part in ("raw", "preprocessed", "results")}
    values |= {
        "nnUNet_def_n_proc": str(processes),
        LOADERS_VARIABLE: str(loaders),
        # Compiling pays off in hours of training and is the part of torch that fails most on unusual machines.
        _COMPILE_VARIABLE: os.environ.get(_COMPILE_VARIABLE, "false"),
        "MPLBACKEND": "agg",
    }
    before = {name: os.environ.get(name) for name in values}
    for part in ("raw", "preprocessed", "results"):
        Path(values[f"nnUNet_{part}"]).mkdir(parents=True, exist_ok=True)
    os.environ.update(values)
    try:
        with (
            (work / LOG_FILE).open("a", encoding="utf-8", buffering=1) as log,
            redirect_stdout(log),
            warnings.catch_warnings(),
        ):
            warnings.simplefilter("ignore")
            register_trainer()
            with _pools(processes):
                yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextmanager
def _pools(processes: int) -> Iterator[None]:
    """With one process, give nnU-Net's modules pools of one thread."""
    modules = [import_module(name) for name in _MODULES_WITH_POOLS]
    if processes > 1:
        yield
        return
    threads = SimpleNamespace(get_context=lambda _method: SimpleNamespace(Pool=lambda _count: ThreadPool(1)))
    before: list[tuple[Any, Any]] = [(module, module.multiprocessing) for module in modules]
    for module in modules:
        module.multiprocessing = threads  # type: ignore[attr-defined]
    try:
        yield
    finally:
        for module, original in before:
            module.multiprocessing = original


def register_trainer() -> None:
    """Let nnU-Net find our trainer by its name.

    nnU-Net looks through its own modules before it looks into the folders of ``nnUNet_extTrainer``, and some of them
    need timm and torchvision, which do not import beside a CPU build of torch. Where it looks first, it finds ours.
    """
    from nnunetv2.training.nnUNetTrainer import nnUNetTrainer as first_module

    from KidneySegLib.training.luo_li.trainers.luo_li_2025_trainer import LuoLi2025Trainer

    first_module.LuoLi2025Trainer = LuoLi2025Trainer


def last_lines(work: Path, count: int = 3) -> str:
    """The end of nnU-Net's log, for messages."""
    try:
        lines = (work / LOG_FILE).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    return " ".join(line.strip() for line in lines[-count:] if line.strip())
