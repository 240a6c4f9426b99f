"""What scans and training tiles of the benchmark are painted from."""

from __future__ import annotations

from typing import Any

import numpy as np

NOISE_HU = 10.0


def sampled(seed: int) -> Any:
    """A healthy patient in the arterial phase."""
    from KidneySegLib.phantom.scene import sample_scene

    return sample_scene(seed, variant="normal", phase="arterial", variety=0.3)


def painted(scene: Any, grid: Any) -> tuple[np.ndarray, np.ndarray]:
    """HU without noise, and 1 where parenchyma fills more than half of a voxel, 2 where cortex does."""
    from KidneySegLib.phantom.render import render

    rendering = render(scene, grid)
    labels = np.zeros(grid.shape_zyx, np.uint8)
    for value, name in ((1, "parenchyma"), (2, "cortex")):
        total = sum((v for k, v in rendering.fractions.items() if k.endswith("_" + name)), np.float32(0))
        labels[np.broadcast_to(total, labels.shape) > 0.5] = value
    return np.asarray(rendering.hu, np.float32), labels
