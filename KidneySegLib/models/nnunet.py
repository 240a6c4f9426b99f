"""A trained nnU-Net v2 model made into a bundle: its weights, its preprocessing and what its labels mean here.

The bundle runs on OpenVINO like every other, and `inference` then does what nnU-Net's own predictor does.
"""

from __future__ import annotations

import dataclasses
import hashlib
import re
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from KidneySegLib.errors import ModelError
from KidneySegLib.files import file_sha256
from KidneySegLib.models.bundle import FILE_PATTERN, MAX_FOLDS, Bundle, BundleSpec
from KidneySegLib.models.importing import check_name_is_free
from KidneySegLib.models.model_json import check_name
from KidneySegLib.models.nnunet_checkpoint import Checkpoint, read_checkpoint
from KidneySegLib.models.nnunet_folder import ModelFolder, open_model
from KidneySegLib.models.nnunet_labels import read_labels
from KidneySegLib.models.nnunet_plans import Plan, read_plan
from KidneySegLib.models.nnunet_record import NnUnetRecord
from KidneySegLib.progress import Progress
from KidneySegLib.resources import user_models_dir

if TYPE_CHECKING:
    from torch import Tensor

#: nnU-Net's own, which its predictor takes unless told otherwise.
TILE_STEP = 0.5
_UNSTATED = "not stated by its makers"


@dataclass(frozen=True)
class TrainedModel:
    """A model read, before it becomes a bundle.

    Attributes:
        spec: what ``model.json`` will say.
        states: the parameters of each fold.
        licences: licence files, by name.
    """

    spec: BundleSpec
    states: Sequence[Mapping[str, Tensor]]
    licences: Mapping[str, bytes]


def import_nnunet(
    source: str | Path,
    name: str | None = None,
    *,
    replace: bool = False,
    label_map: Mapping[str, str] | None = None,
    folds: Sequence[str] | None = None,
    checkpoint: str | None = None,
    licence: str | None = None,
    folder: Path | None = None,
    localiser: str | None = None,
    progress: Progress = Progress(),
) -> Bundle:
    """Make a bundle of a trained nnU-Net v2 model among the user's models, whole or not at all. Needs torch.

    Args:
        source: a folder with dataset.json, plans.json and fold_*, a folder above it, or a zip file of either.
        name: the bundle's name; default the data set's.
        replace: allow an existing model of that name.
        label_map: what labels mean whose names are not known: their name to one of `nnunet_labels.MEANINGS`.
        folds: which folds to take, ``"0"``, ``"1"`` ... or ``"all"``; default all that are there, averaged.
        checkpoint: ``final``, ``best`` or ``latest``; default the final one, or else the best one.
        licence: under which licence it is, where its makers' files do not tell.
        folder: where to write the bundle; default among the user's models.
        localiser: name of the bundle that finds the kidneys first, so that only their surroundings are looked at;
            None: the whole scan, as nnU-Net does it.
        progress: told about each fold; may cancel.

    Raises:
        DependencyError: if torch is not installed.
        ModelError: if it is no such model, is unsafe, is of a kind that cannot be followed, or the name is taken.
    """
    from KidneySegLib.models.export import write_bundle

    source = Path(source).expanduser()
    if name is not None:
        check_name(name)
    try:
        with ExitStack() as stack:
            found = stack.enter_context(open_model(source, tuple(folds) if folds else None, checkpoint, progress))
            model = read_model(found, source, label_map or {}, licence, progress)
            spec = dataclasses.replace(_named(model.spec, name), localiser=localiser)
            if folder is None:
                check_name_is_free(spec.name, replace)
            bundle = write_bundle(
                folder or user_models_dir() / spec.name,
                spec,
                model.states,
                replace=replace,
                extra_files=model.licences,
                on_fold=lambda done, count: progress.report(
                    "import", 0.5 + 0.5 * done / count, f"fold {done} of {count}"
                ),
            )
    except OSError as error:
        raise ModelError(f"The model {source} could not be imported: {error}") from error
    progress.report("import", 1.0)
    return bundle


def read_model(
    found: ModelFolder, source: Path, label_map: Mapping[str, str], licence: str | None, progress: Progress
) -> TrainedModel:
    """Read a model's plans, labels and checkpoints.

    Raises:
        DependencyError, ModelError: see `import_nnunet`.
    """
    if len(found.checkpoints) > MAX_FOLDS:
        raise ModelError(f"{source} has {len(found.checkpoints)} folds; at most {MAX_FOLDS} were expected.")
    checkpoints = []
    for path in found.checkpoints:
        progress.check()
        checkpoints.append(read_checkpoint(path))
    first = checkpoints[0]
    if len({c.configuration for c in checkpoints}) > 1:
        raise ModelError(f"{source}: the folds were trained with different configurations.")
    channels = found.dataset.get("channel_names", found.dataset.get("modality", {"0": "CT"}))
    if isinstance(channels, dict) and len(channels) != 1:
        raise ModelError(f"{source}: the model needs {len(channels)} images a case; one CT is what this program has.")
    plan = read_plan(found.plans, first.configuration, f"{source.name}: plans.json")
    table = read_labels(found.dataset, label_map, f"{source.name}: dataset.json")
    record = NnUnetRecord(
        orientation=plan.orientation,
        transpose=plan.transpose,
        normalisation=plan.scheme,
        inside_mask=plan.inside_mask,
        data=plan.data,
        logits=plan.logits,
        labels=table.names,
        structures=table.structures,
        channels=table.channels,
    )
    states = [_fitting(c.weights, plan) for c in checkpoints]
    dataset_name = str(found.plans.get("dataset_name") or found.dataset.get("name") or "nnunet-model")
    spec = BundleSpec(
        name=_plain_name(dataset_name),
        version=str(found.dataset.get("release") or "1"),
        title=_title(found, table.outputs, dataset_name),
        licence=licence or _stated(found.dataset, "licence", "license") or _from_files(found) or _UNSTATED,
        citation=_stated(found.dataset, "reference", "citation") or "",
        intended_use="As its makers say; what it gives here must be checked by a person.",
        network=plan.network,
        network_arguments={**plan.arguments, plan.outputs_argument: len(table.channels)},
        spacing_mm=plan.spacing_mm,
        patch_size=plan.patch_size,
        size_multiple=plan.size_multiple,
        flexible_tiles=False,
        tile_step=TILE_STEP,
        normalisation=plan.normalisation,
        outputs=table.outputs,
        activation=table.activation,
        mirror_axes=first.mirror_axes or (),
        mirror=first.mirror_axes is not None,
        training=_training(found, checkpoints, dataset_name),
        nnunet=record,
        origin=_origin(found, source),
    )
    return TrainedModel(spec, states, {n: t for n, t in found.licences.items() if FILE_PATTERN.fullmatch(n)})


def _named(spec: BundleSpec, name: str | None) -> BundleSpec:
    return spec if name is None else replace(spec, name=name)


def _fitting(weights: Mapping[str, Tensor], plan: Plan) -> Mapping[str, Tensor]:
    """Parameters under the names of our network."""
    if plan.network != "UNet3D":
        return weights
    # nnU-Net wants a network with .decoder.deep_supervision, so the recipe may have put the U-Net into another module.
    heads = {key.partition(".")[0] for key in weights}
    inner = heads.pop() + "." if len(heads) == 1 else ""
    plain = {key.removeprefix(inner): value for key, value in weights.items()}
    deep = bool(plan.arguments.get("deep_supervision"))
    return {key: value for key, value in plain.items() if deep or not key.startswith("auxiliary_heads.")}


def _plain_name(dataset_name: str) -> str:
    name = re.sub(r"^Dataset\d+_", "", dataset_name)
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("._-")[:64]
    return name or "nnunet-model"


def _title(found: ModelFolder, outputs: Sequence[str], dataset_name: str) -> str:
    said = _stated(found.dataset, "description")
    structures = ", ".join(o for o in outputs if o != "background")
    return " ".join((said or f"nnU-Net model of {dataset_name}").split())[:120] + f" ({structures})"


def _stated(content: Mapping[str, Any], *keys: str) -> str | None:
    for key in keys:
        value = content.get(key)
        if isinstance(value, str) and value.strip():
            return " ".join(value.split())[:500]
    return None


def _from_files(found: ModelFolder) -> str | None:
    for name, text in found.licences.items():
        lines = [line.strip() for line in text.decode("utf-8", errors="replace").splitlines() if line.strip()]
        if lines:
            return f"{lines[0][:100]} (see {name})"
    return None


def _training(found: ModelFolder, checkpoints: Sequence[Checkpoint], dataset_name: str) -> dict[str, Any]:
    return {
        "program": "nnU-Net v2",
        "dataset": dataset_name,
        "cases": found.dataset.get("numTraining"),
        "trainer": checkpoints[0].trainer,
        "plans": str(found.plans.get("plans_name", "")),
        "configuration": checkpoints[0].configuration,
        "folds": [path.parent.name.removeprefix("fold_") for path in found.checkpoints],
        "epochs": [c.epoch for c in checkpoints],
    }


def _origin(found: ModelFolder, source: Path) -> dict[str, Any]:
    """Where it came from: names and hashes, no path of a machine and no date."""
    return {
        "kind": "nnU-Net v2 model",
        "source": source.name,
        "checkpoints": {f"{path.parent.name}/{path.name}": file_sha256(path) for path in found.checkpoints},
        "dataset_json_sha256": hashlib.sha256((found.path / "dataset.json").read_bytes()).hexdigest(),
        "plans_json_sha256": hashlib.sha256((found.path / "plans.json").read_bytes()).hexdigest(),
    }
