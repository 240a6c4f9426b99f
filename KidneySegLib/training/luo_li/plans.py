"""nnU-Net's own fingerprint, planning and preprocessing, with the paper's network put into its plans."""

from __future__ import annotations

import itertools
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from KidneySegLib.errors import InputError, ModelError
from KidneySegLib.files import write_json
from KidneySegLib.progress import Progress
from KidneySegLib.training.luo_li.environment import LOADERS_VARIABLE, last_lines
from KidneySegLib.training.luo_li.raw import DATASET_NAMES, FILE_ENDING
from KidneySegLib.training.luo_li.settings import BATCH_SIZE, SIZE_MULTIPLE, LuoLiSettings

PLANS_NAME = "LuoLi2025Plans"
CONFIGURATION = "3d_fullres"
TRAINER_NAME = "LuoLi2025Trainer"
SETTINGS_KEY = "luo_li_2025"
NETWORK_CLASS = "KidneySegLib.networks.unet3d.UNet3D"
#: Sampled for the fingerprint over all cases (nnU-Net: 100 million, 7 s a small case).
FOREGROUND_VOXELS = 1_000_000
#: Put beside the preprocessed cases when all of them are there.
DONE_FILE = "kidneyseg_preprocessed.json"


def prepare(
    structure: str, work: Path, settings: LuoLiSettings, processes: int, progress: Progress = Progress()
) -> dict[str, Any]:
    """Check, plan and preprocess one data set. Call within `environment.nnunet_environment`.

    Args:
        structure: ``parenchyma`` or ``cortex``.
        work: folder with ``nnUNet_raw`` and so on.
        settings: of the run.
        processes: for nnU-Net's pools.
        progress: stage ``prepare``.

    Returns:
        The plans.

    Raises:
        InputError: what nnU-Net's check of the raw data set finds, or scans that cannot be trained on in 3-D.
        ModelError: nnU-Net failed, for instance because one of its processes was killed for want of memory.
    """
    from nnunetv2.experiment_planning.experiment_planners.default_experiment_planner import ExperimentPlanner
    from nnunetv2.experiment_planning.plan_and_preprocess_api import extract_fingerprint_dataset
    from nnunetv2.experiment_planning.verify_dataset_integrity import verify_dataset_integrity
    from nnunetv2.preprocessing.preprocessors.default_preprocessor import DefaultPreprocessor

    name = DATASET_NAMES[structure]
    raw, preprocessed = work / "nnUNet_raw" / name, work / "nnUNet_preprocessed" / name
    plans_file, done = preprocessed / f"{PLANS_NAME}.json", preprocessed / DONE_FILE
    if done.is_file():
        plans: dict[str, Any] = json.loads(plans_file.read_text(encoding="utf-8"))
        return plans
    progress.report("prepare", 0.0, f"{structure}: checking the raw data set")
    try:
        verify_dataset_integrity(str(raw), processes)
    except (AssertionError, RuntimeError, FileNotFoundError) as error:
        progress.check()
        raise InputError(f"nnU-Net refuses the data set {raw}: {error} Its log is {work / 'nnunet.log'}.") from error
    progress.report("prepare", 0.2, f"{structure}: fingerprint")
    number = int(name[len("Dataset") :][:3])
    try:
        extract_fingerprint_dataset(number, _fingerprint_class(), processes, verbose=False, show_progress_bar=False)
        progress.report("prepare", 0.4, f"{structure}: planning")
        with _at_least_one_loader():
            plans = patched(ExperimentPlanner(number, plans_name=PLANS_NAME).plan_experiment(), settings)
        write_json(plans_file, plans, ascii_only=True)
        progress.report("prepare", 0.5, f"{structure}: preprocessing")
        preprocessor = DefaultPreprocessor(verbose=False)
        preprocessor.show_progress_bar = False
        if processes == 1:
            _tell_each_case(preprocessor, structure, len(list((raw / "imagesTr").iterdir())), progress)
        preprocessor.run(number, CONFIGURATION, PLANS_NAME, num_processes=processes)
    except RuntimeError as error:
        progress.check()  # Ctrl-C reaches nnU-Net's processes too, which then fail before this one is asked.
        raise ModelError(
            f"nnU-Net failed in preparing {structure}: {error} Its log ends: {last_lines(work)}"
        ) from error
    truth = preprocessed / "gt_segmentations"
    truth.mkdir(exist_ok=True)
    for file in sorted((raw / "labelsTr").glob(f"*{FILE_ENDING}")):
        shutil.copyfile(file, truth / file.name)
    shutil.copyfile(raw / "splits_final.json", preprocessed / "splits_final.json")
    write_json(done, {"plans": PLANS_NAME})
    progress.report("prepare", 1.0, structure)
    return plans


def patched(plans: Mapping[str, Any], settings: LuoLiSettings) -> dict[str, Any]:
    """nnU-Net's plans with the paper's network, batch and training, and only the full resolution.

    Raises:
        InputError: nnU-Net planned no 3-D network.
    """
    plain: dict[str, Any] = json.loads(json.dumps(plans, default=_plain))
    configuration = plain["configurations"].get(CONFIGURATION)
    if configuration is None:
        raise InputError("nnU-Net planned no 3-D training: the scans have one slice. Give whole scans.")
    planned = configuration["patch_size"]
    patch = list(settings.patch) if settings.patch else [rounded(edge) for edge in planned]
    levels = len(settings.features)
    configuration.pop("next_stage", None)
    configuration.pop("previous_stage", None)
    configuration |= {
        "batch_size": BATCH_SIZE,
        "patch_size": patch,
        "architecture": {
            "network_class_name": NETWORK_CLASS,
            "arch_kwargs": {
                "features": list(settings.features),
                "strides": [[1, 1, 1]] + [[2, 2, 2]] * (levels - 1),
                "kernel_sizes": [[3, 3, 3]] * levels,
                "normalisation": "instance",
                "downsampling": "max_pool",
                "activation": "leaky_relu",
            },
            "_kw_requires_import": [],
        },
        SETTINGS_KEY: {
            "epochs": settings.epochs,
            "iterations": settings.iterations,
            "validation_iterations": settings.validation_iterations,
            "learning_rate": settings.learning_rate,
            "momentum": settings.momentum,
            "nesterov": settings.nesterov,
            "weight_decay": settings.weight_decay,
            "seed": settings.seed,
            "save_every": settings.checkpoint_epochs,
            "planned_patch_size": planned,
        },
    }
    plain["configurations"] = {CONFIGURATION: configuration}
    return plain


def _tell_each_case(preprocessor: Any, structure: str, count: int, progress: Progress) -> None:
    """Report, and look at stopping, before each case. Only in this process: another one has nobody to tell."""
    save = preprocessor.run_case_save
    started = itertools.count()

    def run_case_save(output: str, *arguments: Any) -> Any:
        message = f"{structure}: preprocessing {Path(output).name}"
        progress.report("prepare", 0.5 + 0.5 * next(started) / count, message)
        return save(output, *arguments)

    preprocessor.run_case_save = run_case_save


def _fingerprint_class() -> Any:
    """nnU-Net's fingerprint with fewer voxels of foreground: z-score uses none of their statistics."""
    from nnunetv2.experiment_planning.dataset_fingerprint.fingerprint_extractor import DatasetFingerprintExtractor

    class Fingerprint(DatasetFingerprintExtractor):  # type: ignore[misc]
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            self.num_foreground_voxels_for_intensitystats = FOREGROUND_VOXELS

    return Fingerprint


@contextmanager
def _at_least_one_loader() -> Iterator[None]:
    """The planner gives torch as many threads as there are loading processes, which may not be 0."""
    before = os.environ[LOADERS_VARIABLE]
    os.environ[LOADERS_VARIABLE] = str(max(1, int(before)))
    try:
        yield
    finally:
        os.environ[LOADERS_VARIABLE] = before


def rounded(edge: int) -> int:
    """The multiple of 16 nearest to a planned edge, at least one."""
    return max(SIZE_MULTIPLE, SIZE_MULTIPLE * ((int(edge) + SIZE_MULTIPLE // 2) // SIZE_MULTIPLE))


def _plain(value: Any) -> Any:
    """numpy's numbers and arrays as JSON's own."""
    return value.tolist()
