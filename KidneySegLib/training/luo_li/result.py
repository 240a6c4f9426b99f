"""From trained folds to one bundle: the best fold of each structure is kept, and cortex is nested in parenchyma."""

from __future__ import annotations

import json
import platform
import shutil
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from KidneySegLib.errors import ModelError
from KidneySegLib.files import write_json
from KidneySegLib.progress import Progress
from KidneySegLib.training.luo_li.folds import FINAL, FoldScore, model_folder
from KidneySegLib.training.luo_li.plans import CONFIGURATION, SETTINGS_KEY
from KidneySegLib.training.luo_li.settings import LuoLiSettings, read_recipe

if TYPE_CHECKING:
    from KidneySegLib.models import Bundle

KEPT_FOLDER = "kept"
RECORD_FILE = "record.json"
_CITATION = (
    "Luo H, Li P. Establishment of a renal cortex and medulla segmentation model in X-ray computed tomography images "
    "based on deep neural networks. Chongqing Medicine 2025, doi 10.3969/j.issn.1671-8348.2025.03.013 (protocol); "
    "Isensee F et al. nnU-Net. Nat Methods 2021;18:203-211, doi 10.1038/s41592-020-01008-z (framework)"
)
_INTENDED_USE = (
    "Research: measuring kidneys on arterial-phase CT like that of the data set that it was trained on, after a person "
    "has looked at the masks. Not a medical device."
)
_MODEL_FILES = ("dataset.json", "plans.json", "dataset_fingerprint.json")


def best_fold(structure: str, scores: Sequence[FoldScore]) -> FoldScore:
    """The fold with the highest mean validation Dice; of equal ones the first.

    Raises:
        ModelError: no fold could be scored.
    """
    scored = [score for score in scores if score.dice is not None]
    if not scored:
        raise ModelError(f"No fold of {structure} has a validation Dice: its cases hold no {structure}. Add cases.")
    return max(scored, key=lambda score: (score.dice or 0.0, -score.fold))


def keep(work: Path, output: Path, structure: str, fold: int) -> Path:
    """Copy a trained folder of nnU-Net with one fold only, which nnU-Net itself can predict with.

    Returns:
        ``output/kept/STRUCTURE``.
    """
    source, target = model_folder(work, structure), output / KEPT_FOLDER / structure
    shutil.rmtree(target, ignore_errors=True)
    (target / f"fold_{fold}" / "validation").mkdir(parents=True)
    for name in _MODEL_FILES:
        shutil.copyfile(source / name, target / name)
    for name in (FINAL, "validation/summary.json"):
        shutil.copyfile(source / f"fold_{fold}" / name, target / f"fold_{fold}" / name)
    return target


def versions() -> dict[str, str]:
    """Of what the training stands on."""
    found = {"python": platform.python_version()}
    for name in ("torch", "nnunetv2", "batchgeneratorsv2", "numpy", "SimpleITK"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "unknown"
    return found


def scores_record(scores: Sequence[FoldScore], kept: int) -> dict[str, Any]:
    """Validation of one structure, for the record."""
    dice = [score.dice for score in scores if score.dice is not None]
    return {
        "kept_fold": kept,
        "mean_dice": sum(dice) / len(dice) if dice else None,
        "folds": [{"fold": s.fold, "dice": s.dice, "cases": s.dice_of_case} for s in scores],
    }


def write_record(
    output: Path,
    *,
    settings: LuoLiSettings,
    data: Mapping[str, Any],
    groups_from: str,
    notes: Sequence[str],
    scores: Mapping[str, Sequence[FoldScore]],
    kept: Mapping[str, int],
    device: str,
    gpus: int,
    hours: float,
) -> dict[str, Any]:
    """Write ``record.json``: everything that says how the models came about, by case where a case has a say.

    Args:
        output: folder of the run.
        settings: of the run.
        data: hash and cases of the data set, as `raw.write_raw` tells them.
        groups_from: column of the patient table that groups come from, or ``none``.
        notes: sentences about what was not as the protocol wants it.
        scores: validation, by structure.
        kept: fold that is kept of each structure.
        device, gpus: what it was trained on.
        hours: of this run (an interrupted run counts its last part).
    """
    from KidneySegLib.training.network_run import source_commit

    cases = data["cases"]
    record: dict[str, Any] = {
        "recipe": "luo-li-2025",
        "commit": source_commit(),
        "versions": versions(),
        "seed": settings.seed,
        "settings": settings.plain(),
        "changed_settings": changed(settings),
        "plans": {structure: _plan(output, structure) for structure in scores},
        "dataset": {
            "sha256": data["sha256"],
            "groups_from": groups_from,
            "training_cases": _by_group(cases, held_out=False),
            "held_out_cases": _by_group(cases, held_out=True),
        },
        "device": device,
        "gpus": gpus,
        "hours": round(hours, 4),
        "notes": list(notes),
        "validation": {structure: scores_record(folds, kept[structure]) for structure, folds in scores.items()},
        "cases": cases,
        "choices": read_recipe()["choices"],
    }
    write_json(output / RECORD_FILE, record)
    return record


def register(
    folders: Mapping[str, Path],
    name: str,
    record: Mapping[str, Any],
    *,
    replace: bool = False,
    progress: Progress = Progress(),
) -> Bundle:
    """Turn the two kept models into one bundle of the user's models.

    The bundle says how it was trained, without names of cases.

    Args:
        folders: trained folder of nnU-Net of each structure.
        name: of the bundle.
        record: as `write_record` gives it.
        replace: allow a model of that name.
        progress: stage ``import``.

    Raises:
        ModelError: the name is taken, or a model cannot be followed.
    """
    from KidneySegLib.models.export import update_manifest
    from KidneySegLib.models.nnunet_pair import pair_bundles

    bundle = pair_bundles(folders["parenchyma"], folders["cortex"], name, replace=replace, progress=progress)
    validation = {
        structure: {**found, "folds": [{"fold": f["fold"], "dice": f["dice"]} for f in found["folds"]]}
        for structure, found in record["validation"].items()
    }
    told = {key: value for key, value in record.items() if key not in ("cases", "validation")}
    return update_manifest(
        bundle,
        title="Renal parenchyma and cortex, protocol of Luo and Li (2025), trained on own data",
        licence="not stated: up to who trained it",
        citation=_CITATION,
        intended_use=_INTENDED_USE,
        training={**told, "validation": validation},
        metrics={
            "validation_dice": {
                structure: next(f["dice"] for f in found["folds"] if f["fold"] == found["kept_fold"])
                for structure, found in validation.items()
            }
        },
    )


def changed(settings: LuoLiSettings) -> dict[str, Any]:
    """Settings that are not the protocol's: the choices of the recipe do not hold for these."""
    protocol = LuoLiSettings().plain()
    return {name: value for name, value in settings.plain().items() if value != protocol[name]}


def _plan(output: Path, structure: str) -> dict[str, Any]:
    """What nnU-Net and the protocol settled for a structure."""
    plans = json.loads((output / KEPT_FOLDER / structure / "plans.json").read_text(encoding="utf-8"))
    configuration = plans["configurations"][CONFIGURATION]
    return {
        "spacing_mm": configuration["spacing"],
        "patch_size": configuration["patch_size"],
        "planned_patch_size": configuration[SETTINGS_KEY]["planned_patch_size"],
        "batch_dice": configuration["batch_dice"],
        "transpose": plans["transpose_forward"],
    }


def _by_group(cases: Mapping[str, Mapping[str, Any]], held_out: bool) -> dict[str, int]:
    groups = [facts["group"] for facts in cases.values() if facts["held_out"] == held_out]
    return {group: groups.count(group) for group in sorted(set(groups))}
