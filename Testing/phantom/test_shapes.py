"""Signed distances with known answers."""

import numpy as np
import pytest

from KidneySegLib.phantom.shapes import capsule, ellipsoid, rotation, smooth_max, smooth_min, smooth_path, to_local


def point(x: float, y: float, z: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return tuple(np.array([value], np.float32) for value in (x, y, z))  # type: ignore[return-value]


@pytest.mark.parametrize(
    ("at", "distance_mm"), [((10, 0, 0), 0.0), ((13, 0, 0), 3.0), ((0, 7, 0), -3.0), ((0, 0, 15), 5.0)]
)
def test_ball(at, distance_mm):
    assert ellipsoid(*point(*at), (0, 0, 0), (10, 10, 10))[0] == pytest.approx(distance_mm, abs=1e-4)


def test_ellipsoid_is_exact_on_its_axes_near_the_surface():
    for axis, half in enumerate((10.0, 20.0, 40.0)):
        at = [0.0, 0.0, 0.0]
        at[axis] = half + 0.5
        assert ellipsoid(*point(*at), (0, 0, 0), (10, 20, 40))[0] == pytest.approx(0.5, abs=0.05)


def test_ellipsoid_centre_is_inside():
    assert ellipsoid(*point(1, 2, 3), (1, 2, 3), (5, 6, 7))[0] == pytest.approx(-5.0)


def test_capsule_with_changing_radius():
    start, end = (0, 0, 0), (0, 0, 10)
    assert capsule(*point(4, 0, 5), start, end, (1, 3))[0] == pytest.approx(2.0)
    assert capsule(*point(0, 0, 15), start, end, (1, 3))[0] == pytest.approx(2.0)
    assert capsule(*point(0, 0, -2), start, end, (1, 3))[0] == pytest.approx(1.0)


def test_rotation_rows_are_a_right_handed_frame():
    axes = rotation(20, -35, 70)
    np.testing.assert_allclose(axes @ axes.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(axes) == pytest.approx(1.0)


def test_yaw_turns_the_first_axis_to_the_back():
    # LPS: x to the left, y to the back. A yaw of 90 degrees turns u from left to back.
    np.testing.assert_allclose(rotation(yaw_deg=90)[0], [0, 1, 0], atol=1e-12)


def test_to_local_and_back():
    axes = rotation(10, 20, 30)
    world = np.array([5.0, -7.0, 11.0])
    local = np.array([c[0] for c in to_local(*point(*world), (1, 2, 3), axes)])
    np.testing.assert_allclose(np.array([1, 2, 3]) + local @ axes, world, atol=1e-5)


def test_smooth_union_and_intersection_meet_the_sharp_ones_far_from_the_seam():
    a, b = np.array([-5.0, 3.0], np.float32), np.array([4.0, -6.0], np.float32)
    np.testing.assert_allclose(smooth_max(a, b, 2.0), np.maximum(a, b))
    np.testing.assert_allclose(smooth_min(a, b, 2.0), np.minimum(a, b))
    assert smooth_max(np.zeros(1, np.float32), np.zeros(1, np.float32), 2.0)[0] == pytest.approx(0.5)


def test_path_goes_through_its_knots():
    knots = [[0, 0, 0], [10, 0, 0], [10, 10, 0]]
    path = smooth_path(knots, 2.0)
    for knot in knots:
        assert np.linalg.norm(path - knot, axis=1).min() < 1e-9
    assert np.linalg.norm(np.diff(path, axis=0), axis=1).max() < 4.0
