"""Who is held out, and who is in which fold: drawn within each group, and always the same for a seed."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping

from KidneySegLib.errors import InputError
from KidneySegLib.training.luo_li.settings import FOLD_COUNT


def hold_out(
    groups: Mapping[str, str], fraction: float, seed: int, given: Mapping[str, str] | None = None
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Training and test cases, each sorted.

    Args:
        groups: group of each case.
        fraction: of each group that is held out (rounded half up); the paper held out 6 of 16.
        seed: of the draw.
        given: ``train`` or ``test`` for each case, where that is settled already; then nothing is drawn.
    """
    if given:
        return tuple(sorted(c for c in groups if given[c] == "train")), tuple(
            sorted(c for c in groups if given[c] == "test")
        )
    test: list[str] = []
    for group, cases in _shuffled(groups, f"test {seed}").items():
        del group
        test += cases[: math.floor(fraction * len(cases) + 0.5)]
    return tuple(sorted(set(groups) - set(test))), tuple(sorted(test))


def stratified_folds(groups: Mapping[str, str], seed: int, count: int = FOLD_COUNT) -> list[dict[str, list[str]]]:
    """Folds for cross-validation, as nnU-Net's ``splits_final.json`` has them.

    Each group's cases are shuffled and dealt out like cards, and the next group goes on where the last one stopped: so
    a group's share differs by at most one case between folds, and so does the folds' size.

    Args:
        groups: group of each training case.
        seed: of the shuffling.
        count: of folds.

    Returns:
        One ``{"train": [...], "val": [...]}`` for each fold, sorted.

    Raises:
        InputError: fewer cases than folds.
    """
    if len(groups) < count:
        raise InputError(
            f"{count}-fold cross-validation needs at least {count} training cases, got {len(groups)}. Add cases, or "
            "hold out fewer for testing (--test-fraction 0)."
        )
    held: list[list[str]] = [[] for _ in range(count)]
    turn = 0
    for cases in _shuffled(groups, f"folds {seed}").values():
        for case in cases:
            held[turn % count].append(case)
            turn += 1
    return [{"train": sorted(set(groups) - set(cases)), "val": sorted(cases)} for cases in held]


def thin_groups(groups: Mapping[str, str], count: int = FOLD_COUNT) -> tuple[str, ...]:
    """Groups with fewer cases than folds, which some folds are therefore not validated on."""
    names = sorted(set(groups.values()))
    return tuple(name for name in names if sum(group == name for group in groups.values()) < count)


def _shuffled(groups: Mapping[str, str], seed: str) -> dict[str, list[str]]:
    """Cases of each group in random order. Python's own generator: its sequence is the same in every version."""
    result = {}
    for name in sorted(set(groups.values())):
        cases = sorted(case for case, group in groups.items() if group == name)
        random.Random(f"{seed} {name}").shuffle(cases)
        result[name] = cases
    return result
