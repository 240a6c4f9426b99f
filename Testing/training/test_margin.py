"""Training a network that sees more than it answers for: patches, losses, a run to a bundle; and batches made ahead."""

from __future__ import annotations

import dataclasses
import time
from dataclasses import replace

import numpy as np
import pytest
import torch
from stub_phantom import Balls

from KidneySegLib.models import read_bundle
from KidneySegLib.models.bundle import LesionsOnRequest
from KidneySegLib.training import ahead
from KidneySegLib.training.ahead import Ahead
from KidneySegLib.training.augment import AugmentSettings, Normalisation, augment
from KidneySegLib.training.augment_lesions import LesionSettings
from KidneySegLib.training.augment_scanner import apply_along, average_pool
from KidneySegLib.training.config import EmbeddedConfig
from KidneySegLib.training.embedded_bundle import export_bundle
from KidneySegLib.training.losses import sigmoid_loss
from KidneySegLib.training.network_run import train_network
from KidneySegLib.training.patch import centre
from KidneySegLib.training.pool import SamplePool
from KidneySegLib.training.samples import Sample
from KidneySegLib.training.trainer import Trainer

CPU = torch.device("cpu")


@dataclasses.dataclass(frozen=True)
class BallsWithLesions:
    """`Balls` with a third channel: the outer half of a ball's shell is abnormal, and neither of the others."""

    shape: tuple[int, int, int] = (32, 32, 32)

    def __call__(self, seed: int) -> object:
        for sample in Balls(shape=self.shape)(seed):
            targets = np.concatenate([sample.targets, np.zeros_like(sample.targets[:1])])
            half = slice(0, self.shape[2] // 2)
            targets[2, :, :, half] = targets[1, :, :, half]
            targets[:2, :, :, half] = np.where(targets[1, :, :, half] > 0, 0, targets[:2, :, :, half])
            yield Sample(sample.hu, targets, seed)


@pytest.fixture
def wide(tiny: EmbeddedConfig) -> EmbeddedConfig:
    """The tiny recipe with a margin of 4 voxels, a context path and an output for abnormality."""
    fine = tiny.networks["fine"]
    arguments = {
        **fine.arguments,
        "out_channels": 3,
        "context_features": [4, 4],
        "context_factor": 2,
        "margin": [4, 4, 4],
        "dropout": 0.0,
    }
    outputs = ("parenchyma", "cortex", "abnormality")
    changed = replace(fine, network="MultiResUNet3D", arguments=arguments, outputs=outputs, box=(32, 32, 32))
    return replace(tiny, networks={**tiny.networks, "fine": changed})


def _trainer(recipe: EmbeddedConfig) -> Trainer:
    part = recipe.networks["fine"]
    pools = [SamplePool(2, part.box, 3, False, CPU) for _ in range(2)]
    for pool in pools:
        for seed in (1, 2):
            for sample in BallsWithLesions()(seed):
                pool.add(sample)
    return Trainer("fine", part, 1, CPU, *pools)


def test_a_batch_is_as_wide_as_the_network_sees(wide: EmbeddedConfig) -> None:
    part = wide.networks["fine"]
    assert (part.margin, part.seen) == ((4, 4, 4), (24, 24, 24))
    assert replace(part, arguments={"margin": 8}).margin == (8, 8, 8)
    assert replace(part, arguments={}).seen == part.patch
    trainer = _trainer(wide)
    image, targets, _ = trainer.batch()
    assert image.shape == (2, 1, 24, 24, 24)
    assert targets.shape == (2, 3, 24, 24, 24)
    trainer.network.train()
    fine, context = trainer.network(image)
    assert fine.shape == (2, 3, 16, 16, 16)
    assert context.shape == (2, 3, 12, 12, 12)


@pytest.mark.parametrize(("shown", "weight"), [(0.0, 0.25), (1.0, 1.0)])
def test_cortex_that_a_phase_hides_counts_less(wide: EmbeddedConfig, shown: float, weight: float) -> None:
    assert _trainer(wide).batch()[2] is None  # All alike, unless the recipe says otherwise.
    part = replace(wide.networks["fine"], hidden_cortex_weight=0.25)
    pool = SamplePool(2, part.box, 3, False, CPU)
    for sample in BallsWithLesions()(1):
        pool.add(replace(sample, cortex_weight=shown))
    weights = Trainer("fine", part, 1, CPU, pool, pool).batch()[2]
    assert weights is not None
    assert weights.tolist() == [[1.0, weight, 1.0]] * 2


def test_the_loss_is_that_of_the_patch_and_a_share_of_the_contexts(wide: EmbeddedConfig) -> None:
    trainer = _trainer(wide)
    targets = torch.rand(2, 3, 24, 24, 24)
    fine, context = torch.randn(2, 3, 16, 16, 16), torch.randn(2, 3, 12, 12, 12)
    alone = float(sigmoid_loss(fine, targets[:, :, 4:-4, 4:-4, 4:-4]))
    assert float(trainer.loss(fine, targets, None)) == pytest.approx(alone, rel=1e-5)
    around = float(sigmoid_loss(context, average_pool(targets, (12, 12, 12))))
    both = float(trainer.loss([fine, context], targets, None))
    assert both == pytest.approx(alone + 0.3 * around, rel=1e-5)


def test_validation_looks_at_the_patch_alone(wide: EmbeddedConfig) -> None:
    trainer = _trainer(wide)
    scores = trainer.validate()
    assert len(scores.dice) == 3
    assert 0 <= scores.dice[0] <= 1


def test_a_run_becomes_a_bundle_that_shows_lesions_on_request(wide: EmbeddedConfig, tmp_path) -> None:
    train_network("fine", wide, tmp_path / "fine", device="cpu", workers=0, source=BallsWithLesions())
    export_bundle(tmp_path / "fine", tmp_path / "bundle", config=wide)
    bundle = read_bundle(tmp_path / "bundle")
    assert (bundle.network, bundle.margin, bundle.patch_size) == ("MultiResUNet3D", (4, 4, 4), (16, 16, 16))
    assert bundle.outputs == ("parenchyma", "cortex", "abnormality")
    assert bundle.lesions == LesionsOnRequest(15.0)


@pytest.mark.parametrize("size", [(4, 6, 8), (2, 2, 2)])
def test_the_centre_of_a_volume(size: tuple[int, int, int]) -> None:
    volume = torch.arange(4 * 6 * 8).view(1, 1, 4, 6, 8)
    found = centre(volume, size)
    z, y, x = ((n - s) // 2 for n, s in zip((4, 6, 8), size, strict=True))
    assert torch.equal(found, volume[:, :, z : z + size[0], y : y + size[1], x : x + size[2]])


@pytest.mark.parametrize("size", [(3, 6, 8), (4, 6, 10)])
def test_a_centre_that_is_none_is_refused(size: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match="less an even margin"):
        centre(torch.zeros(1, 1, 4, 6, 8), size)


def test_lesions_are_put_into_kidneys_where_targets_have_a_channel_for_them() -> None:
    kept = replace(AugmentSettings().for_validation(), lesions=LesionSettings(implant_probability=1.0))
    normalisation = Normalisation(-250.0, 500.0, 50.0, 150.0)
    targets = torch.zeros(1, 3, 24, 24, 24)
    targets[:, 0, 6:18, 6:18, 6:18] = 1
    targets[:, 1, 6:18, 6:18, 6:9] = 1
    hu = torch.where(targets[:, :1] > 0, 150.0, -90.0)

    def made(settings: AugmentSettings, channels: int) -> torch.Tensor:
        generator = torch.Generator().manual_seed(4)
        return augment(hu, targets[:, :channels], (24, 24, 24), settings, normalisation, True, generator)[1]

    with_lesion = made(kept, 3)
    lesion = with_lesion[:, 2] > 0.9
    assert lesion.sum() > 20
    assert (with_lesion[:, :2][:, :, lesion[0]] < 0.11).all()
    assert not made(kept, 2).shape[1] > 2
    assert not (made(kept.for_validation(), 3)[:, 2] > 0).any()


@pytest.mark.parametrize("axis", [2, 3, 4])
def test_a_matrix_along_an_axis_is_the_plain_sum(axis: int) -> None:
    generator = torch.Generator().manual_seed(axis)
    volume = torch.rand(2, 3, 4, 5, 6, generator=generator)
    matrices = torch.rand(2, 7, volume.shape[axis], generator=generator)
    letters = "zyx"[axis - 2]
    expected = torch.einsum(f"no{letters},nczyx->nc{'zyx'.replace(letters, 'o')}", matrices, volume)
    torch.testing.assert_close(apply_along(volume, matrices, axis), expected)


class Counter:
    """Counts up, slowly; fails at a number."""

    def __init__(self, fails_at: int = -1) -> None:
        self.made, self.fails_at = 0, fails_at

    def __call__(self) -> int:
        self.made += 1
        if self.made == self.fails_at:
            raise RuntimeError("no more")
        return self.made


def test_items_come_in_order_and_one_is_made_ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ahead.os, "cpu_count", lambda: 2)
    counter, threads = Counter(), torch.get_num_threads()
    with Ahead(counter) as items:
        assert [items.take() for _ in range(3)] == [1, 2, 3]
        until = time.monotonic() + 10
        while counter.made < 4 and time.monotonic() < until:
            time.sleep(0.01)
        assert counter.made == 4
    assert torch.get_num_threads() == threads


@pytest.mark.parametrize(("cores", "enabled"), [(1, True), (2, False)])
def test_with_one_core_nothing_is_made_ahead(monkeypatch: pytest.MonkeyPatch, cores: int, enabled: bool) -> None:
    monkeypatch.setattr(ahead.os, "cpu_count", lambda: cores)
    counter = Counter()
    with Ahead(counter, enabled) as items:
        assert [items.take(), items.take(), counter.made] == [1, 2, 2]


def test_what_goes_wrong_ahead_is_raised_when_it_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ahead.os, "cpu_count", lambda: 2)
    with Ahead(Counter(fails_at=2)) as items:
        assert items.take() == 1
        with pytest.raises(RuntimeError, match="no more"):
            items.take()
