"""The protocol from start to end: ``train_luo_li`` is what ``kidneyseg train luo-li-2025`` runs."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from KidneySegLib.errors import InputError, OutputError
from KidneySegLib.files import plain_write_errors, write_json
from KidneySegLib.progress import Progress
from KidneySegLib.training.luo_li.cases import LabelledCase, find_cases, signature
from KidneySegLib.training.luo_li.environment import (
    default_loaders,
    default_processes,
    nnunet_environment,
    refuse_respawn,
    require_nnunet,
)
from KidneySegLib.training.luo_li.patients import Strata, read_strata
from KidneySegLib.training.luo_li.raw import DATASET_NAMES, write_raw
from KidneySegLib.training.luo_li.settings import FOLD_COUNT, STRUCTURES, LuoLiSettings
from KidneySegLib.training.luo_li.splits import hold_out, stratified_folds, thin_groups

if TYPE_CHECKING:
    from KidneySegLib.models import Bundle
    from KidneySegLib.training.luo_li.folds import FoldScore, Listener

DEFAULT_NAME = "luo-li-2025"
RUN_FILE, DATA_FILE, SPLITS_FILE = "run.json", "data.json", "splits.json"


@dataclass(frozen=True)
class LuoLiResult:
    """What a run gave.

    Attributes:
        bundle: as registered with the user's models.
        kept_folds: fold of each structure that was kept.
        scores: validation of every fold, by structure.
        record: content of ``record.json``.
    """

    bundle: Bundle
    kept_folds: Mapping[str, int]
    scores: Mapping[str, Sequence[FoldScore]]
    record: Mapping[str, Any]


def train_luo_li(
    dataset: Path,
    output: Path,
    *,
    patients: Path | None = None,
    scheme: str | None = None,
    settings: LuoLiSettings | None = None,
    name: str = DEFAULT_NAME,
    replace: bool = False,
    device: str = "auto",
    gpus: int = 1,
    processes: int | None = None,
    loaders: int | None = None,
    resume: bool = False,
    progress: Progress | None = None,
) -> LuoLiResult:
    """Train parenchyma and cortex on a labelled data set, and register the best folds as one bundle.

    Args:
        dataset: see `cases`.
        output: folder of the run: nnU-Net's three folders, its log, ``splits.json``, ``kept/``, ``record.json``.
        patients: table with groups; see `patients.read_strata`.
        scheme: of the label maps, one of `measurement.SCHEMES`; None: see `cases.find_cases`.
        settings: changes to the protocol.
        name: of the bundle.
        replace: allow a model of that name.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``.
        gpus: cards, by nnU-Net's DDP.
        processes, loaders: see `environment.nnunet_environment`; None: by the number of cores.
        resume: go on where an interrupted run in ``output`` stopped.
        progress: stages ``read``, ``prepare``, ``train``; cancelling leaves what can be resumed.

    Raises:
        InputError: a data set, table or setting that does not fit; the message names it.
        DeviceError: no such device, or out of memory.
        DependencyError: torch or nnunetv2 is not installed.
        ModelError: the name is taken, or training ended without a usable model.
        Cancelled: at the user's request.
    """
    refuse_respawn()
    require_nnunet()
    from KidneySegLib.models.importing import check_name_is_free
    from KidneySegLib.training.luo_li.folds import check_device
    from KidneySegLib.training.luo_li.result import best_fold, keep, register, write_record

    progress, settings = progress or Progress(), settings or LuoLiSettings()
    output = Path(output).expanduser().absolute()
    kind = check_device(device, gpus)
    check_name_is_free(name, replace)
    cases = find_cases(dataset, scheme)
    strata = read_strata(patients, [case.case_id for case in cases])
    subjects = strata.subjects or {case.case_id: case.subject or case.case_id for case in cases}
    settled = strata.splits or {case.case_id: case.split for case in cases if case.split}
    train, test = hold_out(strata.groups, settings.test_fraction, settings.seed, settled, subjects)
    splits = stratified_folds({case: strata.groups[case] for case in train}, settings.seed, subjects)
    _begin(output, settings, cases, splits, test, resume)
    began = time.monotonic()
    processes = default_processes() if processes is None else processes
    loaders = default_loaders(kind) if loaders is None else loaders
    with nnunet_environment(output, processes=processes, loaders=loaders):
        data = _raw(cases, strata, test, splits, output, progress)
        scores = _train(output, settings, processes, kind, gpus, progress)
        kept = {structure: best_fold(structure, scores[structure]).fold for structure in STRUCTURES}
        folders = {structure: keep(output, output, structure, kept[structure]) for structure in STRUCTURES}
    record = write_record(
        output,
        settings=settings,
        data=data,
        groups_from=strata.source,
        notes=_notes(strata, train, settings),
        scores=scores,
        kept=kept,
        device=kind,
        gpus=gpus,
        hours=(time.monotonic() - began) / 3600,
    )
    bundle = register(folders, name, record, replace=replace, progress=progress)
    return LuoLiResult(bundle, kept, scores, record)


def _train(
    work: Path, settings: LuoLiSettings, processes: int, device: str, gpus: int, progress: Progress
) -> dict[str, list[FoldScore]]:
    """Both structures, fold after fold."""
    from KidneySegLib.training.luo_li.folds import train_fold
    from KidneySegLib.training.luo_li.plans import prepare

    for structure in STRUCTURES:
        prepare(structure, work, settings, processes, progress)
    scores: dict[str, list[FoldScore]] = {structure: [] for structure in STRUCTURES}
    jobs = [(structure, fold) for structure in STRUCTURES for fold in settings.folds]
    for number, (structure, fold) in enumerate(jobs):
        tell = _listener(f"{structure}, fold {fold}", number, len(jobs), settings.epochs, progress)
        tell(0.0, None)
        scores[structure].append(train_fold(structure, fold, work, device, gpus, tell, progress))
    progress.report("train", 1.0)
    return scores


def _listener(what: str, number: int, jobs: int, epochs: int, progress: Progress) -> Listener:
    """Turns a fold's epochs into the run's progress."""

    def tell(done: float, dice: float | None) -> None:
        known = "" if dice is None else f", Dice {dice:.3f}"
        epoch = min(epochs, int(done) + 1)
        share = (number + min(1.0, done / epochs)) / jobs
        progress.report("train", share, f"{what}: epoch {epoch} of {epochs}{known}")

    return tell


def _raw(
    cases: Sequence[LabelledCase],
    strata: Strata,
    test: Sequence[str],
    splits: Sequence[Mapping[str, Sequence[str]]],
    work: Path,
    progress: Progress,
) -> dict[str, Any]:
    """The raw data sets, unless an earlier attempt of this run wrote them whole."""
    done = work / DATA_FILE
    if not done.is_file():
        for name in DATASET_NAMES.values():
            shutil.rmtree(work / "nnUNet_preprocessed" / name, ignore_errors=True)
        facts = write_raw(cases, strata.groups, test, splits, work / "nnUNet_raw", progress)
        write_json(done, {"sha256": facts.sha256, "cases": dict(facts.cases)})
    data: dict[str, Any] = json.loads(done.read_text(encoding="utf-8"))
    return data


def _begin(
    output: Path,
    settings: LuoLiSettings,
    cases: Sequence[LabelledCase],
    splits: Sequence[Mapping[str, Sequence[str]]],
    test: Sequence[str],
    resume: bool,
) -> None:
    """Make the run's folder, or check that an interrupted run in it is this one."""
    # Folds may be trained one by one, on several days or computers, so they may differ.
    plain = {key: value for key, value in settings.plain().items() if key != "folds"}
    run = {
        "recipe": "luo-li-2025",
        "settings": plain,
        "dataset": signature(tuple(cases)),
        "splits": {"test": list(test), "folds": [dict(split) for split in splits]},
    }
    file = output / RUN_FILE
    if file.is_file() and (output / DATA_FILE).is_file():
        if not resume:
            raise InputError(f"{output} holds a training run already. Resume it (--resume), or choose another folder.")
        before = json.loads(file.read_text(encoding="utf-8"))
        was = before["settings"]
        changed = [f"{key} {was.get(key)} -> {value}" for key, value in plain.items() if was.get(key) != value]
        named = {"dataset": "the data set", "splits": "the split"}
        changed += [what for key, what in named.items() if before[key] != run[key]]
        if changed:
            raise InputError(
                f"The run in {output} was begun otherwise: {'; '.join(changed)}. Resume it as it was begun, or choose "
                "another folder."
            )
        return
    with plain_write_errors(f"{output} cannot be written", "Choose another folder."):
        # A run that found a case that it could not read has trained nothing: it may begin anew, with other data.
        if output.is_dir() and any(output.iterdir()) and not file.is_file():
            raise OutputError(f"{output} is not empty and holds no training run. Choose another folder.")
        output.mkdir(parents=True, exist_ok=True)
        write_json(output / SPLITS_FILE, run["splits"])
        write_json(file, run)


def _notes(strata: Strata, train: Sequence[str], settings: LuoLiSettings) -> list[str]:
    from KidneySegLib.training.luo_li.result import changed

    notes = []
    if strata.source == "none":
        notes.append("No patient table was given: cases were held out and folded without regard to groups.")
    else:
        thin = thin_groups({case: strata.groups[case] for case in train})
        if thin:
            names = ", ".join(thin)
            notes.append(f"Fewer training cases than folds in {names}: some folds are validated without them.")
    told = changed(settings)
    if told:
        notes.append("Not as in the protocol: " + ", ".join(f"{name} {value}" for name, value in told.items()) + ".")
    if len(settings.folds) < FOLD_COUNT:
        notes.append(f"Only the folds {', '.join(map(str, settings.folds))} of five were trained.")
    return notes
