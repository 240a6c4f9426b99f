"""The two-stage recipe: losses on literal numbers, the KiTS layout, and a short run to a bundle that segments."""

from __future__ import annotations

import dataclasses
import json
import math
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("openvino")
import SimpleITK as sitk  # noqa: E402

from KidneySegLib.errors import InputError, ModelError  # noqa: E402
from KidneySegLib.inference.engine import Engine  # noqa: E402
from KidneySegLib.labels import OverviewLabel  # noqa: E402
from KidneySegLib.measurement.table import read_csv  # noqa: E402
from KidneySegLib.models.manifest import read_bundle  # noqa: E402
from KidneySegLib.pipeline import segment_case  # noqa: E402
from KidneySegLib.progress import Progress  # noqa: E402
from KidneySegLib.training.samples import Sample  # noqa: E402
from KidneySegLib.training.two_stage.bundle import with_odds  # noqa: E402
from KidneySegLib.training.two_stage.config import (  # noqa: E402
    RECIPES,
    Augmentation,
    TwoStageConfig,
    config_of,
    load_config,
)
from KidneySegLib.training.two_stage.kits import find_cases, kits_data  # noqa: E402
from KidneySegLib.training.two_stage.losses import cross_entropy, masked_cross_entropy  # noqa: E402
from KidneySegLib.training.two_stage.run import phantom_data, train_two_stage  # noqa: E402
from KidneySegLib.training.two_stage.slabs import (  # noqa: E402
    SlabPool,
    augmented,
    blurred,
    first_batch,
    second_batch,
    second_input,
    with_neighbours,
)
from KidneySegLib.training.two_stage.store import SampleStore  # noqa: E402
from KidneySegLib.training.two_stage.trainer import StageTrainer, new_network  # noqa: E402

TINY = {
    "bundle": "tiny",
    "seed": 1,
    "spacing_mm": [5.0, 6.0, 6.0],
    "first_pooling": 2,
    "slab": [8, 64, 64],
    "normalisation": {"low": -200.0, "high": 400.0, "mean": 60.0, "sd": 120.0},
    "dilation_mm": [15.0, 15.0, 15.0],
    "labels": {"1": "kidney", "2": "mass", "3": "kidney"},
    "samples": 3,
    "validation": 1,
    "pool_start": 2,
    "excluded": ["case_00001"],
    "first": {"batch_size": 2, "patch": [8, 32, 32], "arguments": {"width": 2}, "steps": 2},
    "second": {"batch_size": 2, "patch": [1, 32, 32], "arguments": {"filters": [4, 4, 4, 4, 4]}, "steps": 2},
    "augment": {"rotation_degrees": 5, "contrast_probability": 0.5, "noise_hu": [1, 5], "mirror_probability": 0.5},
}


@pytest.fixture
def tiny() -> TwoStageConfig:
    return config_of(TINY, "tiny")


@pytest.mark.parametrize("name", RECIPES)
def test_the_shipped_recipes_make_networks(name: str) -> None:
    config = load_config(name)
    assert (config.first.batch_size, config.second.batch_size) == (2 if name == "phantom" else 12, 8)
    assert config.first.learning_rate == config.second.learning_rate == 1e-3
    assert config.spacing_mm[0] == 5.0
    with torch.device("meta"):
        parameters = sum(p.numel() for p in new_network(config, "second").parameters())
    assert parameters == 9_042_540 or name == "phantom"


def test_every_choice_of_the_paper_s_recipe_says_whose_it_is() -> None:
    choices = json.loads(RECIPES["kits"].read_text(encoding="utf-8"))["choices"]
    assert {choice["whose"] for choice in choices} == {"paper", "code", "ours"}
    assert all(choice["whose"] != "ours" or choice.get("note") for choice in choices if "loss" in choice["item"])


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("classes", ["mass"], "classes must be"),
        ("slab", [8, 64, 48], "first.patch must fit"),
        ("slab", [8, 64, 63], "first_pooling must divide"),
        ("first_pooling", 0, "first_pooling must divide"),
        ("first", {"batch_size": 1, "patch": [12, 32, 32], "steps": 1}, "first.patch must fit"),
        ("first", {"batch_size": 1, "patch": [8, 32, 24], "steps": 1}, "first.patch must be multiples"),
        ("unheard", 1, "unheard not known"),
        ("mask_of", "nothing", "mask_of must be"),
        ("mirror_axes", [2, 2], "mirror_axes must be"),
        ("mirror_axes", [3], "mirror_axes must be"),
        ("foreground_probability", 1.0, "foreground_probability must be"),
        ("neighbours", 4, "neighbours must be"),
        ("neighbours", -1, "neighbours must be"),
        ("second", {"batch_size": 1, "patch": [1, 40, 32], "steps": 1}, "second.patch must be"),
        ("first", {"batch_size": 1, "patch": [8, 32, 32]}, "minutes or steps"),
    ],
)
def test_recipes_that_contradict_themselves_are_refused(key: str, value: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        config_of({**TINY, key: value}, "tiny")


def test_cross_entropy_of_known_probabilities() -> None:
    logits = torch.tensor([0.2, 0.8]).log().view(1, 2, 1, 1, 1)
    targets = torch.tensor([0.0, 1.0]).view(1, 2, 1, 1, 1)
    assert float(cross_entropy(logits, targets)) == pytest.approx(-math.log(0.8))


def test_masked_cross_entropy_is_a_mean_over_pixels_and_channels_and_blind_outside_of_the_mask() -> None:
    logits = torch.tensor([[0.5, 0.1], [0.25, 0.1], [0.25, 0.8]]).log().view(1, 3, 1, 2)
    targets = torch.tensor([[1.0, 1.0], [0.0, 0.0], [0.0, 0.0]]).view(1, 3, 1, 2)
    mask = torch.tensor([1.0, 0.0]).view(1, 1, 1, 2)
    assert float(masked_cross_entropy([logits, logits], targets, mask)) == pytest.approx(math.log(2) / 6)
    weighted = masked_cross_entropy([logits], targets, mask, (3.0, 1.0, 1.0))
    assert float(weighted) == pytest.approx(3 * math.log(2) / 6)


@pytest.mark.parametrize("key", ["class_weights", "class_odds"])
@pytest.mark.parametrize("factors", [[1, 1], [1, 1, 1, 1], [1, 0, 1]])
def test_class_weights_and_odds_are_one_for_each_class(key: str, factors: list[float]) -> None:
    with pytest.raises(InputError, match=f"^{key} must"):
        config_of({**TINY, key: factors}, "recipe")


def test_the_first_stage_learns_all_classes_as_one_foreground(tiny: TwoStageConfig) -> None:
    targets = np.zeros((2, 8, 64, 64), np.uint8)
    targets[0, :, :32], targets[1, :, 32:48] = 255, 255
    pool = SlabPool(dataclasses.replace(tiny, augment=Augmentation()), 1)
    pool.add(Sample(np.zeros((8, 64, 64), np.int16), targets, 0))
    _, wanted = first_batch(pool, torch.Generator().manual_seed(0))
    assert wanted.mean(dim=(0, 2, 3, 4)).tolist() == pytest.approx([0.25, 0.75], abs=1e-4)


def test_the_first_stage_learns_from_parts_of_a_slab_too_mostly_round_the_kidneys_and_now_and_then_anywhere(
    tiny: TwoStageConfig,
) -> None:
    first = dataclasses.replace(tiny.first, batch_size=50, patch=(8, 16, 32))
    config = dataclasses.replace(tiny, augment=Augmentation(), first=first)
    targets = np.zeros((2, 8, 64, 64), np.uint8)
    targets[0, :, :8, :8] = 255  # In a corner, that patches elsewhere do not reach.
    pool = SlabPool(config, 1)
    pool.add(Sample(np.zeros((8, 64, 64), np.int16), targets, 0))
    image, wanted = first_batch(pool, torch.Generator().manual_seed(0))
    assert image.shape == (50, 1, 8, 16, 32)
    seen = float((wanted[:, 1].flatten(1).amax(dim=1) > 0.5).float().mean())
    assert 0.75 < seen < 1.0


@pytest.mark.parametrize("deviation", [0.1, 0.3, 0.8])
def test_blur_is_a_convolution_with_a_normal_curve_along_rows_and_columns(deviation: float) -> None:
    image = torch.randn(2, 1, 3, 9, 5, generator=torch.Generator().manual_seed(0))
    curve = (-0.5 * (torch.arange(-3.0, 4.0) / deviation).square()).exp()
    kernel = torch.outer(curve, curve).view(1, 1, 1, 7, 7) / curve.sum().square()
    plain = torch.nn.functional.conv3d(image, kernel, padding=(0, 3, 3)) if deviation >= 0.2 else image
    assert torch.allclose(blurred(image, deviation), plain, atol=1e-6)


def test_second_input_is_the_printed_formula() -> None:
    image, y1 = torch.tensor([[[[2.0, -4.0]]]]), torch.tensor([[[[0.25, 1.0]]]])
    mask = torch.tensor([[[[1.0, 0.0]]]])
    assert second_input(image, y1, mask)[0, :, 0].tolist() == [[0.5, 0.0], [2.0, 0.0], [1.5, 0.0]]


def test_neighbours_stand_round_each_slice_and_beyond_the_ends_is_nothing() -> None:
    volume = torch.arange(1.0, 5.0).view(4, 1, 1).expand(4, 2, 3)
    assert with_neighbours(volume, 1)[..., 1, 2].tolist() == [[0, 1, 2], [1, 2, 3], [2, 3, 4], [3, 4, 0]]
    assert torch.equal(with_neighbours(volume, 0), volume[:, None])


def test_the_second_stage_learns_a_slice_beside_what_lies_above_and_below(tiny: TwoStageConfig) -> None:
    config = dataclasses.replace(tiny, augment=Augmentation(), neighbours=2)
    hu = np.broadcast_to(np.arange(8, dtype=np.int16)[:, None, None] * 10, (8, 64, 64)).copy()
    targets = np.zeros((2, 8, 64, 64), np.uint8)
    targets[0, [1, 2, 3, 5]] = 255  # Slice 4 has no kidney; 1 has too few slices above it to be drawn.

    class Sure(torch.nn.Module):
        def forward(self, image: torch.Tensor) -> torch.Tensor:
            return torch.stack([torch.zeros_like(image[:, 0]), torch.full_like(image[:, 0], 100.0)], dim=1)

    pool = SlabPool(config, 1, Sure())
    pool.add(Sample(hu, targets, 0))
    generator, drawn = torch.Generator().manual_seed(0), set()
    for _ in range(20):
        given, wanted, mask = second_batch(pool, generator)
        assert given.shape == (2, 15, 32, 32)
        assert mask.shape == (2, 1, 32, 32)
        for one, kidney in zip(given, wanted[:, 1], strict=True):
            slices = [round(float(v) * 12 + 6) for v in one[5:10, 16, 16]]
            assert slices == list(range(slices[0], slices[0] + 5))
            assert bool(kidney.all()) is (slices[2] != 4)
            assert torch.allclose(one[:5], one[5:10], atol=1e-4)  # y1 is 1.
            assert float(one[10:].abs().max()) < 1e-4
            drawn.add(slices[2])
    assert drawn <= {2, 3, 4, 5}
    assert {2, 3, 5} <= drawn


def test_a_slab_of_the_second_stage_carries_y1_and_the_mask_of_the_truth(tiny: TwoStageConfig) -> None:
    targets = np.zeros((2, 8, 64, 64), np.uint8)
    targets[0, 3:5, 30:34, 30:34] = 255
    pool = SlabPool(tiny, 4, new_network(tiny, "first"))
    pool.add(Sample(np.zeros((8, 64, 64), np.int16), targets, 0))
    _, held = pool.slabs[0]
    assert held.shape == (4, 8, 64, 64)
    mask = held[3].numpy() > 0
    assert mask[0:8, 32, 32].all()  # 15 mm are three slices.
    assert mask[4, 27:36, 32].sum() == 8  # 4 pixels, and two of 6 mm on either side.
    given, wanted, inside = second_batch(pool, torch.Generator().manual_seed(0))
    assert given.shape == (2, 3, 32, 32)
    assert torch.allclose(wanted.sum(1), torch.ones(2, 32, 32), atol=1e-3)
    assert set(inside.unique().tolist()) <= {0.0, 1.0}
    assert not given[(inside == 0).expand_as(given)].any()


def test_the_second_stage_may_learn_on_masks_that_the_first_makes_as_at_inference(tiny: TwoStageConfig) -> None:
    class Found(torch.nn.Module):
        def forward(self, image: torch.Tensor) -> torch.Tensor:
            logits = torch.zeros(len(image), 2, *image.shape[2:])
            logits[:, 1, 4, 8, 8] = 5  # A pixel of 12 mm, far from the truth; all else stays at a half.
            return logits

    targets = np.zeros((2, 8, 64, 64), np.uint8)
    targets[0, 3:5, 50:54, 50:54] = 255
    own = dataclasses.replace(tiny, mask_of="first", foreground_probability=0.6)
    pool = SlabPool(own, 4, Found())
    pool.add(Sample(np.zeros((8, 64, 64), np.int16), targets, 0))
    mask = pool.slabs[0][1][3].numpy() > 0
    assert mask[4, 16, 16]
    assert not mask[4, 52, 52]
    lower = SlabPool(dataclasses.replace(own, foreground_probability=0.4), 4, Found())
    lower.add(Sample(np.zeros((8, 64, 64), np.int16), targets, 0))
    assert lower.slabs[0][1][3].all()


def test_a_bundle_says_the_odds_without_the_loss_weights_and_times_what_the_recipe_wants() -> None:
    torch.manual_seed(0)
    network = new_network(config_of(TINY, "tiny"), "second").eval()
    state = {name: value.clone() for name, value in network.state_dict().items()}
    given = torch.randn(1, 3, 32, 32)
    said = network(given).softmax(1)
    for weights, odds, factors in (
        ((1.0, 2.0, 4.0), (), (1.0, 1 / 2, 1 / 4)),
        ((), (1.0, 1.0, 3.0), (1.0, 1.0, 3.0)),
        ((1.0, 2.0, 4.0), (1.0, 1.0, 2.0), (1.0, 1 / 2, 1 / 2)),
    ):
        network.load_state_dict(with_odds(state, weights, odds))
        wanted = said * torch.tensor(factors).view(1, 3, 1, 1)
        assert torch.allclose(network(given).softmax(1), wanted / wanted.sum(1, keepdim=True), atol=1e-5)
    assert all(torch.equal(value, state[name]) for name, value in with_odds(state, (), ()).items())


def test_patches_lie_where_the_rarest_class_is_more_often_than_elsewhere(tiny: TwoStageConfig) -> None:
    config = dataclasses.replace(tiny, augment=Augmentation())
    targets = torch.zeros(1000, 4, 1, 64, 256)
    targets[:, 0, :, 20:40, 20:40] = targets[:, 1, :, 30:34, 220:224] = targets[:, 3] = 1
    _, seen = augmented(torch.zeros(1000, 1, 64, 256), targets, config, (32, 32), torch.Generator().manual_seed(0))
    kidney, mass = (float((seen[:, n].flatten(1).amax(1) > 0).float().mean()) for n in range(2))
    assert 0.42 < mass < 0.55  # Evenly over the mask it were 0.1.
    assert 0.35 < kidney < 0.5
    targets[:, :2] = 0
    augmented(torch.zeros(1000, 1, 64, 256), targets, config, (32, 32), torch.Generator().manual_seed(0))


def test_y1_is_what_the_first_makes_of_an_image_as_noisy_as_it_learnt_on(tiny: TwoStageConfig) -> None:
    class Bright(torch.nn.Module):
        def forward(self, image: torch.Tensor) -> torch.Tensor:
            return torch.cat([-image, image], dim=1)

    def kinds(**augment: object) -> int:
        settings = Augmentation(**augment)  # type: ignore[arg-type]
        pool = SlabPool(dataclasses.replace(tiny, augment=settings), 1, Bright())
        pool.add(Sample(np.full((8, 64, 64), 60, np.int16), np.zeros((2, 8, 64, 64), np.uint8), 0))
        hu, held = pool.slabs[0]
        assert (hu == 60).all()
        return len(held[2].unique())

    assert kinds() == 1
    assert kinds(noise_hu=(20.0, 20.0)) > 10


def test_phantoms_are_seen_with_masses_and_with_cysts_in_the_kidney_unless_told(tiny: TwoStageConfig) -> None:
    source = {"variant_shares": {"large_mass": 1.0}, "elsewhere_probability": 0.0, "jitter_mm": 0.0}
    data = phantom_data(dataclasses.replace(tiny, source=source))
    sample = next(iter(data.source(data.training["first"][0])))
    assert sample.hu.shape == (8, 64, 64)
    assert (sample.targets > 127).any(axis=(1, 2, 3)).all()
    first, second = (set(data.training[stage]) for stage in ("first", "second"))
    assert not first & second
    assert not (first | second) & set(data.validation)
    apart = dataclasses.replace(tiny, classes=("kidney", "cyst", "mass"), source=source)
    seed = data.training["first"][0]
    three = next(iter(phantom_data(apart).source(seed))).targets.astype(int)
    both = sample.targets.astype(int)
    assert np.abs(three[0] + three[1] - both[0]).max() <= 2


@dataclasses.dataclass(frozen=True)
class Held:
    """Slabs of noise; the last seed's come when a file is there."""

    release: Path

    def __call__(self, seed: int) -> Iterator[Sample]:
        while seed == 3 and not self.release.exists():
            time.sleep(0.02)
        random = np.random.default_rng(seed)
        hu = random.normal(60, 50, (8, 64, 64)).astype(np.int16)
        yield Sample(hu, (random.random((2, 8, 64, 64)) < 0.3).astype(np.uint8) * 120, seed)


def test_a_step_leaves_the_workers_a_core_each_and_takes_them_when_they_are_done(
    tiny: TwoStageConfig, tmp_path: Path
) -> None:
    """With a thread on every core and a worker beside them a step took 1.1 s instead of 0.65 s on two cores."""
    source, before, seen = Held(tmp_path / "release"), torch.get_num_threads(), []
    held_out = SampleStore(source, [9], tmp_path / "held", 0)
    store = SampleStore(source, [1, 2, 3], tmp_path / "samples", 1)
    torch.set_num_threads(3)
    try:
        with held_out, store:
            for run in ("beside", "alone"):
                trainer = StageTrainer("first", tiny, torch.device("cpu"), store, held_out)
                for sample in list(store.new()):
                    trainer.pool.add(sample)
                trainer.optimizer.register_step_pre_hook(lambda *_: seen.append(torch.get_num_threads()))
                (tmp_path / run).mkdir()
                trainer.run(tmp_path / run, Progress())
                assert torch.get_num_threads() == 3
                source.release.touch()
                while store.growing:
                    time.sleep(0.02)
    finally:
        torch.set_num_threads(before)
    assert seen == [2, 2, 3, 3]


@pytest.fixture(scope="module")
def kits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three phantoms in KiTS' layout, one of them an excluded case, and an unfinished one."""
    from KidneySegLib.phantom.grid import Grid
    from KidneySegLib.phantom.render import render
    from KidneySegLib.phantom.scene import sample_scene

    folder = tmp_path_factory.mktemp("kits")
    for number in range(3):
        scene = sample_scene(400_000 + number, variant="large_mass", phase="arterial")
        shape, spacing = (24, 60, 72), (6.0, 5.0, 5.0)
        low = [-(n - 1) / 2 * s for n, s in zip(shape[::-1], spacing[::-1], strict=True)]
        rendering = render(scene, Grid(shape_zyx=shape, spacing_mm_zyx=spacing, origin_mm_xyz=(low[0], low[1], low[2])))
        labels = np.zeros(shape, np.uint8)
        for key, share in rendering.fractions.items():
            meaning = {"parenchyma": 1, "mass": 2, "cyst": 3}.get(key.split("_")[1])
            if meaning:
                labels[share > 0.5] = meaning
        case = folder / f"case_{number:05d}"
        case.mkdir()
        for name, array in (("imaging", rendering.hu.astype(np.int16)), ("segmentation", labels)):
            # KiTS19 stores slices along the first axis of its NIfTI, sagittal planes of the array.
            image = sitk.GetImageFromArray(array)
            image.SetSpacing(spacing[::-1])
            image.SetOrigin(low)
            sitk.WriteImage(sitk.PermuteAxes(image, [2, 1, 0]), str(case / f"{name}.nii.gz"))
    (folder / "case_00003").mkdir()
    return folder


def test_kits_layout_excluded_and_unfinished_cases_are_left_out_and_told(kits: Path, tiny: TwoStageConfig) -> None:
    cases, notes = find_cases(kits, tiny.excluded)
    assert [case.name for case in cases] == ["case_00000", "case_00002"]
    assert any("case_00001 is excluded" in note for note in notes)
    assert any("case_00003 has no imaging.nii.gz" in note for note in notes)
    with pytest.raises(InputError, match="no usable case"):
        find_cases(kits / "case_00000")


def test_kits_slabs_lie_as_the_network_sees_them(kits: Path, tiny: TwoStageConfig) -> None:
    data = kits_data(kits, tiny)
    assert len(data.training["first"]) == len(data.training["second"]) == len(data.validation) == 1
    slabs = list(data.source(data.training["first"][0]))
    assert all(slab.hu.shape == (8, 64, 64) for slab in slabs)
    found = max(slabs, key=lambda slab: int(slab.targets.astype(int).sum()))
    kidney = found.targets[0] > 127
    assert kidney.any()
    assert 20 < found.hu[kidney].mean() < 400
    assert found.hu[:, 0, 0].mean() < -800  # Air in front of the body's corner.


def test_short_run_on_the_kits_layout_makes_a_bundle_that_segments(
    kits: Path, tiny: TwoStageConfig, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    bundle = train_two_stage(kits, run, tiny, workers=0)
    assert bundle.path == run / "bundles" / "tiny"
    assert set(bundle.sha256) == {
        *("first.safetensors", "first.xml", "first.bin"),
        *("weights.safetensors", "network.xml", "network.bin"),
    }
    assert bundle.outputs == ("background", "parenchyma", "mass")
    assert read_bundle(bundle.path).two_stage == bundle.two_stage
    record = json.loads((run / "record.json").read_text(encoding="utf-8"))
    assert record["stages"]["second"]["steps"] == 2
    assert record["left_out"]
    with pytest.raises(InputError, match="training run already"):
        train_two_stage(kits, run, tiny, workers=0)
    other = dataclasses.replace(tiny, first=dataclasses.replace(tiny.first, learning_rate=0.01, steps=9))
    with pytest.raises(InputError, match=r"first.learning_rate 0.001 and not 0.01\. Go on"):
        train_two_stage(kits, run, other, workers=0, resume=True)
    # What is finished is not begun again: no sample is made, and the record is as it was.
    shutil.rmtree(run / "samples")
    resumed = train_two_stage(kits, run, tiny, workers=0, resume=True)
    assert {name: sha for name, sha in resumed.sha256.items() if not name.endswith(".xml")} == {
        name: sha for name, sha in bundle.sha256.items() if not name.endswith(".xml")
    }
    assert not (run / "samples").exists()
    again = json.loads((run / "record.json").read_text(encoding="utf-8"))
    assert again["stages"]["second"]["validation_dice"] == record["stages"]["second"]["validation_dice"] != []
    assert again["stages"]["second"]["bfloat16"] is record["stages"]["second"]["bfloat16"]
    result = segment_case(kits / "case_00000" / "imaging.nii.gz", tmp_path / "out", model=resumed.path)
    assert result.provenance["backend"] == "openvino"
    table = read_csv(tmp_path / "out" / "volumes.csv")
    assert "cysts_in_kidney" in table.flags
    assert all(row.cortex_ml is None and row.cyst_ml is None and row.total_kidney_ml is None for row in table)


def test_a_model_that_names_a_localiser_is_told_where_kidneys_are(
    kits: Path, tiny: TwoStageConfig, tmp_path: Path
) -> None:
    plain = train_two_stage(kits, tmp_path / "plain", tiny, workers=0)
    helped = train_two_stage(
        kits,
        tmp_path / "helped",
        dataclasses.replace(tiny, localiser="kidneyseg-localiser", mirror_axes=(2,), neighbours=1),
        workers=0,
    )
    assert (plain.axes_mirrored("auto"), plain.axes_mirrored("on")) == ((), ())
    assert [read_bundle(helped.path).axes_mirrored(wanted) for wanted in ("auto", "on", "off")] == [(2,), (2,), ()]
    assert (plain.localiser, read_bundle(helped.path).localiser) == (None, "kidneyseg-localiser")
    assert [model.network_arguments["in_channels"] for model in (plain, helped)] == [3, 9]
    scan = sitk.ReadImage(str(kits / "case_00000" / "imaging.nii.gz"))
    assert Engine(plain, device="cpu").run(scan).overview is None
    overview = Engine(helped, device="cpu").run(scan).overview
    assert overview is not None
    assert (sitk.GetArrayViewFromImage(overview) == OverviewLabel.KIDNEY).any()


def test_a_file_that_was_changed_is_refused(kits: Path, tiny: TwoStageConfig, tmp_path: Path) -> None:
    bundle = train_two_stage(kits, tmp_path / "run", tiny, workers=0)
    (bundle.path / "first.bin").write_bytes(b"x" + (bundle.path / "first.bin").read_bytes()[1:])
    with pytest.raises(ModelError, match=r"first\.bin"):
        segment_case(kits / "case_00000" / "imaging.nii.gz", tmp_path / "out", model=bundle.path)
