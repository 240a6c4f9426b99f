"""Who is held out, and who is in which fold: drawn within each group, and always the same for a seed."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping

from KidneySegLib.errors import InputError
from KidneySegLib.training.luo_li.settings import FOLD_COUNT


def hold_out(
    groups: Mapping[str, str],
    fraction: float,
    seed: int,
    given: Mapping[str, str] | None = None,
    subjects: Mapping[str, str] | None = None,
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Training and test cases, each sorted.

    Args:
        groups: group of each case.
        fraction: of each group's patients that is held out (rounded half up); the paper held out 6 of 16.
        seed: of the draw.
        given: ``train`` or ``test`` for each case, where that is settled already; then nothing is drawn.
        subjects: patient of each case; None: each case is a patient of its own.
    """
    if given:
        test = [case for case in groups if given[case] == "test"]
    else:
        test = []
        for patients in _shuffled(groups, subjects, f"test {seed}").values():
            for cases in patients[: math.floor(fraction * len(patients) + 0.5)]:
                test += cases
    return tuple(sorted(set(groups) - set(test))), tuple(sorted(test))


def stratified_folds(
    groups: Mapping[str, str], seed: int, subjects: Mapping[str, str] | None = None, count: int = FOLD_COUNT
) -> list[dict[str, list[str]]]:
    """Folds for cross-validation, as nnU-Net's ``splits_final.json`` has them.

    Each group's patients are shuffled and dealt out like cards, and the next group goes on where the last one stopped:
    so a group's share differs by at most one patient between folds, and so does the folds' size.

    Args:
        groups: group of each training case.
        seed: of the shuffling.
        subjects: patient of each case; None: each case is a patient of its own.
        count: of folds.

    Returns:
        One ``{"train": [...], "val": [...]}`` for each fold, sorted.

    Raises:
        InputError: fewer patients than folds.
    """
    patients = [cases for group in _shuffled(groups, subjects, f"folds {seed}").values() for cases in group]
    if len(patients) < count:
        raise InputError(
            f"{count}-fold cross-validation needs at least {count} patients to train on, got {len(patients)}. Add "
            "cases, or hold out fewer for testing (--test-fraction 0)."
        )
    held: list[list[str]] = [[] for _ in range(count)]
    for turn, cases in enumerate(patients):
        held[turn % count] += cases
    return [{"train": sorted(set(groups) - set(cases)), "val": sorted(cases)} for cases in held]


def thin_groups(groups: Mapping[str, str], count: int = FOLD_COUNT) -> tuple[str, ...]:
    """Groups with fewer cases than folds, which some folds are therefore not validated on."""
    names = sorted(set(groups.values()))
    return tuple(name for name in names if sum(group == name for group in groups.values()) < count)


def _shuffled(groups: Mapping[str, str], subjects: Mapping[str, str] | None, seed: str) -> dict[str, list[list[str]]]:
    """Patients of each group in random order, each with his cases; his first case says to which group he belongs.

    Python's own generator: its sequence is the same in every version.
    """
    scans: dict[str, list[str]] = {}
    for case in sorted(groups):
        scans.setdefault(subjects[case] if subjects else case, []).append(case)
    result = {}
    for name in sorted(set(groups.values())):
        patients = sorted((cases for cases in scans.values() if groups[cases[0]] == name), key=lambda cases: cases[0])
        random.Random(f"{seed} {name}").shuffle(patients)
        if patients:
            result[name] = patients
    return result
