"""Trains one variant of the abnormality network from start to end, and makes its bundle."""

from __future__ import annotations

import json
import os
import platform
import time
from dataclasses import asdict, replace
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

from KidneySegLib.errors import InputError
from KidneySegLib.files import write_json
from KidneySegLib.progress import Progress
from KidneySegLib.training.abnormality.config import AbnormalityRecipe

if TYPE_CHECKING:
    from KidneySegLib.models import Bundle
    from KidneySegLib.training.abnormality.trainer import AbnormalityTrainer
    from KidneySegLib.training.feed import SampleFeed
    from KidneySegLib.training.samples import SampleSource

BUNDLES_FOLDER = "bundles"
_TITLE = "Renal parenchyma and abnormality (cysts and masses) on CT"
_CITATION = "Network and additions after Humpire Mamani et al. 2023, doi:10.48550/arXiv.2309.03383."
_INTENDED_USE = (
    "Research and education: measuring kidneys, cysts and masses on CT after a person has looked at the masks. "
    "Trained on {data}. Not a medical device."
)


def sample_source(recipe: AbnormalityRecipe, dataset: Path | None) -> SampleSource:
    """Phantoms, or the training cases of a folder in the layout of Zenodo 8014290.

    Raises:
        InputError: for arguments that the source does not know, or a folder without cases.
    """
    config = recipe.training
    arguments: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in config.source_arguments.items()}
    if dataset is not None:
        from KidneySegLib.training.abnormality.scans import ScanBoxes, find_cases

        if recipe.separate_cyst_and_mass:
            raise InputError(
                f"{dataset} tells abnormality, not cyst from mass. Train on phantoms for separate_cyst_and_mass."
            )
        n = config.normalisation
        return ScanBoxes(find_cases(dataset), config.box, config.spacing_mm, n["low"], n["high"])
    from KidneySegLib.training.abnormality.phantom_boxes import AbnormalityBoxes

    try:
        return AbnormalityBoxes(config.box, config.spacing_mm, recipe.structures, **arguments)
    except TypeError as error:
        raise InputError(f"source_arguments: {error}. Mend the recipe.") from error


def train_variant(
    recipe: AbnormalityRecipe,
    output: Path,
    *,
    dataset: Path | None = None,
    device: str = "auto",
    resume: bool = False,
    workers: int | None = None,
    source: SampleSource | None = None,
    initial_weights: Path | None = None,
    progress: Progress | None = None,
) -> Path:
    """Train the network of a recipe and leave weights, checkpoint, log, plot and record in a folder.

    Args:
        recipe: with its switches.
        output: folder of the run.
        dataset: folder in the layout of Zenodo 8014290; None: phantoms.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``.
        resume: go on from the checkpoint in ``output``, if there is one.
        workers: processes that make samples; None: one fewer than cores; 0: a fixed set, made here.
        source: of samples, in place of phantoms or data set.
        initial_weights: ``weights.pt`` of another run of the same variant, in place of the recipe's ``start_from``.
        progress: told the share of the budget; its cancel token is looked at after every step.

    Returns:
        The file with the weights as they ship.

    Raises:
        InputError: for a recipe or data that do not fit, or an output folder with another run in it.
        OutputError: if the folder cannot be made.
    """
    from KidneySegLib.training.abnormality.trainer import AbnormalityTrainer
    from KidneySegLib.training.feed import SampleFeed
    from KidneySegLib.training.network_run import RECORD_FILE, SAMPLES_FOLDER, training_device
    from KidneySegLib.training.pool import SamplePool
    from KidneySegLib.training.run_folder import claim
    from KidneySegLib.training.schedule import Budget
    from KidneySegLib.training.seeds import TRAINING_SEEDS
    from KidneySegLib.training.trainer import CHECKPOINT_FILE, WEIGHTS_FILE

    progress = progress or Progress()
    began = time.monotonic()
    config = recipe.network
    torch_device = training_device(device)
    has_checkpoint = (output / CHECKPOINT_FILE).exists()
    source = source or sample_source(recipe, dataset)
    claim(output, begun=has_checkpoint, resume=resume)
    if workers is None:
        workers = max(1, (os.cpu_count() or 2) - 1)
    channels = len(recipe.structures)
    pool = SamplePool(config.pool_capacity, config.box, channels, False, torch_device)
    # A phantom gives up to four boxes.
    held_out = SamplePool(max(1, 4 * config.validation_seeds), config.box, channels, False, torch_device)
    trainer = AbnormalityTrainer(recipe, torch_device, pool, held_out, real_scans=dataset is not None)
    if has_checkpoint:
        trainer.resume(output)
    elif initial_weights is not None:
        trainer.start_from(initial_weights)
    elif recipe.start_from is not None:
        trainer.start_from_bundle(recipe.start_from)
    budget = Budget(config.minutes, config.steps)
    if budget.used(trainer.step, trainer.seconds) >= 1 and (output / RECORD_FILE).exists():
        return output / WEIGHTS_FILE
    feed = SampleFeed(
        source,
        pool,
        held_out,
        validation_seeds=config.validation_seeds,
        first_seed=trainer.next_seed if workers else TRAINING_SEEDS.first,
        start=config.pool_start,
        workers=workers,
        folder=output / SAMPLES_FOLDER,
    )
    with feed:
        while not feed.ready():
            progress.report("train", 0.0, f"{len(pool)} samples, waiting for {config.pool_start}")
            progress.check()
            time.sleep(0.2)
        trainer.seconds += time.monotonic() - began
        trainer.run(budget, output, progress, (lambda: feed.next_seed) if workers else None)
        _write_record(trainer, recipe, output / RECORD_FILE, feed, dataset)
    return output / WEIGHTS_FILE


def _write_record(
    trainer: AbnormalityTrainer, recipe: AbnormalityRecipe, file: Path, feed: SampleFeed, dataset: Path | None
) -> None:
    import torch

    from KidneySegLib.training.network_run import _processor, source_commit

    scores = trainer.last_validation
    device = trainer.device
    record = {
        "recipe": "abnormality",
        "data": "phantoms" if dataset is None else "a data set in the layout of Zenodo 8014290",
        "commit": source_commit(),
        "steps": trainer.step,
        "hours": round(trainer.seconds / 3600, 4),
        "machine": torch.cuda.get_device_name(device) if device.type == "cuda" else _processor(),
        "samples": trainer.pool.added,
        "samples_failed": feed.failures.count("seed "),
        "versions": {"python": platform.python_version(), "torch": str(torch.__version__)},
        "validation": None if scores is None else dict(zip(recipe.structures, scores.dice, strict=False)),
        "validation_false_abnormality_ml": None if scores is None else _finite(scores.false_ml),
        "choices": asdict(recipe),
    }
    write_json(file, record)


def _finite(value: float) -> float | None:
    return value if value == value else None


def export_variant(recipe: AbnormalityRecipe, run: Path, folder: Path, *, version: str = "1") -> Bundle:
    """Make the bundle of a run; one that is there is replaced.

    Args:
        recipe: of the run, switches included.
        run: its folder, with ``weights.pt`` or at least ``checkpoint.pt`` (of a run that is under way).
        folder: of the bundle.
        version: of the bundle.
    """
    from KidneySegLib.models import BundleSpec, Normalisation, write_bundle
    from KidneySegLib.training.checkpoint import load_safely, shipped_weights
    from KidneySegLib.training.network_run import RECORD_FILE
    from KidneySegLib.training.trainer import CHECKPOINT_FILE, WEIGHTS_FILE

    config = recipe.network
    if (run / WEIGHTS_FILE).exists():
        weights = load_safely(run / WEIGHTS_FILE)
    else:
        weights = shipped_weights(load_safely(run / CHECKPOINT_FILE)["average"])
    record: dict[str, Any] = {"recipe": "abnormality", "choices": asdict(recipe)}
    if (run / RECORD_FILE).exists():
        record = json.loads((run / RECORD_FILE).read_text(encoding="utf-8"))
    n = config.normalisation
    strides = prod([2] * (len(config.arguments["features"]) - 1))
    spec = BundleSpec(
        name=config.bundle,
        version=version,
        title=_TITLE,
        licence="Apache-2.0",
        citation=_CITATION,
        intended_use=_INTENDED_USE.format(data=record.get("data", "phantoms")),
        network=config.network,
        network_arguments={**config.arguments, "deep_supervision": False},
        spacing_mm=(config.spacing_mm,) * 3,
        patch_size=config.patch,
        size_multiple=(strides, strides, strides),
        margin=recipe.margin,
        normalisation=Normalisation(n["low"], n["high"], n["mean"], n["sd"]),
        outputs=config.outputs,
        activation=config.activation,
        localiser=recipe.localiser,
        mirror_axes=config.mirror_axes,
        training=record,
        metrics={"validation_dice": record["validation"]} if record.get("validation") else {},
    )
    return write_bundle(folder, spec, weights, float16=True, replace=True)


def with_budget(recipe: AbnormalityRecipe, minutes: float | None, steps: int | None) -> AbnormalityRecipe:
    """The recipe with another budget, where one is given."""
    if minutes is None and steps is None:
        return recipe
    return replace(recipe, training=replace(recipe.training, minutes=minutes, steps=steps))
