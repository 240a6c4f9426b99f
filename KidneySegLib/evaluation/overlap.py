"""Overlap of two masks: Dice, Jaccard, precision, recall, accuracy, all from one table of voxel counts.

The rule for empty masks, stated in every output: where both masks are empty nothing was asked and nothing said, so
every measure is undefined (an empty cell, not in any mean). Where one is empty Dice and Jaccard are 0, and of
precision and recall the one whose denominator is 0 is undefined. KiTS' hierarchical classes use KiTS' own rule: both
empty gives 1.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

#: Label ids are below this.
_IDS = 16


@dataclass(frozen=True)
class Overlap:
    """Voxel counts of a prediction against a reference.

    Attributes:
        tp: in both.
        fp: in the prediction alone.
        fn: in the reference alone.
        tn: in neither, in the whole scan.
    """

    tp: int
    fp: int
    fn: int
    tn: int

    @property
    def both_empty(self) -> bool:
        return self.tp + self.fp + self.fn == 0

    @property
    def dice(self) -> float | None:
        """2 TP / (2 TP + FP + FN) (Dice 1945); None where both are empty."""
        return _ratio(2 * self.tp, 2 * self.tp + self.fp + self.fn)

    @property
    def jaccard(self) -> float | None:
        """TP / (TP + FP + FN); None where both are empty."""
        return _ratio(self.tp, self.tp + self.fp + self.fn)

    @property
    def precision(self) -> float | None:
        """TP / (TP + FP); None where the prediction is empty."""
        return _ratio(self.tp, self.tp + self.fp)

    @property
    def recall(self) -> float | None:
        """TP / (TP + FN); None where the reference is empty."""
        return _ratio(self.tp, self.tp + self.fn)

    @property
    def accuracy(self) -> float | None:
        """(TP + TN) / all voxels of the scan; None where both are empty.

        Follows from how much of the scan is background: in 3-D it says next to nothing.
        """
        return None if self.both_empty else _ratio(self.tp + self.tn, self.tp + self.fp + self.fn + self.tn)


def joint_counts(reference: NDArray[Any], prediction: NDArray[Any], voxels: int | None = None) -> NDArray[np.int64]:
    """How many voxels have label i in the reference and j in the prediction: a (16, 16) table.

    Args:
        reference, prediction: label maps of the same shape (any), ids 0 to 15.
        voxels: of the whole scan, if the maps are its part outside which both are 0.

    Raises:
        ValueError: for different shapes or other ids.
    """
    if reference.shape != prediction.shape:
        raise ValueError(f"label maps must have one shape, got {reference.shape} and {prediction.shape}")
    for values in (reference, prediction):
        if values.size and (values.min() < 0 or values.max() >= _IDS):
            raise ValueError(f"label ids must be 0 to {_IDS - 1}")
    pairs = reference.astype(np.uint8) * np.uint8(_IDS) + prediction.astype(np.uint8)
    counts = np.bincount(pairs.ravel(), minlength=_IDS * _IDS).astype(np.int64).reshape(_IDS, _IDS)
    if voxels is not None:
        counts[0, 0] += voxels - reference.size
    return counts


def overlap(counts: NDArray[np.int64], ids: Iterable[int]) -> Overlap:
    """The counts of one structure, the union of some ids, from the table of `joint_counts`."""
    wanted = np.zeros(_IDS, bool)
    wanted[list(ids)] = True
    return Overlap(
        tp=int(counts[np.ix_(wanted, wanted)].sum()),
        fp=int(counts[np.ix_(~wanted, wanted)].sum()),
        fn=int(counts[np.ix_(wanted, ~wanted)].sum()),
        tn=int(counts[np.ix_(~wanted, ~wanted)].sum()),
    )


def _ratio(above: int, below: int) -> float | None:
    return above / below if below else None
