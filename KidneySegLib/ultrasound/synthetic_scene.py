"""What lies under the probe: body wall, an organ, a kidney or none, muscle behind, and what throws shadows.

A scene gives, for any points in mm, how strongly tissue scatters (dB, liver 0), how much more than average it
attenuates (dB per cm and way), and how much of a mirror its interfaces are. The levels are ours, set by eye against
B-mode pictures; attenuation follows textbook orders of magnitude at 3.5 MHz (soft tissue 1.5 to 2, fluid 0, bone and
gas all).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from KidneySegLib.ultrasound.synthetic_kidney import KidneyParts, KidneyShape, draw_kidney, kidney_parts
from KidneySegLib.ultrasound.synthetic_noise import smooth_noise, step
from KidneySegLib.ultrasound.synthetic_probe import Probe

Float = npt.NDArray[np.floating[Any]]

ORGANS = ("liver", "spleen", "bowel", "fat")


@dataclass(frozen=True)
class Lesion:
    """A round thing. ``kind``: cyst, stone, vessel, gallbladder or gas."""

    kind: str
    x_mm: float
    z_mm: float
    half_length_mm: float
    half_width_mm: float
    angle_rad: float

    def inside_mm(self, x: Float, z: Float) -> Float:
        """Distance below its border in mm, about; negative outside."""
        dx, dz = x - self.x_mm, z - self.z_mm
        cosine, sine = math.cos(self.angle_rad), math.sin(self.angle_rad)
        relative = np.hypot(
            (dx * cosine + dz * sine) / self.half_length_mm, (dz * cosine - dx * sine) / self.half_width_mm
        )
        return (1 - relative) * min(self.half_length_mm, self.half_width_mm)


@dataclass(frozen=True)
class Scene:
    """All that a picture shows.

    Attributes:
        seed: of textures.
        organ: what lies before the kidney, one of `ORGANS`.
        wall_mm: skin, fat and muscle together; the parts are shares of it.
        fat_share: of the wall.
        kidney: its outline, or None.
        fat_shell_mm: perirenal fat.
        boundary_z_mm, boundary_slope: the line behind the organ, at x = 0.
        organ_edge_mm: x where the organ ends and bowel or fat begins.
        levels_db: echo levels by tissue.
        lesions: what else there is.
        rib_angles: places of ribs across the view (-1 to 1) and their widths in the same unit.
    """

    seed: int
    organ: str
    wall_mm: float
    fat_share: float
    kidney: KidneyShape | None
    fat_shell_mm: float
    boundary_z_mm: float
    boundary_slope: float
    organ_edge_mm: float
    levels_db: dict[str, float]
    lesions: tuple[Lesion, ...]
    rib_places: tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Tissue:
    """A scene at some points: echo level in dB, attenuation above average in dB per cm, mirror strength 0 and more,
    and how little of the speckle is left (fluids)."""

    level_db: Float
    attenuation_db_cm: Float
    mirror: Float


def draw_scene(rng: np.random.Generator, probe: Probe, *, with_kidney: bool) -> Scene:
    """A random scene that suits a probe; where there is a kidney, most of it lies in the view."""
    linear = probe.is_linear
    organ = str(rng.choice(ORGANS, p=(0.2, 0.15, 0.15, 0.5) if linear else (0.45, 0.22, 0.18, 0.15)))
    wall = rng.uniform(5, 14) if linear else rng.uniform(10, 34)
    kidney = None
    boundary, slope = rng.uniform(0.45, 0.75) * probe.depth_mm, rng.normal(0, 0.2)
    if with_kidney:
        kidney = _placed(rng, draw_kidney(rng, small=linear), probe, wall)
        slope = math.tan(float(np.clip(kidney.angle_rad, -0.6, 0.6))) + rng.normal(0, 0.1)
        behind = kidney.half_width_mm * rng.uniform(0.0, 1.1)
        boundary = kidney.centre_z_mm + behind - slope * kidney.centre_x_mm
    levels = {
        "organ": rng.normal(0, 1.5),
        "cortex": rng.normal(-4.5, 2.2),
        "medulla": -abs(rng.normal(3.5, 2.5)),  # below the cortex
        "sinus": rng.uniform(5, 13),  # above the cortex
        "perirenal": rng.normal(3.0, 3.5),
        "muscle": rng.normal(-3.0, 2.0),
        "behind": rng.normal(2.0, 3.0),
        "subcutaneous": rng.normal(-3.0, 2.5),
        "capsule": max(0.0, rng.normal(1.0, 0.6)),
    }
    # A kidney as bright as its surroundings has no outline that anyone could draw.
    if abs(levels["perirenal"] - levels["cortex"]) < 3.0:
        levels["perirenal"] = levels["cortex"] + rng.uniform(3.0, 7.0)
    scene = Scene(
        seed=int(rng.integers(2**62)),
        organ=organ,
        wall_mm=wall,
        fat_share=rng.uniform(0.3, 0.75),
        kidney=kidney,
        fat_shell_mm=float(np.clip(rng.normal(4.0, 3.0), 0.5, 12)),
        boundary_z_mm=boundary,
        boundary_slope=slope,
        organ_edge_mm=rng.choice((-1, 1)) * rng.uniform(0.0, 0.9) * probe.bounds_mm[1] if rng.random() < 0.6 else 1e3,
        levels_db=levels,
        lesions=(),
        rib_places=_ribs(rng),
    )
    return replace(scene, lesions=tuple(_lesions(rng, scene, probe)))


def _placed(rng: np.random.Generator, kidney: KidneyShape, probe: Probe, wall_mm: float) -> KidneyShape:
    reach = (
        abs(math.sin(kidney.angle_rad)) * kidney.half_length_mm + abs(math.cos(kidney.angle_rad)) * kidney.half_width_mm
    )
    shallow = wall_mm + reach * 0.95 + rng.uniform(0, 6)
    deep = max(shallow + 1, min(probe.depth_mm - reach * 1.05, shallow + 55))
    z = rng.uniform(shallow, deep)
    half_view = probe.half_width_mm if probe.is_linear else (probe.radius_mm + z) * math.sin(probe.half_angle_rad)
    spare = half_view - 0.75 * kidney.half_length_mm * abs(math.cos(kidney.angle_rad))
    x = rng.normal(0, max(3.0, 0.45 * spare)) if spare > 0 else rng.normal(0, 3.0)
    return replace(kidney, centre_x_mm=float(np.clip(x, -0.6 * half_view, 0.6 * half_view)), centre_z_mm=z)


def _ribs(rng: np.random.Generator) -> tuple[tuple[float, float], ...]:
    count = int(rng.choice((0, 1, 2), p=(0.62, 0.28, 0.10)))
    return tuple((rng.uniform(-1, 1), rng.uniform(0.05, 0.2)) for _ in range(count))


def _lesions(rng: np.random.Generator, scene: Scene, probe: Probe) -> list[Lesion]:
    found: list[Lesion] = []
    kidney = scene.kidney
    if kidney is not None:

        def place(relative: float) -> tuple[float, float]:
            angle = rng.uniform(-math.pi, math.pi)
            u, v = relative * math.cos(angle) * kidney.half_length_mm, relative * math.sin(angle) * kidney.half_width_mm
            cosine, sine = math.cos(kidney.angle_rad), math.sin(kidney.angle_rad)
            return kidney.centre_x_mm + u * cosine - v * sine, kidney.centre_z_mm + u * sine + v * cosine

        if rng.random() < 0.12:  # a cyst
            size = rng.uniform(3, 9)
            found.append(Lesion("cyst", *place(rng.uniform(0.3, 0.7)), size, size * rng.uniform(0.8, 1), 0.0))
        if rng.random() < 0.15:  # a dilated pelvis
            size = rng.uniform(0.25, 0.6) * kidney.half_width_mm
            length = size * rng.uniform(1.2, 2.6)
            found.append(
                Lesion("cyst", *place(rng.uniform(0, 0.2)), length, size * 0.8, kidney.angle_rad + rng.normal(0, 0.3))
            )
            for _ in range(int(rng.integers(1, 4))):
                found.append(Lesion("cyst", *place(rng.uniform(0.25, 0.5)), size * 0.5, size * 0.4, 0.0))
        if rng.random() < 0.12:  # stones
            for _ in range(int(rng.integers(1, 3))):
                size = rng.uniform(1.2, 3.5)
                found.append(Lesion("stone", *place(rng.uniform(0, 0.4)), size, size * 0.7, 0.0))
        for _ in range(int(rng.integers(0, 5))):  # vessels and calyces in the sinus
            size = rng.uniform(0.8, 2.2)
            found.append(
                Lesion("vessel", *place(rng.uniform(0, 0.4)), size * rng.uniform(1, 4), size, rng.uniform(0, 3.1))
            )
    left, right, _, _ = probe.bounds_mm
    for _ in range(int(rng.integers(0, 6)) if scene.organ in ("liver", "spleen") else 0):
        size = rng.uniform(0.8, 2.8)
        x, z = rng.uniform(left, right), rng.uniform(scene.wall_mm + 5, max(scene.wall_mm + 6, scene.boundary_z_mm))
        found.append(Lesion("vessel", x, z, size * rng.uniform(1, 5), size, rng.uniform(-1, 1)))
    if scene.organ == "liver" and rng.random() < (0.12 if kidney else 0.3):
        size = rng.uniform(8, 16)
        z = rng.uniform(scene.wall_mm + size, scene.wall_mm + 2.5 * size)
        found.append(
            Lesion(
                "gallbladder", rng.uniform(left, right) * 0.7, z, size * rng.uniform(1.2, 2.2), size, rng.normal(0, 0.5)
            )
        )
    gas = 0.5 if scene.organ == "bowel" else 0.15
    while rng.random() < gas and len(found) < 14:
        size = rng.uniform(4, 13)
        x = rng.choice((-1, 1)) * rng.uniform(0.45, 1.0) * right
        found.append(Lesion("gas", x, scene.wall_mm + rng.uniform(2, 25), size, size * 0.4, rng.normal(0, 0.3)))
    if kidney is None:
        return found
    # What lies before the kidney may not hide it: the truth of a picture must be visible in it.
    return [f for f in found if f.kind not in ("gas", "gallbladder") or not _hides(f, kidney)]


def _hides(lesion: Lesion, kidney: KidneyShape) -> bool:
    gap = abs(lesion.x_mm - kidney.centre_x_mm) - lesion.half_length_mm
    return gap < 0.75 * max(kidney.half_length_mm * abs(math.cos(kidney.angle_rad)), kidney.half_width_mm)


def tissue_at(scene: Scene, x: Float, z: Float, beam_x: Float, beam_z: Float) -> Tissue:
    """The scene at points (sample, beam); ``beam_x`` and ``beam_z`` is the beams' direction, rows (1, beam)."""
    rng = np.random.default_rng([scene.seed, 0x7153])
    grain = rng.normal(0, 0.25) + math.atan(scene.boundary_slope)

    def streaks(along_mm: float, across_mm: float, angle: float) -> Float:
        return smooth_noise(rng, x, z, along_mm, across_mm, angle)

    def patches(size_mm: float) -> Float:
        return np.clip(0.5 + 0.8 * smooth_noise(rng, x, z, size_mm, size_mm), 0, 2)

    levels = scene.levels_db
    # Behind everything: muscle and fat with long streaks.
    level = levels["behind"] + 3.2 * streaks(14, 1.6, grain) + 2.0 * streaks(40, 8, grain)
    attenuation = np.zeros_like(level)
    mirror = np.zeros_like(level)
    # The organ in front, down to a line that waves.
    wave = 4 * smooth_noise(rng, x, 0 * x, 30, 30)
    below = z - (scene.boundary_z_mm + scene.boundary_slope * x + wave)
    edge = (scene.organ_edge_mm - x) * (1 if scene.organ_edge_mm >= 0 else -1) + 5 * smooth_noise(rng, z, 0 * z, 20, 20)
    organ = step(-below, 0.8) * step(edge, 1.2)
    organ_level, organ_attenuation = _organ(scene, rng, x, z, grain)
    level += organ * (organ_level - level)
    attenuation += organ * organ_attenuation
    mirror += 0.7 * levels["capsule"] * np.exp(-((below / 0.5) ** 2)) * step(edge, 1.2) * patches(15)
    # The body wall.
    tilt = rng.normal(0, 0.05)
    fat_end = scene.wall_mm * scene.fat_share + tilt * x + 1.0 * smooth_noise(rng, x, 0 * x, 25, 25)
    wall_end = scene.wall_mm + tilt * x + 1.3 * smooth_noise(rng, x, 0 * x, 25, 25)
    septa = np.exp(np.clip(streaks(18, 1.4, rng.normal(0, 0.08)), -3, 3)) - 1
    muscle = levels["muscle"] + 3.0 * streaks(22, 1.0, rng.normal(0, 0.1))
    wall = step(wall_end - z, 0.6)
    level += wall * (muscle - level)
    fat = step(fat_end - z, 0.6)
    level += fat * (levels["subcutaneous"] + 2.2 * septa - level)
    level += step(2.0 - z, 0.5) * (6 - level)
    attenuation = attenuation * (1 - wall) + 0.2 * wall
    for border in (fat_end, wall_end):
        mirror += rng.uniform(0.1, 0.9) * np.exp(-(((z - border) / 0.45) ** 2)) * patches(14)
    if scene.kidney is not None:
        level, attenuation, mirror = _with_kidney(scene, rng, x, z, beam_x, beam_z, level, attenuation, mirror)
    for lesion in scene.lesions:
        level, attenuation, mirror = _with_lesion(lesion, rng, x, z, level, attenuation, mirror)
    return Tissue(level, attenuation, mirror)


def _organ(scene: Scene, rng: np.random.Generator, x: Float, z: Float, grain: float) -> tuple[Float, float]:
    base = scene.levels_db["organ"]
    if scene.organ in ("liver", "spleen"):
        return base + 0.8 * smooth_noise(rng, x, z, 9, 9), rng.normal(0.05, 0.12)
    if scene.organ == "bowel":
        loops = smooth_noise(rng, x, z, 11, 9)
        return base + 5 * np.tanh(2 * loops) - 3 + 2.5 * smooth_noise(rng, x, z, 4, 2, grain), 0.15
    return base + 2.5 * smooth_noise(rng, x, z, 12, 2.2, grain) + 1.5, 0.05


def _with_kidney(
    scene: Scene, rng: np.random.Generator, x: Float, z: Float, beam_x: Float, beam_z: Float,
    level: Float, attenuation: Float, mirror: Float,
) -> tuple[Float, Float, Float]:  # fmt: skip
    assert scene.kidney is not None
    levels = scene.levels_db
    parts = kidney_parts(scene.kidney, x, z, scene.seed)
    shell_mm = scene.fat_shell_mm * np.clip(1 + 0.6 * smooth_noise(rng, x, z, 22, 22), 0.1, 2.5)
    grain = scene.kidney.angle_rad
    shell = step(parts.depth_mm + shell_mm, 0.7) * step(z - scene.wall_mm, 1.0)
    fat = levels["perirenal"] + 2.4 * smooth_noise(rng, x, z, 9, 1.4, grain)
    level = level + shell * (fat - level)
    cortex = levels["cortex"] + 0.9 * smooth_noise(rng, x, z, 6, 6)
    inside = cortex + parts.medulla * levels["medulla"]
    rough = 4.0 * smooth_noise(rng, x, z, 6, 2.5, grain + rng.normal(0, 0.4)) + 3.0 * smooth_noise(rng, x, z, 2.5, 1.2)
    rough = rough + 3.0 * smooth_noise(rng, x, z, 10, 8) - 1.5
    inside = inside + parts.sinus * (levels["cortex"] + levels["sinus"] + rough - inside)
    level = level + parts.kidney * (inside - level)
    attenuation = attenuation * (1 - parts.kidney) + parts.sinus * 0.25
    mirror = mirror * (1 - parts.kidney) + _capsule(scene, rng, x, z, beam_x, beam_z, parts)
    return level, attenuation, mirror


def _capsule(
    scene: Scene, rng: np.random.Generator, x: Float, z: Float, beam_x: Float, beam_z: Float, parts: KidneyParts
) -> Float:
    """The capsule mirrors where the beam meets it squarely, and in patches."""
    down, across = np.gradient(parts.depth_mm)
    step_z = np.hypot(np.gradient(x, axis=0), np.gradient(z, axis=0))
    step_x = np.hypot(np.gradient(x, axis=1), np.gradient(z, axis=1))
    along_beam = down / np.maximum(step_z, 1e-6)
    sideways = across / np.maximum(step_x, 1e-6)
    square = np.abs(along_beam) / np.maximum(np.hypot(along_beam, sideways), 1e-6)
    patches = np.clip(0.4 + 0.8 * smooth_noise(rng, x, z, 10, 10), 0, 2)
    line = np.exp(-((parts.depth_mm / 0.45) ** 2))
    return scene.levels_db["capsule"] * 1.3 * line * square**6 * patches


def _with_lesion(
    lesion: Lesion, rng: np.random.Generator, x: Float, z: Float, level: Float, attenuation: Float, mirror: Float
) -> tuple[Float, Float, Float]:
    ragged = 0.15 * min(lesion.half_length_mm, lesion.half_width_mm) * smooth_noise(rng, x, z, 6, 6)
    inside = step(lesion.inside_mm(x, z) + ragged, 0.7)
    if lesion.kind in ("cyst", "gallbladder", "vessel"):
        drop = -11.0 if lesion.kind == "vessel" else -38.0
        return level * (1 - inside) + inside * drop, attenuation * (1 - inside) - 0.9 * inside, mirror * (1 - inside)
    if lesion.kind == "stone":
        return level + inside * (20 - level), attenuation + 25 * inside, mirror + 2 * inside
    return level + inside * (16 - level), attenuation + 14 * inside, mirror + 3 * inside  # gas
