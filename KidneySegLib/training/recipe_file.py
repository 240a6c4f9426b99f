"""Recipes of training: reading their files, and dataclasses of settings from what they say."""

from __future__ import annotations

import dataclasses
import importlib
import json
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from KidneySegLib.errors import InputError

T = TypeVar("T")


#: A recipe's key for the file beside it that says what it does not say itself.
EXTENDS = "extends"


def read_recipe(path: Path) -> dict[str, Any]:
    """What a recipe says: a JSON file with an object, or TOML on Python 3.11 and later.

    With the key ``extends``, the name of another recipe in the same folder, it holds what differs from that one:
    objects are merged key by key, everything else is replaced.

    Raises:
        InputError: if a file cannot be read, holds something else, or extends itself.
    """
    return _extended(path, ())


def _extended(path: Path, above: tuple[Path, ...]) -> dict[str, Any]:
    if path in above:
        raise InputError(f"{path}: the recipe extends itself. Mend the file.")
    values = _read(path)
    base = values.pop(EXTENDS, None)
    if base is None:
        return values
    if not isinstance(base, str):
        raise InputError(f"{path}: {EXTENDS} must be the name of a file beside it, got {base!r}. Mend the file.")
    return _merged(_extended(path.parent / base, (*above, path)), values)


def _merged(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    result = dict(base)
    for name, value in changes.items():
        present = result.get(name)
        result[name] = _merged(present, value) if isinstance(present, dict) and isinstance(value, dict) else value
    return result


def _read(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8")
        values = _toml(path, text) if path.suffix == ".toml" else json.loads(text)
    except OSError as error:
        raise InputError(f"{path}: the recipe cannot be read ({error.strerror}). Choose another file.") from error
    except ValueError as error:
        raise InputError(f"{path}: expected a recipe, but {error}. Mend the file.") from error
    if not isinstance(values, dict):
        raise InputError(f"{path}: expected a recipe, settings by name. Mend the file.")
    return values


def _toml(path: Path, text: str) -> Any:
    try:
        toml: Any = importlib.import_module("tomllib")
    except ImportError as error:
        message = f"{path}: TOML needs Python 3.11 or later. Use a JSON file with the same keys."
        raise InputError(message) from error
    return toml.loads(text)


def filled(cls: type[T], values: Mapping[str, Any], where: str) -> T:
    """A dataclass from what a file says, and dataclasses in it; lists become tuples.

    Args:
        where: what messages call the place in the file.

    Raises:
        InputError: for what the class does not know, lacks, or does not allow.
    """
    hints = typing.get_type_hints(cls)
    names = [f.name for f in dataclasses.fields(cls)]  # type: ignore[arg-type]
    unknown = sorted(set(values) - set(names))
    if unknown:
        raise InputError(f"{where}: {', '.join(unknown)} not known; expected some of {', '.join(names)}. Mend it.")
    made: dict[str, Any] = {}
    for name, value in values.items():
        hint = hints[name]
        if dataclasses.is_dataclass(hint) and isinstance(hint, type):
            if not isinstance(value, Mapping):
                raise InputError(f"{where}.{name}: expected settings by name, got {value!r}. Mend the file.")
            made[name] = filled(hint, value, f"{where}.{name}")
        elif isinstance(value, list):
            made[name] = tuple(value)
        elif value is not None or typing.get_origin(hint) in (types.UnionType, typing.Union):
            made[name] = value
        else:
            raise InputError(f"{where}.{name} must not be empty. Mend the file.")
    try:
        return cls(**made)
    except TypeError as error:
        raise InputError(f"{where}: {error}. Mend the file.") from error


def updated(settings: T, changes: Mapping[str, Any], where: str) -> T:
    """A frozen dataclass with some fields changed, and some fields of its fields.

    Raises:
        InputError: for a field that it does not have.
    """
    made: dict[str, Any] = {}
    for name, value in changes.items():
        if not hasattr(settings, name):
            raise InputError(f"{where}: {name} is not known. Mend the configuration.")
        present = getattr(settings, name)
        if isinstance(value, Mapping) and dataclasses.is_dataclass(present):
            made[name] = updated(present, value, f"{where}.{name}")
        else:
            made[name] = tuple(value) if isinstance(value, list) else value
    return dataclasses.replace(settings, **made)  # type: ignore[type-var]
