"""The recipe ``ultrasound`` end to end on a few synthetic pictures, and that a resumed run is an unbroken one."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("torch")

import torch

from KidneySegLib.errors import Cancelled, InputError, OutputError
from KidneySegLib.progress import CancelToken, Progress, ProgressEvent
from KidneySegLib.training.ultrasound.augment import augment, even_out, plain
from KidneySegLib.training.ultrasound.config import DEMONSTRATION_CONFIG, Augmentation, load_config
from KidneySegLib.training.ultrasound.recipe import train_ultrasound
from KidneySegLib.training.ultrasound.samples import prepare
from KidneySegLib.training.ultrasound.trainer import UltrasoundTrainer, loss_of, new_network
from KidneySegLib.ultrasound.preparation import even_out as even_out_numpy
from KidneySegLib.ultrasound.store import verify_ultrasound_bundle
from Testing.ultrasound.conftest import LIGHT

RECIPE = {
    "bundle": "tiny",
    "title": "Tiny",
    "arguments": LIGHT,
    "in_channels": 1,
    "size": [64, 64],
    "epochs": 2,
    "batch_size": 4,
    "validation_share": 0.2,
    "test_share": 0.2,
}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten pictures of a bright disc in grey noise, five patients of two pictures each."""
    folder = tmp_path_factory.mktemp("set")
    rng = np.random.default_rng(0)
    (folder / "images").mkdir()
    (folder / "masks").mkdir()
    y, x = np.indices((80, 96))
    rows = ["filename,patient"]
    for number in range(10):
        disc = np.hypot(y - rng.uniform(30, 50), x - rng.uniform(35, 60)) < rng.uniform(12, 20)
        picture = (rng.integers(40, 80, y.shape) + 90 * disc).astype(np.uint8)
        Image.fromarray(picture).save(folder / "images" / f"p{number}.png")
        Image.fromarray(disc.astype(np.uint8)).save(folder / "masks" / f"p{number}.png")
        rows.append(f"p{number}.png,patient{number // 2}")
    (folder / "patients.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    return folder


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "recipe.json"
    path.write_text(json.dumps(RECIPE), encoding="utf-8")
    return path


def test_a_run_leaves_a_tested_bundle_and_says_how(dataset: Path, recipe: Path, tmp_path: Path) -> None:
    bundle = train_ultrasound(dataset, tmp_path / "run", config_file=recipe, device="cpu")
    verify_ultrasound_bundle(bundle)
    run = tmp_path / "run"
    with open(run / "log.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    # Six training pictures in batches of four: two steps an epoch.
    assert [(row["step"], row["epoch"]) for row in rows] == [("2", "1"), ("4", "2")]
    assert all(0 <= float(row["dice_kidney"]) <= 1 for row in rows)
    split = json.loads((run / "split.json").read_text())
    assert [len(split[key]) for key in ("training", "validation", "test")] == [6, 2, 2]
    assert set(bundle.metrics["test"]) >= {"accuracy", "precision", "recall", "jaccard", "f1"}
    record = json.loads((run / "record.json").read_text())
    assert record["recipe"]["learning_rate"] == 0.001
    assert record["pictures"] == {"training": 6, "validation": 2, "test": 2}
    assert (run / "test" / "confusion_pixels.png").is_file()
    with pytest.raises(OutputError, match="not empty"):
        train_ultrasound(dataset, run, config_file=recipe, device="cpu")


def test_a_stopped_and_resumed_run_is_an_unbroken_one(dataset: Path, recipe: Path, tmp_path: Path) -> None:
    config = load_config(recipe)
    from KidneySegLib.training.ultrasound.dataset import find_outlined

    samples = torch.from_numpy(prepare(find_outlined(dataset).images, config.size))

    def trainer(folder: Path) -> UltrasoundTrainer:
        folder.mkdir(exist_ok=True)
        return UltrasoundTrainer(config, new_network(config), samples[:8], samples[8:], folder, torch.device("cpu"))

    whole = trainer(tmp_path / "a").run(Progress())
    token = CancelToken()

    def stop_at_third(event: ProgressEvent) -> None:
        if event.stage == "train" and event.fraction > 0.7:
            token.cancel()

    with pytest.raises(Cancelled):
        trainer(tmp_path / "b").run(Progress(stop_at_third, token))
    again = trainer(tmp_path / "b")
    again.resume()
    assert again.step == 3
    parts = again.run(Progress())
    for name, value in whole.items():
        torch.testing.assert_close(parts[name], value, msg=name)


def test_another_recipe_does_not_go_on_from_a_checkpoint(dataset: Path, recipe: Path, tmp_path: Path) -> None:
    train_ultrasound(dataset, tmp_path / "run", config_file=recipe, device="cpu", epochs=1)
    with pytest.raises(InputError, match="another recipe"):
        train_ultrasound(dataset, tmp_path / "run", config_file=recipe, device="cpu", resume=True)


def test_imagenet_weights_come_from_a_folder(dataset: Path, recipe: Path, tmp_path: Path) -> None:
    from safetensors.torch import save_file

    from KidneySegLib.networks.resnet import ResNetEncoder

    with pytest.raises(InputError, match="ResNet-18"):
        train_ultrasound(dataset, tmp_path / "a", config_file=recipe, device="cpu", imagenet=tmp_path)
    save_file(dict(ResNetEncoder(18, 3, width=4).state_dict()), str(tmp_path / "resnet18-abc.safetensors"))
    bundle = train_ultrasound(dataset, tmp_path / "b", config_file=recipe, device="cpu", imagenet=tmp_path, epochs=1)
    assert bundle.training["imagenet"] == {"resnet18": "resnet18-abc.safetensors"}


def test_the_loss_is_zero_for_what_is_right_and_sure() -> None:
    kidney = torch.zeros(2, 1, 8, 8)
    kidney[0, :, 2:6, 2:6] = 1
    assert float(loss_of((kidney - 0.5) * 60, kidney)) == pytest.approx(0, abs=1e-3)
    assert float(loss_of((0.5 - kidney) * 60, kidney)) > 10


def test_augmentation_moves_picture_and_kidney_together() -> None:
    samples = torch.zeros(8, 3, 64, 64, dtype=torch.uint8)
    samples[:, 0] = 40
    samples[:, 1] = 255
    samples[:, 0, 20:40, 10:50] = 200
    samples[:, 2, 20:40, 10:50] = 255
    ranges = Augmentation(speckle=0.0, blur=0.0)
    image, kidney = augment(samples, ranges, torch.Generator().manual_seed(0))
    assert tuple(image.shape) == tuple(kidney.shape) == (8, 1, 64, 64)
    moved = 0
    for one, truth, before in zip(image[:, 0], kidney[:, 0] > 0.5, samples[:, 2] > 0, strict=True):
        bright = one > (one[truth].mean() + one[~truth].mean()) / 2
        assert float((bright & truth).sum()) > 0.85 * float((bright | truth).sum())
        moved += bool((truth != before).any())
    assert moved == 8
    same, _ = augment(samples, ranges, torch.Generator().manual_seed(0))
    torch.testing.assert_close(same, image)


def test_training_and_inference_even_out_alike() -> None:
    rng = np.random.default_rng(0)
    grey = rng.integers(0, 255, (1, 1, 32, 32)).astype(np.float32)
    inside = np.zeros((32, 32), bool)
    inside[4:28, 8:30] = True
    expected = even_out_numpy(grey[0, 0], inside)
    found = even_out(torch.from_numpy(grey) / 255, torch.from_numpy(inside)[None, None])
    np.testing.assert_allclose(found[0, 0].numpy(), expected, atol=1e-4)
    stacked = torch.from_numpy(np.stack([grey[0, 0], inside * 255, inside * 255])[None].astype(np.uint8))
    np.testing.assert_allclose(plain(stacked)[0][0, 0].numpy(), expected, atol=1e-4)


@pytest.mark.parametrize(
    ("changes", "words"),
    [({"epochs": 0}, "epochs"), ({"size": [60, 60]}, "size"), ({"schedule": "x"}, "schedule"), ({"what": 1}, "what"),
     ({"test_share": 0.9}, "share"), ({"augmentation": {"twist": 1}}, "twist")],
)  # fmt: skip
def test_a_recipe_that_makes_no_sense_is_refused(tmp_path: Path, changes: dict[str, object], words: str) -> None:
    (tmp_path / "r.json").write_text(json.dumps({**RECIPE, **changes}))
    with pytest.raises(InputError, match=words):
        load_config(tmp_path / "r.json")


def test_the_shipped_recipes_are_the_paper_s_and_the_demonstration_s() -> None:
    paper, demonstration = load_config(), load_config(DEMONSTRATION_CONFIG)
    assert (paper.network, paper.epochs, paper.learning_rate, paper.schedule) == ("TripleConcat", 100, 1e-3, "constant")
    assert paper.arguments["deeplab_depths"] == (18, 152) or paper.arguments["deeplab_depths"] == [18, 152]
    assert (round(514 * paper.validation_share), round(514 * paper.test_share)) == (60, 159)
    assert demonstration.demonstration
    assert "DEMONSTRATION" in demonstration.title
