"""The patient's midline and the top of the pelvis: what tells the sides and the places of kidneys.

Everything is measured in the world (LPS), so flipped, oblique, feet-first and prone scans need no special case.
The picture's own middle is never used: patients lie off-centre.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from KidneySegLib.labels import OverviewLabel
from KidneySegLib.postprocessing.grid import Points, VoxelGrid

if TYPE_CHECKING:
    import SimpleITK as sitk

#: Height of the slabs in which the midline is looked for.
SLAB_MM = 10.0
#: Less spine than this in the localiser's map is noise.
MIN_SPINE_MM3 = 20_000.0
#: Distance between samples of the scan; anatomy as large as this page needs survives it.
SAMPLE_MM = 4.0
#: Fat, muscle and organs, but neither air nor lung.
BODY_HU = -300
#: Cortical bone; contrast in vessels may reach it, which the rules below allow for.
BONE_HU = 200
#: Bone of a vertebra in one slab.
MIN_BONE_MM3 = 1_000.0
#: Around the body's middle no wider than this, bone is spine rather than rib or arm.
SPINE_HALF_WIDTH_MM = 60.0
#: Iliac wings lie this far from the midline, and their section is at least this large on each side; ribs are thinner.
WING_MM = (35.0, 160.0)
MIN_WING_MM2 = 300.0
#: Less liver and spleen than this in the localiser's map is noise.
MIN_ORGAN_MM3 = 50_000.0


@dataclass(frozen=True)
class Midline:
    """The patient's middle (world x) at each height.

    Attributes:
        heights_mm: world z, ascending.
        x_mm: world x of the middle at these heights.
        source: ``spine`` (the localiser's map), ``bone`` or ``body`` (the scan's own HU).
    """

    heights_mm: Points
    x_mm: Points
    source: str

    def at(self, z_mm: Any) -> Points:
        """World x of the middle at world heights; the nearest known one beyond the ends."""
        return np.asarray(np.interp(z_mm, self.heights_mm, self.x_mm), dtype=np.float64)


@dataclass(frozen=True)
class Body:
    """Samples of the scan inside the patient's outline.

    Attributes:
        world_mm: (n, 3) positions x, y, z.
        hu: (n,) their values.
        volume_mm3: what one sample stands for.
        at_side_border: (n,) whether the sample lies at a border of the scan that cuts the body sideways.
    """

    world_mm: Points
    hu: NDArray[np.float32]
    volume_mm3: float
    at_side_border: NDArray[np.bool_]


@dataclass(frozen=True)
class Landmarks:
    """What is known of the patient's anatomy, by which it is judged whether a piece is a kidney, and of which side.

    Attributes:
        midline: the patient's middle, if known.
        pelvis_top_mm: world z of the iliac crests, if they are seen.
        overview: the localiser's map (`OverviewLabel`), if there is one.
    """

    midline: Midline | None
    pelvis_top_mm: float | None
    overview: sitk.Image | None


def sample_body(image: sitk.Image) -> Body:
    """The patient's outline on a coarse grid: the largest connected set of voxels denser than lung."""
    import SimpleITK as sitk
    from scipy import ndimage

    grid = VoxelGrid.of(image)
    steps = [max(1, int(SAMPLE_MM / mm)) for mm in grid.spacing_mm[::-1]]
    values = sitk.GetArrayViewFromImage(image)[:: steps[0], :: steps[1], :: steps[2]].astype(np.float32)
    dense = values > BODY_HU
    numbers, count = ndimage.label(dense)
    if count == 0:
        empty = np.zeros((0, 3))
        return Body(empty, np.zeros(0, np.float32), 1.0, np.zeros(0, np.bool_))
    largest = 1 + int(np.argmax(np.bincount(numbers.ravel())[1:]))
    index = np.argwhere(numbers == largest)
    # The image axis that runs most across the patient has two borders that can cut the body sideways.
    across = 2 - int(np.argmax(np.abs(grid.linear[0])))
    at_border = (index[:, across] == 0) | (index[:, across] == values.shape[across] - 1)
    return Body(
        world_mm=grid.world(index * steps),
        hu=values[numbers == largest],
        volume_mm3=grid.voxel_mm3 * float(np.prod(steps)),
        at_side_border=at_border,
    )


def find_landmarks(body: Body, near_kidney: NDArray[np.bool_], overview: sitk.Image | None) -> Landmarks:
    """Midline and pelvis (`find_midline`, `find_pelvis_top`) of a scan; arguments as there."""
    midline = find_midline(overview, body, near_kidney)
    pelvis_top_mm = None if midline is None else find_pelvis_top(body, midline, near_kidney, overview)
    return Landmarks(midline, pelvis_top_mm, overview)


def find_midline(overview: sitk.Image | None, body: Body, near_kidney: NDArray[np.bool_]) -> Midline | None:
    """The midline from the localiser's spine, else from bone, else from the body's outline.

    Args:
        overview: the localiser's map (`OverviewLabel`), or None.
        body: samples of the scan.
        near_kidney: (n,) samples of the body in or near a kidney, which is bright but no bone.

    Returns:
        None if the scan shows no usable landmark, for instance one flank only.
    """
    if overview is not None:
        found = _from_spine(overview)
        if found is not None:
            return found
    outline = _from_body(body)
    return _from_bone(body, near_kidney, outline) or outline


def find_pelvis_top(
    body: Body, midline: Midline, near_kidney: NDArray[np.bool_], overview: sitk.Image | None = None
) -> float | None:
    """World z of the iliac crests: the top of the run of slabs with wide bone on both sides at the scan's lower end.

    Where the lower end has no wide bone, no pelvis is in the scan, and wide bone higher up is ribs: None. A single slab
    without (between thighs and pelvis, say) does not end the run. A run that reaches the height of liver or spleen is
    ribs, or ribs that follow upon the pelvis: then nothing is known of the crests. Without the localiser's map that is
    not asked.
    """
    bone = (body.hu > BONE_HU) & ~near_kidney
    position = body.world_mm[bone]
    if len(position) == 0:
        return None
    lowest_mm = float(body.world_mm[:, 2].min())
    offset = position[:, 0] - midline.at(position[:, 2])
    lateral = (np.abs(offset) > WING_MM[0]) & (np.abs(offset) < WING_MM[1])
    slab = ((position[:, 2] - lowest_mm) / SLAB_MM).astype(np.int64)
    count = int(slab.max()) + 1
    needed = MIN_WING_MM2 * SLAB_MM / body.volume_mm3
    wide = np.ones(count, dtype=np.bool_)
    for side in (-1, 1):
        wide &= np.bincount(slab[lateral & (np.sign(offset) == side)], minlength=count) >= needed
    run = _run_from_below(wide)
    if run == 0:
        return None
    top_mm = lowest_mm + run * SLAB_MM
    organs_mm = _height_of_upper_organs(overview)
    return None if organs_mm is not None and top_mm > organs_mm else top_mm


def _run_from_below(wide: NDArray[np.bool_]) -> int:
    """Slabs from the lowest one to the last wide one before two in a row that are not; 0 if these are the lowest."""
    narrow = np.concatenate([~wide, [True, True]])
    return int(np.argmax(narrow[:-1] & narrow[1:]))


def _height_of_upper_organs(overview: sitk.Image | None) -> float | None:
    """Median world z of liver and spleen in the localiser's map, if it shows `MIN_ORGAN_MM3` of them."""
    if overview is None:
        return None
    world = _positions_of(overview, (OverviewLabel.LIVER, OverviewLabel.SPLEEN), MIN_ORGAN_MM3)
    return None if world is None else float(np.median(world[:, 2]))


def _positions_of(overview: sitk.Image, labels: tuple[OverviewLabel, ...], least_mm3: float) -> Points | None:
    """World positions (n, 3) of the voxels with one of some labels; None if there is less of them than that."""
    import SimpleITK as sitk

    grid = VoxelGrid.of(overview)
    index = np.argwhere(np.isin(sitk.GetArrayViewFromImage(overview), labels))
    return None if len(index) * grid.voxel_mm3 < least_mm3 else grid.world(index)


def _from_spine(overview: sitk.Image) -> Midline | None:
    world = _positions_of(overview, (OverviewLabel.SPINE,), MIN_SPINE_MM3)
    if world is None:
        return None
    least = MIN_SPINE_MM3 / 100 / VoxelGrid.of(overview).voxel_mm3
    return _slab_medians(world[:, 2], world[:, 0], least, "spine")


def _from_bone(body: Body, near_kidney: NDArray[np.bool_], outline: Midline | None) -> Midline | None:
    if len(body.hu) == 0:
        return None
    # World y grows to the back, whatever the patient lies on.
    behind = body.world_mm[:, 1] > np.median(body.world_mm[:, 1])
    bone = (body.hu > BONE_HU) & behind & ~near_kidney
    if outline is not None:
        bone &= np.abs(body.world_mm[:, 0] - outline.at(body.world_mm[:, 2])) < SPINE_HALF_WIDTH_MM
    position = body.world_mm[bone]
    return _slab_medians(position[:, 2], position[:, 0], MIN_BONE_MM3 / body.volume_mm3, "bone")


def _from_body(body: Body) -> Midline | None:
    if len(body.hu) == 0:
        return None
    z = body.world_mm[:, 2]
    slab = ((z - z.min()) / SLAB_MM).astype(np.int64)
    heights, middles = [], []
    for number in np.unique(slab):
        inside = slab == number
        x = body.world_mm[inside, 0]
        if body.at_side_border[inside].any() or len(x) * body.volume_mm3 < 100 * MIN_BONE_MM3:
            continue  # cut off sideways, or no trunk: its middle says nothing
        low, high = np.percentile(x, (2, 98))
        heights.append(float(z[inside].mean()))
        middles.append(float(low + high) / 2)
    return Midline(np.array(heights), np.array(middles), "body") if heights else None


def _slab_medians(z: Points, x: Points, min_count: float, source: str) -> Midline | None:
    if len(z) == 0:
        return None
    slab = np.floor((z - z.min()) / SLAB_MM).astype(np.int64)
    heights, middles = [], []
    for number in np.unique(slab):
        inside = slab == number
        if inside.sum() >= min_count:
            heights.append(float(z[inside].mean()))
            middles.append(float(np.median(x[inside])))
    if not heights:
        return None
    # A running median of five slabs: one slab with a rib or a calcified vessel more does not bend the line.
    padded = np.pad(np.array(middles), 2, mode="edge")
    smooth = np.median(np.lib.stride_tricks.sliding_window_view(padded, 5), axis=1)
    return Midline(np.array(heights), smooth, source)
