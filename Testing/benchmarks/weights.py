"""Weights that have learnt kidneys, for nnU-Net's own network, in minutes on a CPU.

A network of 30 million parameters takes hours to learn. A quarter as wide it takes minutes; `widened` then puts what it
learnt into the wide one, which answers the same. What either side computes for a wide network does not depend on how
its weights came to be, but how far masks reach, and how sure they are, does.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import Any

import numpy as np

from Testing.benchmarks.limits import processor
from Testing.benchmarks.phantoms import NOISE_HU, painted, sampled
from Testing.benchmarks.plans import CONFIGURATION, Planned, plans_json

#: Phantoms that the weights learn from; the scans have other seeds.
TRAINING_SEEDS = tuple(range(600_100, 600_116))
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
#: By how much a training patch may be brighter or darker, and its contrast stronger or weaker.
OFFSET_HU, GAIN = 15.0, 0.1
#: How often a training patch lies round a kidney; else anywhere in any tile: what is no kidney must be learnt too.
KIDNEY_SHARE = 0.5
#: Tiles of each phantom that lie anywhere in the body, beside one round each kidney.
TILES_ELSEWHERE = 5
#: So many steps may be left out because their gradients are infinite, as torch 2.13's in bfloat16 without AMX now and
#: then are.
LEFT_OUT_SHARE = 0.1


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


def fresh(planned: Planned) -> dict[str, Any]:
    """Weights of a plan's network that have learnt nothing, under nnU-Net's names."""
    network = nnunet_network(plans_json(planned, FOREGROUND), deep_supervision=False)
    return dict(network.state_dict())


def learnt(planned: Planned) -> dict[str, Any]:
    """Weights of a plan's network, under nnU-Net's names, after its narrow one has learnt.

    It learns as this program's own network, which computes the same and takes half the time.
    """
    narrow_plans = plans_json(replace(planned, features=planned.trained_features), FOREGROUND)
    narrow = nnunet_network(narrow_plans, deep_supervision=False)
    own = own_network(narrow_plans, narrow, deep_supervision=False)
    _train(own, planned)
    narrow.load_state_dict(own.state_dict(), strict=False)  # Its second names are of the same tensors.
    wide = nnunet_network(plans_json(planned, FOREGROUND), deep_supervision=False)
    return widened(narrow.state_dict(), wide.state_dict())


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


def _train(network: Any, planned: Planned) -> None:
    import torch
    from torch.nn import functional

    network.train()
    tiles = _tiles(planned)
    with_kidney = [tile for tile in tiles if tile[1][0].any()]
    optimiser = torch.optim.AdamW(network.parameters(), 6e-4, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 4e-3, planned.training_steps + 1)
    machine = processor()
    in_bfloat16 = bool(machine["amx_bf16"] or machine["avx512_bf16"])
    random = np.random.default_rng(7)
    left_out = 0
    for step in range(planned.training_steps):
        round_kidney = random.random() < KIDNEY_SHARE
        size = planned.training_patches[step % len(planned.training_patches)]
        hu, regions = _patch(with_kidney if round_kidney else tiles, size, random, round_kidney=round_kidney)
        noise = torch.from_numpy(random.normal(0, NOISE_HU / FOREGROUND["std"], hu.shape))
        gain, offset = random.uniform(1 - GAIN, 1 + GAIN), random.uniform(-OFFSET_HU, OFFSET_HU) / FOREGROUND["std"]
        image = gain * torch.from_numpy(hu) + offset + noise.float()
        target = torch.from_numpy(regions).float()[None]
        flips = [axis for axis in (2, 3, 4) if random.random() < 0.5]
        image, target = image[None, None].flip(flips), target.flip(flips)
        with torch.autocast("cpu", torch.bfloat16, enabled=in_bfloat16):
            logits = network(image.contiguous(memory_format=torch.channels_last_3d))
        logits = logits.float()
        p = torch.sigmoid(logits)
        overlap = (2 * (p * target).sum((2, 3, 4)) + 1) / (p.sum((2, 3, 4)) + target.sum((2, 3, 4)) + 1)
        # Of a patch without a kidney Dice says nothing.
        present = target.sum() > 0
        loss = functional.binary_cross_entropy_with_logits(logits, target) + present * (1 - overlap.mean())
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        if torch.isfinite(torch.nn.utils.clip_grad_norm_(network.parameters(), 12.0)):
            optimiser.step()
        else:
            left_out += 1
        schedule.step()
        if step % 10 == 9:
            print(f"  weights: step {step + 1} of {planned.training_steps}, loss {loss.item():.3f}", file=sys.stderr)
    if left_out > LEFT_OUT_SHARE * planned.training_steps:
        raise RuntimeError(
            f"expected finite gradients in most of {planned.training_steps} steps, got {left_out} without: "
            "train in float32"
        )


def _tiles(planned: Planned) -> list[tuple[np.ndarray, np.ndarray]]:
    """Normalised tiles of each phantom, round each kidney and elsewhere, and their two regions (2, z, y, x)."""
    from KidneySegLib.phantom.grid import Grid

    tiles = []
    for seed in TRAINING_SEEDS:
        scene = sampled(seed)
        random = np.random.default_rng(seed)
        bounds = np.asarray(scene.body_bounds_mm(), np.float64)
        # nnU-Net looks at the whole scan: what lies far from a kidney must be learnt too.
        elsewhere = random.uniform(*bounds.T, (TILES_ELSEWHERE, 3))
        for middle in (*(kidney.centre_mm for kidney in scene.kidneys), *elsewhere):
            shape, spacing = planned.patch, planned.spacing_mm
            centre = np.asarray(middle) + random.uniform(-15, 15, 3)
            origin = [c - (n - 1) / 2 * s for c, n, s in zip(centre, shape[::-1], spacing[::-1], strict=True)]
            hu, labels = painted(scene, Grid(shape, spacing, (origin[0], origin[1], origin[2])))
            hu = np.clip(hu, FOREGROUND["percentile_00_5"], FOREGROUND["percentile_99_5"])
            normalised = ((hu - FOREGROUND["mean"]) / FOREGROUND["std"]).astype(np.float32)
            tiles.append((normalised, np.stack([labels >= 1, labels == 2])))
    return tiles


def _patch(
    tiles: list[tuple[np.ndarray, np.ndarray]],
    size: tuple[int, int, int],
    random: np.random.Generator,
    *,
    round_kidney: bool,
) -> tuple[np.ndarray, np.ndarray]:
    """A part of a random tile: round a voxel of the kidney that each has, or anywhere."""
    hu, regions = tiles[int(random.integers(len(tiles)))]
    room = [n - s for n, s in zip(hu.shape, size, strict=True)]
    start = [int(random.integers(r + 1)) for r in room]
    if round_kidney:
        kidney = np.flatnonzero(regions[0])
        voxel = np.unravel_index(int(kidney[int(random.integers(len(kidney)))]), hu.shape)
        start = [min(max(int(v) - s // 2, 0), r) for v, s, r in zip(voxel, size, room, strict=True)]
    z, y, x = (slice(a, a + s) for a, s in zip(start, size, strict=True))
    return np.ascontiguousarray(hu[z, y, x]), np.ascontiguousarray(regions[:, z, y, x])
