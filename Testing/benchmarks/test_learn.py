"""How the benchmark's weights are learnt, and that the ones that are kept are those of its plans."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from Testing.benchmarks import learn, plans, weights


def narrow_network(planned: plans.Planned) -> Any:
    return weights.nnunet_network(weights.narrow_plans_json(planned), deep_supervision=False)


@pytest.mark.parametrize("planned", plans.PLANS.values(), ids=plans.PLANS.keys())
def test_every_plan_has_learnt_weights(planned: plans.Planned) -> None:
    expected = {name: value.shape for name, value in narrow_network(planned).named_parameters()}
    assert {name: value.shape for name, value in load_file(weights.learnt_file(planned)).items()} == expected


def test_the_wide_network_has_what_the_narrow_one_learnt() -> None:
    first = "encoder.stages.0.0.convs.0.conv.weight"
    given = load_file(weights.learnt_file(plans.QUICK))[first].float()
    assert torch.equal(weights.learnt(plans.QUICK)[first][: len(given)], given)


def test_weights_of_another_network_are_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    source = weights.learnt_file(plans.THICK)
    monkeypatch.setattr(weights, "LEARNT", tmp_path)
    shutil.copy(source, weights.learnt_file(plans.QUICK))
    with pytest.raises(RuntimeError, match="narrow network of quick"):
        weights.learnt(plans.QUICK)


def test_half_of_the_patches_lie_round_a_kidney() -> None:
    hu, regions = np.zeros((8, 80, 80), np.int16), np.zeros((2, 8, 80, 80), bool)
    regions[:, 4, 3, 76] = True
    random = np.random.default_rng(0)
    patches = [learn._patch([(hu, regions)], (4, 16, 16), random) for _ in range(400)]
    assert {values.shape for values, _ in patches} == {(4, 16, 16)}
    # The voxel lies in a corner, where hardly any other patch lies.
    assert 170 < sum(bool(found.any()) for _, found in patches) < 240


def test_a_batch_is_normalised_as_nnunet_does() -> None:
    random = np.random.default_rng(0)
    hu, regions = np.full((8, 40, 40), 150, np.int16), np.ones((2, 8, 40, 40), bool)
    hu[:, :, :20] = -1000
    image, target = learn._batch([(hu, regions)], (8, 40, 40), random)
    assert image.shape == (1, 1, 8, 40, 40)
    assert target.shape == (1, 2, 8, 40, 40)
    assert target.min() == 1
    # Air is clipped at -60 HU, after its noise: (-60 - 150) / 60. Noise of 10 HU, gain and offset are on the rest.
    assert float(image.min()) == pytest.approx(-3.5)
    assert float(image[image > -2].mean()) == pytest.approx(0.0, abs=0.6)
    assert float(image[image > -2].std()) == pytest.approx(10 / 60, abs=0.03)


def test_the_loss_of_a_patch_without_a_kidney() -> None:
    nothing = torch.zeros(1, 2, 4, 20, 20)
    sure_of_none = torch.full_like(nothing, -30.0)
    assert float(learn._loss(sure_of_none, nothing)) == pytest.approx(0.0, abs=1e-5)
    wrong = sure_of_none.clone()
    wrong[:, :, 0, :10] = 30.0  # 200 of 1,600 voxels, with a cross-entropy of 30 each.
    assert float(learn._loss(wrong, nothing)) == pytest.approx(30 / 8 + 0.5, rel=1e-4)
    assert float(learn._loss(wrong, (wrong > 0).float())) == pytest.approx(0.0, abs=1e-5)


def test_a_few_steps_change_every_weight() -> None:
    planned = replace(plans.QUICK, training_patches=((8, 32, 32),), training_steps=(3, 2))
    hu, regions = np.zeros((16, 64, 64), np.int16), np.zeros((2, 16, 64, 64), bool)
    hu[4:12, 20:40, 20:40], regions[:, 4:12, 20:40, 20:40] = 180, True
    made, fresh = learn.learn(planned, [(hu, regions)]), dict(narrow_network(planned).named_parameters())
    assert made.keys() == fresh.keys()
    assert all(torch.isfinite(value).all() for value in made.values())
    unchanged = {name for name, value in made.items() if value.ndim > 1 and torch.equal(value, fresh[name])}
    # The coarse answer, which only deep supervision asks for.
    assert unchanged == {"decoder.seg_layers.0.weight"}


def test_going_on_learns_the_last_round_only() -> None:
    planned = replace(plans.QUICK, training_patches=((8, 32, 32),), training_steps=(10**9, 1))
    hu, regions = np.full((8, 32, 32), 180, np.int16), np.ones((2, 8, 32, 32), bool)
    start = load_file(weights.learnt_file(plans.QUICK))
    made = learn.learn(planned, [(hu, regions)], start)
    # A first step of Adam moves no weight by more than the learning rate.
    moved = max(float((made[name] - value.float()).abs().max()) for name, value in start.items())
    assert moved < 1.01 * learn.PEAK_RATE / 2
    assert any(not torch.equal(made[name], value.float()) for name, value in start.items())


def test_phantoms_have_the_plans_voxels() -> None:
    planned = replace(plans.QUICK, spacing_mm=(20.0, 8.0, 8.0))
    ((hu, regions),) = learn.phantoms_of(planned, (600_100,))
    assert hu.shape == regions.shape[1:] == (10, 43, 43)  # 40 x 96 x 96 voxels of 5 x 3.6 x 3.6 mm.
    assert hu.dtype == np.int16
    assert regions[0].any()
    assert not (regions[1] & ~regions[0]).any()
