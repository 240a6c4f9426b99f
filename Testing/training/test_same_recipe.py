"""What a resumed run may change of its recipe, and what it may not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from KidneySegLib.errors import InputError
from KidneySegLib.training.same_recipe import check_same_recipe

RECIPE = {"bundle": "a", "seed": 1, "weights": (1.0, 2.0), "first": {"minutes": 5, "patch": [24, 64, 96], "rate": 1e-3}}
BEGUN = json.dumps(RECIPE)


def test_the_same_recipe_goes_on() -> None:
    check_same_recipe(Path("run"), BEGUN, RECIPE)


def test_budget_and_name_may_change() -> None:
    longer = {**RECIPE, "bundle": "b", "first": {**RECIPE["first"], "minutes": 50, "steps": 7}}  # type: ignore[dict-item]
    check_same_recipe(Path("run"), BEGUN, longer)
    with pytest.raises(InputError, match='bundle "a" and not "b"'):
        check_same_recipe(Path("run"), BEGUN, longer, free=("minutes", "steps"))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"seed": 2}, "seed 1 and not 2"),
        ({"weights": (1.0, 3.0)}, r"weights \[1.0, 2.0\] and not \[1.0, 3.0\]"),
        ({"first": {"minutes": 5, "patch": [24, 64, 64], "rate": 1e-3}}, r"first.patch \[24, 64, 96\] and not"),
        ({"first": {}}, "first.rate 0.001 and not nothing"),
        ({"mirror": [2]}, r"mirror nothing and not \[2\]"),
    ],
)
def test_any_other_change_is_named(change: dict[str, object], said: str) -> None:
    with pytest.raises(InputError, match=said):
        check_same_recipe(Path("run"), BEGUN, {**RECIPE, **change})


def test_many_changes_are_counted() -> None:
    before = {f"s{n}": n for n in range(6)}
    after = {name: value + 1 for name, value in before.items()}
    with pytest.raises(InputError, match="s3 3 and not 4 and 2 more"):
        check_same_recipe(Path("run"), json.dumps(before), after)
