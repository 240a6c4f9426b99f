"""Means and tests over cases: describing numbers, one-way ANOVA (raw or from a printed table), chi-square."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Summary:
    """Numbers described; everything but the counts is None where it cannot be said.

    Attributes:
        n: numbers that there are.
        undefined: numbers that there are not.
        sd: sample standard deviation (n - 1), from 2 numbers on.
        q1, q3: quartiles, interpolated linearly.
    """

    n: int
    undefined: int
    mean: float | None = None
    sd: float | None = None
    median: float | None = None
    q1: float | None = None
    q3: float | None = None
    minimum: float | None = None
    maximum: float | None = None


def summarise(values: Iterable[float | None]) -> Summary:
    """Describe numbers; None and NaN are undefined."""
    given = list(values)
    known = np.array([value for value in given if value is not None and math.isfinite(value)], dtype=np.float64)
    undefined = len(given) - len(known)
    if not len(known):
        return Summary(0, undefined)
    q1, median, q3 = (float(value) for value in np.percentile(known, (25, 50, 75)))
    return Summary(
        n=len(known),
        undefined=undefined,
        mean=float(known.mean()),
        sd=float(known.std(ddof=1)) if len(known) > 1 else None,
        median=median,
        q1=q1,
        q3=q3,
        minimum=float(known.min()),
        maximum=float(known.max()),
    )


@dataclass(frozen=True)
class TestResult:
    """A test's statistic and p, or the reason why there is none.

    Attributes:
        statistic: F or chi-square.
        df: degrees of freedom; of ANOVA between and within groups.
        p: two-sided.
        reason: why nothing could be tested, else empty.
        implementation: which code computed it.
    """

    __test__ = False  # no test of pytest's

    statistic: float | None = None
    df: tuple[int, ...] = ()
    p: float | None = None
    reason: str = ""
    implementation: str = ""


def anova(groups: Sequence[Sequence[float]]) -> TestResult:
    """One-way analysis of variance of raw numbers (scipy.stats.f_oneway)."""
    used = [np.asarray(group, dtype=np.float64) for group in groups if len(group)]
    reason = _why_no_anova([len(group) for group in used], [float(group.var()) for group in used])
    if reason:
        return TestResult(reason=reason)
    from scipy import stats

    f, p = stats.f_oneway(*used)
    if f < 0:  # groups with equal means, by rounding
        f, p = 0.0, 1.0
    n = sum(len(group) for group in used)
    return TestResult(float(f), (len(used) - 1, n - len(used)), float(p), implementation="scipy.stats.f_oneway")


def anova_from_summary(n: Sequence[int], mean: Sequence[float], sd: Sequence[float]) -> TestResult:
    """One-way analysis of variance from a printed table.

    F = [sum n_i (m_i - m)^2 / (k - 1)] / [sum (n_i - 1) s_i^2 / (N - k)], m the mean weighted by n_i.

    Args:
        n, mean, sd: of each group; sd with n - 1.
    """
    reason = _why_no_anova(n, sd)
    if reason:
        return TestResult(reason=reason)
    from scipy import stats

    counts, means, sds = (np.asarray(values, dtype=np.float64) for values in (n, mean, sd))
    total, k = counts.sum(), len(counts)
    grand = (counts * means).sum() / total
    between = (counts * (means - grand) ** 2).sum() / (k - 1)
    within = ((counts - 1) * sds**2).sum() / (total - k)
    f = float(between / within)
    df = (k - 1, int(total) - k)
    return TestResult(f, df, float(stats.f.sf(f, *df)), implementation="sums of squares; p scipy.stats.f")


def chi_square(table: Sequence[Sequence[int]]) -> TestResult:
    """Pearson's chi-square test of independence, without continuity correction (scipy.stats.chi2_contingency).

    Args:
        table: counts, a row a group.
    """
    counts = np.asarray(table, dtype=np.int64)
    if counts.ndim == 2:
        counts = counts[counts.sum(axis=1) > 0]
        counts = counts[:, counts.sum(axis=0) > 0]
    if counts.ndim != 2 or min(counts.shape, default=0) < 2:
        return TestResult(reason="needs at least two groups and two kinds")
    from scipy import stats

    found = stats.chi2_contingency(counts, correction=False)
    rows, columns = counts.shape
    return TestResult(
        float(found.statistic),
        ((rows - 1) * (columns - 1),),
        float(found.pvalue),
        implementation="scipy.stats.chi2_contingency, no correction",
    )


def _why_no_anova(n: Sequence[int], spread: Sequence[float]) -> str:
    if len(n) < 2:
        return "needs at least two groups"
    if sum(n) <= len(n):
        return "needs a group with more than one case"
    if not any(value > 0 for value in spread):
        return "nothing varies within the groups"
    return ""
