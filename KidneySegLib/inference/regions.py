"""Where to look closely: boxes round the kidneys that the localiser saw, or round the body."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from KidneySegLib.inference.distances import distances_mm
from KidneySegLib.inference.grid import Box, Grid, bounds_of, float3, size3
from KidneySegLib.inference.tiling import fit_tile
from KidneySegLib.models.bundle import BundleSpec, Size, SpacingMm

#: Added on every side of a kidney that the localiser saw: three of its voxels, for what it missed at the surface.
MARGIN_MM = 12.0
#: A smaller component is no kidney: an atrophic kidney of an adult has 15 mL or more.
SMALLEST_KIDNEY_ML = 2.0
#: Two kidneys, a transplant or two, and a false alarm or two.
MOST_KIDNEYS = 6
#: Further than this from every kidney that the localiser saw, what the fine network finds is mostly bowel, spleen or a
#: vessel: four of the localiser's voxels for a pole or a bulge that it missed.
REACH_MM = 20.0
#: It is kidney out there only if it hangs on the near part by more than twice this: a renal vein is thinner.
STALK_RADIUS_MM = 6.0
#: How far a box grows on a side that cuts a kidney, and how often.
GROWTH_MM = 24.0
MOST_GROWTHS = 4
#: Air is darker than this, a body brighter, lungs apart, which the body's outline encloses.
BODY_HU = -500.0


def kidney_boxes(kidney: NDArray[np.bool_], overview: Grid, fine: Grid) -> tuple[Box, ...]:
    """One box a kidney on the fine grid, with `MARGIN_MM`; boxes that overlap are merged. Largest kidney first.

    Args:
        kidney: (z, y, x) on the whole overview grid. All false gives no box.
        overview: the localiser's grid.
        fine: the fine network's grid, of the same frame.
    """
    from scipy import ndimage

    components, count = ndimage.label(kidney, structure=np.ones((3, 3, 3)))
    if count == 0:
        return ()
    voxel_ml = math.prod(overview.spacing_mm) / 1000.0
    volumes_ml = np.bincount(components.ravel(), minlength=count + 1)[1:] * voxel_ml
    found = ndimage.find_objects(components)
    largest_first = np.argsort(-volumes_ml, kind="stable")[:MOST_KIDNEYS]
    boxes = []
    for index in largest_first:
        if volumes_ml[index] < SMALLEST_KIDNEY_ML:
            continue
        where = found[index]
        seen = Box(size3(s.start for s in where), size3(s.stop for s in where))
        low, high = overview.faces_mm(seen)
        boxes.append(fine.box_between([v - MARGIN_MM for v in low], [v + MARGIN_MM for v in high]))
    return merge_overlapping(boxes)


def within_reach(kidney: NDArray[np.bool_], overview: Grid, fine: Grid, region: Box) -> NDArray[np.bool_]:
    """Which voxels of a region lie within `REACH_MM` of a kidney that the localiser saw.

    Args:
        kidney: (z, y, x) on the whole overview grid; specks under `SMALLEST_KIDNEY_ML` do not count.
        overview: the localiser's grid.
        fine: the fine network's grid, of the same frame.
        region: on the fine grid.

    Returns:
        (z, y, x) on ``region``; all False without a kidney.
    """
    from scipy import ndimage

    components, count = ndimage.label(kidney, structure=np.ones((3, 3, 3)))
    voxel_ml = math.prod(overview.spacing_mm) / 1000.0
    large = np.bincount(components.ravel(), minlength=count + 1) * voxel_ml >= SMALLEST_KIDNEY_ML
    large[0] = False
    seen = large[components]
    if not seen.any():
        return np.zeros(region.shape, dtype=bool)
    near = distances_mm(seen, overview.spacing_mm) <= REACH_MM
    nearest = []
    for axis in range(3):
        position_mm = fine.first_mm[axis] + fine.spacing_mm[axis] * np.arange(region.start[axis], region.stop[axis])
        index = np.rint((position_mm - overview.first_mm[axis]) / overview.spacing_mm[axis]).astype(int)
        nearest.append(np.clip(index, 0, overview.shape[axis] - 1))
    reached: NDArray[np.bool_] = near[np.ix_(*nearest)]
    return reached


def stray(mask: NDArray[np.bool_], near: NDArray[np.bool_], spacing_mm: SpacingMm) -> NDArray[np.bool_]:
    """What of a mask lies out of reach of every seen kidney, and does not hang on the part within it by a thick stalk.

    Args:
        mask: (z, y, x) kidney as the fine network has it.
        near: the same shape, from `within_reach`.
        spacing_mm: voxel size.

    Returns:
        (z, y, x), True where the mask should be dropped.
    """
    from scipy import ndimage

    far = mask & ~near
    strays = bounds_of(far)
    if strays is None:
        return far
    # Distances are taken where they decide something: within the mask, and no further from what is far than a tip is
    # long. Beyond a voxel round the mask nothing is nearer to it.
    filled, shape, tip_mm = bounds_of(mask), size3(mask.shape), 3 * STALK_RADIUS_MM
    assert filled is not None
    whole = filled.grown((1, 1, 1), shape).slices
    cores = np.zeros_like(mask)
    cores[whole] = distances_mm(~mask[whole], spacing_mm) > STALK_RADIUS_MM
    components, count = ndimage.label(cores)
    attached = np.zeros(count + 1, dtype=bool)
    attached[components[near & cores]] = True
    if not attached.any():
        return far
    # What is thinner than a core, such as a pole's tip, goes with the nearest one.
    there = strays.grown(size3(math.ceil(tip_mm / mm) for mm in spacing_mm), shape).slices
    hangs = attached[components[there]]
    to_attached_mm = distances_mm(hangs, spacing_mm)
    to_others_mm = distances_mm(cores[there] & ~hangs, spacing_mm)
    far[there] &= (to_attached_mm > tip_mm) | (to_others_mm < to_attached_mm)
    return far


def merge_overlapping(boxes: Sequence[Box]) -> tuple[Box, ...]:
    """Boxes with overlapping ones replaced by their union, until none overlap."""
    merged: list[Box] = []
    for box in boxes:
        joined = box
        while (other := next((m for m in merged if m.overlaps(joined)), None)) is not None:
            merged.remove(other)
            joined = joined.union(other)
        merged.append(joined)
    return tuple(merged)


def surround(box: Box, grid: Grid, spec: BundleSpec) -> tuple[Box, Size]:
    """The region that the fine network sees for a box, and its tile.

    The region is the box, widened to a whole tile where the scan has the room: a tile filled with the patient's own
    surroundings is worth more than one filled with padding.
    """
    tile = fit_tile(box.shape, spec.patch_size, spec.size_multiple, spec.tile_step, flexible=spec.flexible_tiles)
    start, stop = [], []
    for low, high, wanted, count in zip(box.start, box.stop, tile, grid.shape, strict=True):
        missing = max(0, wanted - (high - low))
        begin = max(0, min(low - missing // 2, count - (high - low) - missing))
        begin = min(begin, low)
        start.append(begin)
        stop.append(min(count, max(high, begin + (high - low) + missing)))
    return Box(size3(start), size3(stop)), tile


def kept_part(mask: NDArray[np.bool_], region: Box, core: Box) -> Box | None:
    """The bounding box, on the grid, of all components in a region that reach into its core; None if there are none.

    Args:
        mask: (z, y, x) on ``region``.
        region, core: boxes of the same grid; the core lies in the region.
    """
    from scipy import ndimage

    components, count = ndimage.label(mask)
    if count == 0:
        return None
    wanted = np.unique(components[core.within(region)])
    found = ndimage.find_objects(components)
    parts = [
        Box(
            size3(s.start + o for s, o in zip(found[i - 1], region.start, strict=True)),
            size3(s.stop + o for s, o in zip(found[i - 1], region.start, strict=True)),
        )
        for i in wanted
        if i > 0
    ]
    if not parts:
        return None
    part = parts[0]
    for other in parts[1:]:
        part = part.union(other)
    return part


def grown(part: Box, region: Box, grid: Grid) -> Box | None:
    """The box for another look if the region cuts a part off inside the scan; None if it is whole.

    Args:
        part: bounding box of what was found.
        region: what the network saw.
        grid: the whole grid.
    """
    low_cut = [p <= r and r > 0 for p, r in zip(part.start, region.start, strict=True)]
    high_cut = [p >= r and r < n for p, r, n in zip(part.stop, region.stop, grid.shape, strict=True)]
    if not any(low_cut) and not any(high_cut):
        return None
    steps = [math.ceil(GROWTH_MM / s) for s in grid.spacing_mm]
    return Box(
        size3(max(0, p - step) if cut else p for p, step, cut in zip(part.start, steps, low_cut, strict=True)),
        size3(
            min(n, p + step) if cut else p
            for p, step, cut, n in zip(part.stop, steps, high_cut, grid.shape, strict=True)
        ),
    )


def body_box(hu: NDArray[np.float32], low_hu: float) -> Box:
    """Bounding box of the body on a coarse volume, one voxel wider; the whole volume if there is none.

    Args:
        hu: (z, y, x) HU, clipped from below at ``low_hu``.
        low_hu: what air has become by clipping.
    """
    from scipy import ndimage

    whole = Box((0, 0, 0), size3(hu.shape))
    components, count = ndimage.label(hu > max(BODY_HU, low_hu + 1.0))
    if count == 0:
        return whole
    largest = 1 + int(np.argmax(np.bincount(components.ravel())[1:]))
    where = ndimage.find_objects(components)[largest - 1]
    return Box(
        size3(max(0, s.start - 1) for s in where),
        size3(min(n, s.stop + 1) for s, n in zip(where, hu.shape, strict=True)),
    )


def box_on(box: Box, grid: Grid, target: Grid) -> Box:
    """The same space on another grid of the same frame."""
    low, high = grid.faces_mm(box)
    return target.box_between(float3(low), float3(high))
