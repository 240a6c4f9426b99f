"""What Slicer's and CTK's Qt classes really offer to Python: the names in ``api/slicer_api.json``.

Plain public C++ methods are invisible from Slicer's Python: only properties, signals, slots, invokables and enums
count.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from .trim_api import compact

TRIMMED = Path(__file__).resolve().parent / "api" / "slicer_api.json"
FULL_SOURCE_VARIABLE = "SLICER_HOST_API"  # path of an untrimmed manifest, for running other people's modules


@dataclass(frozen=True)
class ApiProperty:
    """One Q_PROPERTY: `read`, `write` and `notify` name its methods, None where it has none."""

    name: str
    type: str
    read: str | None
    write: str | None
    notify: str | None


@dataclass(frozen=True)
class ApiClass:
    """One real class. Methods map a name to its signatures in Qt's normal form."""

    name: str
    bases: tuple[str, ...]
    properties: dict[str, ApiProperty]
    signals: dict[str, tuple[str, ...]]
    methods: dict[str, tuple[str, ...]]
    slot_signatures: frozenset[str]
    static: frozenset[str]
    enums: dict[str, dict[str, int | None]]
    flags: dict[str, str] = field(default_factory=dict)

    @cached_property
    def enum_values(self) -> dict[str, int | None]:
        return {key: value for keys in self.enums.values() for key, value in keys.items()}

    def has(self, member: str) -> bool:
        return (
            member in self.properties
            or member in self.signals
            or member in self.methods
            or member in self.enums
            or member in self.enum_values
            or member in self.flags
        )


def _by_name(signatures: list[str]) -> dict[str, tuple[str, ...]]:
    table: dict[str, tuple[str, ...]] = {}
    for text in signatures:
        name = text.split("(")[0]
        table[name] = (*table.get(name, ()), text)
    return table


def _class(name: str, entry: dict, decorated: list[str]) -> ApiClass:
    if isinstance(entry["properties"], list):  # an untrimmed source
        entry = compact(entry)
    entry = {**entry, "slots": entry["slots"] + decorated}
    return ApiClass(
        name=name,
        bases=tuple(entry["bases"]),
        properties={key: ApiProperty(key, *value) for key, value in entry["properties"].items()},
        signals=_by_name(entry["signals"]),
        methods=_by_name(entry["slots"] + entry["invokables"]),
        slot_signatures=frozenset(entry["slots"] + entry["signals"]),
        static=frozenset(entry["static"]),
        enums=entry["enums"],
        flags=entry["flags"],
    )


class Manifest:
    """The real classes by name."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._entries = json.loads(path.read_text())["classes"]
        self._classes: dict[str, ApiClass] = {}
        self._decorated = self._read_decorators()

    def _read_decorators(self) -> dict[str, list[str]]:
        """Methods that PythonQt decorator classes add: ``static_Class_name(...)`` and ``name(Class*,...)``."""
        added: dict[str, list[str]] = {}
        for name, entry in self._entries.items():
            if not name.endswith("PythonQtDecorators"):
                continue
            slots = entry["slots"] if isinstance(entry["properties"], dict) else compact(entry)["slots"]
            for signature in slots:
                method, _, arguments = signature.partition("(")
                if method.startswith("static_"):
                    owner, _, method = method.removeprefix("static_").partition("_")
                elif method.startswith(("new_", "delete_")):
                    continue
                else:
                    owner, _, arguments = arguments.partition("*")
                    arguments = arguments.lstrip(",")
                added.setdefault(owner, []).append(f"{method}({arguments}")
        return added

    def __contains__(self, name: str) -> bool:
        return name in self._entries

    def __getitem__(self, name: str) -> ApiClass:
        if name not in self._classes:
            self._classes[name] = _class(name, self._entries[name], self._decorated.get(name, []))
        return self._classes[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def lineage(self, name: str) -> list[ApiClass]:
        """The class and its bases that are in the manifest, nearest first (Qt's own bases are not in it)."""
        found: list[ApiClass] = []
        queue = [name]
        while queue:
            current = queue.pop(0)
            if current in self and self[current] not in found:
                found.append(self[current])
                queue += self[current].bases
        return found

    def has(self, name: str, member: str) -> bool:
        return any(entry.has(member) for entry in self.lineage(name))

    def qt_base(self, name: str) -> str:
        """Name of the first base that is Qt's own, QWidget or QObject where the headers do not say."""
        for entry in self.lineage(name):
            for base in entry.bases:
                if base not in self and base.startswith("Q"):
                    return base
        return "QWidget" if name.startswith(("ctk", "qMRML")) else "QObject"


def load() -> Manifest:
    return Manifest(Path(os.environ.get(FULL_SOURCE_VARIABLE) or TRIMMED))
