"""What only ``make benchmark FULL=1`` measures: cost by slices, the training step; and the cold start."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from Testing.benchmarks.material import Model
from Testing.benchmarks.plans import CONFIGURATION
from Testing.benchmarks.sides import ROOT, run_side, settle_nnunet

SLICES = (50, 100, 200, 400, 800, 1600)


def cold_start(times: int) -> dict[str, Any]:
    """Seconds from the start of a process to the embedded model being ready."""
    seconds = [run_side("start")["wall_seconds"] for _ in range(times)]
    return {"seconds": seconds, "best": min(seconds)}


def by_slices(slices: tuple[int, ...] = SLICES) -> list[dict[str, Any]]:
    """Time and peak memory of the engine on synthetic scans of more and more slices of 1 mm, the kidneys the same."""
    command = [sys.executable, str(ROOT / "Testing" / "benchmarks" / "peak_memory.py"), "--slices", *map(str, slices)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


def training_step(model: Model, times: int) -> dict[str, Any]:
    """Seconds of one training step of nnU-Net's own trainer and of ours: same network, patch and batch, in turn.

    nnU-Net: ``nnUNetTrainer.train_step`` with its own loss and optimiser. Ours: `Trainer.learn` with this program's
    network of the same plan and weights, with the heap as `Trainer.run` sets it, after two steps that are not timed, in
    which the heap grows to what a step needs. Neither counts the making of the batch.
    """
    settle_nnunet()
    import torch
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

    from KidneySegLib.inference.heap import freed_memory_kept
    from KidneySegLib.inference.timing import seconds_in_turn
    from KidneySegLib.training.config import NetworkConfig
    from KidneySegLib.training.ema import WeightAverage
    from KidneySegLib.training.trainer import Trainer
    from Testing.benchmarks.weights import nnunet_network, own_network

    plans = json.loads((model.folder / "plans.json").read_text())
    plans["continue_training"] = False
    dataset = json.loads((model.folder / "dataset.json").read_text())
    batch = int(plans["configurations"][CONFIGURATION]["batch_size"])
    random = np.random.default_rng(0)
    image = torch.from_numpy(random.normal(size=(batch, 1, *model.planned.patch)).astype(np.float32))
    target = (image > 1).float().expand(-1, 2, -1, -1, -1).contiguous()

    trainer = nnUNetTrainer(plans, CONFIGURATION, 0, dataset, torch.device("cpu"))
    with tempfile.TemporaryDirectory() as folder:
        # It looks for its data's format only; batches are handed to it.
        Path(folder, "case.npz").touch()
        trainer.preprocessed_dataset_folder = folder
        trainer.initialize()
    outputs = trainer.network(image[:1])
    scales = [tuple(int(a) for a in o.shape[2:]) for o in outputs]
    targets = [torch.nn.functional.interpolate(target, size=s) for s in scales]

    ours = Trainer.__new__(Trainer)
    ours.config = NetworkConfig.__new__(NetworkConfig)
    for name, value in {"activation": "sigmoid", "gradient_norm": 12.0, "learning_rate": 1e-3, "arguments": {}}.items():
        object.__setattr__(ours.config, name, value)
    ours.device, ours.step = torch.device("cpu"), 0
    ours.network = own_network(plans, nnunet_network(plans, deep_supervision=True), deep_supervision=True)
    ours._forward = lambda x: list(ours.network(x))
    ours.average = WeightAverage(ours.network, 0.999)
    ours.optimizer = torch.optim.AdamW(ours.network.parameters(), 1e-3, fused=True)
    given = image.contiguous(memory_format=torch.channels_last_3d)

    def our_step() -> float:
        with freed_memory_kept():
            for _ in range(2):
                ours.learn(given, target, None)
            return seconds_in_turn([lambda: ours.learn(given, target, None)], 1)[0]

    def their_step() -> float:
        return seconds_in_turn([lambda: trainer.train_step({"data": image, "target": targets})], 1)[0]

    their_step()
    seconds: dict[str, list[float]] = {"nnunet": [], "ours": []}
    for _ in range(times):
        seconds["nnunet"].append(their_step())
        seconds["ours"].append(our_step())
    return seconds


def cache_note(path: Path) -> str:
    return f"models and scans are kept in {path}"
