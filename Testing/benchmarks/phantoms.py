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


def rendered(
    seed: int, shape: tuple[int, int, int], spacing: tuple[float, float, float]
) -> tuple[np.ndarray, np.ndarray, Any]:
    """HU without noise, labels as `painted` gives them, and grid of a phantom; a few slices at a time.

    Args:
        seed: of the phantom.
        shape, spacing: voxels and mm (z, y, x); centred on the trunk, the kidneys at half height.
    """
    from KidneySegLib.phantom.grid import Grid

    scene = sampled(seed)
    middle = [(low + high) / 2 for low, high in scene.body_bounds_mm()]
    origin = [m - (n - 1) / 2 * s for m, n, s in zip(middle, shape[::-1], spacing[::-1], strict=True)]
    origin[2] = -(shape[0] - 1) / 2 * spacing[0]
    grid = Grid(shape, spacing, (origin[0], origin[1], origin[2]))
    hu, labels = np.empty(shape, np.float32), np.empty(shape, np.uint8)
    for start in range(0, shape[0], 8):
        part = slice(start, min(start + 8, shape[0]))
        hu[part], labels[part] = painted(scene, grid.sub_grid((part, slice(None), slice(None))))
    return hu, labels, grid
