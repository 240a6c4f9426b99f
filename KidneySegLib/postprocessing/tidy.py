"""Small errors inside one kidney: holes filled, specks of one tissue in another given to their surroundings."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

#: Cavities that are closed on all sides and smaller than this are noise; calyces and the sinus are larger or open.
MAX_HOLE_MM3 = 100.0
#: A speck of cortex in medulla (or the reverse, or of cyst or mass) smaller than this is noise.
MAX_SPECK_MM3 = 30.0


def tidy(codes: NDArray[np.uint8], voxel_mm3: float) -> NDArray[np.uint8]:
    """Fill small holes and dissolve specks.

    A hole is background of at most `MAX_HOLE_MM3` that no path over voxel faces joins to the outside. A speck is a
    set of voxels of one code, joined over faces, edges or corners, of at most `MAX_SPECK_MM3`. Each takes the code
    that is most frequent among the kidney voxels around it; a speck without any stays.

    Args:
        codes: (z, y, x) tissue codes of one kidney, 0 outside.
        voxel_mm3: volume of a voxel.

    Returns:
        A new array; the outer border is unchanged.
    """
    from scipy import ndimage

    tidied: NDArray[np.uint8] = codes.copy()
    framed = np.pad(codes == 0, 1, constant_values=True)
    numbers, count = ndimage.label(framed)
    _give_to_neighbours(tidied, numbers[1:-1, 1:-1, 1:-1], count, MAX_HOLE_MM3 / voxel_mm3, skip=int(numbers[0, 0, 0]))
    everywhere = np.ones((3, 3, 3))
    # Largest tissue last: its specks are judged after those of others have joined it.
    present = [code for code in np.unique(tidied) if code]
    for code in sorted(present, key=lambda c: int(np.count_nonzero(tidied == c))):
        numbers, count = ndimage.label(tidied == code, structure=everywhere)
        _give_to_neighbours(tidied, numbers, count, MAX_SPECK_MM3 / voxel_mm3)
    return tidied


def _give_to_neighbours(
    codes: NDArray[np.uint8], numbers: NDArray[np.int32], count: int, max_voxels: float, skip: int = 0
) -> None:
    """Overwrite, in place, each numbered region of at most so many voxels by the commonest code around it."""
    from scipy import ndimage

    voxels = np.bincount(numbers.ravel(), minlength=count + 1)
    small = [n for n in range(1, count + 1) if n != skip and 0 < voxels[n] <= max_voxels]
    boxes = ndimage.find_objects(numbers) if small else []
    for number in small:
        box = tuple(
            slice(max(0, side.start - 1), min(n, side.stop + 1))
            for side, n in zip(boxes[number - 1], codes.shape, strict=True)
        )
        region = numbers[box] == number
        around = ndimage.binary_dilation(region, structure=np.ones((3, 3, 3))) & ~region
        votes = np.bincount(codes[box][around], minlength=2)
        votes[0] = 0
        if votes.any():
            codes[box][region] = int(votes.argmax())
