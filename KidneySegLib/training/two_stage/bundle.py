"""One bundle out of both trained stages."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from KidneySegLib.models import Bundle, BundleSpec, Normalisation
from KidneySegLib.models.two_stage import TwoStageRecord
from KidneySegLib.models.two_stage_export import write_two_stage_bundle
from KidneySegLib.training.checkpoint import load_safely
from KidneySegLib.training.two_stage.config import TwoStageConfig
from KidneySegLib.training.two_stage.trainer import WEIGHTS_FILE, network_arguments, network_name

_CITATION = "Zhu K, Shen C, Peng Y, Ding X. Segmentation of the kidney and its tumor. KiTS19, 2019."
_INTENDED_USE = (
    "Research and education: kidneys and renal masses on arterial-phase CT, after a person has looked at the masks. "
    "Cortex and medulla are not divided. Not a medical device."
)


def write_run_bundle(run: Path, config: TwoStageConfig, record: Mapping[str, Any], *, replace: bool = False) -> Bundle:
    """Write ``bundles/NAME`` of a run whose two stages are trained.

    Raises:
        InputError: if a stage has no weights.
        ModelError: if the bundle is there and ``replace`` is not given.
    """
    first, second = (load_safely(run / stage / WEIGHTS_FILE) for stage in ("first", "second"))
    second = with_odds(second, config.class_weights, config.class_odds)
    n, patch = config.normalisation, config.second.patch
    slab = config.first.patch[0]
    synthetic = record.get("data") == "phantoms"
    spec = BundleSpec(
        name=config.bundle,
        version="1",
        title="Kidneys and renal masses in two stages (Zhu et al., KiTS19)" + (", synthetic CT" if synthetic else ""),
        licence="Apache-2.0" if synthetic else "that of the data it was trained on",
        citation=_CITATION,
        intended_use=_INTENDED_USE,
        network=network_name("second"),
        network_arguments=network_arguments(config, "second"),
        spacing_mm=config.spacing_mm,
        patch_size=patch,
        size_multiple=(1, 16, 16),
        normalisation=Normalisation(n["low"], n["high"], n["mean"], n["sd"]),
        outputs=config.outputs,
        activation="softmax",
        localiser=config.localiser,
        mirror_axes=config.mirror_axes,
        mirror=bool(config.mirror_axes),
        training=json.loads(json.dumps(record)),
        two_stage=TwoStageRecord(
            network=network_name("first"),
            arguments=network_arguments(config, "first"),
            pooling=config.first_pooling,
            slab=slab,
            slab_step=max(1, round(slab * config.first_overlap)),
            dilation_mm=config.dilation_mm,
            foreground_probability=config.foreground_probability,
        ),
    )
    return write_two_stage_bundle(run / "bundles" / config.bundle, spec, first, second, replace=replace)


def with_odds(
    second: Mapping[str, Tensor], class_weights: Sequence[float], class_odds: Sequence[float]
) -> dict[str, Tensor]:
    """The second stage's weights with the odds of each class as the model is to say them.

    A weight of w in the loss makes a network say w times the odds that it saw: its logarithm comes off the biases of
    the heads. What the recipe wants each class's odds multiplied by goes on.
    """
    if not class_weights and not class_odds:
        return dict(second)
    classes = len(class_weights or class_odds)
    pairs = zip(class_odds or (1.0,) * classes, class_weights or (1.0,) * classes, strict=True)
    shift = torch.tensor([math.log(odds / weight) for odds, weight in pairs])
    return {
        name: value + shift.to(value.dtype) if re.fullmatch(r"heads\.\d+\.bias", name) else value
        for name, value in second.items()
    }
