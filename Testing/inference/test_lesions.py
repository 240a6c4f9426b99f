"""Cysts and masses that a model shows on request: which of them, and that they are no parenchyma."""

from __future__ import annotations

import json
from pathlib import Path

import analytic_bundles as a
import numpy as np
import pytest
import SimpleITK as sitk

from KidneySegLib.errors import ModelError
from KidneySegLib.inference import Engine
from KidneySegLib.inference.labelling import training_labels
from KidneySegLib.inference.lesions import (
    SUSPECTED,
    lie_at_parenchyma,
    shows_contrast,
    without_lesions,
    without_small,
    worth_showing,
)
from KidneySegLib.labels import ABNORMALITY_LABEL, TrainingLabel
from KidneySegLib.models import Bundle, read_bundle, write_bundle
from KidneySegLib.models.bundle import LesionsOnRequest

KIDNEY = (12.0, -19.0, 28.0)
LESION = (20.0, -15.0, 33.0)


@pytest.fixture
def fine(tmp_path: Path) -> Bundle:
    return a.write_fine_with_lesions(tmp_path / "fine")


def scan() -> sitk.Image:
    """A kidney of 150 HU with a core of 300 HU and a lesion of 480 HU at its side, in soft tissue."""
    image = a.image_of(np.full((72, 60, 60), 40, np.int16), (1.0, 1.0, 1.0))
    image = a.paint(image, KIDNEY, (14.0, 16.0, 20.0), 150)
    image = a.paint(image, KIDNEY, (8.0, 9.0, 12.0), 300)
    return a.paint(image, LESION, (7.0, 8.0, 9.0), 480)


def found_in(engine: Engine, image: sitk.Image) -> tuple[np.ndarray, np.ndarray]:
    """Labels of a result, and the HU under them."""
    result = engine.run(image)
    x, y, z = result.index
    place = tuple(slice(i, i + n) for i, n in zip((z, y, x), reversed(result.labels.GetSize()), strict=True))
    return sitk.GetArrayFromImage(result.labels), sitk.GetArrayViewFromImage(image)[place]


@pytest.mark.parametrize(("hu", "shown"), [(40.0, False), (59.0, False), (61.0, True), (180.0, True)])
def test_contrast_medium_shows_in_the_middle_of_the_parenchyma(hu: float, shown: bool) -> None:
    spec = a.spec()
    n = spec.normalisation
    volume = np.full((4, 4, 4), (300.0 - n.mean_hu) / n.standard_deviation_hu, np.float32)
    volume[:2] = (hu - n.mean_hu) / n.standard_deviation_hu
    values = np.zeros((2, 4, 4, 4), np.float32)
    assert shows_contrast(volume, values, spec)  # Nothing was found.
    values[0, :2] = 0.9
    values[0, 2, 0, 0] = 0.9
    assert shows_contrast(volume, values, spec) is shown


def test_a_scan_without_contrast_medium_shows_no_lesions(tmp_path: Path) -> None:
    # All limits lie 100 HU lower, so that a scan without contrast medium has kidneys and a lesion.
    fine = a.write_fine_with_lesions(tmp_path / "fine", darker_hu=100.0)
    empty = a.image_of(np.full((72, 60, 60), -80, np.int16), (1.0, 1.0, 1.0))
    for kidney_hu, shown in ((40, False), (150, True)):
        scanned = a.paint(a.paint(empty, KIDNEY, (14.0, 16.0, 20.0), kidney_hu), LESION, (7.0, 8.0, 9.0), 380)
        labels, hu = found_in(Engine(fine, device="cpu", precision="float32", find_lesions=True), scanned)
        assert (labels == ABNORMALITY_LABEL).any() == shown
        np.testing.assert_array_equal(labels[hu == 380] == ABNORMALITY_LABEL, shown)
        assert (labels[hu == kidney_hu] > 0).all()


def test_abnormalities_without_room_for_a_ball_are_left_out() -> None:
    spec = a.spec(outputs=a.LESION_OUTPUTS, lesions=LesionsOnRequest(least_mm=5.0))
    values = np.zeros((3, 20, 20, 30), np.float32)
    values[0] = 0.6
    values[2, 2:7, 2:7, 2:7] = 0.9  # 5 mm wide: as wide as wanted.
    values[2, 10:20, 2:6, 2:18] = 0.9  # Large, but 4 mm thin.
    values[2, 15:20, 15:20, 25:30] = 0.9  # At the edge, 5 mm wide.
    labels = training_labels(spec)(without_small(values, spec))
    kept = np.argwhere(labels == ABNORMALITY_LABEL)
    assert len(kept) == 2 * 5**3
    assert (labels[10:20, 2:6, 2:18] == TrainingLabel.MEDULLA).all()
    assert not (training_labels(spec)(without_small(np.zeros_like(values), spec))).any()


def test_smaller_abnormalities_count_where_the_network_is_sure() -> None:
    spec = a.spec(outputs=a.LESION_OUTPUTS, lesions=LesionsOnRequest(7.0, 5.0, 0.8))
    values = np.zeros((3, 20, 20, 30), np.float32)
    values[2, 2:7, 2:7, 2:7] = 0.9  # 5 mm wide, and sure.
    values[2, 10:15, 10:15, 2:7] = 0.75  # As wide, and doubtful.
    values[2, 2:6, 10:14, 20:24] = 0.9  # Sure, and too small for all that.
    values[2, 10:17, 10:17, 20:27] = 0.6  # Doubtful, and large enough.
    kept = without_small(values, spec)[2] > 0
    assert kept[4, 4, 4]
    assert kept[12, 12, 22]
    assert np.count_nonzero(kept) == 5**3 + 7**3


def test_the_rules_are_one_after_the_other() -> None:
    spec = a.spec(outputs=a.LESION_OUTPUTS, lesions=LesionsOnRequest(least_mm=3.0))
    n = spec.normalisation
    values = np.zeros((3, 8, 8, 8), np.float32)
    values[0] = 0.6
    values[2, :4, :4, :4], values[2, 6, 6, 6] = 0.9, 0.9
    for hu, count in ((150.0, 64), (40.0, 0)):
        volume = np.full((8, 8, 8), (hu - n.mean_hu) / n.standard_deviation_hu, np.float32)
        shown = worth_showing(values.copy(), volume, spec)
        assert (shown[2] > 0).sum() == count
        np.testing.assert_array_equal(shown[:2], values[:2])


def test_what_is_abnormal_is_no_parenchyma(fine: Bundle) -> None:
    labels, hu = found_in(Engine(fine, device="cpu", precision="float32", find_lesions=True), scan())
    for value, label in ((480, ABNORMALITY_LABEL), (300, TrainingLabel.CORTEX), (150, TrainingLabel.MEDULLA), (40, 0)):
        assert (hu == value).sum() > 500
        np.testing.assert_array_equal(labels[hu == value], label)


def test_lesions_are_shown_on_request_only(fine: Bundle) -> None:
    quiet, asked = (
        Engine(fine, device="cpu", precision="float32", find_lesions=wish).run(scan()) for wish in (False, True)
    )
    assert asked.raw_names[ABNORMALITY_LABEL] == "abnormality"
    assert ABNORMALITY_LABEL not in quiet.raw_names
    assert not (sitk.GetArrayViewFromImage(quiet.labels) == ABNORMALITY_LABEL).any()
    assert (quiet.flags, asked.flags) == ((SUSPECTED,), ())
    # What is not shown is no parenchyma either.
    for label in (TrainingLabel.MEDULLA, TrainingLabel.CORTEX):
        counts = [(sitk.GetArrayViewFromImage(result.labels) == label).sum() for result in (quiet, asked)]
        assert counts[0] == counts[1] > 500
    assert not without_lesions(fine).finds_lesions
    shown = a.write_fine_with_lesions(fine.path.parent / "shown", lesions=None)
    assert without_lesions(shown) is shown
    engine = Engine(shown, device="cpu", precision="float32")
    assert engine.shown.finds_lesions
    assert (sitk.GetArrayViewFromImage(engine.run(scan()).labels) == ABNORMALITY_LABEL).any()


def test_what_lies_elsewhere_is_not_suspected() -> None:
    labels = np.zeros((12, 12, 12), np.uint8)
    assert not lie_at_parenchyma(labels)
    labels[:4, :4, :4] = TrainingLabel.CORTEX
    labels[8:, 8:, 8:] = ABNORMALITY_LABEL
    assert not lie_at_parenchyma(labels)
    labels[5, 2, 2] = ABNORMALITY_LABEL
    assert lie_at_parenchyma(labels)


def test_evidence_of_a_network_with_lesions_is_that_of_its_parenchyma_and_cortex(fine: Bundle) -> None:
    from dataclasses import replace

    from KidneySegLib.inference.evidence import CALIBRATION_KEY

    known = replace(fine, metrics={CALIBRATION_KEY: {}}, mirror_axes=(2,))
    for wish in (False, True):
        result = Engine(known, device="cpu", precision="float32", mirror="on", find_lesions=wish).run(scan())
        assert result.evidence is not None
        passes = result.evidence[0].passes
        assert passes.shape[:2] == (2, 2)
        np.testing.assert_allclose(passes[0], passes[1], atol=1)


def test_the_manifest_says_which_lesions_are_shown(tmp_path: Path, fine: Bundle) -> None:
    assert read_bundle(fine.path).lesions == LesionsOnRequest(10.0)
    assert json.loads((fine.path / "model.json").read_text(encoding="utf-8"))["lesions"] == {"least_mm": 10.0}
    limits = LesionsOnRequest(15.0, 8.0, 0.8)
    assert a.write_fine_with_lesions(tmp_path / "sure", lesions=limits).lesions == limits
    assert a.write_fine(tmp_path / "none").lesions is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"outputs": ("parenchyma", "cortex", "cyst")}, "last output is abnormality"),
        ({"outputs": ("parenchyma", "abnormality", "cortex")}, "last output is abnormality"),
        ({"outputs": ("background", "parenchyma", "abnormality"), "activation": "softmax"}, "must be a sigmoid"),
    ],
)
def test_only_a_sigmoid_network_whose_last_output_is_abnormality_shows_lesions_on_request(
    tmp_path: Path, changes: dict, message: str
) -> None:
    count = len(changes["outputs"])
    arguments = {"in_channels": 1, "out_channels": count, "features": [2, 2]}
    spec = a.spec(network_arguments=arguments, lesions=LesionsOnRequest(), **changes)
    with pytest.raises(ModelError, match=message):
        write_bundle(tmp_path / "wrong", spec, a.pointwise_state([(0.0, 0.0)] * count))


def test_a_model_without_lesions_cannot_be_asked_for_them(tmp_path: Path) -> None:
    plain = a.write_fine(tmp_path / "fine")
    assert not Engine(plain).shown.finds_lesions
    with pytest.raises(ModelError, match="finds no cysts and masses"):
        Engine(plain, find_lesions=True)


@pytest.mark.parametrize("margin", [(4, 4, 4), (24, 16, 8)])
def test_a_wide_view_changes_nothing_for_a_network_that_looks_at_single_voxels(
    tmp_path: Path, margin: tuple[int, int, int]
) -> None:
    from KidneySegLib.networks import build_network

    found = []
    for number, sides in enumerate(((0, 0, 0), margin)):
        arguments = {"in_channels": 1, "out_channels": 2, "features": [2, 2, 2, 2], "margin": sides}
        arguments["context_features"] = [2, 2] if any(sides) else []
        network = build_network("MultiResUNet3D", {**arguments, "normalisation": "none", "activation": "relu"})
        given = a.pointwise_state([a.threshold_line(a.PARENCHYMA_HU), a.threshold_line(a.CORTEX_HU)], (2, 2, 2, 2))
        state = {name: given.get(name, value * 0) for name, value in network.state_dict().items()}
        # Where the context joins, the plain network's weights see nothing of it.
        state = {
            n: v if v.shape == network.state_dict()[n].shape else network.state_dict()[n] * 0 for n, v in state.items()
        }
        spec = a.spec(
            "fine",
            network="MultiResUNet3D",
            network_arguments={**arguments, "normalisation": "none", "activation": "relu"},
            margin=sides,
            size_multiple=(8, 8, 8),
            patch_size=(48, 32, 32),
        )
        bundle = write_bundle(tmp_path / str(number), spec, state)
        result = Engine(bundle, device="cpu", precision="float32").run(scan())
        found.append((result.index, sitk.GetArrayFromImage(result.labels)))
    assert found[0][0] == found[1][0]
    assert (found[0][1] == TrainingLabel.CORTEX).any()
    np.testing.assert_array_equal(found[0][1], found[1][1])
