"""What the terminal says of a finished evaluation."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from KidneySegLib.evaluation import Evaluation
    from KidneySegLib.evaluation.cohort import Cohort

#: Structures of the tables of groups.
_IN_GROUPS = ("parenchyma", "cortex")


def print_evaluation(done: Evaluation) -> None:
    """Print means of all cases, means by group, sides, flags, lights, and what was left out."""
    from KidneySegLib.cli.terminal import print_table

    cohort = done.cohort
    total, some = len(cohort.cases), len(cohort.scored) < len(cohort.cases)
    count = f"{len(cohort.scored)} of {total}" if some else str(total)
    print(f"Scored {count} {'case' if total == 1 else 'cases'}; mean +- SD (lowest Dice)")
    header = ["structure", "n", "Dice", "volume error %", "|volume error| %", "volume error mL"]
    if cohort.settings.surfaces:
        header += ["HD95 mm", "ASSD mm"]
    print_table(header, [_row(cohort, target.key) for target in cohort.targets])
    for grouping in cohort.groupings:
        groups = cohort.groups(grouping)
        if groups:
            print(f"By {grouping}: Dice, mean +- SD (lowest); mean |volume error| in %")
            _print_groups(cohort, grouping, groups)
    _print_checks(cohort)
    for key, why in cohort.not_scored.items():
        print(f"not scored: {key}: {why}")
    for note in (*cohort.pairing.problems, *cohort.notes):
        print(f"note: {note}")
    _print_missing(cohort)
    print(f"Files: {done.folder} (report.html, scores.csv, cases.csv, summary.csv, ...)")


def _print_groups(cohort: Cohort, grouping: str, groups: dict[str, list[str]]) -> None:
    from KidneySegLib.cli.terminal import print_table

    shown = [key for key in _IN_GROUPS if any(target.key == key for target in cohort.targets)]
    header = [grouping, "cases"]
    for key in shown:
        header += [f"{key} Dice", "|error| %"]
    rows = []
    for group, ids in groups.items():
        row = [group, str(len(ids))]
        for key in shown:
            row += [_dice(cohort, key, ids), _number(cohort.summary(key, "abs_volume_error_percent", ids).mean, 1)]
        rows.append(row)
    print_table(header, rows)


def _row(cohort: Cohort, key: str) -> list[str]:
    dice = cohort.summary(key, "dice")
    row = [key, str(dice.n), _dice(cohort, key, None)]
    for metric, decimals in (
        ("volume_error_percent", 1),
        ("abs_volume_error_percent", 1),
        ("volume_error_ml", 1),
        *((("hd95_mm", 1), ("assd_mm", 2)) if cohort.settings.surfaces else ()),
    ):
        found = cohort.summary(key, metric)
        row.append(_spread(found.mean, found.sd, decimals))
    return row


def _dice(cohort: Cohort, key: str, ids: Sequence[str] | None) -> str:
    found = cohort.summary(key, "dice", ids)
    text = _spread(found.mean, found.sd, 3)
    return f"{text} ({found.minimum:.3f})" if found.minimum is not None and found.n > 1 else text


def _spread(mean: float | None, sd: float | None, decimals: int) -> str:
    return _number(mean, decimals) + (f" +- {sd:.{decimals}f}" if sd is not None else "")


def _number(value: float | None, decimals: int) -> str:
    return "" if value is None else f"{round(value, decimals) + 0.0:.{decimals}f}"


def _print_checks(cohort: Cohort) -> None:
    from KidneySegLib.evaluation.calibration import (
        GOOD_DICE,
        POOR_DICE,
        flag_rates,
        light_calibration,
        side_counts,
    )

    sides = side_counts(cohort.scored)
    if sides:
        print("Sides: " + ", ".join(f"{verdict} {count}" for verdict, count in sides.items()))
    for verdict in ("wrong", "not told", "not found"):
        names = [case.case_id for case in cohort.scored if case.side_verdict == verdict]
        if names:
            print(f"  sides {verdict}: {', '.join(names)}")
    rates = [rate for rate in flag_rates(cohort.scored) if rate.flag == "no_corticomedullary_contrast"]
    if rates:
        said = ", ".join(f"{rate.group} {rate.raised} of {rate.cases} ({rate.rate:.0%})" for rate in rates)
        print(f"Flagged as without corticomedullary contrast: {said}")
    lights = light_calibration(cohort.scored)
    if lights is not None:
        print(f"Traffic light: {', '.join(f'{light} {count}' for light, count in lights.counts.items())}")
        for share, words in (
            (lights.green_share, "of all cases are green"),
            (lights.good_among_green, f"of green cases have parenchyma Dice >= {GOOD_DICE:g}"),
            (lights.green_among_poor, f"of the {lights.n_poor} cases with Dice < {POOR_DICE:g} are green"),
        ):
            if share is not None:
                print(f"  {share:.0%} {words}")


def _print_missing(cohort: Cohort) -> None:
    from KidneySegLib.evaluation.pairing import listed

    for case in cohort.cases:
        if case.error:
            print(f"kidneyseg: {case.case_id} could not be scored. {case.error}", file=sys.stderr)
    if cohort.pairing.only_prediction:
        print(f"kidneyseg: without a reference: {listed(cohort.pairing.only_prediction)}", file=sys.stderr)
    if cohort.pairing.only_reference:
        print(f"kidneyseg: without a prediction: {listed(cohort.pairing.only_reference)}", file=sys.stderr)
