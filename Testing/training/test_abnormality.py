"""``kidneyseg train abnormality``: recipe and switches, loss, augmentation, a tiny run to a bundle, the ablation."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch.nn import functional

from KidneySegLib.errors import InputError
from KidneySegLib.models import BundleSpec, Normalisation, find_bundle, write_bundle
from KidneySegLib.networks import build_network
from KidneySegLib.training.abnormality.ablation import run_ablation, table_of, variants
from KidneySegLib.training.abnormality.config import (
    ABLATION_RECIPE,
    ADDITIONS,
    DEFAULT_RECIPE,
    AbnormalityRecipe,
    load_recipe,
)
from KidneySegLib.training.abnormality.losses import abnormality_loss, present_dice_loss, top_k_entropy
from KidneySegLib.training.abnormality.phantom_boxes import AbnormalityBoxes
from KidneySegLib.training.abnormality.run import export_variant, train_variant
from KidneySegLib.training.abnormality.trainer import AbnormalityTrainer
from KidneySegLib.training.augment_lesions import LesionSettings, implant_lesions, shift_lesions
from KidneySegLib.training.pool import SamplePool
from KidneySegLib.training.samples import Sample, as_fraction, as_hu

CPU = torch.device("cpu")


@dataclass(frozen=True)
class BallWithCyst:
    """A bright ball with a dark ball in its side; targets parenchyma and abnormality."""

    shape: tuple[int, int, int] = (40, 40, 40)

    def __call__(self, seed: int) -> Iterator[Sample]:
        random = np.random.default_rng(seed)
        axes = np.meshgrid(*(np.arange(n) for n in self.shape), indexing="ij")
        centre = 19.5 + random.uniform(-2, 2, 3)

        def ball(middle: np.ndarray, radius: float) -> np.ndarray:
            distance = np.sqrt(sum((a - c) ** 2 for a, c in zip(axes, middle, strict=True)))
            return np.clip(radius - distance + 0.5, 0, 1)

        kidney, cyst = ball(centre, 9), ball(centre + np.array([0, 0, 7]), 5)
        kidney = kidney * (1 - cyst)
        hu = -90 * (1 - kidney - cyst) + 170 * kidney + 5 * cyst
        yield Sample(as_hu(hu), as_fraction(np.stack((kidney, cyst))), seed)


@pytest.fixture
def tiny() -> AbnormalityRecipe:
    recipe = load_recipe()
    arguments = {**recipe.training.arguments, "features": [4, 6, 8], "context_features": [4, 4], "context_factor": 2}
    training = replace(
        recipe.training,
        arguments={**arguments, "margin": [4, 4, 4]},
        box=(40, 40, 40),
        patch=(24, 24, 24),
        augment={"pose": {"shift_voxels": [2.0, 2.0, 2.0], "warp_node_voxels": 8.0}},
        minutes=None,
        steps=4,
        batch_size=2,
        learning_rate=0.01,
        warmup_steps=2,
        average_decay=0.5,
        pool_capacity=4,
        pool_start=3,
        validation_seeds=2,
        source_arguments={},
    )
    return replace(recipe, training=training, start_from=None)


def test_the_recipe_says_whose_each_choice_is_and_each_addition_has_a_switch() -> None:
    content = json.loads(DEFAULT_RECIPE.read_text(encoding="utf-8"))
    assert {choice["whose"] for choice in content["choices"]} == {"paper", "ours"}
    assert set(ADDITIONS) <= {choice["item"] for choice in content["choices"]}
    recipe = load_recipe()
    full = recipe.network.arguments
    assert (full["margin"], full["dropout"], full["out_channels"]) == ([24, 24, 24], 0.1, 3)
    off = recipe.switched(multi_resolution=False, spatial_dropout=False)
    assert (off.network.arguments["context_features"], off.network.arguments["dropout"], off.margin) == (
        [],
        0.0,
        (0, 0, 0),
    )
    assert replace(recipe, separate_cyst_and_mass=True).network.outputs == ("background", "parenchyma", "cyst", "mass")
    with pytest.raises(InputError, match="Additions are"):
        recipe.switched(more_data=True)


def test_the_ablation_s_recipe_differs_from_the_paper_s_in_sizes_and_budget_alone() -> None:
    own, full = load_recipe(ABLATION_RECIPE), load_recipe()
    assert (own.training.spacing_mm, own.start_from) == (2 * full.training.spacing_mm, None)
    for name in ("additions", "class_weights", "top_k_share", "context_weight"):
        assert getattr(own, name) == getattr(full, name)
    assert own.network.arguments["features"] == full.network.arguments["features"]
    with torch.device("meta"):
        for variant in variants(own).values():
            build_network(variant.network.network, variant.network.arguments)


@pytest.mark.parametrize(
    ("change", "message"),
    [({"additions": {"top_k": True}}, "additions must be"), ({"colour": 1}, "colour"), ({"class_weights": {}}, "hold")],
)
def test_a_recipe_that_does_not_fit_is_refused(tmp_path: Path, change: dict[str, object], message: str) -> None:
    file = tmp_path / "recipe.json"
    file.write_text(json.dumps({**json.loads(DEFAULT_RECIPE.read_text(encoding="utf-8")), **change}), encoding="utf-8")
    with pytest.raises(InputError, match=message):
        load_recipe(file)


def test_top_k_is_the_mean_of_the_hardest_voxels() -> None:
    targets = torch.zeros(1, 2, 1, 1, 10)
    targets[:, 0] = 1
    logits = torch.zeros(1, 2, 1, 1, 10)
    logits[0, 1, 0, 0] = torch.arange(10.0)
    each = functional.softplus(torch.arange(10.0))
    assert float(top_k_entropy(logits, targets, 0.2, (1, 1))) == pytest.approx(float(each[-2:].mean()), rel=1e-5)
    assert float(top_k_entropy(logits, targets, 1.0, (1, 1))) == pytest.approx(float(each.mean()), rel=1e-5)
    assert float(top_k_entropy(logits, targets, 1.0, (3, 1))) == pytest.approx(3 * float(each.mean()), rel=1e-5)
    with pytest.raises(ValueError, match="share"):
        top_k_entropy(logits, targets, 0.0, (1, 1))


def test_dice_counts_a_class_only_where_it_is() -> None:
    targets = torch.zeros(2, 3, 4, 4, 4)
    targets[:, 0] = 1
    targets[0, 0, :2], targets[0, 1, :2] = 0, 1
    logits = (targets * 40) - 20
    assert float(present_dice_loss(logits, targets)) == pytest.approx(0, abs=1e-4)
    logits[1, 2] = 40  # The second sample is all abnormal, wrongly: entropy's business, not Dice's.
    assert float(present_dice_loss(logits, targets)) == pytest.approx(0, abs=1e-4)
    assert float(top_k_entropy(logits, targets, 1.0, (1, 1, 1))) > 9
    logits[0, 1] = -20
    assert float(present_dice_loss(logits, targets)) > 0.1


def test_the_context_path_is_judged_on_the_means_of_the_wide_patch() -> None:
    wide = torch.zeros(1, 3, 8, 8, 8)
    wide[:, 0] = 1
    fine = torch.zeros(1, 3, 4, 4, 4)
    inner = wide[:, :, 2:6, 2:6, 2:6]
    given = {"top_k": 1.0, "class_weights": (1.0, 1.0, 1.0)}
    alone = abnormality_loss(fine, inner, wide, context_weight=0.5, **given)
    both = abnormality_loss([fine, torch.zeros(1, 3, 4, 4, 4)], inner, wide, context_weight=0.5, **given)
    assert float(both) == pytest.approx(1.5 * float(alone), rel=1e-5)


def test_lesions_are_shifted_and_nothing_else() -> None:
    targets = torch.zeros(2, 2, 4, 4, 4)
    targets[:, 1, 0] = 1
    hu = torch.full((2, 1, 4, 4, 4), 50.0)
    moved = shift_lesions(hu, targets, LesionSettings(shift_hu=30.0), torch.Generator().manual_seed(1))
    assert (moved[:, :, 1:] == 50).all()
    assert moved[0, 0, 0].unique().numel() == 1
    assert moved[0, 0, 0, 0, 0] != 50


@pytest.mark.parametrize("channels", [2, 3])
def test_a_new_lesion_takes_the_place_of_parenchyma_and_is_abnormal(channels: int) -> None:
    settings = LesionSettings(implant_probability=1.0, implant_radius_voxels=(3.0, 4.0), implant_cyst_share=1.0)
    targets = torch.zeros(2, channels, 24, 24, 24)
    targets[0, 0, 6:18, 6:18, 6:18] = 1
    hu = torch.where(targets[:, :1] > 0, 150.0, -90.0)
    hu[:, :, 17:] = 900.0  # Bone, which no lesion takes.
    changed, moved = implant_lesions(hu, targets, settings, torch.Generator().manual_seed(3))
    assert torch.equal(changed[1], hu[1])  # No kidney, no lesion.
    assert torch.equal(moved[1], targets[1])
    lesion = moved[0, 1] > 0.99
    assert 50 < int(lesion.sum()) < 300
    assert (moved[0].sum(0) <= 1.0001).all()
    low, high = settings.cyst_hu
    assert ((changed[0, 0][lesion] >= low - 1) & (changed[0, 0][lesion] <= high + 1)).all()
    assert torch.equal(changed[0, 0, 17:], hu[0, 0, 17:])
    assert float(targets[0].sum() - moved[0, 0].sum()) > 10


def test_phantom_boxes_lie_round_lesions_and_half_of_them_hold_one() -> None:
    source = AbnormalityBoxes((8, 8, 8), 12.0, variant_shares={"large_mass": 1.0}, elsewhere_probability=0.0)
    samples = list(source(1_000_003))
    assert len(samples) >= 2
    assert all(sample.targets.shape == (2, 8, 8, 8) for sample in samples)
    # The first box is centred on the mass, give or take the jitter.
    assert samples[0].targets[1, 2:6, 2:6, 2:6].max() > 127
    apart = list(replace(source, structures=("parenchyma", "cyst", "mass"))(1_000_003))
    merged = np.minimum(apart[0].targets[1].astype(int) + apart[0].targets[2], 255)
    assert np.abs(merged - samples[0].targets[1]).max() <= 1


def test_weights_of_the_fine_network_are_begun_with() -> None:
    recipe = load_recipe()
    recipe = replace(recipe, training=replace(recipe.training, box=(8, 8, 8)))
    pools = [SamplePool(1, (8, 8, 8), 2, False, CPU) for _ in range(2)]
    trainer = AbnormalityTrainer(recipe, CPU, *pools)
    given = load_file(str(find_bundle("kidneyseg-arterial").path / "weights.safetensors"))
    assert trainer.start_from_bundle("kidneyseg-arterial") == len(given)
    own = trainer.network.state_dict()
    assert torch.equal(own["encoder.3.0.weight"], given["encoder.3.0.weight"].float())
    assert torch.equal(own["context.encoder.1.0.weight"], given["context.encoder.1.0.weight"].float())
    assert float(own["head.weight"][0].abs().sum()) == 0
    for row, theirs in ((1, 0), (2, 2)):  # Parenchyma and abnormality; the other has cortex between them.
        assert torch.equal(own["head.weight"][row], given["head.weight"][theirs].float())
        assert torch.equal(own["head.bias"][row], given["head.bias"][theirs].float())


def test_weights_of_a_network_without_context_are_begun_with(tmp_path: Path, tiny: AbnormalityRecipe) -> None:
    arguments = {"in_channels": 1, "out_channels": 2, "features": [4, 6, 8], "normalisation": "instance"}
    weights = build_network("UNet3D", {**arguments, "activation": "leaky_relu"}).state_dict()
    spec = BundleSpec(
        name="plain",
        version="1",
        title="t",
        licence="Apache-2.0",
        citation="",
        intended_use="tests",
        network="UNet3D",
        network_arguments={**arguments, "activation": "leaky_relu"},
        spacing_mm=(1.5, 1.5, 1.5),
        patch_size=(24, 24, 24),
        size_multiple=(4, 4, 4),
        normalisation=Normalisation(-250.0, 500.0, 50.0, 150.0),
        outputs=("parenchyma", "cortex"),
        activation="sigmoid",
    )
    plain = write_bundle(tmp_path / "plain", spec, weights)
    pools = [SamplePool(1, tiny.network.box, 2, False, CPU) for _ in range(2)]
    trainer = AbnormalityTrainer(tiny, CPU, *pools)
    assert trainer.start_from_bundle(str(plain.path)) == len(weights)
    own = trainer.network.state_dict()
    given = load_file(str(plain.path / "weights.safetensors"))
    joint, theirs = own["decoder.0.0.weight"], given["decoder.0.0.weight"]
    assert joint.shape[1] == theirs.shape[1] + 4
    assert torch.equal(joint[:, :-4], theirs.float())
    assert torch.equal(own["head.weight"][1], given["head.weight"][0].float())


def test_a_run_makes_a_model_with_its_margin(tiny: AbnormalityRecipe, tmp_path: Path) -> None:
    run = tmp_path / "run"
    train_variant(tiny, run, device="cpu", workers=0, source=BallWithCyst())
    record = json.loads((run / "record.json").read_text(encoding="utf-8"))
    assert (record["steps"], list(record["validation"])) == (4, ["parenchyma", "abnormality"])
    bundle = export_variant(tiny, run, tmp_path / "bundles" / "kidneyseg-abnormality")
    assert bundle.margin == (4, 4, 4)
    assert bundle.outputs == ("background", "parenchyma", "abnormality")
    with pytest.raises(InputError, match="holds a training run already"):
        train_variant(tiny, run, device="cpu", workers=0, source=BallWithCyst())
    assert train_variant(tiny, run, device="cpu", workers=0, source=BallWithCyst(), resume=True) == run / "weights.pt"
    other = tiny.switched(top_k=not tiny.additions["top_k"])
    with pytest.raises(InputError, match=r"additions.top_k \w+ and not"):
        train_variant(other, run, device="cpu", workers=0, source=BallWithCyst(), resume=True)


def test_the_loss_on_the_abnormality_falls(tiny: AbnormalityRecipe) -> None:
    pools = [SamplePool(1, (40, 40, 40), 2, False, CPU) for _ in range(2)]
    for sample in BallWithCyst()(1):
        pools[0].add(sample)
    trainer = AbnormalityTrainer(tiny, CPU, *pools)
    image, targets, _ = trainer.batch()

    def missed() -> float:
        with torch.no_grad():
            probability = trainer.network.eval()(image).softmax(1)[:, 2]
        truth = targets[:, 2, 4:-4, 4:-4, 4:-4]
        return 1 - float((probability * truth).sum() / truth.sum())

    before = missed()
    for _ in range(15):
        trainer.learn(image, targets, None)
    assert missed() < 0.8 * before


def test_the_ablation_runs_every_variant_by_the_same_budget(
    tiny: AbnormalityRecipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[int] = []

    class Counted(BallWithCyst):
        def __call__(self, seed: int) -> Iterator[Sample]:
            made.append(seed)
            return super().__call__(seed)

    monkeypatch.setattr("KidneySegLib.training.abnormality.ablation.sample_source", lambda _r, _d: Counted())
    names = list(variants(tiny))
    assert len(names) == 10
    assert (names[0], names[-1]) == ("plain", "all")
    few = {name: variants(tiny)[name] for name in ("plain", "plain+top_k", "all")}
    monkeypatch.setattr("KidneySegLib.training.abnormality.ablation.variants", lambda _recipe: few)
    rows = run_ablation(tiny, tmp_path, device="cpu", workers=0)
    heads, cells = table_of(rows)
    assert heads[-2:] == ("Dice parenchyma", "Dice abnormality")
    assert [line[:4] for line in cells] == [["", "", "", ""], ["", "", "x", ""], ["x", "x", "x", "x"]]
    assert all(math.isfinite(value) for row in rows for value in row.dice.values())
    assert made
    assert len(made) == len(set(made))  # Three variants, and each phantom is made once.
    with open(tmp_path / "ablation.csv", newline="", encoding="utf-8") as file:
        assert [line["variant"] for line in csv.DictReader(file)] == list(few)
