#!/usr/bin/env python3
"""Make ``api/slicer_api.json``: the names of Slicer's and CTK's Qt classes that this project may use.

usage: python Testing/slicer_host/trim_api.py SOURCE.json [SOURCE.json ...]

Each SOURCE lists classes with their bases, properties, signals, slots, invokables and enums, taken from the headers
of one
Slicer version. The classes named in ``api/classes.txt`` and their bases are kept, and of them only what every SOURCE
has,
so that whatever the project uses exists in the oldest and in the newest of these versions.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

API_FOLDER = Path(__file__).resolve().parent / "api"


def signatures(methods: list[dict[str, Any]]) -> list[str]:
    """All signatures that Qt's moc would list: a parameter with a default value gives one more, without it."""
    found = []
    for method in methods:
        parameters = method["params"]
        count = len(parameters)
        while True:
            text = f"{method['name']}({','.join(parameter['type'] for parameter in parameters[:count])})"
            if text not in found:
                found.append(text)
            if not count or "default" not in parameters[count - 1]:
                break
            count -= 1
    return found


def compact(entry: dict[str, Any]) -> dict[str, Any]:
    """One class of a source in the shape that `manifest.Manifest` reads."""
    return {
        "bases": [base.split("<")[0] for base in entry["bases"]],
        "properties": {
            p["name"]: [p["type"], p.get("read"), p.get("write") if p["writable"] else None, p.get("notify")]
            for p in entry["properties"]
        },
        **{kind: signatures(entry[kind]) for kind in ("signals", "slots", "invokables")},
        "static": sorted({m["name"] for m in entry["slots"] + entry["invokables"] if m.get("static")}),
        "enums": entry["enums"],
        "flags": entry.get("flags", {}),
    }


def common(first: dict[str, Any], second: dict[str, Any]) -> dict[str, Any]:
    """What both descriptions of one class have."""
    result = dict(first)
    for kind in ("signals", "slots", "invokables"):
        result[kind] = [text for text in first[kind] if text in second[kind]]
    result["properties"] = {name: p for name, p in first["properties"].items() if name in second["properties"]}
    result["enums"] = {
        name: {key: value for key, value in keys.items() if key in second["enums"][name]}
        for name, keys in first["enums"].items()
        if name in second["enums"]
    }
    return result


def wanted_classes(names: list[str], classes: dict[str, Any]) -> list[str]:
    """`names` and all their bases that the source has."""
    found: list[str] = []
    queue = list(names)
    while queue:
        name = queue.pop(0)
        if name in classes and name not in found:
            found.append(name)
            queue += classes[name]["bases"]
    return sorted(found)


def trim(sources: list[dict[str, Any]], names: list[str]) -> dict[str, Any]:
    tables = [{name: compact(entry) for name, entry in source["classes"].items()} for source in sources]
    missing = [name for name in names if any(name not in table for table in tables)]
    if missing:
        raise SystemExit(
            f"classes.txt must name classes that every source has; these are missing: {', '.join(missing)}"
        )
    kept = {}
    for name in wanted_classes(names, tables[0]):
        kept[name] = tables[0][name]
        for table in tables[1:]:
            if name in table:
                kept[name] = common(kept[name], table[name])
    return {"sources": [source["sources"] for source in sources], "classes": kept}


def main(paths: list[str]) -> None:
    if not paths:
        raise SystemExit(__doc__)
    names = [line.strip() for line in (API_FOLDER / "classes.txt").read_text().splitlines()]
    names = [name for name in names if name and not name.startswith("#")]
    trimmed = trim([json.loads(Path(path).read_text()) for path in paths], names)
    lines = ",\n".join(f" {json.dumps(name)}: {json.dumps(entry)}" for name, entry in trimmed["classes"].items())
    text = f'{{"sources": {json.dumps(trimmed["sources"])},\n"classes": {{\n{lines}\n}}}}\n'
    (API_FOLDER / "slicer_api.json").write_text(text)
    print(f"{len(trimmed['classes'])} classes, {len(text) // 1024} KiB")


if __name__ == "__main__":
    main(sys.argv[1:])
