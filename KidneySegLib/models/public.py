"""Which public weights fit, under which licence, and where their makers offer them: the table in ``public.json``."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

_TABLE = Path(__file__).with_name("public.json")


@dataclass(frozen=True)
class PublicModel:
    """Weights of others.

    Attributes:
        name: what this table calls them.
        title: one line.
        finds: structures of a kidney that they find.
        fits: whether KidneySeg can import them.
        licence: as their makers state it.
        source: page where they are offered.
        url: address of the file; empty where there are several, or none.
        how: the command that imports the file; empty where they cannot be imported.
        citation: what to cite; may be empty.
        remarks: what a user should know.
    """

    name: str
    title: str
    finds: tuple[str, ...]
    fits: bool
    licence: str
    source: str
    url: str
    how: str
    citation: str
    remarks: str


def public_models() -> tuple[PublicModel, ...]:
    """The whole table. It is part of the program; nothing is asked of the web."""
    content = json.loads(_TABLE.read_text(encoding="utf-8"))
    return tuple(
        PublicModel(
            **{key: value for key, value in row.items() if key not in ("finds", "import")},
            finds=tuple(row["finds"]),
            how=row["import"],
        )
        for row in content["models"]
    )


def public_model_at(url: str) -> PublicModel | None:
    """The row with that address; None if the table has none."""
    return next((model for model in public_models() if model.url and model.url == url), None)
