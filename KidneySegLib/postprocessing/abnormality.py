"""What a network called abnormal, before it counts: only what hangs on a kidney or is large, and nothing tiny.

Humpire Mamani et al. (2023, arXiv:2309.03383) use a tailored post-processing that could not be read. These are the
rules that its authors published with their later Renal-Net (doi:10.59275/j.melba.2026-67g5): an abnormality stays if it
touches the kidney enlarged by 4 mm or is larger than 100 mL, and if its largest diameter in a slice is at least 3 mm.
(Their code passes an argument in the wrong place and enlarges by 1 mm; here it is the 4 mm that they state.)
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]

#: An abnormality may lie so far from the parenchyma.
REACH_MM = 4.0
#: A larger one may lie anywhere.
LARGE_MM3 = 100_000.0
#: A smaller one, by its largest diameter in a slice, is noise.
LEAST_DIAMETER_MM = 3.0


def plausible_abnormality(abnormality: Mask, parenchyma: Mask, spacing_zyx_mm: tuple[float, ...]) -> Mask:
    """The part of an abnormality mask that stays.

    Args:
        abnormality, parenchyma: (z, y, x) on one grid; axis 0 are the slices.
        spacing_zyx_mm: voxel edges in the same order.

    Returns:
        (z, y, x): whole components, joined over faces, edges and corners; all False for an empty mask.
    """
    from scipy import ndimage

    numbers, count = ndimage.label(abnormality, structure=np.ones((3, 3, 3)))
    if not count:
        return np.zeros(abnormality.shape, np.bool_)
    near = np.zeros(abnormality.shape, np.bool_)
    if parenchyma.any():
        near = ndimage.distance_transform_edt(~parenchyma, sampling=spacing_zyx_mm) <= REACH_MM
    touches = np.zeros(count + 1, np.bool_)
    touches[np.unique(numbers[near])] = True
    voxel_mm3 = float(np.prod(spacing_zyx_mm))
    large = np.bincount(numbers.ravel(), minlength=count + 1) * voxel_mm3 > LARGE_MM3
    keep = touches | large
    keep[0] = False
    for number, box in enumerate(ndimage.find_objects(numbers), start=1):
        if keep[number]:
            keep[number] = _diameter_in_slice_mm(numbers[box] == number, spacing_zyx_mm[1:]) >= LEAST_DIAMETER_MM
    kept: Mask = keep[numbers]
    return kept


def _diameter_in_slice_mm(mask: Mask, spacing_yx_mm: tuple[float, ...]) -> float:
    """The largest Feret diameter in any slice, from edge to edge of the voxels along their axes.

    A component whose box in the plane is no larger than the limit needs no exact answer, and one with a side of at
    least the limit has it already; only what lies between is measured by pairs.
    """
    largest = 0.0
    edges = np.asarray(spacing_yx_mm, np.float64)
    for plane in mask:
        index = np.argwhere(plane)
        if not len(index):
            continue
        extent = (np.ptp(index, axis=0) + 1) * edges
        largest = max(largest, float(extent.max()))
        if largest >= LEAST_DIAMETER_MM or float(np.hypot(*extent)) <= largest:
            continue
        points = index * edges
        difference = points[:, None] - points[None]
        # Centres are one voxel's width less apart than the voxels' far edges.
        largest = max(largest, float(np.sqrt((difference**2).sum(axis=-1)).max() + edges.min()))
    return largest
