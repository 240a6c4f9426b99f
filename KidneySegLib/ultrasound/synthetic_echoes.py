"""From tissue to grey levels: speckle, beam width, attenuation, time gain compensation, shadows, log compression.

Echoes are complex: scatterers are circular Gaussian noise, weighted by the tissue, mirrors add in phase, and the pulse
blurs both along and across the beam (Bamber and Dickinson 1980); the size of the sum is Rayleigh distributed speckle.
Compounding averages pictures of other scatterers in the same tissue, as scanners do from several angles.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from KidneySegLib.ultrasound.synthetic_noise import smooth_noise
from KidneySegLib.ultrasound.synthetic_probe import Probe
from KidneySegLib.ultrasound.synthetic_scene import Scene, tissue_at

Float = npt.NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Scanner:
    """How a scanner is set.

    Attributes:
        pulse_mm: standard deviation of the pulse along the beam.
        beam_width: of the beam at the focus, standard deviation in beams.
        defocus: how many beams wider it is at the far end.
        focus: depth of the focus, share of the view.
        looks: pictures that are averaged (compounding).
        dynamic_range_db: from black to white.
        gain_db: grey level of an echo of 0 dB, as distance below white.
        gain_slope_db: what the time gain compensation overdoes from top to bottom.
        noise_db: level of electronic noise at the far end.
        gamma: of the grey map.
    """

    pulse_mm: float
    beam_width: float
    defocus: float
    focus: float
    looks: int
    dynamic_range_db: float
    gain_db: float
    gain_slope_db: float
    noise_db: float
    gamma: float


def draw_scanner(rng: np.random.Generator) -> Scanner:
    return Scanner(
        pulse_mm=rng.uniform(0.22, 0.42),
        beam_width=rng.uniform(0.6, 1.2),
        defocus=rng.uniform(0.2, 1.2),
        focus=rng.uniform(0.3, 0.7),
        looks=int(rng.integers(2, 6)),
        dynamic_range_db=rng.uniform(48, 72),
        gain_db=rng.uniform(31, 51),
        gain_slope_db=rng.normal(-2, 6),
        noise_db=rng.uniform(-42, -24),
        gamma=rng.uniform(1.0, 1.7),
    )


def grey_levels(rng: np.random.Generator, scene: Scene, probe: Probe, scanner: Scanner) -> npt.NDArray[np.float32]:
    """Grey levels 0 to 1 along beams (sample, beam)."""
    x, z = probe.points()
    tissue = tissue_at(scene, x, z, *probe.directions())
    shading = _shading_db(rng, scene, probe, scanner, tissue.attenuation_db_cm)
    strength = (10 ** ((tissue.level_db + shading) / 20)).astype(np.float32)
    mirror = (4.0 * tissue.mirror * 10 ** (shading / 20)).astype(np.float32)
    power: npt.NDArray[Any] = np.zeros(strength.shape, np.float32)
    for _ in range(scanner.looks):
        power += _look(rng, strength, mirror, probe, scanner)
    depth = np.linspace(0, 1, probe.samples, dtype=np.float32)[:, None]
    noise = 10 ** ((scanner.noise_db + 18 * (depth - 1)) / 10)
    power = power / scanner.looks + noise * rng.exponential(1.0, power.shape).astype(np.float32)
    level_db = 10 * np.log10(power + 1e-9) + scanner.gain_slope_db * (depth - 0.5)
    grey = 1 + (level_db - scanner.gain_db + scanner.dynamic_range_db * 0.18) / scanner.dynamic_range_db
    result: npt.NDArray[np.float32] = np.clip(grey, 0, 1) ** np.float32(scanner.gamma)
    return result


def _look(
    rng: np.random.Generator,
    strength: npt.NDArray[np.float32],
    mirror: npt.NDArray[np.float32],
    probe: Probe,
    scanner: Scanner,
) -> npt.NDArray[np.float32]:
    """Power of one look."""
    from scipy.ndimage import gaussian_filter1d

    shape = strength.shape
    along = scanner.pulse_mm / probe.sample_mm
    parts = []
    for phase in range(2):
        field = rng.standard_normal(shape, dtype=np.float32) * strength
        if phase == 0:
            field += mirror
        field = gaussian_filter1d(field, along, axis=0, mode="nearest", truncate=3)
        sharp = gaussian_filter1d(field, scanner.beam_width, axis=1, mode="nearest", truncate=3)
        wide = gaussian_filter1d(field, scanner.beam_width + scanner.defocus, axis=1, mode="nearest", truncate=3)
        away = np.abs(np.linspace(0, 1, shape[0], dtype=np.float32) - scanner.focus)[:, None]
        away = np.minimum(away / max(scanner.focus, 1 - scanner.focus), 1)
        parts.append(sharp + away * (wide - sharp))
    # Speckle of unit power in tissue of 0 dB, whatever the pulse: a Gaussian kernel keeps 1 / (2 sqrt(pi) sigma).
    kept = 1 / (4 * np.pi * along * scanner.beam_width)
    power: npt.NDArray[np.float32] = (parts[0] ** 2 + parts[1] ** 2) / np.float32(2 * min(1.0, kept))
    return power


def _shading_db(
    rng: np.random.Generator, scene: Scene, probe: Probe, scanner: Scanner, attenuation_db_cm: Float
) -> Float:
    """What attenuation, ribs and poor contact take away, in dB (there and back)."""
    shading = -2 * np.cumsum(attenuation_db_cm, axis=0) * probe.sample_mm / 10
    across = np.linspace(-1, 1, probe.beams, dtype=np.float32)[None, :]
    depth = np.linspace(0, probe.depth_mm, probe.samples, dtype=np.float32)[:, None]
    for place, width in scene.rib_places:
        away = np.abs(across - place) / width
        below = np.clip((depth - scene.wall_mm) / 3, 0, 1)
        shading = shading - below * rng.uniform(6, 20) * np.clip((1.4 - away) / rng.uniform(0.4, 1.4), 0, 1)
    # The sides of the face lose contact; beams differ a little.
    for side in (-1, 1):
        if rng.random() < 0.3:
            reach = rng.uniform(0.1, 0.45)
            shading = shading - rng.uniform(6, 22) * np.clip((side * across - 1 + reach) / reach, 0, 1)
    uneven = smooth_noise(rng, across, 0 * across, 0.12, 1.0) + 0.5 * smooth_noise(rng, across, 0 * across, 0.03, 1.0)
    # Tissue in the way differs from place to place, and no time gain compensation knows it.
    cloud = rng.uniform(0.5, 3.5) * smooth_noise(rng, across, depth, 0.8, 45)
    darkening = rng.uniform(0, 9) * np.abs(across) ** 2
    result: Float = np.clip(shading + cloud - darkening + uneven * np.clip(depth / 30, 0, 1), -45, 10).astype(
        np.float32
    )
    return result
