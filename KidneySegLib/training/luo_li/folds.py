"""Training and validation of one fold by nnU-Net: in this process, or on several cards by its own DDP."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from contextlib import redirect_stdout, suppress
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any

from KidneySegLib.errors import DeviceError, InputError, ModelError
from KidneySegLib.progress import Progress
from KidneySegLib.training.luo_li.environment import last_lines
from KidneySegLib.training.luo_li.plans import CONFIGURATION, PLANS_NAME, TRAINER_NAME
from KidneySegLib.training.luo_li.raw import DATASET_NAMES, FILE_ENDING
from KidneySegLib.training.luo_li.settings import BATCH_SIZE

FINAL, LATEST = "checkpoint_final.pth", "checkpoint_latest.pth"
#: In trainers/luo_li_2025_trainer.py too, which imports nothing of ours.
_PROGRESS_FILE = "kidneyseg_progress.json"
_POLL_SECONDS = 1.0
#: CPU and CUDA allocators, and processes of several cards, say it in words.
_OUT_OF_MEMORY = re.compile(r"out of memory|not enough memory|allocate memory", re.IGNORECASE)

#: Told the epochs done and the last pseudo-Dice.
Listener = Callable[[float, float | None], None]


@dataclass(frozen=True)
class FoldScore:
    """Validation of one fold on the cases that it was not trained on, on the scans' own grids.

    Attributes:
        fold: from 0.
        dice: mean over cases; None if no case could be scored.
        dice_of_case: by name; None where both masks are empty.
    """

    fold: int
    dice: float | None
    dice_of_case: dict[str, float | None]


def model_folder(work: Path, structure: str) -> Path:
    """Where nnU-Net puts the trained folds of a structure."""
    name = f"{TRAINER_NAME}__{PLANS_NAME}__{CONFIGURATION}"
    return work / "nnUNet_results" / DATASET_NAMES[structure] / name


def check_device(device: str, gpus: int) -> str:
    """The device type for training, ``cpu``, ``cuda`` or ``mps``.

    Raises:
        InputError: a device that is not here, or more cards than the batch has patches.
        DeviceError: fewer cards than asked for.
    """
    import torch

    from KidneySegLib.training.network_run import training_device

    kind = training_device(device).type
    if gpus > 1:
        if gpus > BATCH_SIZE:
            raise InputError(
                f"The protocol's batch has {BATCH_SIZE} patches, which nnU-Net deals out to the cards: --gpus must be "
                f"at most {BATCH_SIZE}, got {gpus}."
            )
        if kind != "cuda":
            raise InputError(f"--gpus {gpus} needs NVIDIA cards; the device is {kind}. Leave --gpus out.")
        if gpus > torch.cuda.device_count():
            raise DeviceError(f"--gpus {gpus} was asked for, but this computer has {torch.cuda.device_count()}.")
    return kind


def train_fold(
    structure: str, fold: int, work: Path, device: str, gpus: int, listener: Listener, progress: Progress
) -> FoldScore:
    """Train and validate a fold, going on where it stopped. Call within `environment.nnunet_environment`.

    Args:
        structure: ``parenchyma`` or ``cortex``.
        fold: from 0.
        work: folder with ``nnUNet_raw`` and so on.
        device: ``cpu``, ``cuda`` or ``mps``.
        gpus: cards.
        listener: told how far it is.
        progress: looked at for stopping.

    Raises:
        DeviceError: out of memory.
        ModelError: training ended without a usable model, for instance because its weights ran to infinity.
        Cancelled: the last checkpoint stays.
    """
    from torch.multiprocessing.spawn import ProcessException

    done = read_score(work, structure, fold)
    if done is not None:
        return done
    folder = model_folder(work, structure) / f"fold_{fold}"
    resume = (folder / FINAL).is_file() or (folder / LATEST).is_file()
    try:
        if gpus > 1:
            _train_on_cards(structure, fold, gpus, resume, folder, listener, progress)
        else:
            _train_here(structure, fold, device, resume, folder, listener, progress)
    except (RuntimeError, MemoryError, ProcessException) as error:
        progress.check()  # Ctrl-C reaches nnU-Net's processes too, which then fail before this one is asked.
        if isinstance(error, MemoryError) or _OUT_OF_MEMORY.search(str(error)):
            raise DeviceError(
                f"Training of {structure}, fold {fold}, ran out of memory ({_short(error)}). Free some, take fewer "
                "--loaders, or another --device, and --resume; or begin again with a smaller --patch."
            ) from error
        raise ModelError(
            f"nnU-Net failed in training {structure}, fold {fold}: {_short(error)}. Its log ends: {last_lines(work)}"
        ) from error
    score = read_score(work, structure, fold)
    if score is None:
        raise ModelError(f"nnU-Net left no validation of {structure}, fold {fold}. Its log ends: {last_lines(work)}")
    return score


def read_score(work: Path, structure: str, fold: int) -> FoldScore | None:
    """What nnU-Net's validation says of a fold, None if it is not finished."""
    folder = model_folder(work, structure) / f"fold_{fold}"
    try:
        summary = json.loads((folder / "validation" / "summary.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    if not (folder / FINAL).is_file():
        return None
    cases = {}
    for case in summary["metric_per_case"]:
        (metrics,) = case["metrics"].values()  # one structure
        cases[Path(case["prediction_file"]).name.removesuffix(FILE_ENDING)] = _number(metrics["Dice"])
    return FoldScore(fold, _number(summary["foreground_mean"]["Dice"]), cases)


def _train_here(
    structure: str, fold: int, device: str, resume: bool, folder: Path, listener: Listener, progress: Progress
) -> None:
    """As nnU-Net's ``run_training`` on one device, with an ear for progress."""
    import torch
    from nnunetv2.run.run_training import get_trainer_from_args, maybe_load_checkpoint

    finished = (folder / FINAL).is_file()
    trainer = get_trainer_from_args(
        DATASET_NAMES[structure], CONFIGURATION, fold, TRAINER_NAME, PLANS_NAME, resume, torch.device(device)
    )
    trainer.on_step, trainer.on_check = listener, progress.check
    if device == "cuda":
        torch.backends.cudnn.benchmark = True
    try:
        maybe_load_checkpoint(trainer, resume and not finished, finished)
        if not finished:
            trainer.run_training()
        trainer.perform_actual_validation()
    finally:
        for loader in (trainer.dataloader_train, trainer.dataloader_val):
            # Processes that load would outlive a training that was stopped.
            with suppress(Exception):
                getattr(loader, "_finish", lambda: None)()


def _train_on_cards(
    structure: str, fold: int, gpus: int, resume: bool, folder: Path, listener: Listener, progress: Progress
) -> None:
    """nnU-Net's own DDP: its ``run_ddp`` on every card, while this process waits and listens."""
    from nnunetv2.run.run_training import find_free_network_port
    from torch.multiprocessing.spawn import spawn

    os.environ["MASTER_ADDR"] = "localhost"
    os.environ["MASTER_PORT"] = str(find_free_network_port())
    finished = (folder / FINAL).is_file()
    arguments = (
        DATASET_NAMES[structure],
        CONFIGURATION,
        fold,
        TRAINER_NAME,
        PLANS_NAME,
        False,  # disable_checkpointing
        resume and not finished,
        finished,  # validation only
        None,  # pretrained_weights
        False,  # export probabilities
        False,  # validate with the best checkpoint
        gpus,
    )
    context: Any = spawn(_on_card, args=arguments, nprocs=gpus, join=False)
    try:
        while not context.join(timeout=_POLL_SECONDS):
            progress.check()
            with suppress(OSError, ValueError):
                told = json.loads((folder / _PROGRESS_FILE).read_text(encoding="utf-8"))
                listener(told["epochs"], told["dice"])
    finally:
        for process in context.processes:
            if process.is_alive():
                process.terminate()
            process.join()


def _on_card(rank: int, *arguments: Any) -> None:
    """One card's process: nnU-Net's ``run_ddp``, which must find our trainer in this process too."""
    from nnunetv2.run.run_training import run_ddp

    from KidneySegLib.training.luo_li.environment import register_trainer

    register_trainer()
    # What it prints goes to the terminal otherwise, between the lines of progress.
    with open(os.devnull, "w", encoding="utf-8") as nowhere, redirect_stdout(nowhere):
        run_ddp(rank, *arguments)


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and isfinite(value) else None


def _short(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1][:300] if lines else type(error).__name__
