"""Flags that a finished label map (ids 1-15) raises by itself, whether a network or a person made it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from KidneySegLib.errors import InputError
from KidneySegLib.labels import LABELS, Side, Structure, label_id, parenchyma_ids
from KidneySegLib.postprocessing.edges import cut_by_scan, padding_value
from KidneySegLib.postprocessing.grid import VoxelGrid, bounding_box, offset_in

if TYPE_CHECKING:
    import SimpleITK as sitk

#: Parenchyma of one kidney. Women's 5th percentile of the right kidney is 99 mL (SHIP, MRI, sinus included).
SMALL_ML = 70.0
#: Parenchyma, cysts and masses of one kidney. Men's upper quartile of the left parenchyma is 203 mL (SHIP).
LARGE_ML = 320.0


def label_flags(labels: sitk.Image, image: sitk.Image) -> list[tuple[Side | None, str]]:
    """Flags of each side's kidney and of the case.

    ``no_kidney``, ``one_kidney``, ``kidney_cut_by_scan``, ``kidney_small``, ``kidney_large``,
    ``undivided_parenchyma``. A kidney that is cut is never called small; one that has no side (it may be
    two) neither small nor large.

    Args:
        labels: ids 1-15 on the scan's grid or a part of it.
        image: the whole scan.

    Raises:
        InputError: if the labels do not lie on the scan's grid.
    """
    import SimpleITK as sitk

    grid = VoxelGrid.of(labels)
    offset = offset_in(grid, VoxelGrid.of(image))
    if offset is None:
        raise InputError("The label map does not lie on the grid of the scan. Give a label map made on this scan.")
    values = sitk.GetArrayViewFromImage(labels)
    whole_box = bounding_box(values)
    if whole_box is None:
        return [(None, "no_kidney")]
    values = values[whole_box]
    counts = np.zeros(256, dtype=np.int64)
    for plane in values:
        counts += np.bincount(plane.ravel(), minlength=256)
    flags: list[tuple[Side | None, str]] = []
    with_parenchyma = []
    padding = padding_value(image)
    for side in Side:
        ids = [label.id for label in LABELS if label.side is side]
        if not counts[ids].any():
            continue
        parenchyma_ml = counts[list(parenchyma_ids(side))].sum() * grid.voxel_mm3 / 1000
        total_ml = counts[ids].sum() * grid.voxel_mm3 / 1000
        if parenchyma_ml > 0:
            with_parenchyma.append(side)
        is_own = np.zeros(256, dtype=np.bool_)
        is_own[ids] = True
        box = bounding_box(is_own[values])
        assert box is not None  # the counts say so
        start = tuple(a.start + b.start + o for a, b, o in zip(box, whole_box, offset[::-1], strict=True))
        if cut_by_scan(is_own[values[box]], start, image, padding):
            flags.append((side, "kidney_cut_by_scan"))
        if side is not Side.UNSIDED and total_ml > LARGE_ML:
            flags.append((side, "kidney_large"))  # even where cysts or a mass left little parenchyma
        elif side is not Side.UNSIDED and parenchyma_ml < SMALL_ML and (side, "kidney_cut_by_scan") not in flags:
            flags.append((side, "kidney_small"))
        if counts[label_id(Structure.UNDIVIDED, side)]:
            flags.append((side, "undivided_parenchyma"))
    if not with_parenchyma:
        flags.append((None, "no_kidney"))
    elif len(with_parenchyma) == 1 and with_parenchyma[0] is not Side.UNSIDED:
        flags.append((None, "one_kidney"))
    return flags
