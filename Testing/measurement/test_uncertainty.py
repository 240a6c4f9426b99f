"""+- mL and traffic lights: signs counted by hand, intervals and lights by their rules."""

from __future__ import annotations

import math

import numpy as np
import pytest
import SimpleITK as sitk

from KidneySegLib.errors import ModelError
from KidneySegLib.inference.evidence import Evidence
from KidneySegLib.inference.grid import Box, frame_of, grid_of
from KidneySegLib.labels import Side
from KidneySegLib.measurement.table import MeasurementTable, Row
from KidneySegLib.measurement.uncertainty import (
    Calibration,
    Signs,
    add_uncertainty,
    expected_dice,
    features,
    find_signs,
    judge,
    light_with_flags,
    logit,
    read_calibration,
    write_calibration,
)

#: Voxels of 10 x 10 x 10 mm are 1 mL each.
MM = 10.0
GOOD = Signs(150.0, 0.0, 0.98, 0.98, 6.0, 2.0, 100.0, 5.0, 3.0)
BAD = Signs(80.0, 60.0, 0.80, 0.60, 20.0, 30.0, 50.0, 10.0, 12.0)
#: Expected Dice is the logit of the passes' agreement alone.
CALIBRATION = Calibration(
    (0.0, 0.0, 1.0, 0.0, 0.0), {"parenchyma": (1.0, 2.0), "cortex": (0.5, 1.0), "medulla": (1.0, 1.0)}, 0.95, 0.7, 40
)


def image_of(ids: list[int]) -> sitk.Image:
    """One row of voxels along x."""
    image = sitk.GetImageFromArray(np.array(ids, np.uint8)[None, None])
    image.SetSpacing((MM, MM, MM))
    return image


def evidence_on(image: sitk.Image, passes: list[list[list[float]]]) -> Evidence:
    """Evidence on a row: passes, structures, voxels along x; probabilities."""
    grid = grid_of(frame_of(image), (MM, MM, MM))
    values = np.rint(np.array(passes)[:, :, None, None, :] * 255).astype(np.uint8)
    return Evidence(grid, Box((0, 0, 0), grid.shape), values)


def test_signs_of_a_row_of_voxels() -> None:
    # Cortex (1), medulla (2) and a cyst (5) of the right kidney; the first and last voxel are background.
    labels = image_of([0, 1, 2, 2, 5, 0])
    plain = [[0.0, 0.8, 1.0, 0.6, 0.0, 0.6], [0.0, 0.8, 0.2, 0.0, 0.0, 0.0]]
    mirrored = [[0.0, 1.0, 1.0, 0.4, 0.0, 0.0], [0.0, 0.6, 0.6, 0.0, 0.0, 0.0]]
    (signs,) = find_signs(labels, [evidence_on(labels, [plain, mirrored])]).values()
    mean = np.array([0.0, 0.9, 1.0, 0.5, 0.0, 0.3])
    assert signs.parenchyma_ml == pytest.approx(3.0)
    assert signs.lesion_ml == pytest.approx(1.0)
    assert signs.border_ml == pytest.approx(float((mean * (1 - mean)).sum()), abs=0.01)
    assert signs.expected_dice == pytest.approx(2 * 2.4 / (2.7 + 3), abs=0.005)
    # Plain: voxels 1, 2, 3, 5; mirrored: 1, 2.
    assert signs.pass_dice == pytest.approx(2 * 2 / (4 + 2))
    assert signs.pass_spread_ml == pytest.approx(2.0)
    assert signs.cortex_ml == pytest.approx(1.0)
    assert signs.cortex_pass_spread_ml == pytest.approx(1.0)
    assert signs.cortex_border_ml == pytest.approx(0.7 * 0.3 + 0.4 * 0.6, abs=0.01)


def test_each_voxel_goes_to_the_nearest_kidney_and_regions_add_up() -> None:
    labels = image_of([2, 0, 0, 0, 0, 4])
    values = [[1.0, 0.5, 0.0, 0.0, 0.0, 1.0], [0.0] * 6]
    one = evidence_on(labels, [values, values])
    signs = find_signs(labels, [one])
    assert signs[Side.RIGHT].border_ml == pytest.approx(0.25, abs=0.01)
    assert signs[Side.LEFT].border_ml == 0.0
    halves = [
        Evidence(one.grid, Box((0, 0, 0), (1, 1, 3)), one.passes[..., :3]),
        Evidence(one.grid, Box((0, 0, 3), (1, 1, 6)), one.passes[..., 3:]),
    ]
    assert find_signs(labels, halves) == signs
    # The same kidney in two regions is one kidney.
    whole = image_of([2, 2, 2, 2, 2, 2])
    both = find_signs(whole, halves)[Side.RIGHT]
    assert both.parenchyma_ml == pytest.approx(6.0)
    assert both.expected_dice == pytest.approx(find_signs(whole, [one])[Side.RIGHT].expected_dice)


def test_undivided_parenchyma_has_no_signs_of_cortex() -> None:
    labels = image_of([13, 13, 0])
    values = [[1.0, 1.0, 0.0], [0.5, 0.5, 0.0]]
    (signs,) = find_signs(labels, [evidence_on(labels, [values, values])]).values()
    assert math.isnan(signs.cortex_border_ml)
    judged = judge({Side.RIGHT: signs}, CALIBRATION)
    assert judged[Side.RIGHT].cortex_ml is None
    assert judged[None].medulla_ml is None


def test_no_evidence_or_no_kidney_is_nothing() -> None:
    labels = image_of([1, 2, 0])
    assert find_signs(labels, []) == {}
    nothing = image_of([0, 0, 0])
    values = [[0.2, 0.0, 0.0]] * 2
    assert find_signs(nothing, [evidence_on(nothing, [values, values])]) == {}
    assert judge({}, CALIBRATION) == {}


def test_intervals_lights_and_both_kidneys_together() -> None:
    judged = judge({Side.RIGHT: GOOD, Side.LEFT: BAD}, CALIBRATION)
    right, left, both = judged[Side.RIGHT], judged[Side.LEFT], judged[None]
    assert right.dice == pytest.approx(0.98)
    assert (right.light, left.light, both.light) == ("green", "red", "red")
    assert right.parenchyma_ml == pytest.approx(6.0 + 2 * 2.0)
    assert right.cortex_ml == pytest.approx(0.5 * 5.0 + 3.0)
    assert right.medulla_ml == pytest.approx(math.hypot(6, 5) + math.hypot(2, 3))
    assert both.parenchyma_ml == pytest.approx(right.parenchyma_ml + left.parenchyma_ml)
    assert both.dice == pytest.approx((150 * right.dice + 80 * left.dice) / 230)


def test_features_are_on_the_logit_scale_and_finite_at_the_ends() -> None:
    perfect = Signs(0.0, 0.0, 1.0, 1.0, 0.0, 0.0)
    values = features(perfect)
    assert all(math.isfinite(v) for v in values)
    assert logit(0.5) == 0.0
    assert expected_dice(perfect, (1000.0, 0, 0, 0, 0)) == pytest.approx(1.0)
    assert features(BAD)[3] == pytest.approx(60 / 140)


@pytest.mark.parametrize(
    ("light", "flags", "expected"),
    [
        ("green", (), "green"),
        ("green", ("kidney_small",), "green"),
        ("green", ("phase_unenhanced",), "yellow"),
        ("red", ("phase_unenhanced",), "red"),
        ("green", ("kidney_cut_by_scan", "side_uncertain"), "red"),
        ("yellow", ("no_kidney",), "red"),
    ],
)
def test_flags_never_make_a_light_better(light: str, flags: tuple[str, ...], expected: str) -> None:
    assert light_with_flags(light, flags) == expected


def test_rows_get_their_side_and_what_is_not_known_is_red() -> None:
    rows = (
        Row("a", "right", parenchyma_ml=150.0, cortex_ml=100.0, medulla_ml=50.0),
        Row("a", "left", parenchyma_ml=80.0),
        Row("a", "both", parenchyma_ml=230.0, cortex_ml=100.0, medulla_ml=50.0),
    )
    judged = judge({Side.RIGHT: GOOD}, CALIBRATION)
    right, left, both = add_uncertainty(MeasurementTable(rows), judged).rows
    assert right.parenchyma_plus_minus_ml == pytest.approx(10.0)
    assert right.traffic_light == both.traffic_light == "green"
    assert left.traffic_light == "red"
    assert left.parenchyma_plus_minus_ml is None
    empty = add_uncertainty(MeasurementTable((Row("a", "both", flags=("no_kidney",)),)), {})
    assert empty.rows[0].traffic_light == "red"


def test_a_calibration_survives_being_written() -> None:
    assert read_calibration(write_calibration(CALIBRATION), "here") == CALIBRATION


@pytest.mark.parametrize(
    "change",
    [{"dice": [1.0]}, {"green": "high"}, {"plus_minus": {"parenchyma": [1, 1]}}, {"red": math.nan}, {"cases": None}],
)
def test_what_is_no_calibration_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(ModelError, match="not a calibration"):
        read_calibration({**write_calibration(CALIBRATION), **change}, "here")
    with pytest.raises(ModelError, match="not a calibration"):
        read_calibration([], "here")
