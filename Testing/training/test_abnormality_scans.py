"""Scans in the layout of Zenodo 8014290: phantoms written so, found, held out and cut into boxes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from KidneySegLib.errors import InputError
from KidneySegLib.phantom.grid import Grid
from KidneySegLib.phantom.render import render
from KidneySegLib.phantom.scene import sample_scene
from KidneySegLib.training.abnormality.run import sample_source
from KidneySegLib.training.abnormality.scans import ScanBoxes, find_cases, held_out

SPACING = 5.0


def write_case(folder: Path, name: str, seed: int) -> None:
    """A phantom as the data set has its cases: CASE.mha and CASE_segmentations.mha with 1 kidney, 2 abnormality."""
    scene = sample_scene(seed, variant="large_mass", phase="nephrographic")
    grid = Grid((60, 48, 72), (SPACING,) * 3, (-177.5, -117.5, -150.0))
    rendering = render(scene, grid)
    labels = np.zeros(grid.shape_zyx, np.uint8)
    for key, fraction in rendering.fractions.items():
        if key.endswith("_parenchyma"):
            labels[fraction > 0.5] = 1
    for key, fraction in rendering.fractions.items():
        if key.endswith(("_mass", "_cyst")):
            labels[fraction > 0.5] = 2
    for suffix, array in (("", rendering.hu.astype(np.int16)), ("_segmentations", labels)):
        image = sitk.GetImageFromArray(array)
        image.SetSpacing((SPACING,) * 3)
        image.SetOrigin(grid.origin_mm_xyz)
        sitk.WriteImage(image, str(folder / f"{name}{suffix}.mha"), True)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("zenodo")
    (folder / "images1").mkdir()
    for name, seed in (("case_a", 5), ("case_b", 6)):
        write_case(folder / "images1", name, seed)
    return folder


def test_cases_are_found_and_one_in_ten_is_held_out(dataset: Path) -> None:
    cases = find_cases(dataset)
    assert [case.name for case in cases] == ["case_a", "case_b"]
    assert [case.name for case in held_out(cases)] == ["case_b"]
    assert len(held_out(cases * 15)) == 3


def test_boxes_hold_the_labels_where_they_are(dataset: Path) -> None:
    source = ScanBoxes(find_cases(dataset), (24, 24, 24), SPACING, jitter_mm=0.0)
    samples = list(source(1_000_000))
    assert all(sample.targets.shape == (2, 24, 24, 24) for sample in samples)
    held = [sample.targets[1].max() for sample in samples]
    assert max(held) == 255
    assert sum(value > 0 for value in held) >= len(held) / 2
    # The same place in the file: enhanced parenchyma is brighter than the fat around it.
    sample = samples[0]
    kidney = sample.targets[0] > 250
    assert sample.hu[kidney].mean() > 80
    # Held-out seeds draw from the other scan, and a seed gives the same boxes again.
    again = list(source(1_000_000))
    np.testing.assert_array_equal(samples[0].hu, again[0].hu)
    other = list(source(500_000))
    assert not np.array_equal(other[0].hu, samples[0].hu)


def test_the_recipe_trains_on_them(dataset: Path) -> None:
    from dataclasses import replace

    from KidneySegLib.training.abnormality.config import load_recipe

    recipe = load_recipe()
    assert isinstance(sample_source(recipe, dataset), ScanBoxes)
    with pytest.raises(InputError, match="not cyst from mass"):
        sample_source(replace(recipe, separate_cyst_and_mass=True), dataset)


def test_a_scan_without_labels_is_said(dataset: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="at least two cases"):
        find_cases(tmp_path)
    (tmp_path / "alone.mha").write_bytes(b"")
    with pytest.raises(InputError, match="missing for alone"):
        find_cases(tmp_path)
