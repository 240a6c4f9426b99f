"""``kidneyseg train two-stage``: the first stage, then the second on what the first found, then one bundle of both."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from KidneySegLib.errors import InputError
from KidneySegLib.files import write_json
from KidneySegLib.progress import Progress
from KidneySegLib.training.run_folder import claim
from KidneySegLib.training.samples import SampleSource
from KidneySegLib.training.seeds import TRAINING_SEEDS, VALIDATION_SEEDS
from KidneySegLib.training.two_stage.config import TwoStageConfig

if TYPE_CHECKING:
    from KidneySegLib.models import Bundle

SAMPLES_FOLDER = "samples"
BUNDLES_FOLDER = "bundles"
RECORD_FILE = "record.json"


@dataclass(frozen=True)
class Data:
    """Where slabs come from.

    Attributes:
        source: makes the slabs of a seed.
        training: seeds of each stage; those of a data set are numbers of its cases.
        validation: seeds that are held out from both.
        facts: for the record.
    """

    source: SampleSource
    training: Mapping[str, Sequence[int]]
    validation: Sequence[int]
    facts: Mapping[str, Any]


def phantom_data(config: TwoStageConfig) -> Data:
    """Phantoms: training seeds and validation seeds never meet, and each stage has phantoms of its own.

    So the second stage learns from what the first makes of phantoms that are new to it, as at inference.

    Raises:
        InputError: for an argument that the phantom does not have.
    """
    from KidneySegLib.training.two_stage.phantom_slabs import PhantomSlabs

    arguments: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in config.source.items()}
    try:
        source = PhantomSlabs(shape=config.slab, spacing_mm=config.spacing_mm, classes=config.classes, **arguments)
    except TypeError as error:
        raise InputError(f"source: {error}. Mend the recipe.") from error
    validation = [VALIDATION_SEEDS.seed(20_000 + n) for n in range(int(config.validation))]
    training = {
        stage: [TRAINING_SEEDS.seed(first + n) for n in range(config.samples)]
        for stage, first in (("first", 50_000_000), ("second", 51_000_000))
    }
    seeds = {stage: [own[0], own[-1]] for stage, own in training.items()}
    return Data(source, training, validation, {"data": "phantoms", "seeds": seeds})


def train_two_stage(
    dataset: Path | None,
    output: Path,
    config: TwoStageConfig,
    *,
    device: str = "auto",
    resume: bool = False,
    workers: int = 1,
    replace: bool = False,
    progress: Progress = Progress(),
) -> Bundle:
    """Train both stages and make their bundle.

    Args:
        dataset: a folder in KiTS' layout (`kits.find_cases`); None: phantoms.
        output: folder of the run: ``first/`` and ``second/`` (checkpoint, weights, log), ``samples/``, ``record.json``
            and ``bundles/``.
        config: the recipe.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``.
        resume: go on where an interrupted run in ``output`` stopped.
        workers: processes that make slabs; 0: all of them here, before the first step.
        replace: allow a bundle in the run's folder.
        progress: stage ``train``; may cancel, which leaves checkpoints.

    Raises:
        InputError, OutputError: what the user can mend.
        Cancelled: the user stopped it.
    """
    from KidneySegLib.training.network_run import source_commit, training_device
    from KidneySegLib.training.two_stage.bundle import write_run_bundle
    from KidneySegLib.training.two_stage.kits import kits_data
    from KidneySegLib.training.two_stage.store import SampleStore
    from KidneySegLib.training.two_stage.trainer import CHECKPOINT_FILE, STAGES, WEIGHTS_FILE, StageTrainer, new_network

    place = training_device(device)
    data = phantom_data(config) if dataset is None else kits_data(dataset, config)
    begun = any((output / stage / CHECKPOINT_FILE).exists() for stage in STAGES)
    claim(output, begun=begun, resume=resume, parts=STAGES)
    record: dict[str, Any] = {
        "recipe": "two-stage",
        "config": asdict(config),
        **data.facts,
        "commit": source_commit(),
        "stages": {},
    }
    first = None
    samples = output / SAMPLES_FOLDER
    for stage in STAGES:
        folder = output / stage
        held_out = SampleStore(data.source, data.validation, samples / "validation", 0)
        store = SampleStore(data.source, data.training[stage], samples / "training", workers)
        trainer = StageTrainer(stage, config, place, store, held_out, first)
        if (folder / CHECKPOINT_FILE).exists():
            trainer.resume(folder)
        begin = time.monotonic()
        if not trainer.finished(folder):
            with held_out, store:
                trainer.run(folder, progress)
        record["stages"][stage] = {
            "steps": trainer.step,
            "seconds": round(trainer.seconds, 1),
            "bfloat16": trainer.bfloat16,
            "validation_dice": trainer.last_dice,
            "this_run_seconds": round(time.monotonic() - begin, 1),
        }
        if stage == "first":
            first = new_network(config, "first")
            first.load_state_dict(trainer.kept_weights())
            first.eval()
        write_json(output / RECORD_FILE, record)
        assert (folder / WEIGHTS_FILE).exists()
    return write_run_bundle(output, config, record, replace=replace or resume)
