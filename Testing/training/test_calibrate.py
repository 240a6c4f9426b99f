"""What signs of doubt are worth: quantiles and thresholds with known answers, and a fit that finds a known law."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from KidneySegLib.errors import InputError
from KidneySegLib.labels import Side
from KidneySegLib.measurement.uncertainty import Signs, expected_dice, half_width_ml
from KidneySegLib.training.calibrate import KnownCase, KnownKidney, conformal_quantile, fit, known_case, threshold

SIGN = Signs(150.0, 0.0, 0.9, 0.9, 5.0, 0.0)


def test_the_quantile_covers_a_further_draw() -> None:
    assert conformal_quantile(np.arange(1.0, 20.0), 0.95) == 19.0  # rank ceil(20 x 0.95) of 19
    assert conformal_quantile(np.arange(1.0, 40.0), 0.95) == 38.0
    assert conformal_quantile(np.array([3.0, 1.0]), 0.95) == 3.0
    assert conformal_quantile(np.zeros(0), 0.95) == 0.0


def test_the_threshold_is_the_lowest_that_keeps_its_promise() -> None:
    scores = np.array([0.99, 0.98, 0.97, 0.96, 0.95])
    assert threshold(scores, np.array([True, True, True, False, True]), 1.0) == 0.97
    assert threshold(scores, np.array([True, True, True, False, True]), 0.8) == 0.95
    assert threshold(scores, np.zeros(5, bool), 0.5) == 1.0


def known(rng: np.random.Generator, number: int) -> KnownCase:
    """A kidney whose Dice is what its passes agree on, and whose error is drawn from its border."""
    dice = float(rng.uniform(0.7, 0.99))
    border = float(rng.uniform(2, 20))
    signs = Signs(150.0, 0.0, 0.9, dice, border, 0.0, 100.0, border / 2, 0.0)
    errors = {name: float(rng.normal(0, border)) for name in ("parenchyma", "cortex", "medulla")}
    return KnownCase(str(number), (KnownKidney(str(number), signs, dice, errors),), dice)


def test_a_known_law_is_found() -> None:
    rng = np.random.default_rng(3)
    cases = [known(rng, n) for n in range(300)]
    calibration = fit(cases)
    fresh = [known(rng, n) for n in range(300)]
    for case in fresh[:20]:
        assert expected_dice(case.kidneys[0].signs, calibration.dice) == pytest.approx(case.dice, abs=0.01)
    held = [
        abs(k.error_ml["parenchyma"]) <= (half_width_ml(k.signs, "parenchyma", calibration) or 0)
        for case in fresh
        for k in case.kidneys
    ]
    assert 0.91 <= np.mean(held) <= 0.99
    assert calibration.green == pytest.approx(0.93, abs=0.02)
    assert calibration.red <= calibration.green
    assert calibration.cases == 300


def test_too_few_kidneys_are_refused() -> None:
    with pytest.raises(InputError, match="at least 10 kidneys, got 1"):
        fit([known(np.random.default_rng(1), 1)])


def test_a_case_is_compared_with_its_truth_on_the_scans_grid(tmp_path: Path) -> None:
    """Voxels of 2 x 2 x 2 mm; the model's map is a part of the grid."""
    truth = np.zeros((10, 10, 20), np.uint8)
    truth[2:6, 2:6, 2:6] = 1  # right cortex, 64 voxels
    truth[2:6, 2:6, 12:16] = 4  # left medulla, 64 voxels
    found = truth.copy()
    found[5, 2:6, 2:6] = 0  # 16 voxels too few on the right
    images = [sitk.GetImageFromArray(array) for array in (truth, found[1:8, 1:9, 1:19])]
    for image in images:
        image.SetSpacing((2.0, 2.0, 2.0))
    images[1].SetOrigin((2.0, 2.0, 2.0))
    sitk.WriteImage(images[0], str(tmp_path / "labels.nii.gz"))
    case = known_case(tmp_path, lambda _: (images[1], {Side.RIGHT: SIGN, Side.UNSIDED: SIGN}))
    right, unsided = case.kidneys
    assert right.dice == pytest.approx(2 * 48 / (64 + 48))
    assert right.error_ml["parenchyma"] == pytest.approx(-16 * 0.008)
    assert right.error_ml["cortex"] == pytest.approx(-16 * 0.008)
    assert math.isnan(right.error_ml["medulla"])
    # No kidney without a side in truth: both kidneys together count.
    assert unsided.dice == case.dice == pytest.approx(2 * 112 / (128 + 112))
    assert unsided.error_ml["medulla"] == pytest.approx(0.0)
