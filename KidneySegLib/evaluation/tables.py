"""The two tables of the seed study: overlap of all cases, and the groups side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from KidneySegLib.evaluation.cohort import Cohort
from KidneySegLib.evaluation.csv_cells import Cell, csv_text
from KidneySegLib.evaluation.groups import GroupedPatient
from KidneySegLib.evaluation.statistics import Summary, TestResult, anova, chi_square, summarise

#: (heading, structure, metric, factor, decimals) of the columns of Table 2 that are compared by ANOVA, after age.
#: The seed prints volumes in cm3 (= mL) and Dice in percent. VRP: parenchyma, VRC: cortex.
_COLUMNS: tuple[tuple[str, str, str, float, int], ...] = (
    ("VRP mL", "parenchyma", "prediction_ml", 1, 2),
    ("VRP Dice %", "parenchyma", "dice", 100, 2),
    ("VRC mL", "cortex", "prediction_ml", 1, 2),
    ("VRC Dice %", "cortex", "dice", 100, 2),
    ("VRP reference mL", "parenchyma", "reference_ml", 1, 2),
    ("VRC reference mL", "cortex", "reference_ml", 1, 2),
)
AGE = "age years"


@dataclass(frozen=True)
class Table1Row:
    """One structure of Table 1; Dice, Jaccard and accuracy in percent over cases."""

    structure: str
    name: str
    dice: Summary
    jaccard: Summary
    accuracy: Summary


def table_1(cohort: Cohort) -> tuple[Table1Row, ...]:
    """Dice and Jaccard of parenchyma and cortex (and what else was scored without side), means of cases in percent."""
    return tuple(
        Table1Row(
            target.key,
            target.name,
            *(
                summarise(
                    None if (value := score.values[metric]) is None else 100 * value
                    for case in cohort.scored
                    for score in case.scores
                    if score.structure == target.key
                )
                for metric in ("dice", "jaccard", "accuracy")
            ),
        )
        for target in cohort.targets
        if target.side is None
    )


@dataclass(frozen=True)
class Table2:
    """Groups side by side.

    Attributes:
        groups: names in order.
        n: cases of each.
        male, female: of each; cases of unknown sex are in neither.
        columns: heading to a `Summary` a group.
        tests: heading (``sex`` too) to the test between groups.
    """

    groups: tuple[str, ...]
    n: tuple[int, ...]
    male: tuple[int, ...]
    female: tuple[int, ...]
    columns: dict[str, tuple[Summary, ...]]
    tests: dict[str, TestResult]


def table_2(cohort: Cohort, grouping: str, patients: Mapping[str, GroupedPatient]) -> Table2:
    """n, sex, age, volumes and Dice of each group; chi-square for sex, one-way ANOVA for the rest.

    Args:
        cohort: what was scored.
        grouping: a key of `Cohort.groupings`.
        patients: age and sex by case id.
    """
    groups = cohort.groups(grouping)
    known = {group: [patients[name] for name in ids if name in patients] for group, ids in groups.items()}
    raw: dict[str, list[list[float]]] = {
        AGE: [[p.age_years for p in members if p.age_years is not None] for members in known.values()]
    }
    shown = {target.key for target in cohort.targets}
    for heading, structure, metric, factor, _ in _COLUMNS:
        if structure in shown:
            raw[heading] = [_values(cohort, ids, structure, metric, factor) for ids in groups.values()]
    sexes = [[sum(p.sex == sex for p in members) for sex in ("m", "f")] for members in known.values()]
    return Table2(
        groups=tuple(groups),
        n=tuple(len(ids) for ids in groups.values()),
        male=tuple(row[0] for row in sexes),
        female=tuple(row[1] for row in sexes),
        columns={heading: tuple(summarise(values) for values in columns) for heading, columns in raw.items()},
        tests={"sex": chi_square(sexes), **{heading: anova(columns) for heading, columns in raw.items()}},
    )


def _values(cohort: Cohort, ids: Sequence[str], structure: str, metric: str, factor: float) -> list[float]:
    values = (case.value(structure, metric) for case in cohort.scored if case.case_id in ids)
    return [factor * value for value in values if value is not None]


def table_1_rows(rows: Sequence[Table1Row]) -> tuple[list[str], list[list[str]]]:
    """Heading and cells of Table 1 as text."""
    header = ["structure", "n", "Dice %", "Jaccard %", "accuracy %"]
    return header, [
        [row.name, str(row.dice.n), *(spread(found, 2) for found in (row.dice, row.jaccard)), spread(row.accuracy, 3)]
        for row in rows
    ]


def table_2_rows(table: Table2) -> tuple[list[str], list[list[str]]]:
    """Heading and cells of Table 2 as text: a row a group, then statistic and p."""
    header = ["group", "n", "male/female", *table.columns]
    rows = [
        [
            group,
            str(table.n[i]),
            f"{table.male[i]}/{table.female[i]}" if table.male[i] + table.female[i] else "",
            *(spread(columns[i], 2) for columns in table.columns.values()),
        ]
        for i, group in enumerate(table.groups)
    ]
    tests = [table.tests["sex"], *(table.tests[heading] for heading in table.columns)]
    rows.append(["chi2 (sex), F", "", *(_statistic(test) for test in tests)])
    rows.append(["p", "", *(p_text(test.p) for test in tests)])
    return header, rows


def table_csv(header: Sequence[str], rows: Sequence[Sequence[Cell]]) -> str:
    """A table as CSV."""
    return csv_text(header, rows)


def spread(found: Summary, decimals: int) -> str:
    """``mean ± SD``, the mean alone of one case, nothing of none."""
    if found.mean is None:
        return ""
    mean = f"{found.mean + 0.0:.{decimals}f}"
    return f"{mean} ± {found.sd:.{decimals}f}" if found.sd is not None else mean


def p_text(p: float | None) -> str:
    """A p value as journals print it."""
    if p is None:
        return ""
    return "<0.001" if p < 0.001 else f"{p:.3f}"


def _statistic(test: TestResult) -> str:
    return "" if test.statistic is None else f"{test.statistic:.3f}"
