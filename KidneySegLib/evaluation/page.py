"""``report.html`` of an evaluation: one self-contained page with tables and plots."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from KidneySegLib.evaluation import plots
from KidneySegLib.evaluation.calibration import (
    GOOD_DICE,
    POOR_DICE,
    flag_rates,
    light_calibration,
    side_counts,
)
from KidneySegLib.evaluation.cohort import Cohort
from KidneySegLib.evaluation.cohort_agreement import IMPLEMENTATIONS, FunctionCorrelation, VolumeAgreement
from KidneySegLib.evaluation.metrics import EMPTY_RULE
from KidneySegLib.evaluation.page_style import PAGE_STYLE
from KidneySegLib.evaluation.sides import VERDICTS
from KidneySegLib.evaluation.tables import Table1Row, Table2, p_text, spread, table_1_rows, table_2_rows
from KidneySegLib.export.report import RESEARCH_USE
from KidneySegLib.flags import FLAGS

#: Structures of the tables and plots of groups.
_IN_GROUPS = ("parenchyma", "cortex")


@dataclass(frozen=True)
class PageData:
    """What the page shows besides the cohort itself."""

    table_1: tuple[Table1Row, ...]
    table_2: dict[str, Table2]
    agreements: tuple[VolumeAgreement, ...]
    correlations: tuple[FunctionCorrelation, ...]
    version: str
    created: str


def page_html(cohort: Cohort, data: PageData) -> str:
    """The page's text. Every text that a file or a user may have put in is escaped."""
    count = f"{len(cohort.scored)} of {len(cohort.cases)} cases scored"
    parts = [
        f"<header><h1>Evaluation</h1><p class='case'>{count}</p></header>",
        _cards(cohort),
        _problems(cohort),
        "<h2>Overlap (Table 1)</h2>",
        _table(*table_1_rows(data.table_1)),
        "<h2>All structures, mean ± SD</h2>",
        _all_structures(cohort),
        "<div class='plots'>" + _structure_boxes(cohort) + "</div>",
        *(_table_2(name, table) for name, table in data.table_2.items()),
        *(_group(cohort, grouping) for grouping in cohort.groupings),
        _agreement(cohort, data.agreements),
        _function(data.correlations),
        _checks(cohort),
        _methods(cohort),
        f"<footer>KidneySeg {escape(data.version)}, {escape(data.created)}. {escape(RESEARCH_USE)}</footer>",
    ]
    body = "\n".join(part for part in parts if part)
    return (
        "<!DOCTYPE html>\n<html lang='en'><head><meta charset='utf-8'>"
        "<meta name='viewport' content='width=device-width, initial-scale=1'>"
        f"<title>KidneySeg evaluation</title><style>{PAGE_STYLE}</style></head>\n<body>\n{body}\n</body></html>\n"
    )


def _cards(cohort: Cohort) -> str:
    cards = []
    for key in _IN_GROUPS:
        found = cohort.summary(key, "dice")
        if found.mean is not None:
            cards.append(
                (f"{key.capitalize()} Dice", f"{found.mean:.3f}", f"± {found.sd:.3f}" if found.sd is not None else "")
            )
    for key in _IN_GROUPS:
        error = cohort.summary(key, "abs_volume_error_percent")
        if error.mean is not None:
            cards.append((f"{key.capitalize()}: size of volume error", f"{error.mean:.1f}", "%"))
    sides = side_counts(cohort.scored)
    told = sum(count for verdict, count in sides.items() if verdict != "no sides")
    if told:
        cards.append(("Sides right", f"{sides.get('right', 0)}", f"of {told}"))
    inner = "".join(
        f"<div class='card'><span>{name}</span><b>{value}</b><i>{unit}</i></div>" for name, value, unit in cards
    )
    return f"<div class='cards'>{inner}</div>"


def _problems(cohort: Cohort) -> str:
    items = [("critical", "Failed", f"{case.case_id}: {case.error}") for case in cohort.cases if case.error]
    for names, words in (
        (cohort.pairing.only_prediction, "Predictions without a reference"),
        (cohort.pairing.only_reference, "References without a prediction"),
    ):
        if names:
            items.append(("warning", words, ", ".join(names)))
    items += [("warning", "Check", note) for note in (*cohort.pairing.problems, *cohort.notes)]
    items += [("info", "Not scored", f"{key}: {why}") for key, why in cohort.not_scored.items()]
    if not items:
        return ""
    inner = "".join(f"<li class='{kind}'><b>{words}</b> {escape(text)}</li>" for kind, words, text in items)
    return f"<ul class='flags'>{inner}</ul>"


def _all_structures(cohort: Cohort) -> str:
    header = ["structure", "n"] + [
        f"{metric.name}{f' {metric.unit}' if metric.unit else ''}" for metric in cohort.metrics
    ]
    rows = []
    for target in cohort.targets:
        cells = [target.name, str(cohort.summary(target.key, "dice").n)]
        for metric in cohort.metrics:
            found = cohort.summary(target.key, metric.key)
            digits = 3 if not metric.unit else 1
            text = spread(found, 4 if metric.key == "accuracy" else digits)
            cells.append(f"{text} (n = {found.n})" if found.undefined else text)
        rows.append(cells)
    return f"<div class='wide'>{_table(header, rows)}</div>"


def _structure_boxes(cohort: Cohort) -> str:
    dice = {target.name: _values(cohort, target.key, "dice", None) for target in cohort.targets if target.side is None}
    error = {
        target.name: _values(cohort, target.key, "volume_error_percent", None)
        for target in cohort.targets
        if target.key in ("parenchyma", "cortex", "medulla")
    }
    drawn = []
    if any(dice.values()):
        drawn.append(plots.box_plot("Dice of each structure (cases)", "Dice", dice, at_most=1.005, at_least=0))
    if any(error.values()):
        drawn.append(plots.box_plot("Volume error (cases)", "%", error))
    return "".join(drawn)


def _values(cohort: Cohort, structure: str, metric: str, ids: Sequence[str] | None) -> list[tuple[str, float]]:
    return [
        (case.case_id, value)
        for case in cohort.scored
        if (ids is None or case.case_id in ids) and (value := case.value(structure, metric)) is not None
    ]


def _table_2(grouping: str, table: Table2) -> str:
    reasons = {heading: test.reason for heading, test in table.tests.items() if test.reason}
    note = "".join(
        f"<p class='note'>{escape(heading)}: not tested, {escape(why)}.</p>" for heading, why in reasons.items()
    )
    return (
        f"<h2>Groups by {escape(grouping)} (Table 2)</h2>"
        f"<div class='wide'>{_table(*table_2_rows(table), last_bold=2)}</div>"
        "<p class='note'>VRP: volume of renal parenchyma, VRC: of renal cortex, both kidneys, as predicted; the last "
        "two columns are the references' volumes. Mean ± SD; chi-square for sex, one-way ANOVA for the rest.</p>" + note
    )


def _group(cohort: Cohort, grouping: str) -> str:
    groups = cohort.groups(grouping)
    if not groups:
        return ""
    shown = [target for target in cohort.targets if target.key in _IN_GROUPS]
    header = [grouping, "cases"]
    for target in shown:
        header += [f"{target.name} Dice", "volume error %", "|volume error| %"]
    rows = []
    for group, ids in groups.items():
        row = [group, str(len(ids))]
        for target in shown:
            row.append(spread(cohort.summary(target.key, "dice", ids), 3))
            row.append(spread(cohort.summary(target.key, "volume_error_percent", ids), 1))
            row.append(spread(cohort.summary(target.key, "abs_volume_error_percent", ids), 1))
        rows.append(row)
    drawn = [
        plots.box_plot(
            f"{target.name}: Dice by {grouping}",
            "Dice",
            {group: _values(cohort, target.key, "dice", ids) for group, ids in groups.items()},
            at_most=1.005,
            at_least=0,
        )
        for target in shown
        if any(_values(cohort, target.key, "dice", ids) for ids in groups.values())
    ]
    return (
        f"<h2>By {escape(grouping)}</h2><div class='wide'>{_table(header, rows)}</div>"
        f"<div class='plots'>{''.join(drawn)}</div>"
    )


def _agreement(cohort: Cohort, agreements: Sequence[VolumeAgreement]) -> str:
    if not agreements:
        return ""
    names = {target.key: target.name for target in cohort.targets}
    header = ["volume", "n", "bias mL (95 % CI)", "limits of agreement mL", "bias %", "limits %", "ICC(2,1) (95 % CI)"]
    header += ["ICC(3,1) (95 % CI)", "Pearson r (95 % CI)"]
    rows, drawn = [], []
    for found in agreements:
        ml, share = found.difference_ml, found.difference_percent
        rows.append(
            [
                names[found.structure],
                str(ml.n),
                _interval(ml.bias, ml.bias_ci, 1),
                _range(ml.lower, ml.upper, 1),
                _interval(share.bias, None, 1),
                _range(share.lower, share.upper, 1),
                _interval(found.icc.icc_2_1, found.icc.icc_2_1_ci, 3) or escape(found.icc.reason),
                _interval(found.icc.icc_3_1, found.icc.icc_3_1_ci, 3) or escape(found.icc.reason),
                _interval(found.pearson.r, found.pearson.ci, 3) or escape(found.pearson.reason),
            ]
        )
        if found.structure in ("parenchyma", "cortex", "medulla") and found.case_ids:
            drawn.append(plots.bland_altman_plot(f"{names[found.structure]}: Bland-Altman", found))
            drawn.append(plots.volume_scatter(names[found.structure], found))
    return (
        f"<h2>Agreement of volumes, predicted against reference</h2><div class='wide'>{_table(header, rows)}</div>"
        f"<div class='plots'>{''.join(drawn)}</div>"
    )


def _function(correlations: Sequence[FunctionCorrelation]) -> str:
    if not correlations:
        return ""
    rows = []
    for found in correlations:
        r = found.pearson
        said = _interval(r.r, r.ci, 3) or r.reason
        rows.append([f"{found.structure.capitalize()}, {found.source}", str(r.n), said, p_text(r.p)])
    drawn = "".join(plots.function_scatter(f"{f.structure.capitalize()} and eGFR", f) for f in correlations)
    table = _table(["volume", "n", "Pearson r with eGFR (95 % CI)", "p"], rows)
    return f"<h2>Volumes and kidney function</h2>{table}<div class='plots'>{drawn}</div>"


def _checks(cohort: Cohort) -> str:
    parts = []
    sides = side_counts(cohort.scored)
    if sides:
        rows = []
        for verdict, count in sides.items():
            names = [case.case_id for case in cohort.scored if case.side_verdict == verdict]
            rows.append(
                [verdict, str(count), VERDICTS[verdict], "" if verdict in ("right", "no sides") else ", ".join(names)]
            )
        parts.append("<h2>Sides</h2>" + _table(["sides", "cases", "meaning", "which"], rows, texts=True))
    rates = flag_rates(cohort.scored)
    if rates:
        rows = [
            [
                rate.group,
                rate.flag.replace("_", " "),
                f"{rate.raised} of {rate.cases}",
                f"{rate.rate:.0%}",
                FLAGS[rate.flag].sentence if rate.flag in FLAGS else "any flag that says so",
            ]
            for rate in rates
            if rate.raised or rate.flag not in FLAGS
        ]
        parts.append("<h2>Flags</h2>" + _table(["phase", "flag", "raised", "rate", "it says"], rows, texts=True))
    lights = light_calibration(cohort.scored)
    if lights is not None:
        shares = (
            ("green among all cases", lights.green_share),
            (f"parenchyma Dice ≥ {GOOD_DICE:g} among green cases", lights.good_among_green),
            (f"green among the {lights.n_poor} cases with Dice < {POOR_DICE:g}", lights.green_among_poor),
        )
        rows = [[words, "" if share is None else f"{share:.0%}"] for words, share in shares]
        by_light = {light: [("", dice) for dice in values] for light, values in lights.dice_by_light.items()}
        drawn = plots.box_plot("Parenchyma Dice by traffic light", "Dice", by_light, at_most=1.005, at_least=0)
        parts.append(f"<h2>Traffic light</h2>{_table(['', 'share'], rows)}<div class='plots'>{drawn}</div>")
    return "".join(parts)


def _methods(cohort: Cohort) -> str:
    rows = [
        [f"{metric.name}{f', {metric.unit}' if metric.unit else ''}", metric.formula, metric.implementation]
        for metric in cohort.metrics
    ]
    rows += [[name.replace("_", " "), "", by] for name, by in IMPLEMENTATIONS.items()]
    labels = f"Labels: predictions {cohort.settings.prediction_scheme}, references {cohort.settings.reference_scheme}."
    return (
        "<h2>How it was computed</h2><div class='fine-print'>"
        + _table(["metric", "formula", "implementation"], rows, texts=True)
        + f"<p>{escape(EMPTY_RULE)}</p><p>{escape(labels)} SD: sample standard deviation (n - 1) over cases. Undivided "
        "parenchyma counts as parenchyma; cortex and medulla of such a case are not scored.</p></div>"
    )


def _table(header: Sequence[str], rows: Sequence[Sequence[str]], *, texts: bool = False, last_bold: int = 0) -> str:
    kind = " class='texts'" if texts else ""
    head = "".join(f"<th>{escape(name)}</th>" for name in header)
    lines = []
    for index, row in enumerate(rows):
        bold = " class='strong'" if index >= len(rows) - last_bold else ""
        first, *rest = row
        cells = "".join(f"<td>{escape(cell) or '&ndash;'}</td>" for cell in rest)
        lines.append(f"<tr{bold}><th>{escape(first)}</th>{cells}</tr>")
    return f"<table{kind}><thead><tr>{head}</tr></thead><tbody>{''.join(lines)}</tbody></table>"


def _interval(value: float | None, ci: tuple[float, float] | None, decimals: int) -> str:
    if value is None:
        return ""
    text = f"{round(value, decimals) + 0.0:.{decimals}f}"
    return text if ci is None else f"{text} ({_range(*ci, decimals)})"


def _range(low: float | None, high: float | None, decimals: int) -> str:
    if low is None or high is None:
        return ""
    return " to ".join(f"{round(value, decimals) + 0.0:.{decimals}f}" for value in (low, high))
