"""Files of an evaluation: CSV tables and one JSON with everything."""

from __future__ import annotations

import math
from typing import Any

from KidneySegLib.evaluation.calibration import flag_rates, light_calibration, side_counts
from KidneySegLib.evaluation.cohort import Cohort
from KidneySegLib.evaluation.csv_cells import Cell, csv_text, rounded
from KidneySegLib.evaluation.metrics import EMPTY_RULE
from KidneySegLib.evaluation.statistics import Summary
from KidneySegLib.export.provenance import plain_data

FORMAT = "kidneyseg-evaluation"


def scores_csv(cohort: Cohort) -> str:
    """``scores.csv``: a row a case and structure."""
    metrics = cohort.metrics
    header = ["case_id", "structure", *(metric.key for metric in metrics), "tp", "fp", "fn"]
    rows: list[list[Cell]] = []
    for case in cohort.scored:
        for score in case.scores:
            values = [rounded(score.values.get(metric.key), metric.decimals) for metric in metrics]
            counts = (score.overlap.tp, score.overlap.fp, score.overlap.fn)
            rows.append([case.case_id, score.structure, *values, *counts])
    return csv_text(header, rows)


def cases_csv(cohort: Cohort) -> str:
    """``cases.csv``: a row a case, with what went wrong and which groups it is in."""
    groupings = list(cohort.groupings)
    header = ["case_id", "status", "sides", "flags", "traffic_light", "model"]
    header += [name.replace(" ", "_") for name in groupings] + ["not_scored", "error"]
    rows: list[list[Cell]] = []
    for case in cohort.cases:
        skipped = {key: why for key, why in case.not_scored.items() if key not in cohort.not_scored}
        rows.append(
            [
                case.case_id,
                "failed" if case.error else "scored",
                case.side_verdict,
                ";".join(case.result.flags or ()),
                case.result.traffic_light,
                case.result.model,
                *(cohort.groupings[name].get(case.case_id, "") for name in groupings),
                "; ".join(f"{key}: {why}" for key, why in skipped.items()),
                case.error,
            ]
        )
    for names, why in (
        (cohort.pairing.only_prediction, "no reference of this name"),
        (cohort.pairing.only_reference, "no prediction of this name"),
    ):
        rows += [[name, "missing", *[""] * (len(header) - 3), why] for name in names]
    return csv_text(header, rows)


def summary_csv(cohort: Cohort) -> str:
    """``summary.csv``: a row a group, structure and metric."""
    header = ["grouping", "group", "structure", "metric", "unit", "n", "undefined"]
    header += ["mean", "sd", "median", "q1", "q3", "minimum", "maximum"]
    rows: list[list[Cell]] = []
    groups: list[tuple[str, str, list[str] | None]] = [("all", "all", None)]
    for grouping in cohort.groupings:
        groups += [(grouping, group, ids) for group, ids in cohort.groups(grouping).items()]
    for grouping, group, ids in groups:
        for target in cohort.targets:
            for metric in cohort.metrics:
                found = cohort.summary(target.key, metric.key, ids)
                if found.n + found.undefined == 0:
                    continue
                numbers = (found.mean, found.sd, found.median, found.q1, found.q3, found.minimum, found.maximum)
                cells = [rounded(value, metric.decimals) for value in numbers]
                head: list[Cell] = [grouping, group, target.key, metric.key, metric.unit, found.n, found.undefined]
                rows.append(head + cells)
    return csv_text(header, rows)


def evaluation_json(cohort: Cohort, more: dict[str, Any]) -> dict[str, Any]:
    """``evaluation.json``: everything, unrounded.

    Args:
        cohort: what was scored.
        more: further sections (agreement, tables), as plain data or records.
    """
    lights = light_calibration(cohort.scored)
    facts: dict[str, Any] = {
        "format": FORMAT,
        "labels": {"prediction": cohort.settings.prediction_scheme, "reference": cohort.settings.reference_scheme},
        "metrics": {
            metric.key: {"name": metric.name, "unit": metric.unit, "is": metric.formula, "by": metric.implementation}
            for metric in cohort.metrics
        },
        "empty_masks": EMPTY_RULE,
        "n_cases": len(cohort.cases),
        "n_scored": len(cohort.scored),
        "failed": {case.case_id: case.error for case in cohort.cases if case.error},
        "without_reference": cohort.pairing.only_prediction,
        "without_prediction": cohort.pairing.only_reference,
        "notes": [*cohort.pairing.problems, *cohort.notes],
        "structures": {target.key: {"name": target.name, "ids": target.ids} for target in cohort.targets},
        "not_scored": cohort.not_scored,
        "summary": {
            target.key: {metric.key: _summary(cohort.summary(target.key, metric.key)) for metric in cohort.metrics}
            for target in cohort.targets
        },
        "groups": {
            grouping: {
                group: {
                    "cases": ids,
                    "summary": {
                        target.key: {
                            metric.key: _summary(cohort.summary(target.key, metric.key, ids))
                            for metric in cohort.metrics
                        }
                        for target in cohort.targets
                    },
                }
                for group, ids in cohort.groups(grouping).items()
            }
            for grouping in cohort.groupings
        },
        "sides": side_counts(cohort.scored),
        "flags": [
            {"group": rate.group, "flag": rate.flag, "raised": rate.raised, "cases": rate.cases, "rate": rate.rate}
            for rate in flag_rates(cohort.scored)
        ],
        "traffic_light": lights,
        "cases": {
            case.case_id: {
                "scores": {score.structure: score.values for score in case.scores},
                "not_scored": case.not_scored,
                "sides": case.side_verdict,
                "flags": case.result.flags,
                "traffic_light": case.result.traffic_light,
                "groups": {
                    name: groups[case.case_id] for name, groups in cohort.groupings.items() if case.case_id in groups
                },
            }
            for case in cohort.scored
        },
    }
    facts.update(more)
    plain: dict[str, Any] = plain_data(facts)
    return plain


def _summary(found: Summary) -> dict[str, Any]:
    values = {
        "n": found.n,
        "undefined": found.undefined,
        "mean": found.mean,
        "sd": found.sd,
        "median": found.median,
        "minimum": found.minimum,
        "maximum": found.maximum,
    }
    return {key: value for key, value in values.items() if not (isinstance(value, float) and math.isnan(value))}
