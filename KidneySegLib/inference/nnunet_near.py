"""A bundle made from nnU-Net's, on the kidneys' surroundings only: a tile or two instead of a hundred.

nnU-Net lays its tiles over the whole scan. Where a localiser knows the kidneys, one tile of the model's own patch is
laid round each, or several where a kidney is larger than that; the scan is prepared there as in the whole. Voxels are
seen by fewer and otherwise placed tiles than in nnU-Net, so masks agree closely but not to the voxel.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from KidneySegLib.inference.grid import Box, Grid, frame_of, grid_of
from KidneySegLib.inference.localiser import Overview
from KidneySegLib.inference.network import ReadyNetwork
from KidneySegLib.inference.nnunet_labels import Ids, ids_on_scan, their_ids
from KidneySegLib.inference.nnunet_scan import Layout, PreparedScan, lay, placed, prepare
from KidneySegLib.inference.regions import (
    MOST_GROWTHS,
    grown,
    kept_part,
    kidney_boxes,
    merge_overlapping,
    stray,
    surround,
    within_reach,
)
from KidneySegLib.inference.resampling import scan_box
from KidneySegLib.inference.tile_canvas import TileCanvas
from KidneySegLib.inference.tiling import Float32

if TYPE_CHECKING:
    import SimpleITK as sitk

#: More of the model's tiles than this hold no kidney of 30 cm but what a doubtful model takes for one: a mask that goes
#: on so far is not followed further, or a scan would take longer than with tiles all over it.
MOST_TILES = 18


def ids_near_kidneys(
    network: ReadyNetwork,
    image: sitk.Image,
    overview: Overview,
    timed: Callable[[str], AbstractContextManager[None]],
    report: Callable[..., None],
) -> tuple[Ids, Box] | None:
    """The model's own labels round the kidneys of a scan.

    Args:
        network: of a bundle made from nnU-Net's.
        image: the scan, in HU, its axes near the patient's.
        overview: where the kidneys are.
        timed: measures the stages preprocess, network and resample.
        report: told stage, fraction and message; may raise to cancel.

    Returns:
        ids in the scan's own axes and the box of the scan's array that they fill; None where nothing was found.
    """
    with timed("preprocess"):
        layout = lay(image, network.bundle)
        cores = _cores(image, overview, layout)
        surroundings = _surroundings(overview)
    parts = []
    for number, core in enumerate(cores):

        def on_part(stage: str, fraction: float, message: str = "", done: int = number) -> None:
            report(stage, (done + fraction) / len(cores), message)

        part = _look(network, image, surroundings, layout, core, timed, on_part)
        if part is not None:
            parts.append(part)
    if not parts:
        return None
    whole = parts[0][1]
    for _, box in parts[1:]:
        whole = whole.union(box)
    ids = np.zeros(whole.shape, dtype=np.uint8)
    for values, box in parts:
        target = ids[box.within(whole)]
        target[values != 0] = values[values != 0]
    return ids, whole


def _cores(image: sitk.Image, overview: Overview, layout: Layout) -> tuple[Box, ...]:
    """A box of the network's voxels round each kidney of the overview."""
    frame = frame_of(image)
    fine = grid_of(frame, overview.grid.spacing_mm)
    seen = kidney_boxes(overview.kidney, overview.grid, fine)
    return merge_overlapping([layout.box_of(scan_box(fine, box)) for box in seen])


def _look(
    network: ReadyNetwork,
    image: sitk.Image,
    surroundings: sitk.Image,
    layout: Layout,
    core: Box,
    timed: Callable[[str], AbstractContextManager[None]],
    report: Callable[..., None],
) -> tuple[Ids, Box] | None:
    """One core, and more of its surroundings where a kidney goes on there: each tile is looked at once."""
    spec = network.bundle
    decide = their_ids(spec)
    grid = Grid(frame_of(image), spec.spacing_mm, layout.size, (0.0, 0.0, 0.0))
    region, tile = surround(core, grid, spec)
    canvas = TileCanvas(region, layout.size, tile, spec.tile_step)
    for attempt in range(MOST_GROWTHS + 1):
        scan = _look_at_new(canvas, network, image, layout, timed, report)
        # Its maps and what is made of its answers would be the most memory of the whole job together.
        network.rest()
        with timed("resample"):
            logits = canvas.logits()
            found = decide(logits) != 0
            near = _on_box(surroundings, image, layout, canvas.box)
            # What strays is looked at where it lies in the box, and not followed.
            part = kept_part(found & ~stray(found, near, spec.spacing_mm), canvas.box, core)
            if part is None:
                return None
            larger = grown(part, canvas.box, grid) if attempt < MOST_GROWTHS else None
            core = core.union(part)
            if larger is None or canvas.count_with(larger) > MOST_TILES:
                break
            canvas.widen(larger)
    with timed("resample"):
        z, y, x = core.within(canvas.box)
        kept = np.ascontiguousarray(logits[:, z, y, x])
        return ids_on_scan(kept, replace(scan, region=core), spec, lambda fraction: report("resample", fraction))


def _surroundings(overview: Overview) -> sitk.Image:
    """1 near a kidney of the overview (`within_reach`), on the overview's voxels."""
    import SimpleITK as sitk

    grid = overview.grid
    near = sitk.GetImageFromArray(within_reach(overview.kidney, grid, grid, grid.whole).astype(np.uint8))
    grid.place(near, grid.whole)
    return near


def _on_box(mask: sitk.Image, image: sitk.Image, layout: Layout, box: Box) -> NDArray[np.bool_]:
    """A mask anywhere in the world at a box of the network's voxels, nearest neighbour."""
    import SimpleITK as sitk

    there = placed(np.zeros(box.shape, np.uint8), box, layout, image)
    on_box = sitk.Resample(mask, there, sitk.Transform(3, sitk.sitkIdentity), sitk.sitkNearestNeighbor, 0)
    return np.asarray(layout.turn.apply(sitk.GetArrayFromImage(on_box)) > 0)


def _look_at_new(
    canvas: TileCanvas,
    network: ReadyNetwork,
    image: sitk.Image,
    layout: Layout,
    timed: Callable[[str], AbstractContextManager[None]],
    report: Callable[..., None],
) -> PreparedScan:
    """Fill a canvas's new tiles; what was prepared for them."""
    spec, tiles = network.bundle, canvas.new
    region = tiles[0]
    for other in tiles[1:]:
        region = region.union(other)
    with timed("preprocess"):
        scan = prepare(image, spec, lambda fraction: report("preprocess", fraction), layout=layout, region=region)

    done = 0

    def at(tile: Box) -> Float32:
        def on_network(fraction: float, message: str) -> None:
            report("network", (done + fraction) / len(tiles), message)

        nonlocal done
        logits = network.logits(scan.volume[tile.within(region)], spec.patch_size, on_network)
        done += 1
        return logits

    with timed("network"):
        canvas.look(at)
    return scan
