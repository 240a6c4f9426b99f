"""A run goes on with the recipe that it began with: its record must not say one thing of two trainings."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from KidneySegLib.errors import InputError

#: Settings that a resumed run may change: how long it goes on, and what only the model that it writes knows of.
FREE = ("minutes", "steps", "bundle", "class_odds")
_SHOWN = 4


def check_same_recipe(path: Path, begun_with: str, recipe: Mapping[str, Any], free: Collection[str] = FREE) -> None:
    """Compare a run's recipe with the one that its checkpoint holds.

    Args:
        path: of the checkpoint, for the message.
        begun_with: what the run began with, in JSON.
        recipe: what it is to go on with.
        free: names of settings that may differ, at any depth.

    Raises:
        InputError: if another setting differs; names the first of them.
    """
    before, now = (dict(_settings(json.loads(text), free)) for text in (begun_with, json.dumps(recipe)))
    changed = [
        f"{name} {before.get(name, 'nothing')} and not {now.get(name, 'nothing')}"
        for name in sorted({*before, *now})
        if before.get(name) != now.get(name)
    ]
    if changed:
        more = f" and {len(changed) - _SHOWN} more" if len(changed) > _SHOWN else ""
        raise InputError(
            f"{path} was made with another recipe: {'; '.join(changed[:_SHOWN])}{more}. Go on with the same one, or "
            "train into another folder."
        )


def _settings(values: Mapping[str, Any], free: Collection[str], above: str = "") -> Iterator[tuple[str, str]]:
    """Name of each setting with the names above it, and its value in JSON."""
    for name, value in values.items():
        if name in free:
            continue
        if isinstance(value, Mapping) and value:
            yield from _settings(value, free, f"{above}{name}.")
        else:
            yield f"{above}{name}", json.dumps(value)
