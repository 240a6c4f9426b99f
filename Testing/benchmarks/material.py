"""What is timed: a phantom's CT, and weights that have learnt kidneys, as nnU-Net's model folder and as our bundle.

All of it is made once from fixed seeds and kept in the user's cache folder; the same on every machine.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from KidneySegLib.files import file_sha256
from Testing.benchmarks.phantoms import NOISE_HU, rendered
from Testing.benchmarks.plans import CONFIGURATION, Planned, ScanPlan, dataset_json, plans_json
from Testing.benchmarks.weights import FOREGROUND, learnt, learnt_file

#: Counts up when what is made here changes.
VERSION = 9


@dataclass(frozen=True)
class Scan:
    """A phantom's CT on disk, uncompressed.

    Attributes:
        plan: what it is.
        image: the file.
        truth: label ids of `labels.LABELS`.
    """

    plan: ScanPlan
    image: Path
    truth: Path


@dataclass(frozen=True)
class Model:
    """The same weights for both sides.

    Attributes:
        planned: the network.
        folder: nnU-Net's: plans.json, dataset.json, fold_0.
        bundle: ours, imported from it; names our localiser.
        made: how the weights came to be.
    """

    planned: Planned
    folder: Path
    bundle: Path
    made: str


def cache_folder() -> Path:
    """``$KIDNEYSEG_BENCHMARK_CACHE``, or the user's cache folder."""
    import platformdirs

    given = os.environ.get("KIDNEYSEG_BENCHMARK_CACHE")
    return Path(given) if given else Path(platformdirs.user_cache_dir("KidneySeg", appauthor=False)) / "benchmark"


def make_scan(plan: ScanPlan) -> Scan:
    """The CT of a plan; made where it is not there yet."""
    import SimpleITK as sitk

    key = hashlib.sha256(json.dumps([asdict(plan), VERSION]).encode()).hexdigest()[:12]
    folder = cache_folder() / f"scan-{plan.name}-{key}"
    scan = Scan(plan, folder / "ct.nii", folder / "labels.nii")
    if scan.truth.is_file():
        return scan
    folder.mkdir(parents=True, exist_ok=True)
    hu, labels, grid = rendered(plan.seed, plan.shape, plan.spacing_mm)
    hu += np.random.default_rng(plan.seed).normal(0.0, NOISE_HU, hu.shape).astype(np.float32)
    sitk.WriteImage(grid.to_sitk(np.clip(np.rint(hu), -1024, 3071).astype(np.int16)), str(scan.image))
    sitk.WriteImage(grid.to_sitk(labels), str(scan.truth))
    return scan


@functools.cache
def make_model(planned: Planned) -> Model:
    """A network with weights that have learnt phantoms' kidneys (`learn`); made where it is not there yet."""
    import torch

    given = file_sha256(learnt_file(planned))
    made = (
        f"{sum(planned.training_steps)} steps on phantoms in a network of {planned.trained_features[0]} to "
        f"{planned.trained_features[-1]} channels, put into the wide one (the same answers); {given[:12]}"
    )
    key = hashlib.sha256(json.dumps([asdict(planned), FOREGROUND, VERSION, given]).encode()).hexdigest()[:12]
    folder = cache_folder() / f"model-{planned.name}-{key}"
    model = Model(planned, folder / "nnunet", folder / "bundle", made)
    checkpoint = model.folder / "fold_0" / "checkpoint_final.pth"
    if not checkpoint.is_file():
        work = folder.with_name(folder.name + ".part")
        shutil.rmtree(work, ignore_errors=True)
        (work / "nnunet" / "fold_0").mkdir(parents=True)
        plans = plans_json(planned, FOREGROUND)
        (work / "nnunet" / "plans.json").write_text(json.dumps(plans))
        (work / "nnunet" / "dataset.json").write_text(json.dumps(dataset_json()))
        content = {
            "network_weights": learnt(planned),
            "trainer_name": "nnUNetTrainer",
            "init_args": {"configuration": CONFIGURATION},
            "inference_allowed_mirroring_axes": (0, 1, 2),
        }
        torch.save(content, work / "nnunet" / "fold_0" / "checkpoint_final.pth")
        shutil.rmtree(folder, ignore_errors=True)
        work.rename(folder)
    # Anew in each process, so that the graph is what this program makes of the weights today.
    from KidneySegLib.models.nnunet import import_nnunet

    name = f"benchmark-{planned.name}"
    import_nnunet(model.folder, name, folder=model.bundle, localiser="kidneyseg-localiser", replace=True)
    return model
