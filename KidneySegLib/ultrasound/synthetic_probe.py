"""Geometry of an ultrasound probe: where its beams run, and how echoes along beams become a picture.

Coordinates are millimetres: x to the picture's right, z downwards (into the body), 0 at the middle of the probe's face.
Arrays of echoes are (sample, beam); pictures are (y, x).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Float = npt.NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Probe:
    """A convex (sector) or linear array.

    Attributes:
        radius_mm: radius of curvature of the face; 0 for a linear array.
        half_angle_rad: half the opening angle of a convex array; 0 for a linear one.
        half_width_mm: half the face of a linear array; 0 for a convex one.
        depth_mm: how deep it looks.
        beams: number of beams.
        samples: number of samples along each.
    """

    radius_mm: float
    half_angle_rad: float
    half_width_mm: float
    depth_mm: float
    beams: int = 144
    samples: int = 340

    @property
    def is_linear(self) -> bool:
        return self.radius_mm == 0

    @property
    def sample_mm(self) -> float:
        """Distance of two samples along a beam."""
        return self.depth_mm / (self.samples - 1)

    @property
    def bounds_mm(self) -> tuple[float, float, float, float]:
        """Smallest and largest x, smallest and largest z of what the probe sees."""
        if self.is_linear:
            return -self.half_width_mm, self.half_width_mm, 0.0, self.depth_mm
        outer = self.radius_mm + self.depth_mm
        side = outer * math.sin(self.half_angle_rad)
        return -side, side, self.radius_mm * (math.cos(self.half_angle_rad) - 1), self.depth_mm

    def points(self) -> tuple[Float, Float]:
        """x and z in mm of each (sample, beam)."""
        depth = np.linspace(0, self.depth_mm, self.samples, dtype=np.float32)[:, None]
        across = np.linspace(-1, 1, self.beams, dtype=np.float32)[None, :]
        if self.is_linear:
            return across * np.float32(self.half_width_mm) + 0 * depth, depth + 0 * across
        angle = across * np.float32(self.half_angle_rad)
        radius = np.float32(self.radius_mm) + depth
        return radius * np.sin(angle), radius * np.cos(angle) - np.float32(self.radius_mm)

    def directions(self) -> tuple[Float, Float]:
        """x and z of the unit vector along each beam, as rows (1, beam)."""
        angle = np.linspace(-1, 1, self.beams, dtype=np.float32)[None, :] * np.float32(self.half_angle_rad)
        return np.sin(angle), np.cos(angle)

    def places(self, x: Float, z: Float) -> tuple[Float, Float]:
        """Fractional sample and beam of points in mm; outside the view they lie outside the array."""
        if self.is_linear:
            sample, across = z / self.depth_mm, x / self.half_width_mm
        else:
            below = z + self.radius_mm
            sample = (np.hypot(x, below) - self.radius_mm) / self.depth_mm
            across = np.arctan2(x, below) / self.half_angle_rad
        return sample * (self.samples - 1), (across + 1) / 2 * (self.beams - 1)


@dataclass(frozen=True)
class Canvas:
    """A picture's pixels in the probe's coordinates.

    Attributes:
        height, width: pixels.
        pixel_mm: edge of the square pixels.
        left_mm, top_mm: x and z of the first pixel's centre.
    """

    height: int
    width: int
    pixel_mm: float
    left_mm: float
    top_mm: float

    def points(self) -> tuple[Float, Float]:
        """x and z in mm of each pixel's centre (y, x)."""
        x = (self.left_mm + np.arange(self.width) * self.pixel_mm).astype(np.float32)
        z = (self.top_mm + np.arange(self.height) * self.pixel_mm).astype(np.float32)
        grid_z, grid_x = np.meshgrid(z, x, indexing="ij")
        return grid_x, grid_z


def scan_convert(
    echoes: npt.NDArray[np.float32], probe: Probe, canvas: Canvas
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_]]:
    """A picture (y, x) of echoes (sample, beam), zero outside the view, and where the view is."""
    from scipy.ndimage import map_coordinates

    sample, beam = probe.places(*canvas.points())
    inside = (sample >= 0) & (sample <= probe.samples - 1) & (beam >= 0) & (beam <= probe.beams - 1)
    picture = np.zeros(inside.shape, np.float32)
    picture[inside] = map_coordinates(echoes, [sample[inside], beam[inside]], order=1, mode="nearest")
    return picture, inside
