"""Agreement of two or more measurements of the same things: Bland-Altman, intraclass correlation, Pearson's r."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

CONFIDENCE = 0.95
#: Limits of agreement hold 95 % of differences that are normal.
_LIMIT = 1.96

BLAND_ALTMAN_BY = "KidneySegLib.evaluation.agreement (Bland & Altman 1999; t quantiles scipy.stats)"
ICC_BY = (
    "KidneySegLib.evaluation.agreement (Shrout & Fleiss 1979; intervals McGraw & Wong 1996; F quantiles scipy.stats)"
)
PEARSON_BY = "scipy.stats.pearsonr; interval by Fisher's z"


@dataclass(frozen=True)
class BlandAltman:
    """Differences of two methods (second - first); the reason why not is in `reason`, and then all else is None.

    Attributes:
        n: pairs.
        bias: mean difference.
        sd: of the differences, n - 1.
        lower, upper: limits of agreement, bias -+ 1.96 SD.
        bias_ci, lower_ci, upper_ci: 95 % confidence intervals.
    """

    n: int
    bias: float | None = None
    sd: float | None = None
    lower: float | None = None
    upper: float | None = None
    bias_ci: tuple[float, float] | None = None
    lower_ci: tuple[float, float] | None = None
    upper_ci: tuple[float, float] | None = None
    reason: str = ""


def bland_altman(first: ArrayLike, second: ArrayLike) -> BlandAltman:
    """Bland-Altman analysis (Bland & Altman, Stat Methods Med Res 1999;8:135).

    The standard error of the bias is SD / sqrt(n), that of a limit SD sqrt(1/n + 1.96^2 / (2 (n - 1))); both intervals
    use t with n - 1 degrees of freedom.

    Args:
        first, second: one number a case each, in one unit.
    """
    a, b = _pairs(first, second)
    n = len(a)
    if n < 2:
        return BlandAltman(n, reason="needs at least two cases")
    from scipy import stats

    difference = b - a
    bias, sd = float(difference.mean()), float(difference.std(ddof=1))
    t = float(stats.t.ppf(0.5 + CONFIDENCE / 2, n - 1))
    lower, upper = bias - _LIMIT * sd, bias + _LIMIT * sd
    of_bias = t * sd / math.sqrt(n)
    of_limit = t * sd * math.sqrt(1 / n + _LIMIT**2 / (2 * (n - 1)))
    return BlandAltman(
        n,
        bias,
        sd,
        lower,
        upper,
        (bias - of_bias, bias + of_bias),
        (lower - of_limit, lower + of_limit),
        (upper - of_limit, upper + of_limit),
    )


@dataclass(frozen=True)
class Icc:
    """Intraclass correlation of single measurements, two-way; the reason why not is in `reason`.

    Attributes:
        cases, raters: size of the table.
        icc_2_1: random raters, absolute agreement (ICC(A,1)).
        icc_3_1: fixed raters, consistency (ICC(C,1)).
        icc_2_1_ci, icc_3_1_ci: 95 % confidence intervals.
    """

    cases: int
    raters: int
    icc_2_1: float | None = None
    icc_3_1: float | None = None
    icc_2_1_ci: tuple[float, float] | None = None
    icc_3_1_ci: tuple[float, float] | None = None
    reason: str = ""


def icc(ratings: ArrayLike) -> Icc:
    """ICC(2,1) and ICC(3,1).

    With the mean squares of rows (cases) R, columns (raters) C and the rest E, n cases, k raters:
    ICC(2,1) = (R - E) / (R + (k - 1) E + k (C - E) / n), ICC(3,1) = (R - E) / (R + (k - 1) E)
    (Shrout & Fleiss, Psychol Bull 1979;86:420). Intervals: McGraw & Wong, Psychol Methods 1996;1:30, table 7.

    Args:
        ratings: (cases, raters); a case with a missing number is left out.
    """
    table = np.asarray(ratings, dtype=np.float64)
    if table.ndim != 2:
        raise ValueError(f"ratings must be (cases, raters), got shape {table.shape}")
    table = table[np.isfinite(table).all(axis=1)]
    n, k = table.shape
    if n < 2 or k < 2:
        return Icc(n, k, reason="needs at least two cases and two raters")
    rows, columns, rest = _mean_squares(table)
    if rows + rest + columns <= 0 or np.ptp(table.mean(axis=1)) == 0:
        return Icc(n, k, reason="the cases do not differ, so nothing can be told apart")
    absolute = (rows - rest) / (rows + (k - 1) * rest + k * (columns - rest) / n)
    consistent = (rows - rest) / (rows + (k - 1) * rest)
    return Icc(
        n,
        k,
        float(absolute),
        float(consistent),
        _absolute_interval(absolute, rows, columns, rest, n, k),
        _consistency_interval(rows, rest, n, k),
    )


def _mean_squares(table: NDArray[np.float64]) -> tuple[float, float, float]:
    """Of cases, raters and the rest."""
    n, k = table.shape
    mean = table.mean()
    by_case, by_rater = table.mean(axis=1), table.mean(axis=0)
    rest = table - by_case[:, None] - by_rater[None, :] + mean
    return (
        float(k * ((by_case - mean) ** 2).sum() / (n - 1)),
        float(n * ((by_rater - mean) ** 2).sum() / (k - 1)),
        float((rest**2).sum() / ((n - 1) * (k - 1))),
    )


def _consistency_interval(rows: float, rest: float, n: int, k: int) -> tuple[float, float]:
    from scipy import stats

    if rest <= 0:
        return (1.0, 1.0)
    f, tail = rows / rest, 0.5 + CONFIDENCE / 2
    df = (n - 1, (n - 1) * (k - 1))
    low = f / stats.f.ppf(tail, *df)
    high = f * stats.f.ppf(tail, df[1], df[0])
    return (float((low - 1) / (low + k - 1)), float((high - 1) / (high + k - 1)))


def _absolute_interval(
    value: float, rows: float, columns: float, rest: float, n: int, k: int
) -> tuple[float, float] | None:
    from scipy import stats

    if value >= 1:
        return (1.0, 1.0)
    a = k * value / (n * (1 - value))
    b = 1 + k * value * (n - 1) / (n * (1 - value))
    below = (a * columns) ** 2 / (k - 1) + (b * rest) ** 2 / ((n - 1) * (k - 1))
    if below <= 0:
        return None
    v = (a * columns + b * rest) ** 2 / below
    tail = 0.5 + CONFIDENCE / 2
    f_low, f_high = stats.f.ppf(tail, n - 1, v), stats.f.ppf(tail, v, n - 1)
    others = k * columns + (k * n - k - n) * rest
    low = n * (rows - f_low * rest) / (f_low * others + n * rows)
    high = n * (f_high * rows - rest) / (others + n * f_high * rows)
    return (float(low), float(high)) if math.isfinite(low) and math.isfinite(high) else None


@dataclass(frozen=True)
class Pearson:
    """Linear correlation; the reason why not is in `reason`.

    Attributes:
        n: pairs.
        r: Pearson's coefficient.
        ci: 95 % confidence interval, from 4 pairs on.
        p: two-sided, of r = 0; from 3 pairs on.
    """

    n: int
    r: float | None = None
    ci: tuple[float, float] | None = None
    p: float | None = None
    reason: str = ""


def pearson(first: ArrayLike, second: ArrayLike) -> Pearson:
    """Pearson's r with the interval tanh(atanh r -+ 1.96 / sqrt(n - 3)) (Fisher's z)."""
    a, b = _pairs(first, second)
    n = len(a)
    if n < 3:
        return Pearson(n, reason="needs at least three cases")
    if np.ptp(a) == 0 or np.ptp(b) == 0:
        return Pearson(n, reason="one of the two does not vary")
    from scipy import stats

    found = stats.pearsonr(a, b)
    r = float(found.statistic)
    interval = None
    if n > 3 and abs(r) < 1:
        half = float(stats.norm.ppf(0.5 + CONFIDENCE / 2)) / math.sqrt(n - 3)
        interval = (math.tanh(math.atanh(r) - half), math.tanh(math.atanh(r) + half))
    return Pearson(n, r, interval, float(found.pvalue))


def _pairs(first: ArrayLike, second: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Pairs of which both are numbers."""
    a, b = (np.asarray(values, dtype=np.float64) for values in (first, second))
    if a.shape != b.shape or a.ndim != 1:
        raise ValueError(f"two lists of one length are needed, got shapes {a.shape} and {b.shape}")
    known = np.isfinite(a) & np.isfinite(b)
    return a[known], b[known]


def numbers(values: Sequence[float | None]) -> NDArray[np.float64]:
    """Numbers with NaN where there are none, as the functions here take them."""
    return np.array([math.nan if value is None else value for value in values], dtype=np.float64)
