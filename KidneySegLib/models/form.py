"""Reading a JSON object with the strictness of a form."""

from __future__ import annotations

import re
from typing import Any

from KidneySegLib.errors import ModelError


class Form:
    """A JSON object that is read key by key, with messages that name the key."""

    def __init__(self, content: Any, where: str, prefix: str) -> None:
        self.where = where
        self._prefix = prefix
        if not isinstance(content, dict):
            raise ModelError(f"{where}: {prefix.rstrip('.') or 'the content'} must be an object, got {content!r:.80}.")
        self._content: dict[str, Any] = content
        self._read: set[str] = set()

    def _get(self, key: str) -> Any:
        self._read.add(key)
        if key not in self._content:
            raise ModelError(f"{self.where}: the key {self._prefix}{key} is missing.")
        return self._content[key]

    def _refuse(self, key: str, expected: str, value: Any) -> ModelError:
        return ModelError(f"{self.where}: {self._prefix}{key} must be {expected}, got {value!r:.80}.")

    def known_only(self, *others: str) -> None:
        unknown = sorted(self._content.keys() - self._read - set(others))
        if unknown:
            keys = ", ".join(self._prefix + key for key in unknown)
            raise ModelError(f"{self.where}: unknown keys {keys}. Was the model made for a newer KidneySeg?")

    def has(self, key: str) -> bool:
        """Whether an optional key is there and not null."""
        return self._content.get(key) is not None

    def form(self, key: str) -> Form:
        return Form(self._get(key), self.where, f"{self._prefix}{key}.")

    def mapping(self, key: str) -> dict[str, Any]:
        value = self._get(key)
        if not isinstance(value, dict):
            raise self._refuse(key, "an object", value)
        return value

    def items(self, key: str, fewest: int, most: int) -> list[Any]:
        value = self._get(key)
        if not isinstance(value, list) or not fewest <= len(value) <= most:
            raise self._refuse(key, f"a list of {fewest} to {most} items", value)
        return value

    def text(
        self,
        key: str,
        *,
        empty: bool = False,
        pattern: re.Pattern[str] | None = None,
        choices: tuple[str, ...] | None = None,
    ) -> str:
        value = self._get(key)
        if not isinstance(value, str) or not (value.strip() or empty):
            raise self._refuse(key, "a text", value)
        if pattern is not None and not pattern.fullmatch(value):
            raise self._refuse(key, "a plain name (letters, digits, '.', '_', '-')", value)
        if choices is not None and value not in choices:
            raise self._refuse(key, f"one of {list(choices)}", value)
        return value

    def texts(self, key: str, choices: tuple[str, ...]) -> tuple[str, ...]:
        values = self.items(key, 1, len(choices))
        for value in values:
            if value not in choices:
                raise self._refuse(key, f"names of {sorted(set(choices))}", value)
        return tuple(values)

    def boolean(self, key: str) -> bool:
        value = self._get(key)
        if not isinstance(value, bool):
            raise self._refuse(key, "true or false", value)
        return value

    def number(self, key: str, low: float, high: float) -> float:
        return self._number(key, self._get(key), low, high, False)

    def integer(self, key: str, low: int, high: int) -> int:
        return int(self._number(key, self._get(key), low, high, True))

    def numbers(
        self, key: str, count: int | tuple[int, int], low: float, high: float, *, whole: bool = False
    ) -> list[float]:
        fewest, most = (count, count) if isinstance(count, int) else count
        return [self._number(key, value, low, high, whole) for value in self.items(key, fewest, most)]

    def _number(self, key: str, value: Any, low: float, high: float, whole: bool) -> float:
        kind = "a whole number" if whole else "a number"
        good = isinstance(value, int | float) and not isinstance(value, bool)
        if not good or not low <= value <= high or (whole and value != int(value)):
            raise self._refuse(key, f"{kind} from {low} to {high}", value)
        return float(value)
