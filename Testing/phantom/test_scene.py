"""The anatomy: deterministic, the same on every grid, and true to its own facts."""

import numpy as np
import pytest

from KidneySegLib.labels import OverviewLabel, Side
from KidneySegLib.phantom.grid import Grid
from KidneySegLib.phantom.render import render
from KidneySegLib.phantom.scene import VARIANTS, sample_scene

SPACING_MM = 4.0


def whole(scene, spacing_mm: float = SPACING_MM) -> Grid:
    return Grid.covering(scene.body_bounds_mm(), (spacing_mm,) * 3)


def volume_ml(fraction: np.ndarray, spacing_mm: float = SPACING_MM) -> float:
    return float(fraction.sum()) * spacing_mm**3 / 1000


def test_the_same_seed_gives_the_same_patient():
    first, second = sample_scene(11), sample_scene(11)
    assert first.variant == second.variant
    assert first.hu == second.hu
    grid = Grid((6, 30, 40), (8.0, 8.0, 8.0), (-160.0, -150.0, -24.0))
    np.testing.assert_array_equal(render(first, grid).hu, render(second, grid).hu)
    assert np.abs(render(sample_scene(12), grid).hu - render(first, grid).hu).max() > 100


def test_unknown_variants_and_phases_are_refused():
    with pytest.raises(ValueError, match=r"variant must be one of .*normal.*; got 'sponge'"):
        sample_scene(1, variant="sponge")
    with pytest.raises(ValueError, match="phase must be one of"):
        sample_scene(1, phase="portal")


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_variant_renders(variant):
    scene = sample_scene(101, variant=variant)
    rendering = render(scene, whole(scene, 6.0))
    assert np.isfinite(rendering.hu).all()
    for key, fraction in rendering.fractions.items():
        assert fraction.min() >= 0, key
        assert fraction.max() <= 1, key
    parenchyma = [f for key, f in rendering.fractions.items() if key.endswith("parenchyma")]
    assert sum(volume_ml(f, 6.0) for f in parenchyma) > 15
    for key in rendering.fractions:
        if key.endswith("cortex"):
            whole_kidney = rendering.fractions[key.replace("cortex", "parenchyma")]
            assert (rendering.fractions[key] <= whole_kidney + 1e-4).all()


def test_sides_are_the_patients():
    scene = sample_scene(4, variant="normal")
    fractions = render(scene, whole(scene)).fractions
    x_mm = whole(scene).x_mm
    for side, sign in ((Side.RIGHT, -1), (Side.LEFT, 1)):
        across = fractions[f"{side.value}_parenchyma"].sum(axis=(0, 1))
        assert sign * (across * x_mm).sum() / across.sum() > 25  # LPS: x grows to the patient's left


def test_volume_does_not_depend_on_the_grid():
    scene = sample_scene(7, variant="normal")
    kidney = scene.kidneys[0]
    key = f"{kidney.side.value}_parenchyma"
    volumes = []
    for spacing in (1.5, 3.0):
        bounds = [(c - 90, c + 90) for c in kidney.centre_mm]
        volumes.append(volume_ml(render(scene, Grid.covering(bounds, (spacing,) * 3)).fractions[key], spacing))
    assert volumes[1] == pytest.approx(volumes[0], rel=0.03)


def test_a_part_of_the_body_is_the_same_as_in_the_whole():
    scene = sample_scene(21)
    grid = whole(scene, 6.0)
    everything = render(scene, grid)
    z0, y0, x0 = 40, 12, 10
    part = Grid(
        (12, 20, 24),
        (6.0,) * 3,
        (float(grid.x_mm[x0]), float(grid.y_mm[y0]), float(grid.z_mm[z0])),
    )
    block = everything.hu[z0 : z0 + 12, y0 : y0 + 20, x0 : x0 + 24]
    # Lattice sums differ in the last bits only.
    np.testing.assert_allclose(render(scene, part).hu, block, atol=0.5)


def test_outside_of_the_body_is_air():
    scene = sample_scene(3)
    far = render(scene, Grid((4, 4, 4), (5.0,) * 3, (900.0, -900.0, 0.0)))
    assert (far.hu < -900).all()
    assert not far.tissue.any()
    assert all(not fraction.any() for fraction in far.fractions.values())


def test_arterial_cortex_is_brighter_than_medulla_and_unenhanced_is_not():
    arterial = sample_scene(5, phase="arterial", variety=0.0)
    assert arterial.cortex_visible
    plain = sample_scene(5, phase="unenhanced", variety=0.0)
    assert not plain.cortex_visible
    assert abs(plain.hu["cortex"] - plain.hu["medulla"]) < 5


def test_landmarks_are_there():
    scene = sample_scene(8, variant="normal")
    tissue = render(scene, whole(scene)).tissue
    for label in OverviewLabel:
        assert (tissue == label).any(), label
    spine = np.argwhere(tissue == OverviewLabel.SPINE)
    x_mm = whole(scene).x_mm[spine[:, 2]]
    assert abs(float(np.median(x_mm))) < 8


def test_fused_kidneys_join_and_have_no_side():
    from scipy import ndimage

    joined = 0
    for seed in (31, 32, 33):
        scene = sample_scene(seed, variant="fused")
        fractions = render(scene, whole(scene, 3.0)).fractions
        assert not any(key.startswith(("right", "left")) for key in fractions)
        _, count = ndimage.label(fractions["unsided_parenchyma"] > 0.5)
        joined += count == 1
    assert joined >= 2


def test_lesions_take_their_voxels_from_parenchyma():
    scene = sample_scene(41, variant="large_cysts")
    fractions = render(scene, whole(scene, 3.0)).fractions
    for side in ("right", "left"):
        cyst, parenchyma = fractions.get(f"{side}_cyst"), fractions.get(f"{side}_parenchyma")
        if cyst is not None and parenchyma is not None:
            assert (cyst + parenchyma <= 1.001).all()
    assert sum(volume_ml(f, 3.0) for key, f in fractions.items() if key.endswith("cyst")) > 15


def test_a_mass_is_as_bright_as_its_tumour_whatever_the_kidney():
    seed = next(
        s for s in range(100) if sample_scene(s, variant="large_mass", phase="nephrographic").lesions[-1].necrosis == 0
    )
    scene = sample_scene(seed, variant="large_mass", phase="nephrographic", variety=0.0)
    mass = scene.lesions[-1]
    rendering = render(scene, whole(scene, 3.0))
    inside = next(f for key, f in rendering.fractions.items() if key.endswith("_mass")) > 0.99
    low, high = scene.hu["mass_hypovascular"], scene.hu["mass_hypervascular"]
    expected = low + mass.enhancement * (high - low)
    assert rendering.hu[inside].mean() == pytest.approx(expected, abs=8)
