"""The rule of border edits: voxels move between cortex and medulla of their own kidney, and nothing else changes.

Segment Editor's masking does most of it while painting (editing is allowed inside segments only); this repairs what
masking allows: erasing, painting over a cyst, painting the other kidney.
"""

import numpy as np

from KidneySegLib.labels import LABELS, Side, Structure, label_id

_OTHER_PART = {Structure.CORTEX: Structure.MEDULLA, Structure.MEDULLA: Structure.CORTEX}


def _table(function):
    table = np.zeros(256, np.uint8)
    for label in LABELS:
        table[label.id] = function(label)
    return table


_SIDES = list(Side)
# 0 outside cortex and medulla, else 1 + the side's number.
_KIDNEY = _table(lambda label: 1 + _SIDES.index(label.side) if label.structure in _OTHER_PART else 0)
_SWAPPED = _table(
    lambda label: label_id(_OTHER_PART[label.structure], label.side) if label.structure in _OTHER_PART else label.id
)


def keepParenchyma(before, after):
    """What ``after`` should have been.

    A voxel that left its kidney's cortex and medulla goes to the other part (erasing cortex gives medulla); one that
    entered, or came from the other kidney, goes back to what it was.

    :param before: labels before the edit. :param after: labels of the same box after it.
    :return: repaired labels; ``after`` itself if nothing had to be repaired.
    """
    was, is_ = _KIDNEY[before], _KIDNEY[after]
    outside = (was != is_) | ((was == 0) & (before != after))
    if not outside.any():
        return after
    repaired = after.copy()
    repaired[outside] = before[outside]
    erased = outside & (was > 0) & (after == 0)
    repaired[erased] = _SWAPPED[before[erased]]
    return repaired


def onCommonBox(first, firstIndex, second, secondIndex):
    """Two boxes of labels on the smallest box that holds both.

    :return: first, second, index of their common first voxel.
    """
    low = np.minimum(firstIndex, secondIndex)
    high = np.maximum(
        np.array(firstIndex) + first.shape[::-1],
        np.array(secondIndex) + second.shape[::-1],
    )
    shape = tuple((high - low)[::-1])
    if first.shape == shape and second.shape == shape:
        return first, second, tuple(int(value) for value in low)
    padded = []
    for labels, index in ((first, firstIndex), (second, secondIndex)):
        whole = np.zeros(shape, np.uint8)
        x, y, z = np.array(index) - low
        depth, height, width = labels.shape
        whole[z : z + depth, y : y + height, x : x + width] = labels
        padded.append(whole)
    return padded[0], padded[1], tuple(int(value) for value in low)
