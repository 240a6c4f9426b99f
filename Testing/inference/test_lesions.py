"""A lesion network beside the fine one: what it finds abnormal is no parenchyma."""

from __future__ import annotations

from pathlib import Path

import analytic_bundles as a
import numpy as np
import pytest
import SimpleITK as sitk

from KidneySegLib.errors import ModelError
from KidneySegLib.inference import Engine
from KidneySegLib.inference.labelling import training_labels
from KidneySegLib.inference.lesions import as_pass, shows_contrast, with_lesions, without_small
from KidneySegLib.labels import ABNORMALITY_LABEL, TrainingLabel
from KidneySegLib.models import Bundle, find_lesion_model, read_bundle, write_bundle
from KidneySegLib.models.bundle import LesionModel

KIDNEY = (12.0, -19.0, 28.0)
LESION = (20.0, -15.0, 33.0)


@pytest.fixture
def pair(tmp_path: Path) -> Bundle:
    a.write_lesion_model(tmp_path / "lesions")
    return a.write_fine(tmp_path / "fine", lesions=LesionModel("lesions"))


def scan(spacing_mm: float = 1.0) -> sitk.Image:
    """A kidney of 150 HU with a core of 300 HU and a lesion of 480 HU at its side, in soft tissue."""
    size = [round(n / spacing_mm) for n in (72, 60, 60)]
    image = a.image_of(np.full(size, 40, np.int16), (spacing_mm,) * 3)
    image = a.paint(image, KIDNEY, (14.0, 16.0, 20.0), 150)
    image = a.paint(image, KIDNEY, (8.0, 9.0, 12.0), 300)
    return a.paint(image, LESION, (7.0, 8.0, 9.0), 480)


def test_probabilities_of_both_become_one() -> None:
    fine, lesions = a.spec(lesions=LesionModel("x", 0.25)), a.spec(outputs=a.LESION_OUTPUTS, activation="softmax")
    # Four voxels: both say parenchyma; only the fine one; the other says abnormal; both say nothing.
    values = np.array([[0.9, 0.8, 0.8, 0.1], [0.7, 0.1, 0.6, 0.0]], np.float32)[:, :, None, None]
    found = np.array([[0.1, 0.9, 0.1, 0.9], [0.9, 0.1, 0.2, 0.1], [0.0, 0.0, 0.7, 0.0]], np.float32)
    together = with_lesions(values, fine, found[:, :, None, None], lesions)
    assert fine.finds == ("parenchyma", "cortex", "abnormality")
    expected = [[0.9, 0.625, 0.65, 0.1], [0.7, 0.1, 0.6, 0.0], [0.0, 0.0, 0.7, 0.0]]
    np.testing.assert_allclose(together[:, :, 0, 0], expected, atol=1e-6)
    np.testing.assert_allclose(
        as_pass(values, fine, found[:, :, None, None], lesions)[:, :, 0, 0],
        [[0.9, 0.1, 0.2, 0.1], [0.7, 0.1, 0.2, 0.0]],
    )
    labels = training_labels(fine)(together)[:, 0, 0]
    assert labels.tolist() == [TrainingLabel.CORTEX, TrainingLabel.MEDULLA, ABNORMALITY_LABEL, 0]


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


def test_a_scan_without_contrast_medium_has_the_fine_networks_word(tmp_path: Path) -> None:
    # Lines of both networks lie 100 HU lower, so that a scan without contrast medium has kidneys and a lesion.
    lines = [a.threshold_line(0.0), a.threshold_line(100.0)]
    dark = [(0.0, 0.0), a.threshold_line(0.0), a.threshold_line(75.0, 2 * a.STEEP)]
    arguments = {"in_channels": 1, "out_channels": 3, "features": [2, 2]}
    lesions = a.spec("lesions", network_arguments=arguments, outputs=a.LESION_OUTPUTS, activation="softmax")
    write_bundle(tmp_path / "lesions", lesions, a.pointwise_state(dark))
    names = LesionModel("lesions")
    fine = write_bundle(tmp_path / "fine", a.spec("fine", lesions=names), a.pointwise_state(lines))
    image = a.image_of(np.full((72, 60, 60), -80, np.int16), (1.0, 1.0, 1.0))
    image = a.paint(a.paint(image, KIDNEY, (14.0, 16.0, 20.0), 40), LESION, (7.0, 8.0, 9.0), 190)
    found = sitk.GetArrayFromImage(Engine(fine, device="cpu", precision="float32", find_lesions=True).run(image).labels)
    assert not (found == ABNORMALITY_LABEL).any()
    assert (found == TrainingLabel.CORTEX).sum() == (sitk.GetArrayViewFromImage(image) == 190).sum()


def test_abnormalities_without_room_for_a_ball_are_left_out() -> None:
    spec = a.spec(lesions=LesionModel("x", least_mm=5.0))
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


def test_what_is_abnormal_is_no_parenchyma(pair: Bundle) -> None:
    image = scan()
    hu = sitk.GetArrayViewFromImage(image)
    both = Engine(pair, device="cpu", precision="float32", find_lesions=True).run(image)
    alone = Engine(pair, device="cpu", precision="float32").run(image)
    x, y, z = both.index
    place = tuple(slice(i, i + n) for i, n in zip((z, y, x), reversed(both.labels.GetSize()), strict=True))
    labels, raw_hu = sitk.GetArrayViewFromImage(both.labels), hu[place]
    for value, label in ((480, ABNORMALITY_LABEL), (300, TrainingLabel.CORTEX), (150, TrainingLabel.MEDULLA), (40, 0)):
        assert (raw_hu == value).sum() > 500
        np.testing.assert_array_equal(labels[raw_hu == value], label)
    assert both.raw_names[ABNORMALITY_LABEL] == "abnormality"
    assert not (sitk.GetArrayViewFromImage(alone.labels) == ABNORMALITY_LABEL).any()
    assert ABNORMALITY_LABEL not in alone.raw_names


@pytest.mark.parametrize("margin", [(4, 4, 4), (24, 16, 8)])
def test_a_wide_view_changes_nothing_for_a_network_that_looks_at_single_voxels(
    tmp_path: Path, margin: tuple[int, int, int]
) -> None:
    found = []
    for number, sides in enumerate(((0, 0, 0), margin)):
        folder = tmp_path / str(number)
        arguments = {"in_channels": 1, "out_channels": 3, "features": [2, 2, 2, 2], "context_features": [2, 2]}
        if any(sides):
            from KidneySegLib.networks import build_network

            network = build_network("MultiResUNet3D", {**arguments, "margin": sides})
            state = {name: value * 0 for name, value in network.state_dict().items()}
            state["head.bias"][0] = 5.0
            spec = a.spec(
                "lesions",
                network="MultiResUNet3D",
                network_arguments={**arguments, "margin": sides},
                outputs=a.LESION_OUTPUTS,
                activation="softmax",
                margin=sides,
                size_multiple=(8, 8, 8),
                patch_size=(48, 32, 32),
            )
            write_bundle(folder / "lesions", spec, state)
        else:
            lines = [(0.0, 5.0), (0.0, 0.0), (0.0, 0.0)]
            plain = {"in_channels": 1, "out_channels": 3, "features": [2, 2]}
            spec = a.spec("lesions", network_arguments=plain, outputs=a.LESION_OUTPUTS, activation="softmax")
            write_bundle(folder / "lesions", spec, a.pointwise_state(lines))
        fine = a.write_fine(folder / "fine", lesions=LesionModel("lesions"))
        result = Engine(fine, device="cpu", precision="float32", find_lesions=True).run(scan())
        found.append((result.index, sitk.GetArrayFromImage(result.labels)))
    assert found[0][0] == found[1][0]
    np.testing.assert_array_equal(found[0][1], found[1][1])


def test_evidence_holds_what_the_lesion_network_says(pair: Bundle) -> None:
    from dataclasses import replace

    from KidneySegLib.inference.evidence import CALIBRATION_KEY, FULL_PROBABILITY

    known = replace(pair, metrics={CALIBRATION_KEY: {}}, mirror_axes=(2,))
    result = Engine(known, device="cpu", precision="float32", mirror="on", find_lesions=True).run(scan())
    assert result.evidence is not None
    plain, mirrored, other = result.evidence[0].passes[:, 0]
    np.testing.assert_allclose(plain, mirrored, atol=1)
    # Of the lesion the fine network says parenchyma, and the other does not.
    differs = (plain == FULL_PROBABILITY) & (other == 0)
    assert differs.sum() == (sitk.GetArrayViewFromImage(scan()) == 480).sum()
    np.testing.assert_allclose(plain[~differs], other[~differs], atol=1)


def test_the_manifest_names_the_lesion_model(pair: Bundle) -> None:
    assert read_bundle(pair.path).lesions == LesionModel("lesions", 0.45)
    assert find_lesion_model(pair).outputs == a.LESION_OUTPUTS
    assert find_lesion_model(a.write_fine(pair.path.parent / "none")) is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"outputs": ("parenchyma", "cortex", "cyst"), "lesions": LesionModel("x")}, "finds lesions itself"),
        (
            {"outputs": a.LESION_OUTPUTS, "activation": "softmax", "lesions": LesionModel("x")},
            "must be a sigmoid network",
        ),
    ],
)
def test_models_that_need_no_lesion_model_have_none(tmp_path: Path, changes: dict, message: str) -> None:
    count = len(changes["outputs"])
    arguments = {"in_channels": 1, "out_channels": count, "features": [2, 2]}
    spec = a.spec(network_arguments=arguments, **changes)
    with pytest.raises(ModelError, match=message):
        write_bundle(tmp_path / "wrong", spec, a.pointwise_state([(0.0, 0.0)] * count))


def test_a_lesion_model_must_fit(tmp_path: Path) -> None:
    fine = a.write_fine(tmp_path / "fine", lesions=LesionModel("lesions"))
    with pytest.raises(ModelError, match="No model is called 'lesions'"):
        Engine(fine, find_lesions=True)
    a.write_fine(tmp_path / "lesions")
    with pytest.raises(ModelError, match="finds parenchyma, cortex"):
        Engine(fine, find_lesions=True)
    a.write_lesion_model(tmp_path / "coarse", spacing_mm=(2.0, 2.0, 2.0))
    with pytest.raises(ModelError, match="voxels of 1 x 1 x 1 mm"):
        Engine(a.write_fine(tmp_path / "other", lesions=LesionModel("coarse")), find_lesions=True)


def test_lesions_are_looked_for_only_where_a_model_is_named(tmp_path: Path) -> None:
    fine = a.write_fine(tmp_path / "fine")
    assert Engine(fine).lesions is None
    with pytest.raises(ModelError, match="names no model that does"):
        Engine(fine, find_lesions=True)
    alone = a.write_lesion_model(tmp_path / "lesions")
    assert Engine(alone, find_lesions=True).lesions is None  # It finds them itself.
