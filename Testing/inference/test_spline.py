"""Resampling as weight matrices against nnU-Net's own resampling."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk

from KidneySegLib.inference.nnunet_labels import ids_on_scan, their_ids
from KidneySegLib.inference.nnunet_scan import PreparedScan, Turn, nonzero_box, prepare, turn_of
from KidneySegLib.inference.spline import axis_matrices, new_shape, resize_weights, separate_axis
from KidneySegLib.models.bundle import BundleSpec, Normalisation
from KidneySegLib.models.nnunet_record import NnUnetRecord, Resampling

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    nnunet = pytest.importorskip("nnunetv2.preprocessing.resampling.default_resampling")

#: Shape, spacing, target spacing: both directions, thick slices before and after, on any axis, one coarse, two coarse.
GRIDS = [
    ((20, 30, 25), (1.0, 1.0, 1.0), (1.5, 1.2, 1.7)),
    ((15, 20, 22), (2.0, 2.0, 2.0), (1.0, 1.1, 1.3)),
    ((12, 32, 25), (5.0, 0.7, 0.7), (5.0, 1.5, 1.5)),
    ((11, 30, 23), (5.0, 0.7, 0.7), (2.5, 1.5, 1.5)),
    ((21, 20, 23), (1.0, 1.0, 1.0), (5.0, 1.5, 1.5)),
    ((20, 24, 7), (1.0, 1.0, 4.0), (1.3, 1.2, 3.0)),
    ((20, 20, 20), (0.24, 1.25, 1.25), (1.0, 1.0, 1.0)),
    ((9, 9, 9), (1.0, 1.0, 1.0), (1.0, 1.0, 1.0)),
]


def spec(record: dict[str, Any] | None = None, **changes: Any) -> BundleSpec:
    values: dict[str, Any] = {
        "orientation": "stored",
        "transpose": (0, 1, 2),
        "normalisation": "ct",
        "inside_mask": False,
        "data": Resampling(3),
        "logits": Resampling(1),
        "labels": {0: "background", 1: "kidney", 2: "cortex"},
        "structures": {0: "background", 1: "medulla", 2: "cortex"},
        "channels": (0, 1, 2),
        **(record or {}),
    }
    given: dict[str, Any] = {
        "name": "x",
        "version": "1",
        "title": "t",
        "licence": "l",
        "citation": "",
        "intended_use": "u",
        "network": "PlainConvUNet",
        "network_arguments": {},
        "spacing_mm": (1.5, 1.5, 1.5),
        "patch_size": (16, 16, 16),
        "normalisation": Normalisation(-50.3, 210.6, 90.0, 40.0),
        "outputs": ("background", "medulla", "cortex"),
        "activation": "softmax",
        "flexible_tiles": False,
        "nnunet": NnUnetRecord(**values),
    }
    return BundleSpec(**{**given, **changes})


def image_of(array: np.ndarray, spacing_zyx: tuple[float, ...]) -> sitk.Image:
    image = sitk.GetImageFromArray(array)
    image.SetSpacing(spacing_zyx[::-1])
    return image


@pytest.mark.parametrize(("shape", "spacing", "target"), GRIDS)
@pytest.mark.parametrize("scheme", ["ct", "z_score"])
def test_a_prepared_scan_is_nnunets(shape, spacing, target, scheme):
    hu = np.random.default_rng(0).normal(60, 80, shape).astype(np.int16)
    made = spec({"normalisation": scheme}, spacing_mm=target)
    scan = prepare(image_of(hu, spacing), made, lambda _f: None)
    n = made.normalisation
    values = hu.astype(np.float32)
    if scheme == "ct":
        values = (np.clip(values, n.low_hu, n.high_hu) - n.mean_hu) / n.standard_deviation_hu
    else:
        values = (values - values.mean()) / values.std()
    expected = nnunet.resample_data_or_seg_to_shape(
        values[None].astype(np.float32),
        new_shape(shape, spacing, target),
        spacing,
        target,
        order=3,
        order_z=0,
        force_separate_z=None,
    )[0]
    assert scan.volume.dtype == np.float32
    np.testing.assert_allclose(scan.volume, expected, atol=2e-4)


@pytest.mark.parametrize(("shape", "spacing", "target"), GRIDS)
@pytest.mark.parametrize("regions", [False, True])
def test_labels_brought_back_are_nnunets(shape, spacing, target, regions):
    source = new_shape(shape, spacing, target)
    logits = np.random.default_rng(1).normal(0, 1, (3, *source)).astype(np.float32)
    logits[0] += 1.0
    logits[1:, : source[0] // 2] -= 6.0  # Half of it is background for sure, and is not looked at.
    made = spec(
        {"channels": (2, 1, 2)} if regions else {},
        spacing_mm=target,
        activation="sigmoid" if regions else "softmax",
        outputs=("parenchyma", "cortex") if regions else ("background", "medulla", "cortex"),
    )
    scan = PreparedScan(logits[0], Turn((0, 1, 2), (1, 1, 1)), shape, _box((0, 0, 0), shape), spacing)
    found = ids_on_scan(logits, scan, made, lambda _f: None)
    assert found is not None
    ids = np.zeros(shape, np.uint8)
    ids[found[1].slices] = found[0]
    back = nnunet.resample_data_or_seg_to_shape(
        logits, shape, target, spacing, order=1, order_z=0, force_separate_z=None
    )
    expected = their_ids(made)(back)
    assert (ids != expected).mean() < 1e-3  # Ties, decided by the last bit.


def _box(start, stop):
    from KidneySegLib.inference.grid import Box

    return Box(start, stop)


def test_new_shapes_round_half_to_even_as_nnunet():
    for shape, spacing, target in [*GRIDS, ((5, 5, 5), (1.0, 1.0, 1.0), (2.0, 2.0, 0.4))]:
        assert new_shape(shape, spacing, target) == tuple(nnunet.compute_new_shape(shape, spacing, target))


@pytest.mark.parametrize("force", [None, True, False])
@pytest.mark.parametrize(
    ("spacing", "target"),
    [
        ((5, 1, 1), (1, 1, 1)),
        ((1, 1, 1), (1, 5, 1)),
        ((0.2, 1, 1), (1, 1, 1)),
        ((1, 1, 1), (1, 1, 1)),
        ((3, 1, 1), (3, 1, 1)),
    ],
)
def test_the_coarse_axis_is_nnunets(spacing, target, force):
    separate, axis = nnunet.determine_do_sep_z_and_axis(force, spacing, target)
    assert separate_axis(Resampling(3, 0, force), spacing, target) == (axis if separate else None)


@pytest.mark.parametrize("order", [0, 1, 3])
def test_weights_sum_to_one_and_keep_what_does_not_change(order):
    weights = resize_weights(9, 23, order).matrix
    np.testing.assert_allclose(weights.sum(axis=1), 1.0, atol=1e-5)
    np.testing.assert_array_equal(resize_weights(7, 7, order).matrix, np.eye(7))
    assert resize_weights(1, 4, order).matrix.shape == (4, 1)
    np.testing.assert_allclose(resize_weights(1, 4, order).matrix, 1.0, atol=1e-6)


def test_matrices_have_the_coarse_axis_apart():
    a, b, c = axis_matrices((10, 20, 20), (20, 10, 10), Resampling(3, 0), 0)
    assert set(np.unique(a.matrix)) == {0.0, 1.0}
    assert (b.matrix < 0).any()
    assert (c.matrix < 0).any()


def test_the_box_of_what_is_not_zero():
    array = np.zeros((6, 7, 8), np.int16)
    array[2:4, 1, 3:7] = -5
    box = nonzero_box(array)
    assert (box.start, box.stop) == ((2, 1, 3), (4, 2, 7))
    assert nonzero_box(np.zeros((2, 3, 4))).shape == (2, 3, 4)


@pytest.mark.parametrize("axes", [(0, 1, 2), (2, 0, 1), (1, 0, 2)])
@pytest.mark.parametrize("signs", [(1, 1, 1), (-1, 1, -1)])
def test_a_turn_can_be_undone(axes, signs):
    array = np.arange(2 * 3 * 4).reshape(2, 3, 4)
    turn = Turn(axes, signs)
    turned = turn.apply(array)
    np.testing.assert_array_equal(turn.undo(turned), array)
    box = _box((1, 0, 1), tuple(n if i != 1 else n - 1 for i, n in enumerate(turned.shape)))
    back = turn.undo_box(box, turned.shape)
    np.testing.assert_array_equal(array[back.slices], turn.undo(turned[box.slices]))


@pytest.mark.parametrize("code", ["LPS", "RAS", "LIP", "SAR"])
def test_turning_to_ras_is_what_nibabel_does(code, tmp_path):
    import nibabel

    array = np.random.default_rng(2).normal(size=(4, 5, 6)).astype(np.float32)
    image = sitk.DICOMOrient(image_of(array, (3.0, 2.0, 1.0)), code)
    sitk.WriteImage(image, str(tmp_path / "scan.nii.gz"))
    canonical = nibabel.as_closest_canonical(nibabel.load(tmp_path / "scan.nii.gz"))
    turn = turn_of(image, spec({"orientation": "RAS"}))
    np.testing.assert_array_equal(
        turn.apply(sitk.GetArrayFromImage(image)), np.asarray(canonical.dataobj).transpose(2, 1, 0)
    )


def test_normalisation_inside_what_is_not_zero_is_nnunets():
    from nnunetv2.preprocessing.normalization.default_normalization_schemes import ZScoreNormalization

    hu = np.zeros((10, 12, 14), np.float32)
    hu[2:9, 2:10, 3:12] = np.random.default_rng(3).normal(100, 30, (7, 8, 9))
    hu[4:6, 4:6, 5:7] = 0  # A hole, which counts as inside.
    made = spec({"normalisation": "z_score", "inside_mask": True}, spacing_mm=(1.0, 1.0, 1.0))
    scan = prepare(image_of(hu, (1.0, 1.0, 1.0)), made, lambda _f: None)
    cropped = hu[2:9, 2:10, 3:12]
    expected = ZScoreNormalization(True, {}).run(cropped.copy(), np.zeros(cropped.shape, np.int8))
    np.testing.assert_allclose(scan.volume, expected, atol=1e-5)


@pytest.mark.parametrize(("scheme", "expected"), [("none", [0, 10, 20, 30]), ("rescale_to_0_1", [0, 1 / 3, 2 / 3, 1])])
def test_other_normalisations(scheme, expected):
    hu = np.broadcast_to(np.array([0, 10, 20, 30], np.int16), (3, 3, 4)).copy()
    hu[0, 0, 0] = 1
    hu[1, 1, 0] = 0
    made = spec({"normalisation": scheme}, spacing_mm=(1.0, 1.0, 1.0))
    scan = prepare(image_of(hu, (1.0, 1.0, 1.0)), made, lambda _f: None)
    np.testing.assert_allclose(scan.volume[1, 1], expected, atol=1e-6)
