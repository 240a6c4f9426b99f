"""Several readers' masks of one structure to one mask: intersection, majority, STAPLE."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from KidneySegLib.errors import InputError

METHODS = ("intersection", "majority", "staple")
#: What becomes of a voxel that exactly half of the readers mark.
TIES = ("exclude", "include")
#: STAPLE's region reaches this many voxels beyond what any reader marked: how much background there is changes the
#: readers' specificity, so it must not depend on how much of the body was scanned.
STAPLE_MARGIN = 5
_STAPLE_ITERATIONS = 200

#: Stands in every output.
RULES = {
    "intersection": "a voxel belongs to a structure if every reader says so",
    "majority": "a voxel belongs to a structure if more than half of the readers say so; where exactly half do, a tie, "
    "it does not (--ties include: it does)",
    "staple": "STAPLE (Warfield 2004; SimpleITK STAPLEImageFilter) of each structure on the box around all readers' "
    f"marks and {STAPLE_MARGIN} voxels beyond; a voxel belongs to it from a probability of 0.5",
}


@dataclass(frozen=True)
class Vote:
    """The readers' answer for one structure.

    Attributes:
        strength: how strongly each voxel (z, y, x) is held to belong, 0 to 1: share of readers, or STAPLE's
            probability.
        mask: voxels that belong.
        tied: voxels that exactly half of the readers mark.
        sensitivity, specificity: of each reader, by STAPLE; empty with other methods.
    """

    strength: NDArray[np.float32]
    mask: NDArray[np.bool_]
    tied: NDArray[np.bool_]
    sensitivity: tuple[float, ...] = ()
    specificity: tuple[float, ...] = ()


def vote(masks: Sequence[NDArray[Any]], method: str, *, ties: str = "exclude") -> Vote:
    """Combine masks (z, y, x) of one shape.

    Raises:
        InputError: an unknown method or rule for ties, or fewer than two masks.
        ValueError: for different shapes.
    """
    check_options(method, ties)
    if len(masks) < 2:
        raise InputError(f"A consensus needs at least two readers, got {len(masks)}.")
    if len({mask.shape for mask in masks}) > 1:
        raise ValueError("the readers' masks must have one shape")
    n = len(masks)
    count = np.zeros(masks[0].shape, np.uint8)
    for mask in masks:
        count += mask != 0
    tied: NDArray[np.bool_] = count * 2 == n
    share: NDArray[np.float32] = count.astype(np.float32) / np.float32(n)
    if method == "intersection":
        return Vote(share, np.asarray(count == n), tied)
    if method == "staple" and count.any() and not (count == n).all():
        return _staple(masks, tied)
    most: NDArray[np.bool_] = count * 2 > n
    return Vote(share, most | tied if ties == "include" and method == "majority" else most, tied)


def check_options(method: str, ties: str) -> None:
    """Raise InputError for an unknown method or rule for ties."""
    if method not in METHODS:
        raise InputError(f"The method must be one of {', '.join(METHODS)}, got {method}.")
    if ties not in TIES:
        raise InputError(f"The rule for ties must be one of {', '.join(TIES)}, got {ties}.")


def _staple(masks: Sequence[NDArray[Any]], tied: NDArray[np.bool_]) -> Vote:
    import SimpleITK as sitk

    from KidneySegLib.postprocessing.grid import bounding_box

    marked = np.logical_or.reduce([mask != 0 for mask in masks])
    box = bounding_box(marked)
    assert box is not None
    # Beyond the array there is background too: the margin is added, not looked for.
    cut = [np.pad((mask[box] != 0).astype(np.uint8), STAPLE_MARGIN) for mask in masks]
    filter_ = sitk.STAPLEImageFilter()
    filter_.SetForegroundValue(1.0)
    filter_.SetMaximumIterations(_STAPLE_ITERATIONS)
    probability = sitk.GetArrayFromImage(filter_.Execute([sitk.GetImageFromArray(part) for part in cut]))
    inner = tuple(slice(STAPLE_MARGIN, -STAPLE_MARGIN) for _ in range(3))
    strength = np.zeros(marked.shape, np.float32)
    strength[box] = np.nan_to_num(probability[inner])
    return Vote(
        strength,
        strength >= 0.5,
        tied,
        tuple(float(value) for value in filter_.GetSensitivity()),
        tuple(float(value) for value in filter_.GetSpecificity()),
    )
