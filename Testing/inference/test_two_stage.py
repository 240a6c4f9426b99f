"""The two stages on a scan with networks whose answers are known: mask, masked background, slabs, sides' input."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

sitk = pytest.importorskip("SimpleITK")

from KidneySegLib.errors import ModelError  # noqa: E402
from KidneySegLib.flags import FLAGS  # noqa: E402
from KidneySegLib.inference.engine import StageClock  # noqa: E402
from KidneySegLib.inference.two_stage import find_two_stage, first_stage, lesion_flags, second_stage  # noqa: E402
from KidneySegLib.inference.two_stage_mask import dilated  # noqa: E402
from KidneySegLib.labels import TrainingLabel  # noqa: E402
from KidneySegLib.models.bundle import BundleSpec, Normalisation  # noqa: E402
from KidneySegLib.models.form import Form  # noqa: E402
from KidneySegLib.models.manifest import check_spec  # noqa: E402
from KidneySegLib.models.two_stage import TwoStageRecord, read_two_stage  # noqa: E402
from KidneySegLib.progress import Progress  # noqa: E402

RECORD = TwoStageRecord("VNet2D3D", {}, 2, 4, 2, (10.0, 4.0, 4.0))
SPEC = BundleSpec(
    name="known",
    version="1",
    title="known",
    licence="Apache-2.0",
    citation="",
    intended_use="test",
    network="UNetPlusPlus",
    network_arguments={"in_channels": 3},
    spacing_mm=(5.0, 2.0, 2.0),
    patch_size=(1, 32, 32),
    size_multiple=(1, 16, 16),
    normalisation=Normalisation(-200.0, 400.0, 0.0, 100.0),
    outputs=("background", "parenchyma", "mass"),
    activation="softmax",
    two_stage=RECORD,
)


class Known:
    """Stage 1 calls everything above 100 HU foreground; stage 2 everything kidney, above 250 HU mass."""

    bundle = SPEC

    def __init__(self, mirror_axes: tuple[int, ...] = ()) -> None:
        self.mirror_axes = mirror_axes
        self.seen: list[np.ndarray] = []

    def first(self, slab: np.ndarray) -> np.ndarray:
        return np.concatenate([-20 * (slab - 1.0), 20 * (slab - 1.0)], axis=1)

    def second(self, given: np.ndarray) -> np.ndarray:
        self.seen.append(given)
        zero = np.zeros_like(given[:, :1])
        return np.concatenate([zero - 20, zero, 20 * (given[:, 1:2] - 2.5)], axis=1)


def scan() -> sitk.Image:
    array = np.full((12, 64, 64), -100, np.int16)
    array[4:8, 20:32, 20:32] = 200
    array[4:8, 20:32, 26:32] = 300
    image = sitk.GetImageFromArray(array)
    image.SetSpacing((2.0, 2.0, 5.0))
    return image


def test_dilation_is_in_mm_along_each_axis_and_nothing_of_nothing() -> None:
    point = np.zeros((9, 9, 9), bool)
    point[4, 4, 4] = True
    found = dilated(point, (10.0, 4.0, 4.0), (5.0, 2.0, 2.0))
    assert found[:, 4, 4].tolist() == [False, False, *[True] * 5, False, False]
    assert found[4, :, 4].tolist() == found[4, 4, :].tolist() == found[:, 4, 4].tolist()
    assert not found[6, 6, 4]
    assert not dilated(np.zeros((2, 2, 2), bool), (1, 1, 1), (1, 1, 1)).any()


def test_labels_lie_where_the_networks_say_and_only_inside_of_the_mask() -> None:
    networks, image = Known(), scan()
    found = find_two_stage(networks, image, StageClock().timed, Progress())  # type: ignore[arg-type]
    labels, index = found.labels, found.index
    whole = np.zeros((12, 64, 64), np.uint8)
    x, y, z = index
    array = sitk.GetArrayFromImage(labels)
    whole[z : z + array.shape[0], y : y + array.shape[1], x : x + array.shape[2]] = array
    assert (whole[5, 20:32, 20:25] == 1).all()
    assert (whole[5, 20:32, 27:31] == 4).all()
    # Stage 2 calls all that it sees kidney: what is background is so because of the mask (two pixels, two slices).
    assert whole[5, 26, 18:20].all()
    assert not whole[5, 26, :16].any()
    assert whole[2:10].any(axis=(1, 2)).all()
    assert not whole[:2].any()
    assert labels.TransformIndexToPhysicalPoint((0, 0, 0)) == pytest.approx(image.TransformIndexToPhysicalPoint(index))


@pytest.mark.parametrize("axes", [(), (2,), (0, 2)])
def test_each_look_of_both_stages_says_where_the_kidney_is(axes: tuple[int, ...]) -> None:
    found = find_two_stage(Known(axes), scan(), StageClock().timed, Progress())  # type: ignore[arg-type]
    assert found.kidney is not None
    passes, looks = found.kidney.passes, 2 ** len(axes)
    assert passes.shape == (2 * looks, 1, *found.kidney.box.shape)
    first, second = passes[:looks, 0], passes[looks:, 0]
    # Stage 1 sees the kidney, 4 x 12 x 12 voxels; stage 2 calls all of the mask kidney, in the same places each time.
    where = tuple(s.start for s in found.kidney.box.slices)
    for look in first:
        assert np.argwhere(look > 127).min(axis=0).tolist() == [4 - where[0], 20 - where[1], 20 - where[2]]
        assert np.count_nonzero(look > 127) == 4 * 12 * 12
    assert (second == second[0]).all()
    assert set(np.unique(second)) == {0, 255}
    assert ((first > 127).any(axis=0) <= (second[0] > 127)).all()


def test_each_slice_is_paired_with_its_own_mask_and_the_formula_holds() -> None:
    networks = Known()
    find_two_stage(networks, scan(), StageClock().timed, Progress())  # type: ignore[arg-type]
    for given in networks.seen:
        assert given.shape[2] % 16 == given.shape[3] % 16 == 0
        assert np.allclose(given[:, 0] + given[:, 2], given[:, 1], atol=1e-5)
    kidney_slices = [float(given[:, 1].max()) for given in networks.seen]
    assert kidney_slices == pytest.approx([-1, -1, 3, 3, 3, 3, -1, -1]) or max(kidney_slices[2:6]) == 3


def test_a_network_of_more_channels_sees_the_slices_round_its_own_as_in_training() -> None:
    torch = pytest.importorskip("torch")
    from KidneySegLib.training.two_stage.slabs import second_input, with_neighbours

    random = np.random.default_rng(0)
    volume, y1 = random.normal(size=(2, 5, 16, 32)).astype(np.float32)
    mask = random.random((5, 16, 32)) < 0.5
    networks = Known()
    networks.bundle = replace(SPEC, network_arguments={"in_channels": 15})
    second_stage(networks, volume, y1, mask, lambda _: None)  # type: ignore[arg-type]
    parts = [with_neighbours(torch.from_numpy(a.astype(np.float32)), 2) for a in (volume, y1, mask)]
    assert np.allclose(np.concatenate(networks.seen), second_input(*parts).numpy(), atol=1e-6)


@pytest.mark.parametrize("arguments", [{}, {"in_channels": 6}, {"in_channels": 4}, {"in_channels": "3"}])
def test_a_model_that_sees_no_middle_slice_is_refused(arguments: dict[str, object]) -> None:
    check_spec(SPEC, "here")
    with pytest.raises(ModelError, match="odd number of slices"):
        check_spec(replace(SPEC, network_arguments=arguments), "here")


def test_the_mask_holds_all_that_the_first_stage_finds_likely_enough() -> None:
    def masked(probability: float) -> int:
        networks = Known()
        networks.bundle = replace(SPEC, two_stage=replace(RECORD, foreground_probability=probability))
        labels = find_two_stage(networks, scan(), StageClock().timed, Progress()).labels  # type: ignore[arg-type]
        return int((sitk.GetArrayViewFromImage(labels) > 0).sum())

    # Stage 1 has a logit of -80 outside of the kidney and of 40 and more in it, but for the pixels between them.
    assert masked(0.9) <= masked(0.5) < masked(1e-30)


def test_a_record_comes_back_and_one_that_says_nothing_of_the_probability_means_a_half() -> None:
    record = replace(RECORD, foreground_probability=0.15)
    content = record.content()
    assert read_two_stage(Form(content, "here", "two_stage.")) == record
    del content["foreground_probability"]
    assert read_two_stage(Form(content, "here", "two_stage.")).foreground_probability == 0.5
    with pytest.raises(ModelError, match="foreground_probability"):
        read_two_stage(Form({**content, "foreground_probability": 1.0}, "here", "two_stage."))


def test_slabs_are_averaged_and_odd_sizes_come_back() -> None:
    volume = np.full((7, 33, 50), 2.0, np.float32)
    y1 = first_stage(SimpleNamespace(bundle=SPEC, first=Known().first), volume, lambda _: None)  # type: ignore[arg-type]
    assert y1.shape == volume.shape
    assert (y1[:, :30, :46] > 0.99).all()


class Sided(Known):
    """Stage 2 calls the left half of what it is given mass, whatever is there, and the rest kidney."""

    def second(self, given: np.ndarray) -> np.ndarray:
        shape = given[:, :1].shape
        left = np.broadcast_to(np.arange(shape[3]) < shape[3] // 2, shape)
        return np.concatenate([np.full(shape, -20), np.zeros(shape), np.where(left, 2.0, -3.0)], axis=1)


def test_mirrored_looks_are_turned_back_and_averaged() -> None:
    def masses(mirror_axes: tuple[int, ...]) -> np.ndarray:
        fractions: list[float] = []
        progress = Progress(lambda event: fractions.append(event.fraction) if event.stage == "network" else None)
        labels = find_two_stage(Sided(mirror_axes), scan(), StageClock().timed, progress).labels  # type: ignore[arg-type]
        assert fractions == sorted(fractions)
        assert fractions[-1] == 1
        return np.asarray(sitk.GetArrayFromImage(labels) == 4)

    plain, mirrored = masses(()), masses((2,))
    half = plain.shape[2] // 2
    assert plain[2, :, : half - 1].any()
    assert not plain[2, :, half + 1 :].any()
    # Each side is mass to one look (0.88) and kidney to the other (0.95): on average kidney, on both sides alike.
    assert not mirrored.any()
    # Symmetric networks find the same in a mirror.
    for axes in ((2,), (0, 1, 2)):
        found = [
            sitk.GetArrayFromImage(find_two_stage(Known(a), scan(), StageClock().timed, Progress()).labels)  # type: ignore[arg-type]
            for a in ((), axes)
        ]
        assert np.array_equal(*found)


@pytest.mark.parametrize(
    ("outputs", "label", "expected"),
    [
        (("background", "parenchyma", "mass"), TrainingLabel.MASS, ("cysts_in_kidney",)),
        (("background", "parenchyma", "cyst", "mass"), TrainingLabel.MASS, ("cyst_or_mass_by_network",)),
        (("background", "parenchyma", "cyst", "mass"), TrainingLabel.CYST, ("cyst_or_mass_by_network",)),
        (("background", "parenchyma", "cyst", "mass"), TrainingLabel.MEDULLA, ()),
    ],
)
def test_what_a_model_knows_of_lesions_is_said(outputs: tuple[str, ...], label: int, expected: tuple[str, ...]) -> None:
    labels = sitk.GetImageFromArray(np.array([[[0, label]]], np.uint8))
    assert lesion_flags(replace(SPEC, outputs=outputs), labels) == expected
    assert set(expected) <= FLAGS.keys()


def test_a_scan_without_a_kidney_gives_an_empty_map() -> None:
    image = sitk.Image(20, 20, 6, sitk.sitkInt16) - 500
    found = find_two_stage(Known(), image, StageClock().timed, Progress())  # type: ignore[arg-type]
    assert not sitk.GetArrayViewFromImage(found.labels).any()
    assert (found.index, found.kidney) == ((0, 0, 0), None)
