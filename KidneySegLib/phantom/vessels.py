"""Aorta, cava and their branches, with plaque; the renal vessels run from them to each hilum."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from KidneySegLib.labels import OverviewLabel
from KidneySegLib.phantom.body import HIGHEST_MM, LOWEST_MM, Body
from KidneySegLib.phantom.canvas import Canvas
from KidneySegLib.phantom.fields import Field
from KidneySegLib.phantom.kidney import Kidney
from KidneySegLib.phantom.shapes import smooth_path


@dataclass(frozen=True)
class Tube:
    """A vessel: middle line (n, 3) in mm, radius along it, which HU it takes, and whether it is a landmark."""

    path_mm: NDArray[np.float64]
    radius_mm: NDArray[np.float64]
    contents: str
    tissue: OverviewLabel = OverviewLabel.BACKGROUND


@dataclass(frozen=True)
class Vessels:
    """All vessels, those that lie under the kidneys' fat first.

    Attributes:
        trunk: vessels painted before the kidneys.
        renal: renal arteries, veins and ureters, painted after them, outside of parenchyma.
        plaques: calcified spots (x, y, z, radius) in mm.
    """

    trunk: tuple[Tube, ...]
    renal: tuple[Tube, ...]
    plaques: tuple[tuple[float, float, float, float], ...]


def _tube(
    points: Sequence[Sequence[float] | NDArray[np.float64]],
    radius: float | Sequence[float],
    contents: str,
    tissue: OverviewLabel = OverviewLabel.BACKGROUND,
) -> Tube:
    path = smooth_path([np.asarray(p, float).tolist() for p in points], 8.0)
    radii = np.interp(np.linspace(0, 1, len(path)), np.linspace(0, 1, np.size(radius)), np.atleast_1d(radius))
    return Tube(path, radii, contents, tissue)


def sample_vessels(rng: np.random.Generator, body: Body, kidneys: Sequence[Kidney]) -> Vessels:
    """Vessels of one patient."""

    def uniform(low: float, high: float) -> float:
        return float(rng.uniform(low, high))

    half_y = body.vertebra_half[1]
    aorta_radius = uniform(7, 13) * (1.0 if rng.random() < 0.94 else uniform(1.5, 2.6))
    front = -half_y - aorta_radius - uniform(0, 4)
    fork = uniform(-95, -55)
    wind = uniform(0, 9)
    aorta_points: list[list[float]] = [
        [uniform(-2, 12) + wind * np.sin(z / 45), front - (8 if z < 40 else 0) * uniform(0, 1), z]
        for z in (HIGHEST_MM, 160, 90, 40, 0, -35, fork)
    ]
    trunk = [_tube(aorta_points, [aorta_radius * 1.1, aorta_radius * 0.85], "aorta", OverviewLabel.AORTA)]
    fork_at = aorta_points[-1]
    cava_radius = uniform(7, 13)
    cava_points = [[uniform(-26, -14), front + uniform(-4, 4), z] for z in (fork - 8, -30, 10, 45)]
    trunk.append(_tube(cava_points, cava_radius, "cava_infrarenal"))
    upper = [cava_points[-2], cava_points[-1], [-24, front - 12, 90], [-20, front - 20, 150]]
    trunk.append(_tube(upper, cava_radius * 1.1, "cava_suprarenal"))
    for sign in (-1, 1):
        path: list[list[float]] = [
            fork_at,
            [sign * 28, front + 4, fork - 40],
            [sign * 55, 0, -200],
            [sign * 75, -40, LOWEST_MM],
        ]
        trunk.append(_tube(path, [aorta_radius * 0.6, 5], "aorta"))
        path = [[p[0] - 4, p[1] + 12, p[2]] for p in path]
        trunk.append(_tube(path, [8, 6], "cava_infrarenal"))
    mesenteric: list[list[float]] = [
        [fork_at[0], front, 22],
        [2, front - 26, 5],
        [0, front - 40, -60],
        [-20, front - 45, -120],
    ]
    trunk.append(_tube(mesenteric, [3.8, 2.0], "renal_artery"))
    portal = [[-2, front - 40, -70], [-10, front - 28, 10], [-24, front - 22, 35], [-50, front - 25, 70]]
    trunk.append(_tube(portal, [4.5, 7.5], "portal_vein"))
    splenic: list[list[float]] = [[-12, front - 25, 25], [25, front - 12, 35], [60, -20, 40], [95, 0, 50]]
    trunk.append(_tube(splenic, [5, 4], "portal_vein"))
    trunk.append(_tube([[p[0], p[1] - 8, p[2] + 8] for p in splenic], [3, 2], "renal_artery"))
    wide = body.half_width - body.fat[1] - body.wall - 15
    for _ in range(int(rng.integers(8, 34))):  # vessels of the mesentery and small ones in the fat
        start = [uniform(-40, 40), uniform(-90, -45), uniform(-140, 30)]
        steps = [np.array(start)]
        for _ in range(3):
            steps.append(steps[-1] + rng.normal(0, 1, 3) * [26, 14, 24])
        points = [[float(np.clip(p[0], -wide, wide)), float(p[1]), float(p[2])] for p in steps]
        contents = str(rng.choice(["renal_artery", "portal_vein"], p=[0.4, 0.6]))
        trunk.append(_tube(points, [uniform(1, 3), 0.7], contents))

    renal: list[Tube] = []
    for kidney in kidneys:
        hilum, ureter = kidney.pelvis_points()[1], kidney.pelvis_points()[2]
        level = float(np.clip(hilum[2] + uniform(-5, 15), fork + 20, 60))
        pelvic = hilum[2] < -90
        origin = np.array([fork_at[0], front, level]) if not pelvic else np.array([np.sign(hilum[0]) * 45, -5, -170.0])
        for _ in range(1 if rng.random() < 0.75 else 2):
            start = origin + np.array([0, 0, uniform(-12, 12)])
            middle = 0.5 * (start + hilum) + np.array([0, uniform(-6, 6), uniform(-6, 6)])
            renal.append(_tube([start, middle, hilum], [uniform(2.2, 3.8), uniform(1.6, 2.8)], "renal_artery"))
        vein_start = np.array([-20.0, front, level]) if not pelvic else origin + np.array([0, 10, 0])
        middle = 0.5 * (vein_start + hilum) + np.array([0, uniform(-14, -2), uniform(-6, 6)])
        renal.append(_tube([vein_start, middle, hilum], [uniform(4, 7), uniform(3.5, 6)], "renal_vein"))
        if not pelvic:
            beside = float(np.sign(hilum[0])) or 1.0
            course: list[list[float]] = [
                ureter.tolist(),
                [beside * uniform(32, 46), -12, ureter[2] - 50],
                [beside * 35, -18, -130],
                [beside * 30, -5, -240],
            ]
            renal.append(_tube(course, [kidney.pelvis_mm * 0.35 + 0.8, uniform(1.2, 2.6)], "collecting_system"))
    plaques = []
    if rng.random() < 0.45:
        for _ in range(int(rng.integers(1, 16))):
            tube = trunk[0] if rng.random() < 0.7 or not renal else renal[int(rng.integers(len(renal)))]
            if tube.contents not in ("aorta", "renal_artery"):
                continue
            i = int(rng.integers(len(tube.path_mm)))
            angle = uniform(0, 2 * np.pi)
            edge = tube.path_mm[i] + tube.radius_mm[i] * np.array([np.cos(angle), np.sin(angle), 0])
            plaques.append((float(edge[0]), float(edge[1]), float(edge[2]), uniform(0.7, 2.8)))
    return Vessels(tuple(trunk), tuple(renal), tuple(plaques))


def paint_trunk(vessels: Vessels, canvas: Canvas, hu: Mapping[str, float]) -> None:
    """Vessels that lie under the kidneys.

    Args:
        hu: one value for each of the tubes' contents.
    """
    for tube in vessels.trunk:
        canvas.paint_tube(tube.path_mm, tube.radius_mm.tolist(), hu[tube.contents], tube.tissue)


def paint_renal_vessels(vessels: Vessels, canvas: Canvas, hu: Mapping[str, float]) -> None:
    """Renal vessels, ureters and plaques: over everything but parenchyma, spine and the aorta.

    Args:
        hu: one value for each of the tubes' contents, and ``calcification``.
    """
    parenchyma = sum((f for key, f in canvas.fractions.items() if key.endswith("parenchyma")), np.float32(0))
    keep = np.where(
        (np.asarray(parenchyma) > 0.02) | (canvas.tissue == OverviewLabel.AORTA), np.float32(9), np.float32(-9)
    )
    keep = np.broadcast_to(keep, canvas.hu.shape)
    keep = np.maximum(keep, -canvas.distances["spine"])
    for tube in vessels.renal:
        canvas.paint_tube(tube.path_mm, tube.radius_mm.tolist(), hu[tube.contents], clip=keep)
    for x, y, z, radius in vessels.plaques:
        canvas.paint_tube(np.array([[x, y, z - radius], [x, y, z + radius]]), radius, hu["calcification"])


def paint_fat_vessels(canvas: Canvas, seed: int, hu: Mapping[str, float]) -> None:
    """A web of thin vessels and strands in the fat of the cavity, where no organ is painted yet.

    Args:
        hu: ``portal_vein``.
    """
    rng = np.random.default_rng(seed)
    web = np.abs(canvas.field(Field(int(rng.integers(2**31)), float(rng.uniform(7, 14)), 1.0)))
    gate = canvas.field(Field(int(rng.integers(2**31)), float(rng.uniform(9, 16)), 1.0))
    thin = (web < np.float32(rng.uniform(0.01, 0.05))) & (gate > np.float32(rng.uniform(0.2, 1.2)))
    inside = canvas.distances["cavity"] < -3
    canvas.paint(canvas.whole, (thin & inside).astype(np.float32) * np.float32(0.7), float(rng.uniform(-20, 60)))
