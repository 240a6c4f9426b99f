"""Smooth random fields over the plane, evaluated at any points in mm."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

Float = npt.NDArray[np.floating[Any]]
#: Knots of a field's grid in each direction; the field repeats beyond.
_KNOTS = 64  # a power of two: indices wrap by masking


def smooth_noise(
    rng: np.random.Generator, x: Float, z: Float, along_mm: float, across_mm: float, angle_rad: float = 0.0
) -> Float:
    """A random field of mean 0 and standard deviation about 1.

    Args:
        rng: source of randomness.
        x, z: points in mm, of any one shape.
        along_mm: distance of knots in the direction of ``angle_rad``.
        across_mm: distance of knots at right angles to it.
        angle_rad: direction of the longer grain, from x towards z.
    """
    knots = rng.standard_normal((_KNOTS, _KNOTS), dtype=np.float32)
    cosine, sine = math.cos(angle_rad), math.sin(angle_rad)
    along = x * np.float32(cosine / along_mm) + z * np.float32(sine / along_mm) + np.float32(rng.uniform(0, _KNOTS))
    across = z * np.float32(cosine / across_mm) - x * np.float32(sine / across_mm) + np.float32(rng.uniform(0, _KNOTS))
    column, row = np.floor(along), np.floor(across)
    # Perlin's smooth step between knots: no kinks.
    t, s = along - column, across - row
    t, s = t * t * (3 - 2 * t), s * s * (3 - 2 * s)
    left = column.astype(np.int32) & (_KNOTS - 1)
    upper = (row.astype(np.int32) & (_KNOTS - 1)) * _KNOTS
    right, lower = (left + 1) & (_KNOTS - 1), (upper + _KNOTS) & (_KNOTS * _KNOTS - 1)
    top = knots.take(upper + left)
    top += t * (knots.take(upper + right) - top)
    bottom = knots.take(lower + left)
    bottom += t * (knots.take(lower + right) - bottom)
    # Between knots the variance sinks to about a half on average, hence the 1.35.
    result: Float = np.float32(1.35) * (top + s * (bottom - top))
    return result


def step(value: Float, softness: float) -> Float:
    """0 far below zero, 1 far above, soft over about twice ``softness``."""
    result: Float = np.clip(value * np.float32(0.5 / softness) + np.float32(0.5), 0, 1)
    return result
