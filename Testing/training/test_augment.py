"""Augmentation: image and truth stay together, and a scanner's arithmetic has known answers."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from KidneySegLib.training.augment import AugmentSettings, Normalisation, augment
from KidneySegLib.training.augment_contrast import ContrastSettings, random_contrast, remap
from KidneySegLib.training.augment_geometry import OUTSIDE_HU, STILL, PoseSettings, random_pose
from KidneySegLib.training.augment_scanner import (
    ScannerSettings,
    acquisition_matrices,
    apply_along,
    gaussian_matrices,
    random_field_of_view,
    random_scan,
    streaks,
)
from KidneySegLib.training.fields import smooth_noise, spline_matrix

SILENT = ScannerSettings(
    thick_probability=0,
    coarse_probability=0,
    blur=0,
    sharpen_probability=0,
    noise_hu=(1e-6, 1e-5),
    streak_probability=0,
)


def _generator(seed=0):
    return torch.Generator().manual_seed(seed)


def _soft_ball(size, centre, radius):
    axes = [torch.arange(size, dtype=torch.float32)] * 3
    z, y, x = torch.meshgrid(*axes, indexing="ij")
    distance = ((z - centre[0]) ** 2 + (y - centre[1]) ** 2 + (x - centre[2]) ** 2).sqrt()
    return (radius - distance + 0.5).clamp(0, 1)[None, None]


@pytest.mark.parametrize("seed", range(5))
def test_any_pose_moves_image_and_truth_alike(seed):
    ball = _soft_ball(40, (20, 17, 23), 9)
    settings = PoseSettings(shift_voxels=(6, 6, 6), warp_voxels=3, warp_node_voxels=10)
    hu, targets = random_pose(OUTSIDE_HU + 1000 * ball, ball, (32, 32, 32), settings, _generator(seed))
    assert torch.allclose((hu - OUTSIDE_HU) / 1000, targets, atol=1e-4)
    assert targets.max() > 0.5


def test_no_pose_is_the_crop_round_the_centre():
    hu = torch.arange(10 * 12 * 8, dtype=torch.float32).view(1, 1, 10, 12, 8)
    cut, _ = random_pose(hu, torch.zeros_like(hu), (4, 6, 8), STILL, _generator())
    assert torch.allclose(cut, hu[:, :, 3:7, 3:9], atol=1e-2)


@pytest.mark.parametrize(("axis", "array_axis"), [(0, 2), (1, 3), (2, 4)])
def test_mirroring_is_along_the_axis_that_was_asked_for(axis, array_axis):
    hu = torch.randn(1, 1, 6, 6, 6)
    settings = PoseSettings(0, (1, 1), tuple(float(a == axis) for a in range(3)), (0, 0, 0), 0)
    flipped, _ = random_pose(hu, hu, (6, 6, 6), settings, _generator())
    assert torch.allclose(flipped, hu.flip(array_axis), atol=1e-4)


def test_magnification_scales_the_volume():
    ball = _soft_ball(48, (23.5, 23.5, 23.5), 10)
    settings = PoseSettings(0, (1.2, 1.2), (0, 0, 0), (0, 0, 0), 0)
    _, larger = random_pose(ball, ball, (48, 48, 48), settings, _generator())
    assert float(larger.sum() / ball.sum()) == pytest.approx(1.2**3, rel=0.02)


def test_rotation_keeps_the_volume_and_turns_the_axes():
    rod = torch.zeros(1, 1, 33, 33, 33)
    rod[..., 16, 16, 8:25] = 1
    settings = PoseSettings(20, (1, 1), (0, 0, 0), (0, 0, 0), 0)
    _, turned = random_pose(rod, rod, (33, 33, 33), settings, _generator(1))
    assert float(turned.sum()) == pytest.approx(17, rel=0.1)
    assert not torch.allclose(turned, rod, atol=0.2)


def test_outside_of_the_box_there_is_air_and_nothing_to_find():
    hu, targets = random_pose(
        torch.full((1, 1, 4, 4, 4), 50.0), torch.ones(1, 1, 4, 4, 4), (12, 12, 12), STILL, _generator()
    )
    assert hu[0, 0, 0, 0, 0] == OUTSIDE_HU
    assert targets[0, 0, 0, 0, 0] == 0
    assert hu[0, 0, 6, 6, 6] == pytest.approx(50)


@pytest.mark.parametrize(
    ("thickness", "spacing", "offset"),
    [(1, 1, 0), (5, 5, 0.3), (5, 2.5, 0.9), (3, 4, 0.5), (8, 8, 0.999), (1.3, 1, 0.2)],
)
def test_rows_of_acquiring_and_looking_sum_to_one(thickness, spacing, offset):
    acquire, look = acquisition_matrices(20, *(torch.tensor([float(v)]) for v in (thickness, spacing, offset)))
    assert torch.allclose(acquire.sum(2), torch.ones(()), atol=1e-5)
    assert torch.allclose(look.sum(2), torch.ones(()), atol=1e-5)


def test_thin_slices_on_the_voxels_change_nothing():
    one, zero = torch.ones(1), torch.zeros(1)
    acquire, look = acquisition_matrices(9, one, one, zero)
    assert torch.allclose(look @ acquire, torch.eye(9), atol=1e-6)


def test_a_plane_through_a_thick_slice_gives_its_known_fraction():
    thickness = torch.tensor([4.0])
    acquire, look = acquisition_matrices(16, thickness, thickness, torch.tensor([0.625]))
    # Centres lie at -(0.625 + 1) * 4 + 4 k = -6.5, -2.5, 1.5, 5.5, ...: slice 3 covers voxels 4, 5, 6, 7.
    plane = torch.zeros(1, 1, 16, 1, 1)
    plane[:, :, 7:] = 1
    slices = apply_along(plane, acquire, 2).flatten()
    assert slices[2:5].tolist() == pytest.approx([0, 0.25, 1])
    # Looked at on voxels: a quarter at 5.5, all at 9.5, a straight line between; half is reached a third of the way.
    seen = apply_along(apply_along(plane, acquire, 2), look, 2).flatten()
    assert seen[5:8].tolist() == pytest.approx([0.21875, 0.34375, 0.53125])
    assert seen[10:].tolist() == pytest.approx([1] * 6)


def test_at_a_thick_slices_centre_truth_is_the_mean_over_the_slice():
    fractions = torch.rand(1, 2, 30, 3, 3)
    thickness = torch.tensor([5.0])
    acquire, look = acquisition_matrices(30, thickness, thickness, torch.tensor([0.6]))
    seen = apply_along(fractions, look @ acquire, 2)
    # Centres lie at -8 + 5 k: 2, 7, ...: slice 3 covers voxels 5..9.
    assert torch.allclose(seen[:, :, 7], fractions[:, :, 5:10].mean(2), atol=1e-5)
    assert torch.allclose(seen[:, :, 12], fractions[:, :, 10:15].mean(2), atol=1e-5)


def test_a_scan_treats_image_and_truth_alike_but_for_noise():
    ball = _soft_ball(32, (15, 16, 17), 9).repeat(3, 1, 1, 1, 1)
    settings = replace(SILENT, thick_probability=1, coarse_probability=1)
    hu, truth = random_scan(1000 * ball, ball, settings, _generator(2))
    assert torch.allclose(hu / 1000, truth, atol=1e-4)
    assert not torch.allclose(truth, ball, atol=0.1)
    assert torch.allclose(truth.sum((1, 2, 3, 4)), ball.sum((1, 2, 3, 4)), rtol=0.02)


def test_a_silent_scanner_changes_nothing():
    hu = torch.randn(2, 1, 8, 10, 12) * 100
    seen, truth = random_scan(hu, hu.sigmoid(), SILENT, _generator())
    assert torch.allclose(seen, hu, atol=1e-2)
    assert torch.allclose(truth, hu.sigmoid(), atol=1e-5)


def test_noise_has_the_strength_that_was_asked_for():
    settings = ScannerSettings(thick_probability=0, coarse_probability=0, noise_hu=(20, 20.001), streak_probability=0)
    seen, truth = random_scan(torch.zeros(4, 1, 24, 32, 32), torch.zeros(4, 1, 24, 32, 32), settings, _generator())
    assert float(seen.std()) == pytest.approx(20, rel=0.3)
    assert float(truth.abs().max()) == 0


def test_gaussian_blur_has_its_deviation():
    matrix = gaussian_matrices(41, torch.tensor([3.0, 0.0]))
    distance = torch.arange(41) - 20.0
    assert float((matrix[0, 20] * distance**2).sum()) ** 0.5 == pytest.approx(3, rel=1e-3)
    assert torch.equal(matrix[1], torch.eye(41))


def test_streaks_have_no_preferred_sign():
    pattern = streaks((8, 64, 64), 4, _generator())
    assert abs(float(pattern.mean())) < 0.05
    assert 0.1 < float(pattern.std()) < 1.5


def test_beyond_the_field_of_view_there_is_nothing():
    whole = torch.zeros(8, 1, 8, 8, 8)
    hu, targets = random_field_of_view(whole, whole + 1, 1.0, -1000.0, _generator())
    cut = hu == -1000
    assert cut.flatten(1).any(1).all()
    assert not cut.flatten(1).all(1).any()
    assert torch.equal(targets == 0, cut)


def test_slopes_of_one_leave_hu_as_they_are_and_others_keep_their_order():
    hu = torch.linspace(-1000, 1500, 400).view(1, 1, 4, 10, 10)
    assert torch.allclose(remap(hu, torch.ones(1, 10)), hu, atol=1e-3)
    bent = remap(hu, torch.rand(1, 10) + 0.2).flatten()
    assert (bent.diff() > 0).all()


def test_contrast_never_touches_air_and_may_be_switched_off():
    hu = torch.full((2, 1, 16, 16, 16), -1000.0)
    hu[:, :, 4:12, 4:12, 4:12] = 60
    targets = torch.zeros(2, 2, 16, 16, 16)
    changed = random_contrast(hu, targets, ContrastSettings(probability=1, table_probability=0), True, _generator())
    assert (changed[hu < -500] == -1000).all()
    assert not torch.allclose(changed[hu > 0], hu[hu > 0])
    off = ContrastSettings(probability=0, table_probability=0)
    assert torch.equal(random_contrast(hu, targets, off, True, _generator()), hu)


def test_splines_reproduce_a_constant_and_noise_has_unit_deviation():
    assert torch.allclose(spline_matrix(30, 7.0, torch.device("cpu")).sum(1), torch.ones(30), atol=1e-5)
    noise = smooth_noise(16, 2, (40, 40, 40), 8.0, _generator())
    assert noise.shape == (16, 2, 40, 40, 40)
    assert float(noise.std()) == pytest.approx(1, abs=0.1)
    step = noise.diff(dim=4).std()
    assert float(step) < 0.3  # neighbours hardly differ


@pytest.mark.parametrize("fractions", [True, False])
def test_a_batch_is_normalised_finite_and_repeatable(fractions):
    hu = torch.randn(3, 1, 20, 20, 20) * 300
    targets = torch.zeros(3, 2, 20, 20, 20)
    targets[:, 0, 5:15, 5:15, 5:15] = 1
    normalisation = Normalisation(-250, 500, 50, 150)
    results = [
        augment(hu, targets, (16, 16, 16), AugmentSettings(), normalisation, fractions, _generator(4)) for _ in range(2)
    ]
    image, truth = results[0]
    assert torch.equal(image, results[1][0])
    assert torch.equal(truth, results[1][1])
    assert image.shape == (3, 1, 16, 16, 16)
    assert image.min() >= -2
    assert image.max() <= 3
    assert truth.shape[1] == (2 if fractions else 3)
    if not fractions:
        assert torch.allclose(truth.sum(1), torch.ones(()), atol=1e-4)
