"""A kidney cut by the plane of an ultrasound picture: outline, sinus, pyramids, and what may lie in them.

Lengths follow adults' kidneys on ultrasound (length 106 +- 7 mm, Lin et al. 2019) widened to hold children, large and
shrunken ones; parenchyma of 15 mm, of which 6 to 8 mm are cortex (Glodny et al. 2009).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from KidneySegLib.ultrasound.synthetic_noise import smooth_noise, step

Float = npt.NDArray[np.floating[Any]]


@dataclass(frozen=True)
class KidneyShape:
    """A kidney's outline and inner measures.

    Attributes:
        centre_x_mm, centre_z_mm: where it lies.
        angle_rad: of its long axis, from x towards z.
        half_length_mm, half_width_mm: of the ellipse that the outline is bent from.
        bend: how much the middle is displaced towards the probe, as a share of the half width.
        wave: amplitudes and phases of the outline's second to fifth Fourier terms.
        notch_depth, notch_angle_rad, notch_width_rad: of the hilum's notch; depth as a share of the radius.
        cortex_mm: thickness of the cortex.
        parenchyma_mm: thickness of cortex and pyramids together.
        pyramids: how many there are round the whole sinus.
        pyramid_phase_rad: where the first is.
    """

    centre_x_mm: float
    centre_z_mm: float
    angle_rad: float
    half_length_mm: float
    half_width_mm: float
    bend: float
    wave: tuple[tuple[float, float], ...]
    notch_depth: float
    notch_angle_rad: float
    notch_width_rad: float
    cortex_mm: float
    parenchyma_mm: float
    pyramids: int
    pyramid_phase_rad: float

    def frame(self, x: Float, z: Float) -> tuple[Float, Float, Float]:
        """Polar place of points in the kidney: relative radius (1 on the outline), angle, and depth below it in mm."""
        dx, dz = x - self.centre_x_mm, z - self.centre_z_mm
        cosine, sine = math.cos(self.angle_rad), math.sin(self.angle_rad)
        u, v = dx * cosine + dz * sine, dz * cosine - dx * sine
        u = u / self.half_length_mm
        v = v / self.half_width_mm + self.bend * (0.5 - u**2)
        angle = np.arctan2(v, u)
        radius = np.ones_like(angle)
        for order, (amplitude, phase) in enumerate(self.wave, start=2):
            radius += amplitude * np.cos(order * angle + phase)
        away = np.remainder(angle - self.notch_angle_rad + math.pi, 2 * math.pi) - math.pi
        radius -= self.notch_depth * np.exp(-0.5 * (away / self.notch_width_rad) ** 2)
        relative = np.hypot(u, v) / radius
        # Distance to the outline along the ray; near the sides it is the thickness that a reader would measure.
        ray_mm = radius * np.hypot(np.cos(angle) * self.half_length_mm, np.sin(angle) * self.half_width_mm)
        return relative, angle, (1 - relative) * ray_mm


def draw_kidney(rng: np.random.Generator, *, small: bool) -> KidneyShape:
    """A random kidney at the origin; ``small`` for what a linear probe looks at (a child's, or a shrunken one)."""
    transverse = rng.random() < 0.28
    length = float(np.clip(rng.normal(106, 12), 72, 140)) * (rng.uniform(0.55, 0.75) if small else 1.0)
    half_length = length / 2
    half_width = half_length * rng.uniform(0.40, 0.56)
    if transverse:
        half_length, half_width = half_width * rng.uniform(1.0, 1.3), half_width * rng.uniform(0.9, 1.1)
    wave = tuple((rng.normal(0, amplitude), rng.uniform(0, 2 * math.pi)) for amplitude in (0.035, 0.03, 0.02, 0.015))
    thickness = float(np.clip(rng.normal(0.52, 0.08), 0.3, 0.7)) * half_width
    return KidneyShape(
        centre_x_mm=0.0,
        centre_z_mm=0.0,
        angle_rad=rng.normal(0, 0.30) if not transverse else rng.uniform(-math.pi, math.pi),
        half_length_mm=half_length,
        half_width_mm=half_width,
        bend=0.0 if transverse else rng.normal(0.12, 0.12),
        wave=wave,
        notch_depth=rng.uniform(0.08, 0.3) if transverse else max(0.0, rng.normal(0.06, 0.06)),
        notch_angle_rad=rng.uniform(-math.pi, math.pi) if transverse else rng.normal(math.pi / 2, 0.4),
        notch_width_rad=rng.uniform(0.25, 0.5),
        cortex_mm=thickness * rng.uniform(0.4, 0.58),
        parenchyma_mm=thickness,
        pyramids=int(rng.integers(6, 11)),
        pyramid_phase_rad=rng.uniform(0, 2 * math.pi),
    )


@dataclass(frozen=True)
class KidneyParts:
    """Shares, 0 to 1, of each part at some points. Where ``kidney`` is 0 the others are 0.

    Attributes:
        kidney: everything within the outline.
        sinus: the echogenic centre.
        medulla: pyramids.
        depth_mm: below the outline; negative outside.
        angle_rad: round the kidney's centre.
    """

    kidney: Float
    sinus: Float
    medulla: Float
    depth_mm: Float
    angle_rad: Float


def kidney_parts(shape: KidneyShape, x: Float, z: Float, seed: int, softness_mm: float = 0.4) -> KidneyParts:
    """The parts of a kidney at points in mm. The same ``seed`` gives the same ragged borders at any points."""
    rng = np.random.default_rng([seed, 0x5153])
    _, angle, depth = shape.frame(x, z)
    kidney = step(depth, softness_mm)
    ragged = smooth_noise(rng, x, z, 9.0, 7.0) * 2.4 + smooth_noise(rng, x, z, 3.5, 3.5) * 1.1
    sinus = step(depth - shape.parenchyma_mm + ragged, 1.6) * kidney
    # Pyramids stand with their base at the cortex and taper towards the sinus.
    inward = np.clip((depth - shape.cortex_mm) / max(1.0, shape.parenchyma_mm - shape.cortex_mm), 0, 1)
    wobble = 0.25 * smooth_noise(rng, x, z, 12.0, 12.0)
    fan = np.cos(shape.pyramids * angle + shape.pyramid_phase_rad + wobble)
    medulla = step(fan + 0.65 - 0.9 * inward, 0.25) * step(depth - shape.cortex_mm, 0.6) * (1 - sinus) * kidney
    return KidneyParts(kidney, sinus, medulla, depth, angle)
