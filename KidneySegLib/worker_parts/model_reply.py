"""What the panel is told of a model, whatever it is for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from KidneySegLib.models import Bundle
    from KidneySegLib.ultrasound.bundle import UltrasoundBundle


def describe_model(bundle: Bundle | UltrasoundBundle, task: str, embedded: bool) -> dict[str, Any]:
    """What models of all tasks have in common.

    Args:
        task: ``ct`` or ``ultrasound``.
        embedded: whether it came with the program.
    """
    return {
        "name": bundle.name,
        "version": bundle.version,
        "title": bundle.title,
        "licence": bundle.licence,
        "citation": bundle.citation,
        "intended_use": bundle.intended_use,
        "outputs": list(bundle.outputs),
        "path": str(bundle.path),
        "embedded": embedded,
        "task": task,
    }
