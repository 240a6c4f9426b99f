"""What training for kidneys with lesions adds: channels, shares of patients, losses that learn rare things, strands."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch.nn import functional

from KidneySegLib.phantom.scene import sample_scene
from KidneySegLib.training.augment_contrast import ContrastSettings, random_contrast
from KidneySegLib.training.losses import LESION_ENTROPY, sigmoid_loss, soft_dice_loss
from KidneySegLib.training.phantom_samples import LARGE_LESION_MM, KidneyBoxes, WholeBodies

SHAPE = (6, 6, 6)
STRUCTURES = ("parenchyma", "cortex", "cyst", "mass")


def boxes(variant: str, **changes: object) -> KidneyBoxes:
    """Very coarse boxes, quick to render."""
    values: dict[str, object] = {
        "shape": SHAPE,
        "spacing_mm": 15.0,
        "jitter_mm": 0.0,
        "elsewhere_probability": 0.0,
        "structures": STRUCTURES,
        "variant_shares": {variant: 1.0},
        "phase_shares": {"unenhanced": 2.0},
    }
    return KidneyBoxes(**{**values, **changes})  # type: ignore[arg-type]


def test_only_the_wanted_patients_are_drawn_and_each_structure_has_a_channel() -> None:
    samples = list(boxes("large_mass")(1_000_003))
    assert len(samples) == 2
    assert all(s.targets.shape == (4, *SHAPE) for s in samples)
    # The mass is in one of the boxes; masses and parenchyma exclude each other.
    mass = max(s.targets[3].sum(dtype=int) for s in samples)
    assert mass > 0
    assert all((s.targets[0].astype(int) + s.targets[3] <= 256).all() for s in samples)
    # Unenhanced: cortex counts for nothing.
    assert {s.cortex_weight for s in samples} == {0.0}


def test_a_large_lesion_gets_a_box_of_its_own() -> None:
    seed = 1_000_003
    scene = sample_scene(seed, variant="large_mass", phase="unenhanced")
    assert max(max(lesion.half_size_mm) for lesion in scene.lesions) >= LARGE_LESION_MM
    assert len(list(boxes("large_mass", lesion_probability=1.0)(seed))) > len(list(boxes("large_mass")(seed)))


def test_the_bridge_of_fused_kidneys_gets_a_box_of_its_own() -> None:
    seed = 1_000_003
    meeting = sample_scene(seed, variant="fused", phase="unenhanced").kidneys[0].isthmus_to_mm
    assert meeting is not None
    *kidneys, bridge = boxes("fused", shape=(5, 5, 5), spacing_mm=4.0)(seed)
    assert len(kidneys) == 2
    # 20 mm round the place where both halves meet there is mostly kidney in the middle.
    assert bridge.targets[0, 2, 2, 2] > 200
    assert len(list(boxes("normal")(seed))) == 2


def test_whole_bodies_are_drawn_by_shares_too() -> None:
    source = WholeBodies(shape=(8, 8, 8), spacing_mm=40.0, variant_shares={"single": 1.0}, phase_shares={})
    first, again = next(iter(source(1_000_001))), next(iter(source(1_000_001)))
    np.testing.assert_array_equal(first.hu, again.hu)


def entropy(logit: float, target: float) -> float:
    return float(functional.binary_cross_entropy_with_logits(torch.tensor(logit), torch.tensor(target)))


def test_a_lesion_that_is_not_there_costs_entropy_but_no_dice() -> None:
    targets = torch.zeros(1, 3, 2, 2, 2)
    targets[:, :2] = 1.0
    logits = torch.full_like(targets, 20.0)
    logits[:, 2] = 1.0
    expected = LESION_ENTROPY * entropy(1.0, 0.0) / 3
    assert float(sigmoid_loss(logits, targets)) == pytest.approx(expected, rel=1e-4)


def test_a_lesion_that_is_there_counts_in_dice() -> None:
    targets = torch.zeros(1, 3, 4, 4, 4)
    targets[:, 2, :2] = 1.0
    logits = torch.full_like(targets, -20.0)
    missed = float(sigmoid_loss(logits, targets))
    dice = float(soft_dice_loss(logits.sigmoid(), targets))
    assert missed == pytest.approx(LESION_ENTROPY * 20.0 * 0.5 / 3 + dice, rel=1e-4)
    assert dice > 0.2


def test_weights_still_silence_a_channel() -> None:
    targets = torch.rand(2, 2, 4, 4, 4)
    logits = torch.randn(2, 2, 4, 4, 4)
    silent = torch.tensor([[1.0, 0.0], [1.0, 0.0]])
    other = logits.clone()
    other[:, 1] = 5.0
    assert float(sigmoid_loss(logits, targets, silent)) == pytest.approx(float(sigmoid_loss(other, targets, silent)))


def test_strands_brighten_fat_and_nothing_else() -> None:
    hu = torch.full((1, 1, 24, 24, 24), -100.0)
    hu[..., :8] = 40.0  # Muscle.
    hu[..., 16:] = -1000.0  # Air.
    still = ContrastSettings(probability=0.0, table_probability=0.0, strand_probability=1.0, strand_hu=(60.0, 61.0))
    targets = torch.zeros(1, 2, 24, 24, 24)
    changed = random_contrast(hu, targets, still, True, torch.Generator().manual_seed(5))
    difference = changed - hu
    assert difference[..., :8].abs().max() == 0
    assert difference[..., 16:].abs().max() == 0
    fat = difference[..., 8:16]
    assert 0.01 < float((fat > 30).float().mean()) < 0.7
    assert float(fat.min()) >= 0
    assert float(fat.max()) <= 61.0
    none = ContrastSettings(probability=0.0, table_probability=0.0, strand_probability=0.0)
    assert torch.equal(random_contrast(hu, targets, none, True, torch.Generator().manual_seed(5)), hu)


def test_lesions_shift_against_the_kidney() -> None:
    hu = torch.full((1, 1, 8, 8, 8), 50.0)
    targets = torch.zeros(1, 4, 8, 8, 8)
    targets[:, 3, :4] = 1.0
    settings = ContrastSettings(
        probability=1.0, table_probability=0.0, strand_probability=0.0, lesion_hu=20.0, remap=0.0, gain=(1.0, 1.0),
        offset_hu=0.0, gamma_probability=0.0, field_gain=0.0, field_hu=0.0, texture_hu=0.0,
    )  # fmt: skip
    changed = random_contrast(hu, targets, settings, True, torch.Generator().manual_seed(2))
    mass, rest = changed[..., :4, :, :], changed[..., 4:, :, :]
    assert math.isclose(float(rest.max()), 50.0, abs_tol=1e-4)
    assert float((mass - 50).abs().min()) > 1.0
