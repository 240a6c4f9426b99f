"""Cortex ends where the scan shows it, and where it shows nothing the network's answer stays."""

from __future__ import annotations

import json
from pathlib import Path

import analytic_bundles as a
import numpy as np
import pytest

from KidneySegLib.errors import ModelError
from KidneySegLib.inference import Engine
from KidneySegLib.inference.cortex_border import cortex_as_seen, mixed_voxels, with_cortex_as_seen
from KidneySegLib.labels import TrainingLabel
from KidneySegLib.models import read_bundle
from KidneySegLib.models.bundle import CortexBorder

SHAPE = (30, 40, 36)


def distance_from_centre() -> np.ndarray:
    axes = np.meshgrid(*(np.arange(n) - (n - 1) / 2 for n in SHAPE), indexing="ij")
    return np.sqrt(sum(axis**2 for axis in axes))


def kidney(cortex_hu: float, medulla_hu: float, noise_hu: float = 12.0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """HU, parenchyma and cortex of a ball in fat: a rim, and one column two voxels wide through the middle."""
    radius = distance_from_centre()
    inside = radius < 13
    cortex = inside & (radius > 10)
    cortex[:, 19:21] |= inside[:, 19:21]
    hu = np.where(cortex, cortex_hu, np.where(inside, medulla_hu, -90.0))
    noise = np.random.default_rng(1).normal(0, noise_hu, SHAPE)
    return (hu + noise).astype(np.float32), inside, cortex


def guess() -> np.ndarray:
    """A network in doubt: a rim half as thick again as it is, no column."""
    return np.where(distance_from_centre() > 8.5, 0.8, 0.2).astype(np.float32)


def dice(one: np.ndarray, other: np.ndarray) -> float:
    return 2 * float((one & other).sum()) / float(one.sum() + other.sum())


def test_rim_and_column_are_found_where_the_network_was_in_doubt() -> None:
    hu, inside, cortex = kidney(180.0, 110.0)
    before = (guess() > 0.5) & inside
    after = (cortex_as_seen(hu, inside, guess(), 15.0) > 0.5) & inside
    assert dice(before, cortex) < 0.86
    assert dice(after, cortex) > 0.95
    middle = after[12:18, 19:21, 14:22]
    assert middle.mean() > 0.9


def test_what_is_known_to_be_too_much_or_too_little_is_shifted() -> None:
    hu, inside, _ = kidney(180.0, 110.0, noise_hu=60.0)
    sizes = [
        int(((cortex_as_seen(hu, inside, guess(), 15.0, prior_shift=shift) > 0.5) & inside).sum())
        for shift in (-1.0, -0.3, 0.0, 1.0)
    ]
    assert sizes == sorted(set(sizes))


@pytest.mark.parametrize(("cortex_hu", "medulla_hu"), [(120.0, 120.0), (110.0, 150.0), (120.0, 110.0)])
def test_without_contrast_the_networks_answer_stays(cortex_hu: float, medulla_hu: float) -> None:
    hu, inside, _ = kidney(cortex_hu, medulla_hu)
    known = guess()
    assert cortex_as_seen(hu, inside, known, 15.0) is known


def test_a_certain_network_is_believed_against_a_bright_spot() -> None:
    hu, inside, cortex = kidney(180.0, 110.0, noise_hu=5.0)
    known = np.where(cortex, 0.999, 0.001).astype(np.float32)
    hu[15, 12, 18] = 150.0  # Half way: brightness alone could not say.
    seen = cortex_as_seen(hu, inside, known, 15.0)
    assert seen[15, 12, 18] < 0.5
    assert dice((seen > 0.5) & inside, cortex) > 0.97


def test_dark_poles_of_thick_slices_are_no_medulla() -> None:
    hu, inside, cortex = kidney(180.0, 110.0, noise_hu=4.0)
    known = np.where(cortex, 0.8, 0.2).astype(np.float32)
    # Two layers at the poles are half fat, as bright as medulla.
    top = np.flatnonzero(inside.any((1, 2)))[[0, 1, -2, -1]]
    pole = np.zeros_like(inside)
    pole[top] = inside[top]
    hu[pole] = 110.0
    middle = pole & (distance_from_centre() - np.abs(np.arange(SHAPE[0]) - 14.5)[:, None, None] < 0.5)
    capped = cortex_as_seen(hu, inside, known, 15.0)
    free = cortex_as_seen(hu, inside, known, 15.0, mixed_voxels((5.0, 0.7, 0.7), (1.5, 1.5, 1.5)))
    assert (capped[middle] > 0.5).mean() < 0.7
    assert (free[middle] > 0.5).all()
    assert dice((free > 0.5) & inside, cortex) > 0.97


def test_how_deep_a_scans_voxels_mix() -> None:
    assert mixed_voxels((5.0, 0.7, 1.5), (1.5, 1.5, 1.5)) == (2, 0, 0)
    assert mixed_voxels((3.0, 2.0, 8.0), (1.5, 1.5, 1.5)) == (1, 1, 3)


def test_too_small_a_kidney_or_none_changes_nothing() -> None:
    hu, inside, _ = kidney(180.0, 110.0)
    known = guess()
    speck = np.zeros_like(inside)
    speck[10:13, 10:13, 10:13] = True
    for mask in (speck, np.zeros_like(inside)):
        assert cortex_as_seen(hu, mask, known, 15.0) is known


def test_only_cortex_within_parenchyma_changes_and_the_input_stays() -> None:
    hu, inside, cortex = kidney(180.0, 110.0)
    spec = a.spec(cortex_border=CortexBorder())
    n = spec.normalisation
    values = np.stack([np.where(inside, 0.9, 0.1), guess()]).astype(np.float32)
    given = values.copy()
    volume = (hu - n.mean_hu) / n.standard_deviation_hu
    fine = (1.0, 1.0, 1.0)
    seen = with_cortex_as_seen(values, volume, spec, fine)
    np.testing.assert_array_equal(values, given)
    np.testing.assert_array_equal(seen[0], given[0])
    np.testing.assert_array_equal(seen[1][~inside], given[1][~inside])
    assert dice((seen[1] > 0.5) & inside, cortex) > 0.95
    assert with_cortex_as_seen(values, volume, a.spec(), fine) is values
    nothing = np.zeros_like(values)
    assert with_cortex_as_seen(nothing, volume, spec, fine) is nothing


def test_the_engine_asks_for_it_where_the_bundle_does(tmp_path: Path) -> None:
    # The network says cortex from 200 HU on. This kidney's has 215 HU on one side, 190 on the other; medulla 110.
    hu = np.full((60, 60, 60), 0, np.int16)
    distance = np.sqrt(sum((axis - 29.5) ** 2 for axis in np.indices(hu.shape)))
    hu[distance < 20] = 190
    hu[:, :, 30:][distance[:, :, 30:] < 20] = 215
    hu[distance < 12] = 110
    image = a.image_of(hu, (1.0, 1.0, 1.0))
    counts = {}
    for name, border in (("as_given", None), ("as_seen", CortexBorder())):
        lines = [a.threshold_line(a.PARENCHYMA_HU), a.threshold_line(a.CORTEX_HU, a.GENTLE)]
        bundle = a.write_bundle(tmp_path / name, a.spec(name, cortex_border=border), a.pointwise_state(lines))
        result = Engine(bundle, device="cpu", precision="float32", use_localiser=False).run(image)
        labels = a.sitk.GetArrayFromImage(result.labels)
        counts[name] = int((labels == TrainingLabel.CORTEX).sum()), int((labels > 0).sum())
    assert counts["as_given"][0] == (hu == 215).sum()
    assert counts["as_seen"][0] == pytest.approx((hu >= 190).sum(), rel=0.03)
    assert counts["as_given"][1] == counts["as_seen"][1] == (hu > 100).sum()


def test_a_manifest_keeps_it_and_refuses_what_makes_no_sense(tmp_path: Path) -> None:
    shifted = a.write_fine(tmp_path / "shifted", cortex_border=CortexBorder(20.0, -0.3))
    assert read_bundle(shifted.path).cortex_border == CortexBorder(20.0, -0.3)
    bundle = a.write_fine(tmp_path / "fine", cortex_border=CortexBorder(20.0))
    assert read_bundle(bundle.path).cortex_border == CortexBorder(20.0)
    manifest = bundle.path / "model.json"
    content = json.loads(manifest.read_text(encoding="utf-8"))
    content["cortex_border"] = {"least_contrast_hu": -1}
    manifest.write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(ModelError, match="least_contrast_hu"):
        read_bundle(bundle.path)
    with pytest.raises(ModelError, match="cortex_border needs"):
        a.write_bundle(
            tmp_path / "whole",
            a.spec(
                "whole",
                network_arguments={"in_channels": 1, "out_channels": 1, "features": [2, 2]},
                outputs=("parenchyma",),
                cortex_border=CortexBorder(),
            ),
            a.pointwise_state([a.threshold_line(a.PARENCHYMA_HU)]),
        )
