"""Several readers' label maps to one.

Labels are combined so that structures stay nested and no voxel falls between two of them:

1. Parenchyma (whatever it is divided into), cysts and masses are combined each, side by side, as masks.
2. The cortex is combined from the readers who divide that side, and cut to the consensus parenchyma; the rest of the
   parenchyma is medulla. So a voxel that all call parenchyma stays parenchyma, even if they differ about cortex. If
   fewer than two readers divide a side, its parenchyma stays undivided.
3. Where two structures both claim a voxel (STAPLE, or ties that count), the stronger one has it; equally strong ones in
   the order parenchyma, cyst, mass and right, left, without side.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from KidneySegLib.errors import InputError
from KidneySegLib.evaluation.maps import grid_difference
from KidneySegLib.evaluation.targets import ids_of
from KidneySegLib.evaluation.voting import Vote, check_options, vote
from KidneySegLib.labels import PARENCHYMA, Side, Structure, label_id
from KidneySegLib.postprocessing.grid import VoxelGrid, bounding_box, offset_in

if TYPE_CHECKING:
    import SimpleITK as sitk

_ORGANS: tuple[tuple[str, tuple[Structure, ...]], ...] = (
    ("parenchyma", PARENCHYMA),
    ("cyst", (Structure.CYST,)),
    ("mass", (Structure.MASS,)),
)


@dataclass(frozen=True)
class Consensus:
    """What several readers agree on.

    Attributes:
        labels: ids of `labels.LABELS` on the readers' grid, uint8.
        disagreement: how many readers differ from the most frequent label of a voxel, uint8, on the same grid.
        tied_voxels: voxels that exactly half of the readers gave to a structure.
        performance: by key of a structure (``right_cortex``) STAPLE's (sensitivity, specificity) of each reader.
        notes: sentences about what could not be combined.
    """

    labels: sitk.Image
    disagreement: sitk.Image
    tied_voxels: int
    performance: dict[str, tuple[tuple[float, float], ...]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def consensus(
    masks: Sequence[sitk.Image], method: str = "intersection", *, ties: str = "exclude", names: Sequence[str] = ()
) -> Consensus:
    """Combine readers' label maps of one scan.

    Args:
        masks: ids of `labels.LABELS`, one map a reader, on one grid.
        method: one of `voting.METHODS`.
        ties: with ``majority``, whether a voxel that exactly half mark belongs: ``exclude`` or ``include``.
        names: of the readers, for messages.

    Raises:
        InputError: fewer than two readers, an unknown method, or grids that differ (the message says how).
    """
    import SimpleITK as sitk

    if len(masks) < 2:
        raise InputError(f"A consensus needs at least two readers, got {len(masks)}.")
    names = names or [f"reader {number}" for number in range(1, len(masks) + 1)]
    for mask, name in zip(masks[1:], names[1:], strict=True):
        if mask.GetSize() != masks[0].GetSize() or offset_in(VoxelGrid.of(mask), VoxelGrid.of(masks[0])) is None:
            raise InputError(
                f"The grid of {name} differs from that of {names[0]}: {grid_difference(mask, masks[0])}. "
                "Give masks drawn on the same scan, or resample one of them (nearest neighbour) to the other's grid."
            )
    arrays = [sitk.GetArrayViewFromImage(mask) for mask in masks]
    box = bounding_box(np.logical_or.reduce([array != 0 for array in arrays]))
    whole = np.zeros((2, *arrays[0].shape), np.uint8)
    # Masks without a voxel are combined too, so that wrong options are told.
    box = box or (slice(0, 1), slice(0, 1), slice(0, 1))
    combined = combine([array[box].astype(np.uint8) for array in arrays], method, ties=ties)
    whole[0][box], whole[1][box] = combined.labels, combined.disagreement
    images = [sitk.GetImageFromArray(array) for array in whole]
    for image in images:
        image.CopyInformation(masks[0])
    return Consensus(images[0], images[1], combined.tied_voxels, combined.performance, combined.notes)


@dataclass(frozen=True)
class Combined:
    """`Consensus` as arrays (z, y, x)."""

    labels: NDArray[np.uint8]
    disagreement: NDArray[np.uint8]
    tied_voxels: int
    performance: dict[str, tuple[tuple[float, float], ...]]
    notes: tuple[str, ...]


def combine(maps: Sequence[NDArray[np.uint8]], method: str, *, ties: str = "exclude") -> Combined:
    """As `consensus`, of label maps (z, y, x) of one shape."""
    check_options(method, ties)
    shape = maps[0].shape
    labels, strongest = np.zeros(shape, np.uint8), np.zeros(shape, np.float32)
    tied = np.zeros(shape, bool)
    performance: dict[str, tuple[tuple[float, float], ...]] = {}
    notes = _sides_differ(maps)
    for key, structures in _ORGANS:
        for side in Side:
            masks = [_marked(found, ids_of(structures, [side])) for found in maps]
            if not any(mask.any() for mask in masks):
                continue
            found = vote(masks, method, ties=ties)
            tied |= found.tied
            _note_performance(performance, f"{side.value}_{key}", found)
            wins = found.mask & (found.strength > strongest)
            strongest[wins] = found.strength[wins]
            if structures is not PARENCHYMA:
                labels[wins] = label_id(structures[0], side)
                continue
            labels[wins] = label_id(Structure.UNDIVIDED, side)
            cortex = _cortex(maps, side, method, ties, notes)
            if cortex is not None:
                tied |= cortex.tied
                _note_performance(performance, f"{side.value}_cortex", cortex)
                labels[wins] = label_id(Structure.MEDULLA, side)
                labels[wins & cortex.mask] = label_id(Structure.CORTEX, side)
    return Combined(labels, disagreement(maps), int(tied.sum()), performance, tuple(notes))


def disagreement(maps: Sequence[NDArray[Any]]) -> NDArray[np.uint8]:
    """How many readers differ from the most frequent label of each voxel (0: all agree)."""
    frequent = np.zeros(maps[0].shape, np.uint8)
    for found in maps:
        frequent = np.maximum(frequent, np.sum([other == found for other in maps], axis=0, dtype=np.uint8))
    return (len(maps) - frequent).astype(np.uint8)


def _cortex(maps: Sequence[NDArray[np.uint8]], side: Side, method: str, ties: str, notes: list[str]) -> Vote | None:
    """The cortex of a side from the readers who divide it; None if fewer than two do."""
    undivided = label_id(Structure.UNDIVIDED, side)
    divided = ids_of((Structure.CORTEX, Structure.MEDULLA), [side])
    # A reader who marks nothing at all on a side divides nothing, but does say that there is no cortex.
    voters = [found for found in maps if not (found == undivided).any()]
    dividing = [found for found in voters if _marked(found, divided).any()]
    if len(dividing) < 2:
        if dividing:
            notes.append(f"Only one reader divides the parenchyma ({side.value}), so it stays undivided.")
        return None
    if len(voters) < len(maps):
        notes.append(f"{len(maps) - len(voters)} of {len(maps)} readers do not divide the parenchyma ({side.value}).")
    return vote([_marked(found, ids_of([Structure.CORTEX], [side])) for found in voters], method, ties=ties)


def _sides_differ(maps: Sequence[NDArray[np.uint8]]) -> list[str]:
    """A note if one reader tells sides and another does not: then they mark different structures."""
    sided = ids_of(PARENCHYMA, (Side.RIGHT, Side.LEFT))
    tell = [bool(_marked(found, sided).any()) for found in maps if _marked(found, ids_of(PARENCHYMA)).any()]
    return ["Some readers tell sides and others do not, so they cannot agree."] if len(set(tell)) > 1 else []


def _marked(found: NDArray[np.uint8], ids: Sequence[int]) -> NDArray[np.bool_]:
    wanted = np.zeros(256, bool)
    wanted[list(ids)] = True
    mask: NDArray[np.bool_] = wanted[found]
    return mask


def _note_performance(performance: dict[str, tuple[tuple[float, float], ...]], key: str, found: Vote) -> None:
    if found.sensitivity:
        performance[key] = tuple(zip(found.sensitivity, found.specificity, strict=True))
