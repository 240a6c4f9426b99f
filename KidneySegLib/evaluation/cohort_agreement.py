"""Agreement over a cohort: predicted against reference volumes, and volumes against kidney function."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from KidneySegLib.evaluation.agreement import (
    BLAND_ALTMAN_BY,
    ICC_BY,
    PEARSON_BY,
    BlandAltman,
    Icc,
    Pearson,
    bland_altman,
    icc,
    pearson,
)
from KidneySegLib.evaluation.cohort import Cohort
from KidneySegLib.evaluation.csv_cells import Cell, csv_text, rounded
from KidneySegLib.evaluation.groups import GroupedPatient
from KidneySegLib.evaluation.statistics import TestResult

#: Written beside the numbers.
IMPLEMENTATIONS = {"bland_altman": BLAND_ALTMAN_BY, "icc": ICC_BY, "pearson": PEARSON_BY}


@dataclass(frozen=True)
class VolumeAgreement:
    """Predicted against reference volumes of one structure, over the cases in which either holds any.

    Attributes:
        structure: key of the target.
        case_ids: cases, in the order of the volumes.
        reference_ml, prediction_ml: volumes.
        difference_ml: Bland-Altman of predicted - reference in mL.
        difference_percent: the same in % of the mean of both.
        icc: intraclass correlation.
        pearson: of predicted and reference.
    """

    structure: str
    case_ids: tuple[str, ...]
    reference_ml: tuple[float, ...]
    prediction_ml: tuple[float, ...]
    difference_ml: BlandAltman
    difference_percent: BlandAltman
    icc: Icc
    pearson: Pearson


@dataclass(frozen=True)
class FunctionCorrelation:
    """Pearson's r of volumes with eGFR.

    Attributes:
        structure: key of the target.
        source: ``prediction`` or ``reference``.
        case_ids, egfr, ml: cases with both.
        pearson: r with interval and p.
    """

    structure: str
    source: str
    case_ids: tuple[str, ...]
    egfr: tuple[float, ...]
    ml: tuple[float, ...]
    pearson: Pearson


def volume_agreement(cohort: Cohort) -> tuple[VolumeAgreement, ...]:
    """For each structure that was scored."""
    found = []
    for target in cohort.targets:
        rows = [
            (case.case_id, score.values["reference_ml"], score.values["prediction_ml"])
            for case in cohort.scored
            for score in case.scores
            if score.structure == target.key and not score.overlap.both_empty
        ]
        names = tuple(name for name, _, _ in rows)
        reference = tuple(float(ml or 0) for _, ml, _ in rows)
        prediction = tuple(float(ml or 0) for _, _, ml in rows)
        shares = [200 * (b - a) / (a + b) for a, b in zip(reference, prediction, strict=True)]
        pairs = list(zip(reference, prediction, strict=True))
        found.append(
            VolumeAgreement(
                target.key,
                names,
                reference,
                prediction,
                bland_altman(reference, prediction),
                bland_altman([0.0] * len(shares), shares),
                icc(pairs) if pairs else Icc(0, 2, reason="needs at least two cases and two raters"),
                pearson(reference, prediction),
            )
        )
    return tuple(found)


def function_correlation(cohort: Cohort, patients: Mapping[str, GroupedPatient]) -> tuple[FunctionCorrelation, ...]:
    """Volumes of parenchyma, cortex and medulla of both kidneys against eGFR."""
    found = []
    shown = {target.key for target in cohort.targets}
    for structure in ("parenchyma", "cortex", "medulla"):
        for source in ("prediction", "reference"):
            rows = [
                (case.case_id, patient.egfr, ml)
                for case in cohort.scored
                if (patient := patients.get(case.case_id)) is not None
                and patient.egfr is not None
                and (ml := case.value(structure, f"{source}_ml")) is not None
            ]
            if structure in shown and rows:
                names, egfr, ml_values = zip(*rows, strict=True)
                found.append(FunctionCorrelation(structure, source, names, egfr, ml_values, pearson(egfr, ml_values)))
    return tuple(found)


def agreement_csv(agreements: tuple[VolumeAgreement, ...], correlations: tuple[FunctionCorrelation, ...]) -> str:
    """``agreement.csv``: a row a structure and statistic."""
    rows: list[list[Cell]] = []

    def add(
        structure: str,
        statistic: str,
        n: int,
        value: float | None,
        ci: tuple[float, float] | None,
        p: float | None = None,
        reason: str = "",
    ) -> None:
        low, high = ci or (None, None)
        cells = [rounded(number, 4) for number in (value, low, high)]
        rows.append([structure, statistic, n, *cells, rounded(p, 6), reason])

    for found in agreements:
        for unit, ba in (("mL", found.difference_ml), ("percent", found.difference_percent)):
            add(found.structure, f"bias {unit}", ba.n, ba.bias, ba.bias_ci, reason=ba.reason)
            add(found.structure, f"lower limit of agreement {unit}", ba.n, ba.lower, ba.lower_ci, reason=ba.reason)
            add(found.structure, f"upper limit of agreement {unit}", ba.n, ba.upper, ba.upper_ci, reason=ba.reason)
        add(
            found.structure,
            "ICC(2,1)",
            found.icc.cases,
            found.icc.icc_2_1,
            found.icc.icc_2_1_ci,
            None,
            found.icc.reason,
        )
        add(
            found.structure,
            "ICC(3,1)",
            found.icc.cases,
            found.icc.icc_3_1,
            found.icc.icc_3_1_ci,
            None,
            found.icc.reason,
        )
        r = found.pearson
        add(found.structure, "Pearson r, predicted and reference volume", r.n, r.r, r.ci, r.p, r.reason)
    for of in correlations:
        r = of.pearson
        add(of.structure, f"Pearson r, {of.source} volume and eGFR", r.n, r.r, r.ci, r.p, r.reason)
    return csv_text(["structure", "statistic", "n", "value", "ci95_low", "ci95_high", "p", "reason"], rows)


def tests_csv(tests: Mapping[str, TestResult]) -> str:
    """``table2_tests.csv``: statistic, degrees of freedom, p and implementation of each test between groups."""
    rows: list[list[Cell]] = [
        [
            heading,
            rounded(test.statistic, 4),
            " ".join(map(str, test.df)),
            rounded(test.p, 6),
            test.implementation,
            test.reason,
        ]
        for heading, test in tests.items()
    ]
    return csv_text(["column", "statistic", "df", "p", "implementation", "reason"], rows)
