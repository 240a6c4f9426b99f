"""Signed distances of simple shapes: negative inside, in mm, first-order exact near the surface."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]
Point = Sequence[float]


def rotation(yaw_deg: float = 0.0, pitch_deg: float = 0.0, roll_deg: float = 0.0) -> NDArray[np.float64]:
    """Rotation matrix whose rows are a shape's own axes in world LPS: about z (yaw), x (pitch), y (roll)."""
    a, b, c = np.deg2rad((yaw_deg, pitch_deg, roll_deg))
    about_z = np.array([[np.cos(a), np.sin(a), 0], [-np.sin(a), np.cos(a), 0], [0, 0, 1]])
    about_x = np.array([[1, 0, 0], [0, np.cos(b), np.sin(b)], [0, -np.sin(b), np.cos(b)]])
    about_y = np.array([[np.cos(c), 0, -np.sin(c)], [0, 1, 0], [np.sin(c), 0, np.cos(c)]])
    matrix: NDArray[np.float64] = about_z @ about_x @ about_y
    return matrix


def to_local(
    x: FloatArray, y: FloatArray, z: FloatArray, centre_mm: Point, axes: NDArray[np.float64]
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """World coordinates to coordinates along a shape's own axes (the rows of ``axes``), origin at its centre."""
    dx, dy, dz = x - np.float32(centre_mm[0]), y - np.float32(centre_mm[1]), z - np.float32(centre_mm[2])
    m = axes.astype(np.float32)
    return (
        m[0, 0] * dx + m[0, 1] * dy + m[0, 2] * dz,
        m[1, 0] * dx + m[1, 1] * dy + m[1, 2] * dz,
        m[2, 0] * dx + m[2, 1] * dy + m[2, 2] * dz,
    )


def ellipsoid_local(u: FloatArray, v: FloatArray, w: FloatArray, half_size_mm: Point) -> FloatArray:
    """Signed distance of an ellipsoid at the origin, axes along u, v, w."""
    a, b, c = (np.float32(max(size, 0.1)) for size in half_size_mm)
    radius = np.sqrt((u / a) ** 2 + (v / b) ** 2 + (w / c) ** 2)
    slope = np.sqrt((u / (a * a)) ** 2 + (v / (b * b)) ** 2 + (w / (c * c)) ** 2)
    smallest = min(a, b, c)
    distance: FloatArray = np.where(radius < 1e-3, -smallest, (radius - 1) * radius / np.maximum(slope, 1e-6))
    return distance


def ellipsoid(
    x: FloatArray,
    y: FloatArray,
    z: FloatArray,
    centre_mm: Point,
    half_size_mm: Point,
    axes: NDArray[np.float64] | None = None,
) -> FloatArray:
    """Signed distance of an ellipsoid in world coordinates."""
    u, v, w = to_local(x, y, z, centre_mm, np.eye(3) if axes is None else axes)
    return ellipsoid_local(u, v, w, half_size_mm)


def capsule(
    x: FloatArray, y: FloatArray, z: FloatArray, start_mm: Point, end_mm: Point, radius_mm: tuple[float, float]
) -> FloatArray:
    """Signed distance of a tube piece from ``start_mm`` to ``end_mm`` whose radius changes linearly."""
    a = np.asarray(start_mm, np.float32)
    axis = np.asarray(end_mm, np.float32) - a
    length_squared = np.float32(max(float(axis @ axis), 1e-6))
    px, py, pz = x - a[0], y - a[1], z - a[2]
    t = np.clip((px * axis[0] + py * axis[1] + pz * axis[2]) / length_squared, 0, 1)
    radius = np.float32(radius_mm[0]) + t * np.float32(radius_mm[1] - radius_mm[0])
    distance: FloatArray = np.sqrt((px - t * axis[0]) ** 2 + (py - t * axis[1]) ** 2 + (pz - t * axis[2]) ** 2) - radius
    return distance


def smooth_max(a: FloatArray, b: FloatArray, width_mm: float) -> FloatArray:
    """Intersection of two shapes whose edge is rounded over ``width_mm`` (quadratic blend)."""
    blend = np.maximum(np.float32(width_mm) - np.abs(a - b), 0) / np.float32(width_mm)
    result: FloatArray = np.maximum(a, b) + blend * blend * np.float32(width_mm / 4)
    return result


def smooth_min(a: FloatArray, b: FloatArray, width_mm: float) -> FloatArray:
    """Union of two shapes whose seam is rounded over ``width_mm``."""
    return -smooth_max(-a, -b, width_mm)


def smooth_path(points_mm: Sequence[Point], step_mm: float) -> NDArray[np.float64]:
    """Points (n, 3) along a Catmull-Rom curve through ``points_mm``, about ``step_mm`` apart."""
    knots = np.asarray(points_mm, float)
    padded = np.vstack([2 * knots[0] - knots[1], knots, 2 * knots[-1] - knots[-2]])
    pieces = []
    for i in range(len(knots) - 1):
        p0, p1, p2, p3 = padded[i : i + 4]
        count = max(int(np.ceil(np.linalg.norm(p2 - p1) / step_mm)), 1)
        t = np.linspace(0, 1, count, endpoint=False)[:, None]
        pieces.append(
            0.5 * (2 * p1 + (p2 - p0) * t + (2 * p0 - 5 * p1 + 4 * p2 - p3) * t**2 + (3 * p1 - p0 - 3 * p2 + p3) * t**3)
        )
    path: NDArray[np.float64] = np.vstack([*pieces, knots[-1:]])
    return path
