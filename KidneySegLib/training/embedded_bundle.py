"""Makes the embedded bundles out of what a training run left."""

from __future__ import annotations

import json
from collections.abc import Mapping
from math import prod
from pathlib import Path
from typing import Any

from KidneySegLib.errors import InputError
from KidneySegLib.models import Bundle, BundleSpec, Normalisation, write_bundle
from KidneySegLib.models.bundle import CortexBorder, LesionsOnRequest
from KidneySegLib.training.checkpoint import load_safely, shipped_weights
from KidneySegLib.training.config import EmbeddedConfig, NetworkConfig, load_config

_TITLES = {
    "kidneyseg-arterial": "Renal parenchyma and cortex on arterial-phase CT",
    "kidneyseg-localiser": "Kidneys and landmarks on a coarse whole-body CT",
}
_INTENDED_USE = (
    "Research and education: measuring kidneys on CT after a person has looked at the masks. "
    "Trained on synthetic phantoms alone. Not a medical device."
)


def _spec(config: NetworkConfig, record: Mapping[str, Any], localiser: str | None, version: str) -> BundleSpec:
    arguments = {**config.arguments, "deep_supervision": False}
    stages = len(config.arguments["features"])
    strides = config.arguments.get("strides") or [1] + [2] * (stages - 1)
    triples = [[s] * 3 if isinstance(s, int) else s for s in strides]
    n = config.normalisation
    on_request = config.activation == "sigmoid" and config.outputs[-1] == "abnormality"
    return BundleSpec(
        name=config.bundle,
        version=version,
        title=_TITLES.get(config.bundle, config.bundle) + ("; cysts and masses on request" if on_request else ""),
        licence="Apache-2.0",
        citation="",
        intended_use=_INTENDED_USE,
        network=config.network,
        network_arguments=arguments,
        spacing_mm=(config.spacing_mm,) * 3,
        patch_size=config.patch,
        margin=config.margin,
        size_multiple=(prod(t[0] for t in triples), prod(t[1] for t in triples), prod(t[2] for t in triples)),
        normalisation=Normalisation(n["low"], n["high"], n["mean"], n["sd"]),
        outputs=config.outputs,
        activation=config.activation,
        localiser=localiser,
        cortex_border=CortexBorder() if {"parenchyma", "cortex"} <= set(config.outputs) else None,
        lesions=LesionsOnRequest(config.least_lesion_mm) if on_request else None,
        mirror_axes=config.mirror_axes,
        # A localiser that may mirror does; of a fine network, calibration has the say.
        mirror=bool(config.mirror_axes) and "kidney" in config.outputs,
        training=dict(record),
        metrics={"validation_dice": record.get("validation")} if record.get("validation") else {},
    )


def export_bundle(
    run: Path, folder: Path, *, config: EmbeddedConfig | None = None, version: str = "1", replace: bool = False
) -> Bundle:
    """Turn the weights of a run into a bundle folder, OpenVINO graph included.

    Args:
        run: a network's output folder (its ``weights.pt`` is taken), or a ``weights.pt`` or ``checkpoint.pt`` in it.
            The ``record.json`` beside it says how it was trained.
        folder: the bundle's folder.
        config: the recipe, for runs without a record; ``None``: the default one.
        version: of the bundle.
        replace: allow an existing bundle in ``folder``.

    Raises:
        InputError: if there are no weights, or nobody knows of which network they are.
    """
    file = run / "weights.pt" if run.is_dir() else run
    content = load_safely(file)
    weights = shipped_weights(content["average"]) if "average" in content else content
    record_file = file.with_name("record.json")
    config = config or load_config()
    if record_file.exists():
        record = json.loads(record_file.read_text(encoding="utf-8"))
        name = record["network"]
    else:
        name = str(content.get("network", file.parent.name))
        record = {"network": name, "steps": content.get("step"), "seconds": content.get("seconds")}
    part = config.networks.get(name)
    if part is None:
        raise InputError(f"{file}: expected weights of {' or '.join(config.networks)}, but they are of {name!r}.")
    localisers = [n.bundle for n in config.networks.values() if n.source == "whole_bodies" and n is not part]
    localiser = localisers[0] if localisers and part.source != "whole_bodies" else None
    return write_bundle(folder, _spec(part, record, localiser, version), weights, float16=True, replace=replace)
