"""Undo and redo of everything that happens to a result: edits, repairs, editing aids, accepting and rejecting."""

import zlib
from dataclasses import dataclass

import numpy as np

from KidneySegPanel import result_node

DEPTH = 50
# What a review says of a result; labels are kept beside it.
REVIEW_ATTRIBUTES = (
    result_node.REVIEWER,
    result_node.REVIEWED_AT,
    result_node.REVIEWED_LABELS,
    result_node.REVIEW_STATUS,
    result_node.REVIEW_COMMENT,
)


@dataclass(frozen=True)
class State:
    """A result at one moment. Labels are packed: some 50 kB a state."""

    packed: bytes
    shape: tuple
    index: tuple
    grid: np.ndarray
    attributes: dict

    @classmethod
    def of(cls, node, read):
        """:param read: what `label_segments.readLabels` gave."""
        labels, index, grid = read
        packed = zlib.compress(np.ascontiguousarray(labels, np.uint8).tobytes(), 1)
        attributes = {name: node.GetAttribute(name) for name in REVIEW_ATTRIBUTES}
        return cls(packed, labels.shape, tuple(index), grid, attributes)

    @property
    def labels(self):
        return np.frombuffer(zlib.decompress(self.packed), np.uint8).reshape(self.shape)

    def restoreAttributes(self, node):
        for name, value in self.attributes.items():
            if value is None:
                node.RemoveAttribute(name)
            else:
                node.SetAttribute(name, value)


class UndoStack:
    """States before the present one, and those that were undone."""

    def __init__(self):
        self._before = []
        self._after = []

    @property
    def canUndo(self):
        return bool(self._before)

    @property
    def canRedo(self):
        return bool(self._after)

    def push(self, state):
        """Remember the state before a change."""
        self._before = [*self._before, state][-DEPTH:]
        self._after = []

    def undo(self, present):
        """The state to go back to; None if there is none."""
        if not self._before:
            return None
        self._after.append(present)
        return self._before.pop()

    def redo(self, present):
        """The state to go forward to; None if there is none."""
        if not self._after:
            return None
        self._before.append(present)
        return self._after.pop()
