"""Whether a prediction gave each kidney its own side."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from KidneySegLib.evaluation.targets import ids_of
from KidneySegLib.labels import PARENCHYMA, Side

#: A kidney is on the wrong side if more than this share of its true voxels was given the other one.
WRONG_SHARE = 0.2
#: A kidney of which less than this share was found at all has no side that could be judged.
FOUND_SHARE = 0.1

#: What `side_verdict` may say, and what it means.
VERDICTS = {
    "right": "every kidney with a side that was found has its own side",
    "wrong": "a kidney was given the other side (more than a fifth of its voxels)",
    "not told": "a kidney was found but given no side",
    "not found": "no kidney with a side was found",
    "no sides": "the labels tell no side of any kidney",
}


def side_verdict(counts: NDArray[np.int64]) -> str:
    """One of `VERDICTS` for a case.

    Args:
        counts: table of `overlap.joint_counts`, reference along rows.
    """
    verdicts = set()
    for side, other in ((Side.RIGHT, Side.LEFT), (Side.LEFT, Side.RIGHT)):
        rows = counts[list(ids_of(PARENCHYMA, [side]))]
        true = int(rows.sum())
        if true == 0:
            continue
        own, wrong, none = (
            int(rows[:, list(ids_of(PARENCHYMA, [given]))].sum()) for given in (side, other, Side.UNSIDED)
        )
        if wrong > WRONG_SHARE * true:
            verdicts.add("wrong")
        elif own + wrong + none < FOUND_SHARE * true:
            verdicts.add("not found")
        elif none > own:
            verdicts.add("not told")
        else:
            verdicts.add("right")
    # The worst that is said of a kidney is said of the case; one that was not found says nothing about sides.
    for verdict in ("wrong", "not told", "right", "not found"):
        if verdict in verdicts:
            return verdict
    return "no sides"
