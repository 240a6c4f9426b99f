"""The scanner on a scene whose truth is a formula (`analytic.BallScene`)."""

from __future__ import annotations

import numpy as np
import pytest
from analytic import CORTEX_HU, MEDULLA_HU, BallScene, draw

from KidneySegLib.errors import Cancelled
from KidneySegLib.phantom import scanner
from KidneySegLib.phantom.protocol import IDEAL, KERNELS, LUO_LI_2025, Protocol, named
from KidneySegLib.phantom.scanner import acquire
from KidneySegLib.progress import CancelToken, Progress

SMALL = {"matrix": 256, "pixel_mm": 1.3}
COARSE = {"matrix": 128, "pixel_mm": 1.6}


def radius(acquisition: scanner.Acquisition) -> np.ndarray:
    x, y = np.meshgrid(acquisition.grid.x_mm, acquisition.grid.y_mm)
    return np.hypot(x, y)


def middle(acquisition: scanner.Acquisition, z_mm: float) -> np.ndarray:
    return acquisition.hu[np.abs(acquisition.grid.z_mm - z_mm).argmin()].astype(float)


@pytest.mark.parametrize(
    ("protocol", "tolerance"),
    [
        (named("ideal", pixel_mm=0.684), 0.01),
        (named("ideal", slice_thickness_mm=1.5, slice_spacing_mm=1.5, **COARSE), 0.02),
        (named("ideal", slice_thickness_mm=2.0, slice_spacing_mm=1.4, kernel="sharp", **COARSE), 0.02),
        (named("ideal", pixel_mm=2.2, matrix=160, slice_thickness_mm=8.0, slice_spacing_mm=8.0), 0.03),
    ],
)
def test_volumes_are_those_of_the_balls(protocol: Protocol, tolerance: float) -> None:
    scene = BallScene()
    acquisition = acquire(scene, protocol, 3, renderer=draw)
    (left,) = acquisition.kidneys
    assert left.side == "left"
    assert left.parenchyma_ml == pytest.approx(scene.parenchyma_ml, rel=0.005)
    assert left.cortex_ml == pytest.approx(scene.cortex_ml, rel=0.005)
    assert left.voxel_parenchyma_ml == pytest.approx(scene.parenchyma_ml, rel=tolerance)
    assert left.voxel_cortex_ml == pytest.approx(scene.cortex_ml, rel=tolerance)
    counted = np.isin(acquisition.labels, (3, 4)).sum() * acquisition.grid.voxel_volume_ml
    assert counted == pytest.approx(left.voxel_parenchyma_ml)
    assert set(np.unique(acquisition.labels)) == {0, 3, 4}


def test_labels_and_hu_lie_where_the_ball_lies() -> None:
    scene = BallScene()
    acquisition = acquire(scene, named("ideal", **SMALL), 3, renderer=draw)
    grid = acquisition.grid
    inside = acquisition.labels > 0
    centre = [
        (vector[np.nonzero(inside)[axis]]).mean() for axis, vector in ((2, grid.x_mm), (1, grid.y_mm), (0, grid.z_mm))
    ]
    np.testing.assert_allclose(centre, scene.centre_mm, atol=0.3)
    # Hounsfield units well inside each tissue are those that were drawn.
    x, y, z = (np.abs(v - c).argmin() for v, c in zip((grid.x_mm, grid.y_mm, grid.z_mm), scene.centre_mm, strict=True))
    assert acquisition.hu[z, y, x] == MEDULLA_HU
    away = np.abs(grid.x_mm - scene.centre_mm[0] + 25).argmin()
    assert acquisition.hu[z, y, away] == pytest.approx(CORTEX_HU, abs=2)
    assert middle(acquisition, 60)[radius(acquisition) < 100].mean() == pytest.approx(0, abs=0.5)
    assert middle(acquisition, 60)[radius(acquisition) > 160].mean() == pytest.approx(-1000, abs=1)


def test_partial_volume_along_z_follows_the_slice_profile() -> None:
    # The ball's top as a plane: a 60 mm ball is cut at its equator by choosing a huge one.
    class HalfSpace(BallScene):
        pass

    scene = HalfSpace(radius_mm=0.0)

    def step(_: BallScene, grid: scanner.Grid) -> object:
        ramp = np.clip(0.5 - grid.z_mm / grid.spacing_mm_zyx[0], 0, 1).astype(np.float32)
        hu = np.broadcast_to(100 * ramp[:, None, None], grid.shape_zyx).copy()
        return type("Drawing", (), {"hu": hu, "fractions": {}})()

    protocol = named("ideal", slice_thickness_mm=6.0, slice_spacing_mm=0.5, matrix=8, pixel_mm=10.0)
    acquisition = acquire(scene, protocol, 0, renderer=step)
    profile = acquisition.hu[:, 4, 4].astype(float)
    z = acquisition.grid.z_mm
    # The edge spread of a trapezoid of 6 mm full width: 0.5 at the edge, all done 4.2 mm away from it.
    assert np.interp(0, z, profile) == pytest.approx(50, abs=2)
    assert profile[z < -4.7] == pytest.approx(100)
    assert profile[z > 4.7] == pytest.approx(0)
    slope = -np.gradient(profile, z)
    width = np.ptp(z[slope > slope.max() / 2])
    assert width == pytest.approx(6.0, abs=0.8)


@pytest.mark.parametrize("noise_hu", [8.0, 25.0])
def test_noise_has_the_asked_deviation_in_the_middle_of_water(noise_hu: float) -> None:
    protocol = named("luo-li-2025", noise_hu=noise_hu, beam_hardening=0.0)
    acquisition = acquire(BallScene(radius_mm=0.0), protocol, 5, renderer=draw)
    water = acquisition.hu[5:30:3].astype(float)
    r = radius(acquisition)
    centre = water[:, r < 25].std()
    assert centre == pytest.approx(noise_hu, rel=0.12)
    assert water[:, (r > 120) & (r < 140)].std() < 0.92 * centre
    assert abs(water[:, r < 100].mean()) < 0.3 * noise_hu / 8


def test_noise_texture_is_that_of_the_kernel() -> None:
    """Neighbouring pixels agree more under a smooth kernel; noise of all kernels is correlated, never white."""
    agreement = {}
    for kernel in ("smooth", "medium", "very_sharp"):
        protocol = named("luo-li-2025", kernel=kernel, slice_thickness_mm=20.0, slice_spacing_mm=20.0)
        acquisition = acquire(BallScene(radius_mm=0.0), protocol, 5, renderer=draw)
        patch = acquisition.hu[2:6, 200:312, 200:312].astype(float)
        agreement[kernel] = np.corrcoef(patch[..., 1:].ravel(), patch[..., :-1].ravel())[0, 1]
    assert agreement["smooth"] > agreement["medium"] > agreement["very_sharp"] + 0.1
    assert agreement["medium"] > 0.5


def test_long_paths_are_louder_than_short_ones() -> None:
    """Through a flat body, noise streaks lie along the long axis: it varies less along x than along y."""

    def flat(_: BallScene, grid: scanner.Grid) -> object:
        inside = (np.abs(grid.y_mm)[:, None] < 70) & (np.abs(grid.x_mm)[None, :] < 220)
        hu = np.broadcast_to(np.where(inside, 0.0, -1000.0).astype(np.float32), grid.shape_zyx).copy()
        return type("Drawing", (), {"hu": hu, "fractions": {}})()

    scene = BallScene(radius_mm=0.0, cylinder_radius_mm=230.0)
    protocol = named("luo-li-2025", pixel_mm=0.95, slice_thickness_mm=20.0, slice_spacing_mm=20.0)
    patch = acquire(scene, protocol, 5, renderer=flat).hu[2:6, 226:286, 156:356].astype(float)
    along_x = np.diff(patch, axis=2).std()
    along_y = np.diff(patch, axis=1).std()
    assert along_y > 1.3 * along_x


def test_a_sharp_kernel_overshoots_at_edges_and_a_soft_one_does_not() -> None:
    overshoot, steepness = {}, {}
    water = BallScene(radius_mm=0.0, half_height_mm=10.0, cylinder_radius_mm=100.0)
    for kernel in KERNELS:
        protocol = named("ideal", kernel=kernel, pixel_mm=0.7, clip_hu=(-3000, 3000))
        row = middle(acquire(water, protocol, 0, renderer=draw), 0)[256]
        overshoot[kernel] = max(row.max(), -1000 - row.min())
        steepness[kernel] = np.abs(np.diff(row)).max()
    assert max(overshoot["smooth"], overshoot["soft"]) < 20
    assert min(overshoot["sharp"], overshoot["very_sharp"]) > 30
    assert list(steepness.values()) == sorted(steepness.values())


def test_beam_hardening_darkens_between_two_bones() -> None:
    def bones(_: BallScene, grid: scanner.Grid) -> object:
        y, x = grid.y_mm[:, None], grid.x_mm[None, :]
        water = np.hypot(x, y) < 150
        bone = np.hypot(np.abs(x) - 70, y) < 25
        hu = np.where(bone, 1000.0, np.where(water, 0.0, -1000.0)).astype(np.float32)
        return type("Drawing", (), {"hu": np.broadcast_to(hu, grid.shape_zyx).copy(), "fractions": {}})()

    protocol = named("ideal", beam_hardening=0.06, slice_thickness_mm=20.0, slice_spacing_mm=20.0)
    acquisition = acquire(BallScene(radius_mm=0.0), protocol, 0, renderer=bones)
    centre = acquisition.hu[4, 246:266, 246:266].mean()
    above = acquisition.hu[4, 120:140, 246:266].mean()
    assert centre < above - 5
    assert centre > -150


def test_field_of_view_padding_and_clipping() -> None:
    scene = BallScene()
    protocol = named("ideal", circular_field=True, padding_hu=-2000, clip_hu=(-1000, 150), matrix=128, pixel_mm=2.0)
    hu = acquire(scene, protocol, 0, renderer=draw).hu
    assert hu[0, 0, 0] == -2000
    assert hu[0, 64, 0] > -2000
    assert hu.max() == 150
    # A small field cuts the body off: no air beside it.
    cut = acquire(scene, named("ideal", matrix=128, pixel_mm=1.0), 0, renderer=draw)
    assert cut.hu[18].min() > -100


def test_same_seed_same_bytes_and_slabs_leave_no_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    scene = BallScene(half_height_mm=40.0, cylinder_radius_mm=100.0)
    protocol = named("luo-li-2025", matrix=96, pixel_mm=2.4)
    first, again, other = (acquire(scene, protocol, seed, renderer=draw) for seed in (1, 1, 2))
    assert first.hu.tobytes() == again.hu.tobytes()
    assert first.labels.tobytes() == again.labels.tobytes()
    assert other.hu.tobytes() != first.hu.tobytes()
    monkeypatch.setattr(scanner, "SLAB_VOXELS", 15_000)
    in_small_slabs = acquire(scene, protocol, 1, renderer=draw)
    assert np.abs(in_small_slabs.hu.astype(int) - first.hu).max() <= 1
    assert (in_small_slabs.labels != first.labels).mean() < 1e-6


@pytest.mark.parametrize("seed", range(6))
def test_a_cut_kidney_is_cut_and_known_to_be(seed: int) -> None:
    scene = BallScene()
    protocol = named("ideal", coverage="cut_kidney", matrix=96, pixel_mm=3.5)
    acquisition = acquire(scene, protocol, seed, renderer=draw)
    (kidney,) = acquisition.kidneys
    assert kidney.cut_by_scan
    assert kidney.parenchyma_ml < 0.99 * scene.parenchyma_ml
    whole = acquire(scene, named("ideal", matrix=96, pixel_mm=3.5), seed, renderer=draw)
    assert not whole.kidneys[0].cut_by_scan


def test_cancel_stops_it() -> None:
    token = CancelToken()
    token.cancel()
    with pytest.raises(Cancelled):
        acquire(BallScene(), named("ideal", **SMALL), 0, renderer=draw, progress=Progress(token=token))


def test_sampled_protocols_stay_within_what_is_promised() -> None:
    bounds = BallScene().body_bounds_mm()
    normal = [Protocol.sample(np.random.default_rng(seed), bounds) for seed in range(200)]
    odd = [Protocol.sample(np.random.default_rng(seed), bounds, robust=True) for seed in range(200)]
    assert all(0.5 <= p.pixel_mm <= 1.0 and p.matrix == 512 and 0.6 <= p.slice_thickness_mm <= 5.0 for p in normal)
    assert {p.coverage for p in normal} == {"abdomen", "abdomen_pelvis", "chest_abdomen_pelvis", "cut_kidney"}
    assert {p.kernel for p in normal} == set(KERNELS)
    assert any(p.slice_spacing_mm < p.slice_thickness_mm for p in normal)
    assert any(p.slice_spacing_mm > p.slice_thickness_mm for p in normal)
    assert max(p.slice_thickness_mm for p in odd) > 7
    assert max(p.pixel_mm for p in odd) > 2
    assert max(p.pixel_mm for p in odd) <= 2.2
    assert Protocol.sample(np.random.default_rng(1), slice_thickness_mm=5.0).slice_thickness_mm == 5.0


def test_the_first_seeds_geometry() -> None:
    assert (LUO_LI_2025.slice_thickness_mm, LUO_LI_2025.pixel_mm, LUO_LI_2025.matrix) == (5.0, 0.684, 512)
    assert IDEAL.noise_hu == 0


@pytest.mark.parametrize(
    "changes", [{"pixel_mm": 0.0}, {"coverage": "head"}, {"kernel": "wood"}, {"noise_hu": -1.0}, {"matrix": 0}]
)
def test_what_is_refused(changes: dict) -> None:
    with pytest.raises(ValueError, match=next(iter(changes))):
        named("ideal", **changes)
    with pytest.raises(KeyError, match="protocol must be"):
        named("guess")
