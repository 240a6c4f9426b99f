"""What is timed: a phantom's CT, and weights that have learnt kidneys, as nnU-Net's model folder and as our bundle.

All of it is made once from fixed seeds and kept in the user's cache folder.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from Testing.benchmarks.limits import processor
from Testing.benchmarks.plans import CONFIGURATION, Planned, ScanPlan, dataset_json, plans_json

#: Counts up when what is made here changes.
VERSION = 4
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
NOISE_HU = 10.0
#: By how much a training patch may be brighter or darker, and its contrast stronger or weaker.
OFFSET_HU, GAIN = 15.0, 0.1
#: How often a training patch lies round a kidney; else anywhere in a kidney's tile: what is no kidney must be learnt
#: too.
KIDNEY_SHARE = 0.6


@dataclass(frozen=True)
class Scan:
    """A phantom's CT on disk, uncompressed.

    Attributes:
        plan: what it is.
        image: the file.
        truth: label ids of `labels.LABELS`.
    """

    plan: ScanPlan
    image: Path
    truth: Path


@dataclass(frozen=True)
class Model:
    """The same weights for both sides.

    Attributes:
        planned: the network.
        folder: nnU-Net's: plans.json, dataset.json, fold_0.
        bundle: ours, imported from it; names our localiser.
        made: how the weights came to be.
    """

    planned: Planned
    folder: Path
    bundle: Path
    made: str


def cache_folder() -> Path:
    """``$KIDNEYSEG_BENCHMARK_CACHE``, or the user's cache folder."""
    import platformdirs

    given = os.environ.get("KIDNEYSEG_BENCHMARK_CACHE")
    return Path(given) if given else Path(platformdirs.user_cache_dir("KidneySeg", appauthor=False)) / "benchmark"


def make_scan(plan: ScanPlan) -> Scan:
    """The CT of a plan; made where it is not there yet."""
    import SimpleITK as sitk

    key = hashlib.sha256(json.dumps([asdict(plan), VERSION]).encode()).hexdigest()[:12]
    folder = cache_folder() / f"scan-{plan.name}-{key}"
    scan = Scan(plan, folder / "ct.nii", folder / "labels.nii")
    if scan.truth.is_file():
        return scan
    folder.mkdir(parents=True, exist_ok=True)
    hu, labels, grid = _rendered(plan.seed, plan.shape, plan.spacing_mm)
    hu += np.random.default_rng(plan.seed).normal(0.0, NOISE_HU, hu.shape).astype(np.float32)
    sitk.WriteImage(grid.to_sitk(np.clip(np.rint(hu), -1024, 3071).astype(np.int16)), str(scan.image))
    sitk.WriteImage(grid.to_sitk(labels), str(scan.truth))
    return scan


def _rendered(seed: int, shape: tuple[int, int, int], spacing: tuple[float, float, float]) -> Any:
    """HU, training labels and grid of a phantom, centred on its trunk; a few slices at a time."""
    from KidneySegLib.phantom.grid import Grid
    from KidneySegLib.phantom.scene import sample_scene

    scene = sample_scene(seed, variant="normal", phase="arterial", variety=0.3)
    middle = [(low + high) / 2 for low, high in scene.body_bounds_mm()]
    origin = [m - (n - 1) / 2 * s for m, n, s in zip(middle, shape[::-1], spacing[::-1], strict=True)]
    # The kidneys at half height of the scan.
    origin[2] = -(shape[0] - 1) / 2 * spacing[0]
    grid = Grid(shape, spacing, (origin[0], origin[1], origin[2]))
    hu, labels = np.empty(shape, np.float32), np.empty(shape, np.uint8)
    for start in range(0, shape[0], 8):
        part = slice(start, min(start + 8, shape[0]))
        hu[part], labels[part] = _painted(scene, grid.sub_grid((part, slice(None), slice(None))))
    return hu, labels, grid


def _painted(scene: Any, grid: Any) -> tuple[np.ndarray, np.ndarray]:
    """HU, and 1 where parenchyma fills more than half of a voxel, 2 where cortex does."""
    from KidneySegLib.phantom.render import render

    rendering = render(scene, grid)
    labels = np.zeros(grid.shape_zyx, np.uint8)
    for value, name in ((1, "parenchyma"), (2, "cortex")):
        total = sum((v for k, v in rendering.fractions.items() if k.endswith("_" + name)), np.float32(0))
        labels[np.broadcast_to(total, labels.shape) > 0.5] = value
    return np.asarray(rendering.hu, np.float32), labels


def make_model(planned: Planned) -> Model:
    """A network with weights that have learnt phantoms' kidneys for a moment; made where it is not there yet.

    It learns on this machine, so weights differ a little from machine to machine; both sides get the same.
    """
    import torch

    key = hashlib.sha256(json.dumps([asdict(planned), FOREGROUND, VERSION]).encode()).hexdigest()[:12]
    made = (
        f"trained for {planned.training_steps} steps on patches of "
        f"{' and '.join(' x '.join(map(str, patch)) for patch in planned.training_patches)} "
        f"voxels from {len(TRAINING_SEEDS)} phantoms, from a fixed seed"
    )
    folder = cache_folder() / f"model-{planned.name}-{key}"
    model = Model(planned, folder / "nnunet", folder / "bundle", made)
    checkpoint = model.folder / "fold_0" / "checkpoint_final.pth"
    if not checkpoint.is_file():
        work = folder.with_name(folder.name + ".part")
        shutil.rmtree(work, ignore_errors=True)
        (work / "nnunet" / "fold_0").mkdir(parents=True)
        plans = plans_json(planned, FOREGROUND)
        (work / "nnunet" / "plans.json").write_text(json.dumps(plans))
        (work / "nnunet" / "dataset.json").write_text(json.dumps(dataset_json()))
        content = {
            "network_weights": _trained(planned, plans),
            "trainer_name": "nnUNetTrainer",
            "init_args": {"configuration": CONFIGURATION},
            "inference_allowed_mirroring_axes": (0, 1, 2),
        }
        torch.save(content, work / "nnunet" / "fold_0" / "checkpoint_final.pth")
        shutil.rmtree(folder, ignore_errors=True)
        work.rename(folder)
    if not (model.bundle / "model.json").is_file():
        from KidneySegLib.models.nnunet import import_nnunet

        import_nnunet(model.folder, f"benchmark-{planned.name}", folder=model.bundle, localiser="kidneyseg-localiser")
    return model


def _trained(planned: Planned, plans: dict[str, Any]) -> dict[str, Any]:
    """Weights, under nnU-Net's names, of nnU-Net's own network after a moment of training."""
    import torch
    from torch.nn import functional

    network = nnunet_network(plans, deep_supervision=False)
    network.train()
    tiles = _tiles(planned)
    optimiser = torch.optim.AdamW(network.parameters(), 6e-4, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 2e-3, planned.training_steps + 1)
    random = np.random.default_rng(7)
    for step in range(planned.training_steps):
        hu, regions = _patch(tiles, planned.training_patches[step % len(planned.training_patches)], random)
        noise = torch.from_numpy(random.normal(0, NOISE_HU / FOREGROUND["std"], hu.shape))
        gain, offset = random.uniform(1 - GAIN, 1 + GAIN), random.uniform(-OFFSET_HU, OFFSET_HU) / FOREGROUND["std"]
        image = gain * torch.from_numpy(hu) + offset + noise.float()
        target = torch.from_numpy(regions).float()[None]
        flips = [axis for axis in (2, 3, 4) if random.random() < 0.5]
        image, target = image[None, None].flip(flips), target.flip(flips)
        # torch 2.13's bfloat16 gradients of this network are now and then infinite on a CPU without AMX.
        with torch.autocast("cpu", torch.bfloat16, enabled=bool(processor()["amx_bf16"])):
            logits = network(image)
        logits = logits.float()
        p = torch.sigmoid(logits)
        overlap = (2 * (p * target).sum((2, 3, 4)) + 1) / (p.sum((2, 3, 4)) + target.sum((2, 3, 4)) + 1)
        # Of a patch without a kidney Dice says nothing.
        present = target.sum() > 0
        loss = functional.binary_cross_entropy_with_logits(logits, target) + present * (1 - overlap.mean())
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 12.0, error_if_nonfinite=True)
        optimiser.step()
        schedule.step()
        if step % 10 == 9:
            print(f"  weights: step {step + 1} of {planned.training_steps}, loss {loss.item():.3f}", file=sys.stderr)
    return network.state_dict()


def nnunet_network(plans: dict[str, Any], *, deep_supervision: bool) -> Any:
    """nnU-Net's own network of a plans.json, with fresh weights from a fixed seed."""
    import torch
    from nnunetv2.utilities.get_network_from_plans import get_network_from_plans

    torch.manual_seed(0)
    a = plans["configurations"][CONFIGURATION]["architecture"]
    return get_network_from_plans(
        a["network_class_name"], a["arch_kwargs"], a["_kw_requires_import"], 1, 2, deep_supervision=deep_supervision
    )


def _tiles(planned: Planned) -> list[tuple[np.ndarray, np.ndarray]]:
    """A normalised tile round each kidney of each phantom, and its two regions (2, z, y, x)."""
    from KidneySegLib.phantom.grid import Grid
    from KidneySegLib.phantom.scene import sample_scene

    tiles = []
    for seed in TRAINING_SEEDS:
        scene = sample_scene(seed, variant="normal", phase="arterial", variety=0.3)
        random = np.random.default_rng(seed)
        for kidney in scene.kidneys:
            shape, spacing = planned.patch, planned.spacing_mm
            centre = np.asarray(kidney.centre_mm) + random.uniform(-15, 15, 3)
            origin = [c - (n - 1) / 2 * s for c, n, s in zip(centre, shape[::-1], spacing[::-1], strict=True)]
            hu, labels = _painted(scene, Grid(shape, spacing, (origin[0], origin[1], origin[2])))
            hu = np.clip(hu, FOREGROUND["percentile_00_5"], FOREGROUND["percentile_99_5"])
            normalised = ((hu - FOREGROUND["mean"]) / FOREGROUND["std"]).astype(np.float32)
            tiles.append((normalised, np.stack([labels >= 1, labels == 2])))
    return tiles


def _patch(
    tiles: list[tuple[np.ndarray, np.ndarray]], size: tuple[int, int, int], random: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """A random part of a random tile, mostly round a voxel of its kidney."""
    hu, regions = tiles[int(random.integers(len(tiles)))]
    room = [n - s for n, s in zip(hu.shape, size, strict=True)]
    start = [int(random.integers(r + 1)) for r in room]
    kidney = np.flatnonzero(regions[0])
    if len(kidney) and random.random() < KIDNEY_SHARE:
        voxel = np.unravel_index(int(kidney[int(random.integers(len(kidney)))]), hu.shape)
        start = [min(max(int(v) - s // 2, 0), r) for v, s, r in zip(voxel, size, room, strict=True)]
    z, y, x = (slice(a, a + s) for a, s in zip(start, size, strict=True))
    return np.ascontiguousarray(hu[z, y, x]), np.ascontiguousarray(regions[:, z, y, x])
