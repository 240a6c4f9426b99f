"""Statistics against published tables: the seed study's means and SDs, Shrout & Fleiss, Bland & Altman."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from KidneySegLib.evaluation.agreement import bland_altman, icc, pearson
from KidneySegLib.evaluation.statistics import anova, anova_from_summary, chi_square, summarise

#: Table 2 of Luo & Li 2025: means and SDs of its four groups of 6. Its printed F of the two Dice rows are wrong (they
#: do not go with its own p), so F and p here are computed from these means and SDs.
SEED = {
    "age": ((63.50, 47.16, 63.83, 64.33), (8.78, 12.16, 15.74, 6.19), 3.290, 0.0418),
    "parenchyma": ((279.58, 349.36, 257.85, 101.81), (33.02, 91.29, 61.83, 51.81), 16.44, 1.3e-5),
    "cortex": ((184.64, 222.20, 151.76, 46.49), (25.38, 48.05, 54.15, 30.55), 20.09, 3e-6),
    "parenchyma Dice": ((92.69, 92.42, 91.83, 91.33), (1.78, 0.92, 0.98, 0.52), 1.696, 0.19996),
    "cortex Dice": ((80.67, 81.00, 81.33, 80.16), (1.21, 0.89, 0.52, 0.75), 1.935, 0.1565),
}


@pytest.mark.parametrize("name", list(SEED))
def test_anova_of_the_seeds_table(name: str) -> None:
    mean, sd, f, p = SEED[name]
    found = anova_from_summary([6] * 4, mean, sd)
    assert found.df == (3, 20)
    assert found.statistic == pytest.approx(f, rel=5e-4)
    assert found.p == pytest.approx(p, rel=0.15 if p < 1e-4 else 2e-3)


def test_chi_square_of_the_seeds_sexes() -> None:
    found = chi_square([[3, 3], [4, 2], [2, 4], [4, 2]])
    assert found.statistic == pytest.approx(1.846, abs=5e-4)
    assert found.df == (3,)
    assert found.p == pytest.approx(0.605, abs=5e-4)


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.lists(st.integers(-1000, 1000), min_size=2, max_size=6, unique=True), min_size=2, max_size=5),
)
def test_anova_of_raw_numbers_equals_anova_of_their_summary(groups: list[list[int]]) -> None:
    numbers = [[value / 10 for value in group] for group in groups]
    raw = anova(numbers)
    table = anova_from_summary(
        [len(group) for group in numbers],
        [float(np.mean(group)) for group in numbers],
        [float(np.std(group, ddof=1)) for group in numbers],
    )
    assert raw.df == table.df
    assert raw.statistic == pytest.approx(table.statistic, rel=1e-6, abs=1e-8)
    assert raw.p == pytest.approx(table.p, rel=1e-5, abs=1e-8)


@pytest.mark.parametrize("first", [[0.0, 0.1, -0.1, -0.2, 0.3], [0.1, 0.2, 0.7]])
def test_equal_groups_have_no_f_below_0(first: list[float]) -> None:
    found = anova([first, first])
    assert found.statistic == pytest.approx(0.0, abs=1e-12)
    assert found.statistic >= 0
    assert found.p == pytest.approx(1.0)


def test_what_cannot_be_tested_says_why() -> None:
    assert anova([[1.0, 2.0]]).reason == "needs at least two groups"
    assert anova([[1.0], [2.0]]).reason == "needs a group with more than one case"
    assert anova([[1.0, 1.0], [2.0, 2.0]]).reason == "nothing varies within the groups"
    assert anova([[], [1.0, 2.0]]).reason == "needs at least two groups"
    assert chi_square([[3, 3]]).reason == "needs at least two groups and two kinds"
    assert chi_square([[3, 0], [2, 0]]).reason == "needs at least two groups and two kinds"
    assert chi_square([]).reason == "needs at least two groups and two kinds"


def test_summary() -> None:
    found = summarise([1.0, None, 3.0, math.nan, 2.0])
    assert (found.n, found.undefined, found.mean, found.sd, found.median) == (3, 2, 2.0, 1.0, 2.0)
    assert summarise([4.0]).sd is None
    assert summarise([None]).mean is None


#: Shrout & Fleiss 1979, table 2: six targets, four judges.
JUDGES = np.array([[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]])


def test_icc_of_shrout_and_fleiss() -> None:
    found = icc(JUDGES)
    assert found.icc_2_1 == pytest.approx(0.2898, abs=5e-5)
    assert found.icc_3_1 == pytest.approx(0.7148, abs=5e-5)
    # The intervals that R's psych::ICC prints for this table.
    assert found.icc_2_1_ci == pytest.approx((0.019, 0.761), abs=1e-3)
    assert found.icc_3_1_ci == pytest.approx((0.342, 0.946), abs=1e-3)


def test_icc_of_special_tables() -> None:
    same = icc([[1.0, 1.0], [2.0, 2.0], [5.0, 5.0]])
    assert (same.icc_2_1, same.icc_3_1) == (1.0, 1.0)
    # A reader who is always 1 more is consistent, but does not agree.
    moved = icc([[1.0, 2.0], [2.0, 3.0], [5.0, 6.0]])
    assert moved.icc_3_1 == pytest.approx(1.0)
    assert moved.icc_2_1 is not None
    assert moved.icc_2_1 < 0.95
    assert icc([[3.0, 3.0], [3.0, 3.0]]).reason
    assert icc([[3.0, 4.0]]).reason == "needs at least two cases and two raters"
    assert icc([[1.0, 1.0], [2.0, 2.1], [math.nan, 3.0]]).cases == 2


def test_bland_altman_known_answer() -> None:
    found = bland_altman([10.0, 20.0, 30.0, 40.0], [11.0, 23.0, 31.0, 43.0])
    sd = math.sqrt(4 / 3)
    assert found.bias == 2.0
    assert found.sd == pytest.approx(sd)
    assert (found.lower, found.upper) == pytest.approx((2 - 1.96 * sd, 2 + 1.96 * sd))
    # t(0.975, 3) = 3.182446
    assert found.bias_ci == pytest.approx((2 - 3.182446 * sd / 2, 2 + 3.182446 * sd / 2), rel=1e-5)
    half = 3.182446 * sd * math.sqrt(1 / 4 + 1.96**2 / 6)
    assert found.upper_ci == pytest.approx((2 + 1.96 * sd - half, 2 + 1.96 * sd + half))
    assert bland_altman([1.0], [2.0]).reason == "needs at least two cases"


def test_pearson_known_answer() -> None:
    # Anscombe's first set: r = 0.81642.
    x = [10, 8, 13, 9, 11, 14, 6, 4, 12, 7, 5]
    y = [8.04, 6.95, 7.58, 8.81, 8.33, 9.96, 7.24, 4.26, 10.84, 4.82, 5.68]
    found = pearson(x, y)
    assert found.r == pytest.approx(0.81642, abs=5e-6)
    z, half = math.atanh(0.81642), 1.959964 / math.sqrt(8)
    assert found.ci == pytest.approx((math.tanh(z - half), math.tanh(z + half)), abs=1e-5)
    assert found.p == pytest.approx(0.00217, abs=5e-6)
    assert pearson([1, 1, 1], [1, 2, 3]).reason == "one of the two does not vary"
    assert pearson([1, 2], [1, 2]).reason == "needs at least three cases"
