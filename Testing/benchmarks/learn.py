"""How the benchmark's weights came to be: networks learn kidneys of phantoms, and are written to ``learnt``.

    python Testing/benchmarks/learn.py thick        two and a half hours of one core; isotropic two, quick seconds
    python Testing/benchmarks/learn.py thick --last-round       go on from the weights that are there

A network of 30 million parameters takes days to learn on a CPU. A quarter as wide it takes hours; `weights.widened`
puts what it learnt into the wide one, which answers the same. The files are part of this folder, so that every machine
times the same weights and finds the same masks; they are learnt anew only when what they are learnt from changes.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from Testing.benchmarks.phantoms import NOISE_HU, rendered  # noqa: E402
from Testing.benchmarks.plans import PLANS, SCANS, Planned, Size  # noqa: E402
from Testing.benchmarks.weights import FOREGROUND, learnt_file, narrow_plans_json, nnunet_network, own_network  # noqa: E402

#: Phantoms that the weights learn from (the first round of those in ``learnt``: the first 32); the scans that are timed
#: have other seeds.
TRAINING_SEEDS = tuple(range(600_100, 600_164))
#: By how much a training patch may be brighter or darker, and its contrast stronger or weaker.
OFFSET_HU, GAIN = 15.0, 0.1
#: How often a training patch lies round a kidney; else anywhere in the scan: what is no kidney must be learnt too.
KIDNEY_SHARE = 0.5
#: Added to both sides of Dice's fraction, in voxels: where a patch has no kidney, so much that is taken for one costs
#: half of the loss.
DICE_SMOOTHING = 200.0
#: Highest learning rate of the first round; of the second half of it.
PEAK_RATE = 4e-3


def main() -> None:
    from safetensors.torch import load_file, save_file

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("plans", nargs="+", choices=tuple(PLANS))
    parser.add_argument("--last-round", action="store_true", help="go on from the weights that are there")
    arguments = parser.parse_args()
    for name in arguments.plans:
        planned = PLANS[name]
        start = load_file(learnt_file(planned)) if arguments.last_round else None
        weights = learn(planned, phantoms_of(planned, TRAINING_SEEDS), start)
        save_file({key: weight.half().contiguous() for key, weight in weights.items()}, learnt_file(planned))


def phantoms_of(planned: Planned, seeds: tuple[int, ...]) -> list[tuple[np.ndarray, np.ndarray]]:
    """HU without noise (int16) and two regions (2, z, y, x) of phantoms, as the plan's scan is for its network."""
    from KidneySegLib.inference.spline import new_shape

    scan = SCANS[planned.name]
    shape = new_shape(scan.shape, scan.spacing_mm, planned.spacing_mm)
    phantoms = []
    for number, seed in enumerate(seeds, start=1):
        hu, labels, _ = rendered(seed, shape, planned.spacing_mm)
        phantoms.append((np.rint(hu).astype(np.int16), np.stack([labels >= 1, labels == 2])))
        print(f"{planned.name}: phantom {number} of {len(seeds)}", file=sys.stderr, flush=True)
    return phantoms


def learn(
    planned: Planned, phantoms: list[tuple[np.ndarray, np.ndarray]], start: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Weights of a plan's narrow network after its rounds, under the first of nnU-Net's names for each.

    It learns as this program's own network, which computes the same and takes half the time.

    Args:
        planned: which network.
        phantoms: as of `phantoms_of`.
        start: weights after all rounds but the last; None learns all rounds.
    """
    plans = narrow_plans_json(planned)
    fresh = nnunet_network(plans, deep_supervision=False)
    if start is not None:
        fresh.load_state_dict({name: weight.float() for name, weight in start.items()}, strict=False)
    network = own_network(plans, fresh, deep_supervision=False).train()
    for number, steps in enumerate(planned.training_steps, start=1):
        if start is None or number == len(planned.training_steps):
            _learn_round(planned, network, phantoms, number, steps)
    return dict(network.state_dict())


def _learn_round(
    planned: Planned, network: Any, phantoms: list[tuple[np.ndarray, np.ndarray]], number: int, steps: int
) -> None:
    import torch

    from KidneySegLib.inference.device import cpu_device
    from KidneySegLib.training.precision import autocast
    from KidneySegLib.training.process_settings import settings_for_learning

    optimiser = torch.optim.AdamW(network.parameters(), 6e-4, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, PEAK_RATE / number, steps + 1)
    in_bfloat16 = cpu_device().has_bfloat16
    random = np.random.default_rng(6 + number)
    losses: list[float] = []
    left_out = 0
    with settings_for_learning():
        for step in range(steps):
            size = planned.training_patches[step % len(planned.training_patches)]
            image, target = _batch(phantoms, size, random)
            with autocast(torch.device("cpu"), bfloat16=in_bfloat16):
                logits = network(image.contiguous(memory_format=torch.channels_last_3d))
            loss = _loss(logits.float(), target)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            # torch 2.13's gradients in bfloat16 without AMX are now and then infinite: of the isotropic network one
            # step in ten, of the other one in two hundred.
            if torch.isfinite(torch.nn.utils.clip_grad_norm_(network.parameters(), 12.0)):
                optimiser.step()
            else:
                left_out += 1
            schedule.step()
            losses.append(loss.item())
            if step % 50 == 49:
                said = f"round {number}, step {step + 1} of {steps}, loss {np.mean(losses[-50:]):.3f}"
                print(f"{planned.name}: {said}, {left_out} left out", file=sys.stderr, flush=True)


def _batch(phantoms: list[tuple[np.ndarray, np.ndarray]], size: Size, random: np.random.Generator) -> tuple[Any, Any]:
    """A network's input (1, 1, z, y, x) and its two regions (1, 2, z, y, x): a noisy patch, mirrored as it comes."""
    import torch

    hu, regions = _patch(phantoms, size, random)
    gain, offset = random.uniform(1 - GAIN, 1 + GAIN), random.uniform(-OFFSET_HU, OFFSET_HU)
    noisy = gain * (hu + random.normal(0, NOISE_HU, hu.shape).astype(np.float32)) + offset
    noisy = np.clip(noisy, FOREGROUND["percentile_00_5"], FOREGROUND["percentile_99_5"])
    image = torch.from_numpy(((noisy - FOREGROUND["mean"]) / FOREGROUND["std"]).astype(np.float32))[None, None]
    target = torch.from_numpy(regions).float()[None]
    flips = [axis for axis in (2, 3, 4) if random.random() < 0.5]
    return image.flip(flips), target.flip(flips)


def _patch(
    phantoms: list[tuple[np.ndarray, np.ndarray]], size: Size, random: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """A part of a random phantom: round a voxel of its kidneys, or anywhere."""
    hu, regions = phantoms[int(random.integers(len(phantoms)))]
    room = [n - s for n, s in zip(hu.shape, size, strict=True)]
    start = [int(random.integers(r + 1)) for r in room]
    if random.random() < KIDNEY_SHARE:
        kidney = np.flatnonzero(regions[0])
        voxel = np.unravel_index(int(kidney[int(random.integers(len(kidney)))]), hu.shape)
        # Not always in the middle: at inference a kidney lies anywhere in its tile.
        shift = [int(random.integers(-(s // 4), s // 4 + 1)) for s in size]
        start = [min(max(int(v) - s // 2 + d, 0), r) for v, s, r, d in zip(voxel, size, room, shift, strict=True)]
    z, y, x = (slice(a, a + s) for a, s in zip(start, size, strict=True))
    return hu[z, y, x], np.ascontiguousarray(regions[:, z, y, x])


def _loss(logits: Any, target: Any) -> Any:
    """Cross-entropy and Dice of the two regions."""
    from torch.nn import functional

    p = logits.sigmoid()
    overlap = 2 * (p * target).sum((2, 3, 4)) + DICE_SMOOTHING
    whole = p.sum((2, 3, 4)) + target.sum((2, 3, 4)) + DICE_SMOOTHING
    return functional.binary_cross_entropy_with_logits(logits, target) + 1 - (overlap / whole).mean()


if __name__ == "__main__":
    main()
