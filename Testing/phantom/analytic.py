"""A scene whose truth is known by formula: a water cylinder with one ball of kidney in it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from KidneySegLib.phantom.grid import Grid

CORTEX_HU, MEDULLA_HU, WATER_HU = 200.0, 100.0, 0.0


@dataclass(frozen=True)
class Place:
    centre_mm: tuple[float, float, float]
    half_size_mm: tuple[float, float, float]


@dataclass(frozen=True)
class BallScene:
    """A ball of medulla in a shell of cortex, in a cylinder of water along z."""

    radius_mm: float = 30.0
    medulla_radius_mm: float = 20.0
    centre_mm: tuple[float, float, float] = (60.3, 10.7, 4.1)
    cylinder_radius_mm: float = 150.0
    half_height_mm: float = 90.0
    side: str = "left"

    @property
    def kidneys(self) -> tuple[Place, ...]:
        return (Place(self.centre_mm, (self.radius_mm,) * 3),) if self.radius_mm else ()

    def body_bounds_mm(self) -> tuple[tuple[float, float], ...]:
        r, h = self.cylinder_radius_mm, self.half_height_mm
        return (-r, r), (-r, r), (-h, h)

    @property
    def parenchyma_ml(self) -> float:
        return 4 / 3 * np.pi * self.radius_mm**3 / 1000

    @property
    def cortex_ml(self) -> float:
        return self.parenchyma_ml - 4 / 3 * np.pi * self.medulla_radius_mm**3 / 1000


@dataclass(frozen=True)
class Drawing:
    hu: np.ndarray
    fractions: dict[str, np.ndarray]


def draw(scene: BallScene, grid: Grid) -> Drawing:
    """As a renderer does: soft edges over one voxel."""
    edge = float(np.mean(grid.spacing_mm_zyx))
    z, y, x = grid.z_mm[:, None, None], grid.y_mm[None, :, None], grid.x_mm[None, None, :]

    def covered(distance: np.ndarray) -> np.ndarray:
        return np.clip(0.5 - distance / edge, 0, 1).astype(np.float32)

    water = np.broadcast_to(covered(np.hypot(x, y) - scene.cylinder_radius_mm), grid.shape_zyx)
    hu = -1000 + 1000 * water.astype(np.float32)
    if not scene.radius_mm:
        return Drawing(hu, {})
    cx, cy, cz = scene.centre_mm
    distance = np.sqrt((x - cx) ** 2 + (y - cy) ** 2 + (z - cz) ** 2)
    kidney = covered(distance - scene.radius_mm)
    medulla = covered(distance - scene.medulla_radius_mm)
    hu = hu + kidney * (CORTEX_HU - hu)
    hu = hu + medulla * (MEDULLA_HU - hu)
    return Drawing(hu, {f"{scene.side}_parenchyma": kidney, f"{scene.side}_cortex": kidney - medulla})
