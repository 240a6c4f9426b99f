"""One lesion, one kind: cyst or mass by all of it, not voxel by voxel. numpy and scipy only.

A network that sees a slice at a time calls parts of one lesion cyst and others mass, and where it wavers between them
neither alone is the most probable. So both together decide what is lesion; a lesion is a connected piece of it that is
sure somewhere, and is what the sum of its probabilities says. Ours; Zhu et al. tell no cysts.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from KidneySegLib.inference.tiling import Float32

#: Somewhere in a lesion cyst and mass together must be as probable as this. Without it 17 of 80 validation phantoms
#: that have no mass showed one of more than 1 mL, with it 12; Dice of masses and cysts stayed the same.
SURE = 2 / 3


def settle_lesion_kinds(values: Float32, kidney: int, cyst: int, mass: int) -> None:
    """Give each lesion the more probable of two kinds, with the probability of both, in place.

    A voxel is lesion where both kinds together are more probable than any other structure. Round a lesion, as far as
    the middle between it and the next, its kind takes both probabilities too, so that interpolation does not bring the
    other one back. A piece that is `SURE` nowhere is no lesion: its probabilities go to the kidney. Where there is no
    such piece and no lesion nothing changes.

    Args:
        values: probabilities (outputs, z, y, x).
        kidney, cyst, mass: their outputs.
    """
    from scipy import ndimage

    both = values[cyst] + values[mass]
    others = np.max([value for output, value in enumerate(values) if output not in (cyst, mass)], axis=0)
    lesion = both > others
    numbers, count = ndimage.label(lesion, structure=np.ones((3, 3, 3)))
    if not count:
        return
    index = np.arange(1, count + 1)
    is_sure = np.concatenate([[False], ndimage.maximum(both, numbers, index) >= SURE])
    doubted = lesion & ~is_sure[numbers]
    values[kidney][doubted] += both[doubted]
    values[cyst][doubted] = values[mass][doubted] = both[doubted] = 0
    lesion &= ~doubted
    if not lesion.any():
        return
    sums = [ndimage.sum_labels(values[output], numbers, index) for output in (cyst, mass)]
    is_mass = np.concatenate([[False], sums[1] > sums[0]])
    nearest = ndimage.distance_transform_edt(~lesion, return_distances=False, return_indices=True)
    as_mass: NDArray[np.bool_] = is_mass[numbers[tuple(nearest)]]
    values[cyst], values[mass] = np.where(as_mass, 0, both), np.where(as_mass, both, 0)
