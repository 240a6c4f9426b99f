"""Fine-tuning from start to end: samples, training, the new bundle, judgement, registering or refusal."""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from KidneySegLib.errors import InputError
from KidneySegLib.export.dataset import DataSet
from KidneySegLib.files import plain_write_errors, write_json
from KidneySegLib.models import (
    Bundle,
    BundleSpec,
    find_bundle,
    find_localiser,
    import_bundle,
    is_embedded,
    write_bundle,
)
from KidneySegLib.models.model_json import check_name, respecified
from KidneySegLib.progress import Progress
from KidneySegLib.training.config import NetworkConfig
from KidneySegLib.training.same_recipe import check_same_recipe
from KidneySegLib.training.samples import Sample, SampleSource

from .blend import blended, choose_share
from .cases import Material, case_samples, material
from .judge import Figures, JudgedCase, Judgement, judge_model, verdict
from .phantoms import FIRST_CHOOSING, original_cases, phantom_samples
from .settings import FinetuneSettings, load_settings, network_config

RUN_FILE = "finetune.json"
ACCEPTED, REJECTED = "bundles", "rejected"


@dataclass(frozen=True)
class Finetuned:
    """What came of it.

    Attributes:
        bundle: the new model: in ``OUT/bundles``, or in ``OUT/rejected`` if it was refused.
        registered: the same among the user's models, if that was asked for and allowed.
        judgement: before and after.
    """

    bundle: Bundle
    registered: Bundle | None
    judgement: Judgement


def finetune(
    model: str | Path,
    dataset: Path,
    output: Path,
    *,
    readers: str = "newest",
    settings: FinetuneSettings | None = None,
    name: str | None = None,
    replace: bool = False,
    first_fold_only: bool = False,
    original: Path | None = None,
    device: str = "auto",
    resume: bool = False,
    source: SampleSource | None = None,
    progress: Progress = Progress(),
) -> Finetuned:
    """Let a model go on learning from a data set's corrected cases, and judge it.

    Args:
        model: name or folder of a bundle.
        dataset: data set of `kidneyseg dataset`; its held-out cases are never learnt from.
        output: folder of the run.
        readers: whose labels, as for the export of the data set.
        settings: None: those of ``recipe.json``.
        name: register the model under this name if it is no worse; None leaves it in ``output``.
        replace: allow a model of that name.
        first_fold_only: train the first network of several; the new bundle then has one. Else each is trained.
        original: folder with phantom cases (``ct.nii.gz``, ``labels.nii.gz``) on which it must not get
            worse; None makes some.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``, for training.
        resume: go on where a run in ``output`` stopped.
        source: of phantom samples, in place of the phantom's, for tests.
        progress: stages ``cases``, ``phantoms``, ``train`` and ``judge``.

    Raises:
        InputError: nothing to learn from, or another run in ``output``.
        ModelError: a bundle that cannot be trained here, or a name that is taken.
        Cancelled: a checkpoint is left.
    """
    from KidneySegLib.models.importing import check_name_is_free
    from KidneySegLib.training.network_run import training_device

    settings = settings or load_settings()
    parent = find_bundle(model, progress)
    config = network_config(parent, settings)
    if name is not None:
        check_name(name)
        check_name_is_free(name, replace)
    torch_device = training_device(device)
    found = material(DataSet.open(dataset), readers)
    folds = parent.folds[:1] if first_fold_only else parent.folds
    facts = {
        "parent": {"name": parent.name, "version": parent.version, "sha256": parent.digest},
        "data_set": {"sha256": found.digest, "train": len(found.train), "held_out": len(found.held_out)},
        "readers": readers,
        "folds_trained": len(folds),
        "settings": asdict(settings),
    }
    _claim(output, facts, resume)
    seconds, weights = _train(parent, config, settings, found, output, len(folds), torch_device, source, progress)
    facts = {**facts, **_counts(found, seconds, settings)}
    candidate = _choose_candidate(parent, name, output, weights, settings, facts, progress)
    judgement = _judge(parent, candidate, found, settings, original, output, progress)
    return _settle(candidate, judgement, output, name, replace, progress)


def _claim(output: Path, facts: dict[str, Any], resume: bool) -> None:
    """Make the run's folder, or see that it is the same run's."""
    path = output / RUN_FILE
    if path.exists():
        if not resume:
            raise InputError(f"{output} holds a fine-tuning run already. Resume it, or choose another folder.")
        check_same_recipe(path, path.read_text(encoding="utf-8"), facts, free=())
    with plain_write_errors(f"{output} cannot be written", "Choose another folder."):
        output.mkdir(parents=True, exist_ok=True)
        write_json(path, facts)


def _train(
    parent: Bundle,
    config: NetworkConfig,
    settings: FinetuneSettings,
    found: Material,
    output: Path,
    folds: int,
    device: Any,
    source: SampleSource | None,
    progress: Progress,
) -> tuple[float, list[dict[str, Any]]]:
    """Seconds, and the weights of each network."""
    from safetensors.torch import load_file

    from KidneySegLib.models.store import verify_files
    from KidneySegLib.training.checkpoint import shipped_weights
    from KidneySegLib.training.schedule import Budget
    from KidneySegLib.training.trainer import CHECKPOINT_FILE

    from .mixed import MixedTrainer

    began = time.monotonic()
    cases = list(_all_case_samples(parent, config, settings, found, progress))
    phantoms: list[Sample] = []
    if settings.memory_weight > 0:
        phantoms = list(phantom_samples(config, settings.phantoms, output / "phantoms", progress, source))
    seconds = time.monotonic() - began
    weights = []
    for fold in range(folds):
        folder = output / f"fold_{fold}"
        pools = [_pool(samples, config, device) for samples in (cases, phantoms)]
        assert pools[0] is not None
        trainer = MixedTrainer(f"fold {fold}", config, settings, device, pools[0], pools[1])
        files = parent.folds[fold]
        verify_files(parent, [files.weights], progress)
        trainer.remember(load_file(str(parent.path / files.weights)))
        if (folder / CHECKPOINT_FILE).exists():
            trainer.resume(folder)
        else:
            trainer.begin()
        if trainer.step < settings.steps:
            trainer.run(Budget(steps=settings.steps), folder, progress)
        seconds += trainer.seconds
        weights.append(shipped_weights(trainer.average.state_dict()))
    return seconds, weights


def _all_case_samples(
    parent: Bundle, config: NetworkConfig, settings: FinetuneSettings, found: Material, progress: Progress
) -> Sequence[Sample]:
    samples: list[Sample] = []
    for number, one in enumerate(found.train):
        progress.report("cases", number / len(found.train), one.case.case_id)
        image, labels = one.case.image(), one.voxels()
        samples += case_samples(image, labels, parent, config.box, number=number, elsewhere=settings.elsewhere_boxes)
    return samples


def _pool(samples: Sequence[Sample], config: NetworkConfig, device: Any) -> Any:
    from KidneySegLib.training.pool import SamplePool

    if not samples:
        return None
    pool = SamplePool(len(samples), config.box, len(config.outputs), False, device)
    for sample in samples:
        pool.add(sample)
    return pool


def _counts(found: Material, seconds: float, settings: FinetuneSettings) -> dict[str, Any]:
    from KidneySegLib.training.network_run import source_commit

    return {
        "recipe": "finetune",
        "commit": source_commit(),
        "cases": [one.case.case_id for one in found.train],
        "held_out": [one.case.case_id for one in found.held_out],
        "undivided_cases": [one.case.case_id for one in found.train if not one.divided],
        "steps": settings.steps,
        "seconds": round(seconds, 1),
    }


def _choose_candidate(
    parent: Bundle,
    name: str | None,
    output: Path,
    weights: list[dict[str, Any]],
    settings: FinetuneSettings,
    facts: dict[str, Any],
    progress: Progress,
) -> Bundle:
    """The bundle with as much of the new weights as phantoms allow, which are not those it is judged by."""
    from safetensors.torch import load_file

    from KidneySegLib.models.export import update_manifest

    if not settings.choosing_cases:
        return _write_candidate(parent, name, output, weights, facts)
    folders = original_cases(settings.choosing_cases, output / "choosing", progress, FIRST_CHOOSING)
    phantoms = [_phantom_case(folder) for folder in folders]
    old = [load_file(str(parent.path / files.weights)) for files in parent.folds]

    place = output / "choosing" / "judged"
    candidate = parent

    def judged(share: float) -> Sequence[Figures]:
        nonlocal candidate
        mixed = [blended(*pair, share) for pair in zip(old, weights, strict=False)]
        candidate = _write_candidate(parent, name, output, mixed, facts)
        return judge_model(candidate, phantoms, place, progress)

    before = judge_model(parent, phantoms, place, progress)
    share, trials = choose_share(settings.shares, before, judged, settings.original_loss_points)
    # What was tried last was chosen: its weights are there, only what it says of itself is not complete.
    chosen = {"share_of_new_weights": share, "trials": [asdict(one) for one in trials]}
    return update_manifest(candidate, training={**candidate.training, **chosen})


def _write_candidate(
    parent: Bundle, name: str | None, output: Path, weights: list[dict[str, Any]], training: dict[str, Any]
) -> Bundle:
    spec = respecified(
        parent,
        BundleSpec,
        name=name or f"{parent.name}-finetuned"[:64],
        version=f"{parent.version}-finetuned",
        title=f"{parent.title}, fine-tuned",
        training={**training, "parent_training": dict(parent.training)},
        # What the parent's doubts were worth was measured on the parent.
        metrics={},
    )
    place = output / "candidate"
    localiser = find_localiser(parent)
    if localiser is not None and not is_embedded(localiser) and not (place / localiser.name).exists():
        shutil.copytree(localiser.path, place / localiser.name)
    return write_bundle(place / spec.name, spec, weights, float16=True, replace=True)


def _judge(
    parent: Bundle,
    candidate: Bundle,
    found: Material,
    settings: FinetuneSettings,
    original: Path | None,
    output: Path,
    progress: Progress,
) -> Judgement:
    held_out = [JudgedCase(one.case.case_id, one.case.image, one.voxels) for one in found.held_out]
    if original is None:
        folders: Sequence[Path] = original_cases(settings.original_cases, output / "original", progress)
    else:
        folders = sorted(path.parent for path in original.glob("*/labels.nii.gz"))
        if not folders:
            raise InputError(f"{original} holds no case with labels.nii.gz. Give a folder of `kidneyseg phantom`.")
    phantoms = [_phantom_case(folder) for folder in folders]
    place = output / "judged"
    before, after = (
        tuple(judge_model(model, cases, place, progress) for cases in (held_out, phantoms))
        for model in (parent, candidate)
    )
    return verdict((before[0], after[0]), (before[1], after[1]), settings.original_loss_points)


def _phantom_case(folder: Path) -> JudgedCase:
    import numpy as np
    import SimpleITK as sitk

    return JudgedCase(
        folder.name,
        lambda: sitk.ReadImage(str(folder / "ct.nii.gz")),
        lambda: np.asarray(sitk.GetArrayFromImage(sitk.ReadImage(str(folder / "labels.nii.gz"))), np.uint8),
    )


def _settle(
    candidate: Bundle, judgement: Judgement, output: Path, name: str | None, replace: bool, progress: Progress
) -> Finetuned:
    """Give the bundle its place, with its figures in it."""
    from KidneySegLib.models.export import update_manifest

    bundle = update_manifest(candidate, metrics={"finetuning": judgement.content()})
    place = output / (REJECTED if judgement.refused else ACCEPTED) / bundle.name
    for old in (output / REJECTED / bundle.name, output / ACCEPTED / bundle.name):
        shutil.rmtree(old, ignore_errors=True)
    place.parent.mkdir(exist_ok=True)
    bundle.path.rename(place)
    bundle = find_bundle(place)
    registered = None
    if name is not None and not judgement.refused:
        registered = import_bundle(place, name, replace, progress)
    return Finetuned(bundle, registered, judgement)
