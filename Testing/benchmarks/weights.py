"""Weights that have learnt kidneys, for nnU-Net's own network: those of a narrow network, put into the wide one.

What either side computes for a wide network does not depend on how its weights came to be, but how far masks reach,
and how sure they are, does.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from Testing.benchmarks.plans import CONFIGURATION, Planned, plans_json

#: Mean, deviation and percentiles of phantoms' kidneys in the arterial phase, HU.
FOREGROUND = {
    "mean": 150.0,
    "median": 150.0,
    "std": 60.0,
    "min": -100.0,
    "max": 400.0,
    "percentile_99_5": 300.0,
    "percentile_00_5": -60.0,
}
#: One file a plan.
LEARNT = Path(__file__).resolve().parent / "learnt"


def nnunet_network(plans: dict[str, Any], *, deep_supervision: bool) -> Any:
    """nnU-Net's own network of a plans.json, with fresh weights from a fixed seed."""
    import torch
    from nnunetv2.utilities.get_network_from_plans import get_network_from_plans

    torch.manual_seed(0)
    a = plans["configurations"][CONFIGURATION]["architecture"]
    return get_network_from_plans(
        a["network_class_name"], a["arch_kwargs"], a["_kw_requires_import"], 1, 2, deep_supervision=deep_supervision
    )


def own_network(plans: dict[str, Any], theirs: Any, *, deep_supervision: bool) -> Any:
    """This program's network of a plans.json with the weights of nnU-Net's; convolutions in the layout that ours uses.

    nnU-Net registers each layer under two names, ours under the first of them.
    """
    import torch

    from KidneySegLib.models.nnunet_plans import read_plan
    from KidneySegLib.networks import build_network

    plan = read_plan(plans, CONFIGURATION, "plans.json")
    arguments = {**plan.arguments, plan.outputs_argument: 2, "deep_supervision": deep_supervision}
    network = build_network(plan.network, arguments)
    given = theirs.state_dict()
    network.load_state_dict({name: given[name] for name in network.state_dict()})
    return network.to(memory_format=torch.channels_last_3d)


def narrow_plans_json(planned: Planned) -> dict[str, Any]:
    """As `plans_json`, of the narrow network that learns a plan's weights."""
    return plans_json(replace(planned, features=planned.trained_features), FOREGROUND)


def learnt(planned: Planned) -> dict[str, Any]:
    """Weights of a plan's network, under nnU-Net's names, with what its narrow one has learnt.

    Raises:
        RuntimeError: if the file is not of the plan's narrow network.
    """
    from safetensors.torch import load_file

    narrow = nnunet_network(narrow_plans_json(planned), deep_supervision=False)
    given = load_file(learnt_file(planned))
    if {key: value.shape for key, value in given.items()} != {k: v.shape for k, v in narrow.named_parameters()}:
        raise RuntimeError(
            f"expected the weights of the narrow network of {planned.name} in {learnt_file(planned)}, got other ones: "
            f"python Testing/benchmarks/learn.py {planned.name} makes them anew"
        )
    narrow.load_state_dict(given, strict=False)  # nnU-Net's second names are of the same tensors.
    wide = nnunet_network(plans_json(planned, FOREGROUND), deep_supervision=False)
    return widened(narrow.state_dict(), wide.state_dict())


def learnt_file(planned: Planned) -> Path:
    """What a plan's narrow network has learnt, in half precision; `learn` makes it."""
    return LEARNT / f"{planned.name}.safetensors"


def widened(narrow: dict[str, Any], wide: dict[str, Any]) -> dict[str, Any]:
    """Weights of a wide U-Net that answers as a narrow one.

    The first channels of each layer are the narrow network's, and see nothing of the others; those keep fresh weights.
    Instance normalisation treats each channel by itself, so nothing else changes (the idea: Chen et al. 2016, Net2Net,
    arXiv:1511.05641).

    Args:
        narrow, wide: of two PlainConvUNets that differ in their features only.
    """
    made = {}
    for name, weight in wide.items():
        given, value = narrow[name], weight.clone()
        if value.ndim == 1:
            value[: len(given)] = given
        else:
            # Transposed convolutions have their inputs first.
            inputs = 0 if "transpconvs" in name else 1
            outputs = 1 - inputs
            own, seen = given.shape[outputs], _inputs(given.shape[inputs], value.shape[inputs], name)
            value.narrow(outputs, 0, own).zero_()
            for source, target, count in seen:
                value.narrow(outputs, 0, own).narrow(inputs, target, count).copy_(given.narrow(inputs, source, count))
        made[name] = value
    return made


def _inputs(narrow: int, wide: int, name: str) -> list[tuple[int, int, int]]:
    """Where a layer's inputs come from and go to: first channel in the narrow and in the wide one, and how many."""
    # The first convolution of a decoder's stage sees what comes up, and beside it the skip.
    if name.startswith("decoder.stages") and "convs.0." in name:
        return [(0, 0, narrow // 2), (narrow // 2, wide // 2, narrow // 2)]
    return [(0, 0, narrow)]
