"""A tiny recipe that trains in a second."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

pytest.importorskip("torch")
# The stub must be importable by its own name in worker processes, which do not know pytest's modules.
sys.path.insert(0, str(Path(__file__).parent))

from KidneySegLib.training.config import EmbeddedConfig, NetworkConfig


@pytest.fixture
def tiny() -> EmbeddedConfig:
    common = {
        "source": "kidney_boxes",
        "box": (24, 24, 24),
        "patch": (16, 16, 16),
        "normalisation": {"low": -250.0, "high": 500.0, "mean": 50.0, "sd": 150.0},
        "augment": {"pose": {"shift_voxels": [2.0, 2.0, 2.0], "warp_node_voxels": 8.0}},
        "steps": 6,
        "batch_size": 2,
        "learning_rate": 0.01,
        "warmup_steps": 2,
        "average_decay": 0.9,
        "pool_capacity": 4,
        "pool_start": 4,
        "validation_seeds": 2,
    }
    network = {"normalisation": "instance", "activation": "leaky_relu"}
    fine = NetworkConfig(
        bundle="tiny-fine",
        outputs=("parenchyma", "cortex"),
        activation="sigmoid",
        spacing_mm=1.0,
        arguments={**network, "out_channels": 2, "features": [4, 8, 8], "deep_supervision": True},
        **common,
    )
    localiser = NetworkConfig(
        bundle="tiny-localiser",
        outputs=("background", "kidney"),
        activation="softmax",
        spacing_mm=4.0,
        arguments={**network, "out_channels": 2, "features": [4, 8]},
        **common,
    )
    return EmbeddedConfig(seed=5, networks={"localiser": localiser, "fine": fine})
