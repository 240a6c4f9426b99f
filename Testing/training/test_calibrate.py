"""What signs of doubt are worth: quantiles and thresholds with known answers, and a fit that finds a known law."""

from __future__ import annotations

import numpy as np
import pytest

from KidneySegLib.errors import InputError
from KidneySegLib.measurement.uncertainty import Signs, expected_dice, half_width_ml
from KidneySegLib.training.calibrate import KnownCase, KnownKidney, conformal_quantile, fit, threshold


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
