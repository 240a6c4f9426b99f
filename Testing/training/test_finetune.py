"""A model goes on learning from a data set: it gets better or it is refused, and what is held out stays so."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from safetensors.torch import load_file
from stub_phantom import Balls

from KidneySegLib.ct import read_ct
from KidneySegLib.errors import InputError, ModelError
from KidneySegLib.export.dataset import Addition, DataSet, Split
from KidneySegLib.models import Bundle, BundleSpec, Normalisation, find_bundle, verify_bundle, write_bundle
from KidneySegLib.models.bundle import LesionsOnRequest
from KidneySegLib.networks import build_network
from KidneySegLib.progress import Progress
from KidneySegLib.training.finetune.blend import blended, choose_share
from KidneySegLib.training.finetune.cases import case_samples, material
from KidneySegLib.training.finetune.judge import Figures, figures, verdict
from KidneySegLib.training.finetune.mixed import MixedTrainer
from KidneySegLib.training.finetune.run import finetune
from KidneySegLib.training.finetune.settings import FinetuneSettings, load_settings, network_config
from KidneySegLib.training.pool import SamplePool
from KidneySegLib.training.schedule import Budget

CPU = torch.device("cpu")
ARGUMENTS = {
    "in_channels": 1,
    "out_channels": 2,
    "features": [4, 8],
    "normalisation": "instance",
    "activation": "leaky_relu",
    "deep_supervision": False,
}


def ball_case(seed: int, cortex_hu: float = 140.0) -> tuple[sitk.Image, sitk.Image]:
    """A kidney-like ball of radius 12 mm on the patient's left: CT and labels."""
    random = np.random.default_rng(seed)
    shape = (40, 48, 48)
    centre = np.array([20.0, 24.0, 30.0]) + random.uniform(-3, 3, 3)
    distance = np.sqrt(sum((a - c) ** 2 for a, c in zip(np.indices(shape), centre, strict=True)))
    labels = np.where(distance < 6, 4, np.where(distance < 12, 3, 0)).astype(np.uint8)
    hu = np.where(labels == 3, cortex_hu, np.where(labels == 4, 90.0, -80.0)) + random.normal(0, 8, shape)
    images = sitk.GetImageFromArray(np.rint(hu).astype(np.int16)), sitk.GetImageFromArray(labels)
    for image in images:
        image.SetSpacing((2.0, 2.0, 2.0))
    return images


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    torch.manual_seed(1)
    spec = BundleSpec(
        name="tiny",
        version="1",
        title="t",
        licence="Apache-2.0",
        citation="",
        intended_use="tests",
        network="UNet3D",
        network_arguments=ARGUMENTS,
        spacing_mm=(2.0, 2.0, 2.0),
        patch_size=(16, 16, 16),
        size_multiple=(2, 2, 2),
        normalisation=Normalisation(-250.0, 500.0, 50.0, 150.0),
        outputs=("parenchyma", "cortex"),
        activation="sigmoid",
    )
    return write_bundle(tmp_path / "tiny", spec, build_network("UNet3D", ARGUMENTS).state_dict())


@pytest.fixture
def settings() -> FinetuneSettings:
    return replace(
        load_settings(),
        steps=60,
        batch_size=2,
        learning_rate=0.02,
        warmup_steps=2,
        average_decay=0.8,
        margin_voxels=4,
        memory_weight=0.01,  # this network knows nothing that is worth remembering
        phantoms=3,
        choosing_cases=0,
        original_cases=0,
        phantom_augment={"pose": {"shift_voxels": [2.0, 2.0, 2.0], "warp_node_voxels": 8.0}},
        case_augment={
            "pose": {"shift_voxels": [3.0, 3.0, 3.0], "warp_node_voxels": 8.0},
            "contrast": {"probability": 0.0},
            "scanner": {"thick_probability": 0.0, "coarse_probability": 0.0, "noise_hu": [0.5, 4.0]},
        },
    )


def make_data_set(folder: Path, held_out: int = 2, train: int = 3, *, wrong: bool = False) -> DataSet:
    data_set = DataSet.create(folder)
    for number in range(held_out + train):
        image, labels = ball_case(number)
        path = folder.parent / f"scan{number}.nii.gz"
        sitk.WriteImage(image, str(path))
        split = Split.TEST if number < held_out else Split.TRAIN
        if wrong and split is Split.TRAIN:  # somebody drew the fat, not the kidney
            array = sitk.GetArrayFromImage(labels)
            labels = sitk.GetImageFromArray(np.where(array > 0, 0, 4).astype(np.uint8))
            labels.CopyInformation(image)
        data_set.add(read_ct(path), labels, Addition(reader="Dr. A", split=split))
    return data_set


SOURCE = Balls(shape=(24, 24, 24))


def test_boxes_hold_the_kidney_at_the_bundles_spacing(bundle: Bundle) -> None:
    image, labels = ball_case(0)
    array = sitk.GetArrayFromImage(labels)
    box, elsewhere = case_samples(image, array, bundle, (32, 32, 32), number=0)
    assert box.hu.shape == (32, 32, 32)
    assert box.targets[0].sum() / 255 == pytest.approx((array > 0).sum(), rel=0.01)
    assert box.targets[1].sum() / 255 == pytest.approx((array == 3).sum(), rel=0.01)
    inside = box.targets[1] == 255
    assert 130 < box.hu[inside].mean() < 150
    where = np.argwhere(box.targets[0] > 127).mean(axis=0)
    assert np.abs(where - 15.5).max() < 1.5
    assert box.cortex_weight == 1
    assert elsewhere.hu.shape == box.hu.shape


def test_a_kidney_that_is_not_divided_teaches_no_cortex(bundle: Bundle) -> None:
    image, labels = ball_case(0)
    array = np.where(sitk.GetArrayFromImage(labels) > 0, 14, 0).astype(np.uint8)
    box = next(case_samples(image, array, bundle, (32, 32, 32), number=0))
    assert box.cortex_weight == 0
    assert box.targets[0].any()
    assert not box.targets[1].any()


def test_better_model_is_accepted_and_segments(
    tmp_path: Path, bundle: Bundle, settings: FinetuneSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KIDNEYSEG_HOME", str(tmp_path / "home"))
    data_set = make_data_set(tmp_path / "data")
    result = finetune(
        bundle.path, data_set.folder, tmp_path / "run", settings=settings, name="better", source=SOURCE, device="cpu"
    )
    assert not result.judgement.refused
    before, after = result.judgement.held_out_before, result.judgement.held_out_after
    assert min(one.parenchyma_dice for one in after) > 0.8 > max(one.parenchyma_dice for one in before)
    assert result.registered is not None
    registered = find_bundle("better")
    verify_bundle(registered)
    said = json.loads((registered.path / "model.json").read_text(encoding="utf-8"))
    assert said["training"]["parent"]["sha256"] == bundle.digest
    held_out = {case.case_id for case in data_set.cases() if case.split is Split.TEST}
    assert set(said["training"]["held_out"]) == held_out
    assert not held_out & set(said["training"]["cases"])
    assert said["metrics"]["finetuning"]["held_out_after"]["cases"] == 2
    with pytest.raises(InputError, match="already"):
        finetune(bundle.path, data_set.folder, tmp_path / "run", settings=settings, source=SOURCE)
    other = replace(settings, steps=3)
    with pytest.raises(InputError, match=r"parent.sha256 .*; settings.steps "):
        finetune("better", data_set.folder, tmp_path / "run", settings=other, source=SOURCE, resume=True)
    with pytest.raises(ModelError, match="better"):
        finetune(bundle.path, data_set.folder, tmp_path / "run2", settings=settings, name="better", source=SOURCE)
    again = finetune(bundle.path, data_set.folder, tmp_path / "run", settings=settings, source=SOURCE, resume=True)
    assert again.judgement.held_out_before == before

    # From the good model on: labels that are wrong make it worse, and it is refused.
    bad = make_data_set(tmp_path / "bad", wrong=True)
    refused = finetune(
        "better", bad.folder, tmp_path / "worse", settings=settings, name="better", replace=True, source=SOURCE
    )
    assert "fell" in refused.judgement.refused
    assert refused.registered is None
    assert refused.bundle.path.parent == tmp_path / "worse" / "rejected"
    assert find_bundle("better").digest == registered.digest


def test_without_held_out_cases_nothing_is_registered(
    tmp_path: Path, bundle: Bundle, settings: FinetuneSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KIDNEYSEG_HOME", str(tmp_path / "home"))
    data_set = make_data_set(tmp_path / "data", held_out=0, train=1)
    result = finetune(
        bundle.path, data_set.folder, tmp_path / "run", settings=replace(settings, steps=2), name="x", source=SOURCE
    )
    assert "no held-out case" in result.judgement.refused
    assert result.registered is None


def test_held_out_cases_alone_are_nothing_to_learn_from(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no case to train on"):
        material(make_data_set(tmp_path / "data", held_out=1, train=0))


def test_figures_of_maps_that_are_known() -> None:
    truth = np.array([[[1, 1, 2, 2, 0, 0]]], np.uint8)
    found = np.array([[[1, 2, 2, 0, 0, 0]]], np.uint8)
    one = figures("a", truth, found)
    assert one.parenchyma_dice == pytest.approx(6 / 7)
    assert one.cortex_dice == pytest.approx(2 / 3)
    assert one.parenchyma_error_percent == pytest.approx(-25)
    assert one.cortex_error_percent == pytest.approx(-50)
    assert figures("a", np.full((1, 1, 2), 13, np.uint8), found[..., :2]).cortex_dice is None


def test_verdict() -> None:
    def of(parenchyma: float, cortex: float) -> tuple[Figures, ...]:
        return (Figures("a", parenchyma, cortex, 0.0, 0.0),)

    fine = verdict((of(0.8, 0.7), of(0.9, 0.8)), (of(0.95, 0.9), of(0.946, 0.896)), 0.5)
    assert not fine.refused
    assert "Only 1" in fine.notes[0]
    assert "parenchyma fell" in verdict((of(0.8, 0.7), of(0.79, 0.9)), ((), ()), 0.5).refused
    assert "together" in verdict((of(0.8, 0.7), of(0.81, 0.6)), ((), ()), 0.5).refused
    assert "on phantoms" in verdict((of(0.8, 0.7), of(0.9, 0.8)), (of(0.95, 0.9), of(0.95, 0.89)), 0.5).refused


def test_verdict_looks_at_volumes() -> None:
    def of(parenchyma_percent: float, cortex_percent: float | None, cortex: float = 0.8) -> tuple[Figures, ...]:
        return (Figures("a", 0.9, cortex, parenchyma_percent, cortex_percent),)

    assert not verdict((of(-2, 4), of(2.9, -5.9)), ((), ()), 0.5).refused
    assert "parenchyma grew from 2.0 to 3.1 %" in verdict((of(-2, 4), of(3.1, 4)), ((), ()), 0.5).refused
    assert "held-out cases the volume error of cortex" in verdict((of(2, 4), of(2, 6.5)), ((), ()), 0.5).refused
    # Right by chance before, and now in the right place.
    assert not verdict((of(2, 4, 0.3), of(2, 9, 0.7)), ((), ()), 0.5).refused
    assert "phantoms the volume" in verdict((of(2, 4), of(2, 4)), (of(2, None), of(-4, None)), 0.5).refused


def test_bundles_that_cannot_be_trained_are_named() -> None:
    with pytest.raises(ModelError, match="localiser"):
        network_config(find_bundle("kidneyseg-localiser"), load_settings())
    config = network_config(find_bundle("kidneyseg-arterial"), load_settings())
    assert config.patch == (80, 64, 64)
    assert config.seen == (112, 96, 96)
    assert config.box == (144, 128, 128)


def _pools(bundle: Bundle) -> tuple[SamplePool, SamplePool]:
    """Two samples of cases, two of phantoms."""
    pools = []
    shape = next(iter(SOURCE(0))).hu.shape
    for first in (0, 10):
        pool = SamplePool(2, shape, 2, False, torch.device("cpu"))
        for seed in (first, first + 1):
            for sample in SOURCE(seed):
                pool.add(sample)
        pools.append(pool)
    return pools[0], pools[1]


def test_phantoms_teach_the_answer_the_network_gave_before(bundle: Bundle, settings: FinetuneSettings) -> None:
    trainer = MixedTrainer("t", network_config(bundle, settings), settings, torch.device("cpu"), *_pools(bundle))
    with pytest.raises(RuntimeError, match="remember"):
        trainer.batch()
    weights = build_network("UNet3D", ARGUMENTS).state_dict()
    trainer.remember(weights)
    trainer.begin()
    with torch.no_grad():
        trainer.network.head.bias += 1  # the network learns on; what it answered before stays what it was
    image, targets, _ = trainer.batch()
    assert len(image) == len(targets) == 2 * settings.batch_size
    cases, phantoms = targets[: settings.batch_size], targets[settings.batch_size :]
    seen = image[settings.batch_size :]
    before = build_network("UNet3D", ARGUMENTS)
    before.load_state_dict(weights)
    with torch.no_grad():
        expected = before.eval()(seen).sigmoid()
        now = trainer.network.eval()(seen).sigmoid()
    assert (phantoms - expected).abs().mean() < 0.01 < 0.1 < (now - expected).abs().mean()  # bfloat16 against float32
    assert ((cases < 0.01) | (cases > 0.99)).float().mean() > 0.5  # labels, not guesses


def test_memory_counts_as_often_as_the_recipe_says(bundle: Bundle, settings: FinetuneSettings) -> None:
    config = network_config(bundle, settings)
    logits, targets = torch.randn(4, 2, 8, 8, 8), torch.rand(4, 2, 8, 8, 8)
    losses = {}
    for weight in (1.0, 3.0):
        chosen = replace(settings, memory_weight=weight)
        trainer = MixedTrainer("t", config, chosen, torch.device("cpu"), *_pools(bundle))
        losses[weight] = float(trainer.loss([logits], targets, None))
    alone = MixedTrainer("t", config, settings, torch.device("cpu"), _pools(bundle)[0], None)
    on_cases, on_phantoms = (float(alone.loss([logits[half]], targets[half], None)) for half in (slice(2), slice(2, 4)))
    assert losses[1.0] == pytest.approx(on_cases + on_phantoms, rel=1e-5)
    assert losses[3.0] == pytest.approx(on_cases + 3 * on_phantoms, rel=1e-5)


def test_weights_that_do_not_fit_are_refused(bundle: Bundle, settings: FinetuneSettings) -> None:
    trainer = MixedTrainer("t", network_config(bundle, settings), settings, torch.device("cpu"), *_pools(bundle))
    with pytest.raises(RuntimeError, match="remember"):
        trainer.begin()
    with pytest.raises(ModelError, match="do not fit"):
        trainer.remember(build_network("UNet3D", {**ARGUMENTS, "features": [4, 4]}).state_dict())


def test_training_leaves_the_smallest_numbers_as_they_were(
    tmp_path: Path, bundle: Bundle, settings: FinetuneSettings
) -> None:
    few = replace(settings, steps=2)
    trainer = MixedTrainer("t", network_config(bundle, few), few, torch.device("cpu"), *_pools(bundle))
    trainer.remember(build_network("UNet3D", ARGUMENTS).state_dict())
    trainer.begin()
    trainer.run(Budget(steps=2), tmp_path / "fold", Progress())
    tiny = torch.full((16,), 1e-39)
    assert (tiny * 0.5 != 0).all()


def _figures(parenchyma: float, cortex: float | None = None) -> tuple[Figures, ...]:
    return (Figures("a", parenchyma, cortex, 1.0, None),)


def test_the_largest_share_that_forgets_little_is_chosen() -> None:
    forgotten = {1.0: (0.90, 0.80), 0.5: (0.958, 0.893), 0.25: (0.96, 0.90)}
    share, trials = choose_share(
        (0.25, 0.5, 1.0), _figures(0.96, 0.90), lambda tried: _figures(*forgotten[tried]), allowed=0.8
    )
    assert share == 0.5
    assert [(one.share, round(one.loss_points, 6)) for one in trials] == [(1.0, 10.0), (0.5, 0.7)]


def test_the_smallest_share_is_left_where_all_forget_too_much() -> None:
    share, trials = choose_share((0.5, 1.0), _figures(0.96), lambda _: _figures(0.5), allowed=0.5)
    assert share == 0.5
    assert len(trials) == 2


def test_a_share_lies_between_old_and_new_weights() -> None:
    old, new = {"w": torch.tensor([0.0, 4.0])}, {"w": torch.tensor([1.0, 0.0])}
    assert blended(old, new, 0.25)["w"].tolist() == [0.25, 3.0]
    assert blended(old, new, 1.0)["w"].tolist() == [1.0, 0.0]


@pytest.mark.parametrize("shares", [(), (0.0,), (1.2,)])
def test_shares_that_mean_nothing_are_refused(settings: FinetuneSettings, shares: tuple[float, ...]) -> None:
    with pytest.raises(InputError, match="shares must be above 0"):
        replace(settings, shares=shares)


def test_a_share_is_chosen_on_phantoms_and_recorded(tmp_path: Path, bundle: Bundle, settings: FinetuneSettings) -> None:
    data_set = make_data_set(tmp_path / "data", held_out=1, train=2)
    case = tmp_path / "run" / "choosing" / "original_0001"
    case.mkdir(parents=True)
    for name, image in zip(("ct.nii.gz", "labels.nii.gz"), ball_case(50), strict=True):
        sitk.WriteImage(image, str(case / name))
    (case / "truth.json").write_text("{}")  # it is there: none is made
    few = replace(settings, steps=4, choosing_cases=1, shares=(0.5, 1.0), original_loss_points=-1000.0)
    result = finetune(bundle.path, data_set.folder, tmp_path / "run", settings=few, source=SOURCE, device="cpu")
    training = result.bundle.training
    assert training["share_of_new_weights"] == 0.5
    assert [one["share"] for one in training["trials"]] == [1.0, 0.5]
    old, new = (load_file(str(one.path / one.folds[0].weights)) for one in (bundle, result.bundle))
    whole = torch.load(tmp_path / "run" / "fold_0" / "weights.pt", weights_only=True)
    for name, value in new.items():
        assert torch.allclose(value.float(), 0.5 * (old[name].float() + whole[name].float()), atol=2e-3)


def test_a_network_with_a_margin_and_lesions_goes_on_learning_too(tmp_path: Path, settings: FinetuneSettings) -> None:
    arguments = {**ARGUMENTS, "out_channels": 3, "features": [4, 8, 8], "context_features": [4, 4], "context_factor": 2}
    arguments |= {"margin": [4, 4, 4], "dropout": 0.0}
    spec = BundleSpec(
        name="wide",
        version="1",
        title="t",
        licence="Apache-2.0",
        citation="",
        intended_use="tests",
        network="MultiResUNet3D",
        network_arguments=arguments,
        spacing_mm=(2.0, 2.0, 2.0),
        patch_size=(16, 16, 16),
        size_multiple=(4, 4, 4),
        margin=(4, 4, 4),
        normalisation=Normalisation(-250.0, 500.0, 50.0, 150.0),
        outputs=("parenchyma", "cortex", "abnormality"),
        activation="sigmoid",
        lesions=LesionsOnRequest(),
    )
    weights = build_network("MultiResUNet3D", arguments).state_dict()
    wide = write_bundle(tmp_path / "wide", spec, weights)
    config = network_config(wide, settings)
    assert (config.box, config.seen, config.arguments["margin"]) == ((32, 32, 32), (24, 24, 24), [4, 4, 4])

    # One case without, one with an outlined cyst; the phantom's sample has none.
    image, labels = ball_case(0)
    plain = sitk.GetArrayFromImage(labels)
    cystic = np.where((plain == 3) & (np.indices(plain.shape)[2] > 36), 6, plain).astype(np.uint8)
    cases, phantoms = SamplePool(2, config.box, 3, False, CPU), SamplePool(2, config.box, 3, False, CPU)
    for array in (plain, cystic):
        sample = next(case_samples(image, array, wide, config.box, number=0))
        assert bool(sample.targets[2].any()) == (array is cystic)
        cases.add(sample)
    for sample in Balls(shape=config.box)(1):
        targets = np.concatenate([sample.targets, np.zeros_like(sample.targets[:1])])
        phantoms.add(replace(sample, targets=targets))
    trainer = MixedTrainer("t", config, settings, CPU, cases, phantoms)
    trainer.remember(weights)
    trainer.begin()
    says = set()
    for _ in range(12):
        image_batch, targets, channel_weights = trainer.batch()
        assert image_batch.shape == (4, 1, 24, 24, 24)
        assert targets.shape == (4, 3, 16, 16, 16)
        assert channel_weights is not None
        outlined = targets[:2, 2].flatten(1).amax(1) > 0
        assert torch.equal(channel_weights[:2, 2] > 0, outlined)
        says |= set(outlined.tolist())
    assert says == {True, False}
    assert torch.isfinite(trainer.learn(*trainer.batch()))
