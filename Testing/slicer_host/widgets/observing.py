"""VTK observers that do not outlive the widget that made them."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

import shiboken6


class Observations:
    """Observers of one widget on VTK objects, calling a method of it; a deleted widget is not called any more."""

    def __init__(self, widget: Any) -> None:
        self._widget = weakref.ref(widget)
        self._tags: list[tuple[Any, int]] = []

    def add(self, observed: Any, events: tuple[Any, ...], method: Callable[[Any], None]) -> None:
        """Call ``method(widget)`` for each of `events` of `observed`."""
        widget_of = self._widget

        def called(*_: Any) -> None:
            widget = widget_of()
            if widget is not None and shiboken6.isValid(widget):
                method(widget)

        for event in events:
            self._tags.append((observed, observed.AddObserver(event, called)))

    def clear(self) -> None:
        for observed, tag in self._tags:
            observed.RemoveObserver(tag)
        self._tags = []


def scene_events() -> tuple[int, ...]:
    """Events after which the nodes of a scene may be others than before."""
    from slicer import vtkMRMLScene

    return (
        vtkMRMLScene.NodeAddedEvent,
        vtkMRMLScene.NodeRemovedEvent,
        vtkMRMLScene.EndBatchProcessEvent,
        vtkMRMLScene.EndCloseEvent,
        vtkMRMLScene.EndImportEvent,
    )


def node_id(node: Any) -> str:
    return node.GetID() or "" if node is not None else ""
