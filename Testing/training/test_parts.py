"""Losses, averages, schedules, seeds, pools, files and configuration of training."""

from __future__ import annotations

import itertools
import json
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from stub_phantom import Balls

from KidneySegLib.errors import InputError
from KidneySegLib.training.augment import AugmentSettings
from KidneySegLib.training.checkpoint import load_safely, save_atomically, shipped_weights
from KidneySegLib.training.config import DEFAULT_CONFIG, load_config
from KidneySegLib.training.ema import WeightAverage
from KidneySegLib.training.log import TrainingLog, plot_log
from KidneySegLib.training.losses import DICE_SMOOTH, deep_loss, dice_scores, sigmoid_loss, soft_dice_loss, softmax_loss
from KidneySegLib.training.network_run import sample_source
from KidneySegLib.training.pool import SamplePool
from KidneySegLib.training.recipe_file import updated
from KidneySegLib.training.samples import Sample, as_fraction, as_hu, read_sample, write_sample
from KidneySegLib.training.schedule import Budget, rate_factor
from KidneySegLib.training.seeds import SEED_RANGES, TEST_SEEDS, TRAINING_SEEDS, VALIDATION_SEEDS, seed_range_of
from KidneySegLib.training.workers import Share

# --- losses


def test_soft_dice_of_known_masks():
    truth = torch.zeros(1, 1, 10, 10, 10)
    truth[..., :5, :, :] = 1  # 500 voxels
    half = torch.zeros_like(truth)
    half[..., 3:8, :, :] = 1  # 500, of which 200 shared
    expected = 1 - (400 + DICE_SMOOTH) / (1000 + DICE_SMOOTH)
    assert float(soft_dice_loss(half, truth)) == pytest.approx(expected)
    assert float(soft_dice_loss(truth, truth)) == pytest.approx(0, abs=1e-6)
    assert float(soft_dice_loss(1 - truth, truth)) == pytest.approx(1 - DICE_SMOOTH / (1000 + DICE_SMOOTH))


def test_the_best_answer_to_a_soft_target_is_the_target():
    truth = torch.full((1, 1, 10, 10, 10), 0.4)
    losses = {p: float(soft_dice_loss(torch.full_like(truth, p), truth)) for p in (0.3, 0.4, 0.5, 0.9)}
    assert min(losses, key=losses.get) == 0.4
    assert losses[0.4] == pytest.approx(0, abs=1e-6)


def test_sigmoid_loss_of_zero_logits_is_log_two_plus_its_dice():
    truth = torch.zeros(1, 1, 4, 4, 4)
    expected = math.log(2) + 1 - DICE_SMOOTH / (64 * 0.25 + DICE_SMOOTH)
    assert float(sigmoid_loss(torch.zeros_like(truth), truth)) == pytest.approx(expected)


def test_softmax_loss_of_zero_logits_is_log_of_the_number_of_classes_plus_its_dice():
    truth = torch.zeros(1, 4, 4, 4, 4)
    truth[:, 0] = 1
    expected = math.log(4) + 1 - DICE_SMOOTH / (64 / 16 + DICE_SMOOTH)
    assert float(softmax_loss(torch.zeros_like(truth), truth)) == pytest.approx(expected)


def test_a_channel_of_weight_zero_teaches_nothing():
    logits = torch.randn(2, 2, 4, 4, 4, requires_grad=True)
    truth = (torch.rand(2, 2, 4, 4, 4) > 0.5).float()
    sigmoid_loss(logits, truth, torch.tensor([[1.0, 0.0], [1.0, 1.0]])).backward()
    assert float(logits.grad[0, 1].abs().max()) == 0
    assert float(logits.grad[1, 1].abs().max()) > 0


def test_cortex_is_asked_for_once_more_within_parenchyma_alone():
    truth = torch.zeros(2, 2, 20, 20, 20)
    truth[:, 0, :5] = 1  # 2,000 voxels each, half of them cortex.
    truth[:, 1, :5, :10] = 1
    logits = torch.full_like(truth, -20.0)
    logits[:, 0][truth[:, 0] > 0] = 20.0
    logits[:, 1][truth[:, 0] > 0] = 0.0
    undecided = float(sigmoid_loss(logits, truth))
    dice = (2 * 0.5 * 2000 + DICE_SMOOTH) / (0.25 * 4000 + 2000 + DICE_SMOOTH)
    entropy = math.log(2) * 4000 / 32000  # Over the patches and both channels.
    within = math.log(2) * 4000 / (4000 + DICE_SMOOTH)
    assert undecided == pytest.approx(entropy + (1 - dice) / 2 + within, abs=1e-4)
    logits[:, 1][truth[:, 0] > 0] = 20.0 * (2 * truth[:, 1][truth[:, 0] > 0] - 1)
    assert float(sigmoid_loss(logits, truth)) == pytest.approx(0, abs=1e-3)
    # Elsewhere it asks nothing: far from parenchyma the gradient is that of a mean over the patch.
    logits = torch.zeros_like(truth).requires_grad_()
    sigmoid_loss(logits, truth).backward()
    near, far = logits.grad[0, 1, 0, 15, 0], logits.grad[0, 1, 15, 15, 0]
    assert float(near) > 5 * float(far)


def test_deep_supervision_weighs_resolutions_by_halves():
    truth = (torch.rand(1, 1, 8, 8, 8) > 0.5).float()
    fine, coarse = torch.randn(1, 1, 8, 8, 8), torch.randn(1, 1, 4, 4, 4)
    pooled = torch.nn.functional.avg_pool3d(truth, 2)
    expected = (sigmoid_loss(fine, truth) + 0.5 * sigmoid_loss(coarse, pooled)) / 1.5
    assert torch.allclose(deep_loss([fine, coarse], truth, "sigmoid"), expected)
    with pytest.raises(ValueError, match="activation must be"):
        deep_loss(fine, truth, "tanh")


def test_dice_scores_of_empty_masks_are_not_a_number():
    empty, full = torch.zeros(1, 1, 2, 2, 2, dtype=torch.bool), torch.ones(1, 1, 2, 2, 2, dtype=torch.bool)
    assert dice_scores(empty, empty).isnan().all()
    assert dice_scores(empty, full).item() == 0
    assert dice_scores(full, full).item() == 1


# --- weights, rates, seeds


def test_the_average_follows_its_formula():
    network = torch.nn.Linear(1, 1, bias=False)
    network.weight.data.fill_(0.0)
    average = WeightAverage(network, 0.5)
    expected = 0.0
    for step in range(1, 8):
        network.weight.data.fill_(float(step))
        average.update(network)
        decay = min(0.5, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * step
    assert average.state_dict()["weight"].item() == pytest.approx(expected, rel=1e-5)


def test_the_average_takes_counters_over():
    network = torch.nn.BatchNorm3d(2)
    average = WeightAverage(network, 0.9)
    network.train()(torch.randn(2, 2, 2, 2, 2))
    average.update(network)
    assert average.state_dict()["num_batches_tracked"].item() == 1


def test_the_rate_rises_then_falls_to_its_end():
    assert rate_factor(0, 0.0, 100) == pytest.approx(0.01)
    assert rate_factor(99, 0.0, 100) == pytest.approx(1)
    assert rate_factor(5000, 0.5, 100, final=0.0) == pytest.approx(0.5)
    assert rate_factor(9000, 1.0, 100) == pytest.approx(0.005)


def test_a_budget_ends_by_whichever_is_first():
    budget = Budget(minutes=10, steps=1000)
    assert budget.used(500, 60) == 0.5
    assert budget.used(10, 540) == pytest.approx(0.9)
    assert budget.used(10**6, 0) == 1
    with pytest.raises(ValueError, match="needs minutes or steps"):
        Budget()


def test_seed_ranges_cannot_meet():
    for one, other in itertools.combinations(SEED_RANGES, 2):
        assert one.last < other.first or other.last < one.first
    assert SEED_RANGES == (TEST_SEEDS, VALIDATION_SEEDS, TRAINING_SEEDS)


@given(st.integers(TEST_SEEDS.first, TRAINING_SEEDS.last))
def test_every_seed_is_in_exactly_one_range(seed):
    assert [seed in r for r in SEED_RANGES].count(True) == 1
    assert seed in seed_range_of(seed)


def test_a_range_never_gives_a_seed_of_its_neighbour():
    assert VALIDATION_SEEDS.seed(0) == 500_000
    with pytest.raises(ValueError, match="validation seed must be 0 to 499999"):
        VALIDATION_SEEDS.seed(500_000)
    with pytest.raises(ValueError, match="must be 0 to"):
        seed_range_of(-1)


def test_shares_of_workers_cover_all_seeds_once():
    shares = [Share((), 100 + w, 3) for w in range(3)]
    seeds = sorted(seed for share in shares for seed in itertools.islice(share, 4))
    assert seeds == list(range(100, 112))
    assert list(itertools.islice(Share((7, 8), 100, 3), 4)) == [7, 8, 100, 103]
    assert list(itertools.islice(Share((7, 8), 100, 3).after_death(), 2)) == [8, 100]
    assert next(iter(Share((), 100, 3).after_death())) == 103


# --- samples and pools


def test_a_sample_survives_its_file(tmp_path):
    sample = next(iter(Balls()(3)))
    write_sample(tmp_path / "a.npz", sample)
    again = read_sample(tmp_path / "a.npz")
    assert np.array_equal(again.hu, sample.hu)
    assert np.array_equal(again.targets, sample.targets)
    assert (again.seed, again.cortex_weight) == (3, 1.0)
    assert [p.name for p in tmp_path.iterdir()] == ["a.npz"]


def test_half_a_file_is_no_sample(tmp_path):
    write_sample(tmp_path / "a.npz", next(iter(Balls()(3))))
    (tmp_path / "a.npz").write_bytes((tmp_path / "a.npz").read_bytes()[:1000])
    with pytest.raises(ValueError, match="must be a whole training sample"):
        read_sample(tmp_path / "a.npz")


def test_hu_and_fractions_are_rounded_and_clipped():
    assert as_hu(np.array([-5000.0, 1.6, 9000.0])).tolist() == [-1024, 2, 3071]
    assert as_fraction(np.array([-0.1, 0.5, 1.2])).tolist() == [0, 128, 255]


def test_a_full_pool_forgets_its_oldest_sample():
    pool = SamplePool(2, (2, 2, 2), 2, False, torch.device("cpu"))
    for value in (10, 20, 30):
        hu = np.full((2, 2, 2), value, np.int16)
        pool.add(Sample(hu, np.full((2, 2, 2, 2), 51, np.uint8), value, value / 100))
    hu, targets, weights = pool.take(torch.tensor([0, 1]))
    assert hu[:, 0, 0, 0, 0].tolist() == [30, 20]
    assert weights.tolist() == pytest.approx([0.3, 0.2])
    assert float(targets[0, 0, 0, 0, 0]) == pytest.approx(0.2)
    assert (len(pool), pool.added) == (2, 3)


def test_labels_become_one_channel_each_without_background():
    pool = SamplePool(1, (1, 1, 3), 2, True, torch.device("cpu"))
    pool.add(Sample(np.zeros((1, 1, 3), np.int16), np.array([0, 1, 2], np.uint8).reshape(1, 1, 1, 3), 1))
    _, targets, _ = pool.take(torch.tensor([0]))
    assert targets[0, :, 0, 0].tolist() == [[0, 1, 0], [0, 0, 1]]


def test_draws_reach_every_sample_and_nothing_else():
    pool = SamplePool(8, (1, 1, 1), 1, False, torch.device("cpu"))
    with pytest.raises(ValueError, match="must hold a sample"):
        pool.draw(1, torch.Generator())
    for value in range(5):
        pool.add(Sample(np.full((1, 1, 1), value, np.int16), np.zeros((1, 1, 1, 1), np.uint8), value))
    drawn = pool.draw(200, torch.Generator().manual_seed(0))[0].flatten()
    assert set(drawn.tolist()) == {0, 1, 2, 3, 4}


def test_a_sample_of_another_shape_is_refused():
    pool = SamplePool(1, (2, 2, 2), 1, False, torch.device("cpu"))
    with pytest.raises(ValueError, match="a sample must have HU"):
        pool.add(Sample(np.zeros((2, 2, 3), np.int16), np.zeros((1, 2, 2, 3), np.uint8), 0))


# --- files


def test_a_damaged_checkpoint_is_the_users_error(tmp_path):
    save_atomically(tmp_path / "a.pt", {"x": torch.ones(2), "step": 3})
    assert load_safely(tmp_path / "a.pt")["step"] == 3
    assert [p.name for p in tmp_path.iterdir()] == ["a.pt"]
    (tmp_path / "a.pt").write_bytes(b"not a file of torch")
    with pytest.raises(InputError, match="expected a file of a training run"):
        load_safely(tmp_path / "a.pt")
    with pytest.raises(InputError, match="expected a file of a training run"):
        load_safely(tmp_path / "missing.pt")


def test_code_in_a_checkpoint_never_runs(tmp_path):
    class Evil:
        def __reduce__(self):
            return (print, ("ran",))

    torch.save({"x": Evil()}, tmp_path / "a.pt")
    with pytest.raises(InputError, match="expected a file of a training run"):
        load_safely(tmp_path / "a.pt")


def test_what_ships_is_half_precision_without_training_heads():
    shipped = shipped_weights({"head.weight": torch.ones(2), "auxiliary_heads.0.weight": torch.ones(2)})
    assert list(shipped) == ["head.weight"]
    assert shipped["head.weight"].dtype == torch.float16


def test_the_log_drops_rows_that_a_resumed_run_writes_again(tmp_path):
    path = tmp_path / "log.csv"
    log = TrainingLog(path, ("step", "loss", "dice_a"))
    for step in (50, 100, 150):
        log.write({"step": step, "loss": 1 / step, "dice_a": 0.5 if step == 100 else None})
    TrainingLog(path, ("step", "loss", "dice_a"), resume_step=100)
    assert path.read_text().splitlines() == ["step,loss,dice_a", "50,0.02,", "100,0.01,0.5"]
    pytest.importorskip("matplotlib")
    assert plot_log(path, tmp_path / "log.png")
    assert (tmp_path / "log.png").read_bytes()[:4] == b"\x89PNG"


# --- configuration


@pytest.mark.parametrize("file", ["embedded.json", "embedded_gpu.json"])
def test_recipes_are_complete(file):
    recipe = load_config(DEFAULT_CONFIG.with_name(file))
    fine, localiser = recipe.networks["fine"], recipe.networks["localiser"]
    assert (fine.outputs, fine.activation) == (("parenchyma", "cortex", "abnormality"), "sigmoid")
    assert localiser.outputs == ("background", "kidney", "spine", "aorta", "liver", "spleen")
    for name, part in recipe.networks.items():
        updated(AugmentSettings(), part.augment, name)
        sample_source(part)
        assert all(box >= seen for box, seen in zip(part.box, part.seen, strict=True))


@pytest.mark.parametrize("file", ["embedded.json", "embedded_gpu.json"])
def test_networks_are_small_enough_for_their_bundles(file):
    from KidneySegLib.networks import build_network

    bytes_per_bundle = []
    for part in load_config(DEFAULT_CONFIG.with_name(file)).networks.values():
        with torch.device("meta"):
            network = build_network(part.network, {**part.arguments, "deep_supervision": False})
        bytes_per_bundle.append(2 * 2 * sum(p.numel() for p in network.parameters()))
    assert sum(bytes_per_bundle) < 24.5e6


def test_overview_outputs_are_the_labels_of_the_localiser_in_order():
    from KidneySegLib.labels import OverviewLabel

    assert load_config().networks["localiser"].outputs == tuple(label.name.lower() for label in OverviewLabel)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"speling": 1}, "networks.fine: speling not known"),
        ({"bundle": None}, "networks.fine.bundle must not be empty"),
    ],
)
def test_a_configuration_with_a_mistake_names_it(tmp_path, change, message):
    values = json.loads(DEFAULT_CONFIG.read_text())
    values["networks"]["fine"].update(change)
    path = tmp_path / "mine.json"
    path.write_text(json.dumps(values))
    with pytest.raises(InputError, match=message):
        load_config(path)


def test_other_configuration_mistakes_are_named(tmp_path):
    path = tmp_path / "mine.json"
    path.write_text("{")
    with pytest.raises(InputError, match=r"expected a recipe, but .*"):
        load_config(path)
    path.write_text("{}")
    with pytest.raises(InputError, match="expected a number `seed` and a table `networks`"):
        load_config(path)
    with pytest.raises(InputError, match="cannot be read"):
        load_config(tmp_path / "none.json")
    with pytest.raises(InputError, match=r"here.scanner: blurr is not known"):
        updated(AugmentSettings(), {"scanner": {"blurr": 1}}, "here")


def test_toml_says_the_same_as_json(tmp_path):
    pytest.importorskip("tomllib")
    (tmp_path / "r.toml").write_text(
        'seed = 3\n[networks.a]\nbundle = "b"\nsource = "kidney_boxes"\noutputs = ["parenchyma"]\n'
        'activation = "sigmoid"\nspacing_mm = 1.0\nbox = [8, 8, 8]\npatch = [8, 8, 8]\nminutes = 1.0\n'
        "normalisation = {low = 0.0, high = 1.0, mean = 0.0, sd = 1.0}\narguments = {features = [4, 8]}\n"
    )
    recipe = load_config(tmp_path / "r.toml")
    assert recipe.seed == 3
    assert recipe.networks["a"].patch == (8, 8, 8)
