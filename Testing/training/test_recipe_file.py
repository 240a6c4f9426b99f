"""Recipes that say only what differs from another one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from KidneySegLib.errors import InputError
from KidneySegLib.training.recipe_file import read_recipe


def _write(folder: Path, name: str, content: object) -> Path:
    path = folder / name
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def test_an_extending_recipe_changes_what_it_names_and_keeps_the_rest(tmp_path: Path) -> None:
    _write(tmp_path, "base.json", {"seed": 1, "training": {"steps": 5, "patch": [4, 4, 4], "pose": {"shift": 1.0}}})
    path = _write(tmp_path, "own.json", {"extends": "base.json", "training": {"patch": [8], "pose": {"warp": 2.0}}})
    assert read_recipe(path) == {
        "seed": 1,
        "training": {"steps": 5, "patch": [8], "pose": {"shift": 1.0, "warp": 2.0}},
    }


def test_null_replaces_a_value_and_an_object(tmp_path: Path) -> None:
    _write(tmp_path, "base.json", {"minutes": 5, "lesions": {"cysts": 1}})
    path = _write(tmp_path, "own.json", {"extends": "base.json", "minutes": None, "lesions": None})
    assert read_recipe(path) == {"minutes": None, "lesions": None}


def test_a_chain_of_recipes_is_followed_to_its_end(tmp_path: Path) -> None:
    _write(tmp_path, "a.json", {"seed": 1, "steps": 1})
    _write(tmp_path, "b.json", {"extends": "a.json", "steps": 2})
    assert read_recipe(_write(tmp_path, "c.json", {"extends": "b.json", "name": "c"})) == {
        "seed": 1,
        "steps": 2,
        "name": "c",
    }


def test_a_circle_a_missing_base_and_a_base_that_is_no_name_are_refused(tmp_path: Path) -> None:
    _write(tmp_path, "a.json", {"extends": "b.json"})
    with pytest.raises(InputError, match="extends itself"):
        read_recipe(_write(tmp_path, "b.json", {"extends": "a.json"}))
    with pytest.raises(InputError, match="cannot be read"):
        read_recipe(_write(tmp_path, "c.json", {"extends": "none.json"}))
    with pytest.raises(InputError, match="name of a file"):
        read_recipe(_write(tmp_path, "d.json", {"extends": 3}))
