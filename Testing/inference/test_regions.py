"""Boxes round the kidneys: margin, merging, growing, the body."""

from __future__ import annotations

import numpy as np
import pytest
from analytic_bundles import image_of, spec
from scipy import ndimage

from KidneySegLib.inference.grid import Box, frame_of, grid_of
from KidneySegLib.inference.regions import (
    MARGIN_MM,
    REACH_MM,
    STALK_RADIUS_MM,
    body_box,
    grown,
    kept_part,
    kidney_boxes,
    merge_overlapping,
    stray,
    surround,
    within_reach,
)

FRAME = frame_of(image_of(np.zeros((100, 100, 120), np.int16), (2.0, 2.0, 2.0)))
COARSE = grid_of(FRAME, (4.0, 4.0, 4.0))
FINE = grid_of(FRAME, (1.0, 1.0, 1.0))


def mask(*boxes: Box) -> np.ndarray:
    found = np.zeros(COARSE.shape, bool)
    for box in boxes:
        found[box.slices] = True
    return found


def test_nothing_seen_gives_no_box() -> None:
    assert kidney_boxes(mask(), COARSE, FINE) == ()


def test_a_box_a_kidney_with_margin_largest_first() -> None:
    small = Box((10, 10, 5), (20, 16, 11))
    large = Box((10, 10, 40), (26, 16, 46))
    first, second = kidney_boxes(mask(small, large), COARSE, FINE)
    m = int(MARGIN_MM)
    assert first == Box((40 - m, 40 - m, 160 - m), (104 + m, 64 + m, 184 + m))
    assert second == Box((40 - m, 40 - m, 20 - m), (80 + m, 64 + m, 44 + m))


def test_specks_are_no_kidneys() -> None:
    # 3x3x3 voxels of 0.064 mL are 1.7 mL; 4x3x3 are 2.3 mL.
    assert kidney_boxes(mask(Box((5, 5, 5), (8, 8, 8))), COARSE, FINE) == ()
    assert len(kidney_boxes(mask(Box((5, 5, 5), (9, 8, 8))), COARSE, FINE)) == 1


def test_only_what_lies_near_a_seen_kidney_is_within_reach() -> None:
    kidney, speck = Box((10, 10, 10), (16, 16, 16)), Box((10, 10, 25), (12, 12, 27))
    region = Box((30, 40, 20), (70, 80, 130))
    near = within_reach(mask(kidney, speck), COARSE, FINE, region)
    assert near.shape == region.shape
    row = near[50 - 30, 50 - 40]  # Along x through the kidney, which ends at 64 mm; the speck at 100 mm does not count.
    reached_mm = 20 + np.flatnonzero(row)
    assert reached_mm[0] == pytest.approx(40 - REACH_MM, abs=4)
    assert reached_mm[-1] == pytest.approx(64 + REACH_MM, abs=4)
    assert row[40 - 20 : 64 - 20].all()


def test_nothing_is_within_reach_of_no_kidney() -> None:
    assert not within_reach(mask(), COARSE, FINE, Box((0, 0, 0), (5, 6, 7))).any()


def test_far_parts_stay_only_on_a_thick_stalk() -> None:
    found = np.zeros((30, 30, 100), bool)
    found[3:27, 3:27, 3:27] = True  # near
    found[3:27, 3:27, 60:90] = True  # far
    near = np.zeros_like(found)
    near[:, :, :40] = True
    thin, thick = found.copy(), found.copy()
    thin[11:19, 11:19, 20:65] = True  # 8 mm across
    thick[5:25, 5:25, 20:65] = True  # 20 mm across
    dropped = stray(thin, near, (1.0, 1.0, 1.0))
    assert dropped[15, 15, 50:90].all()
    assert not dropped[:, :, :40].any()
    assert not stray(thick, near, (1.0, 1.0, 1.0)).any()
    assert stray(found, near, (1.0, 1.0, 1.0))[found & ~near].all()


def _stray_by_whole_arrays(found: np.ndarray, near: np.ndarray, spacing_mm: tuple[float, float, float]) -> np.ndarray:
    """What `stray` means, distances taken everywhere."""
    cores = ndimage.distance_transform_edt(found, sampling=spacing_mm) > STALK_RADIUS_MM
    components, _ = ndimage.label(cores)
    attached = np.unique(components[near & cores])
    if not attached.size:
        return found & ~near
    distance_mm, nearest = ndimage.distance_transform_edt(~cores, sampling=spacing_mm, return_indices=True)
    stays = np.isin(components[tuple(nearest)], attached) & (distance_mm <= 3 * STALK_RADIUS_MM)
    return found & ~near & ~stays


@pytest.mark.parametrize("seed", range(12))
def test_what_strays_is_the_same_as_with_distances_everywhere(seed: int) -> None:
    random = np.random.default_rng(seed)
    spacing_mm = (5.0, 1.5, 1.5) if seed % 2 else (2.0, 2.0, 2.0)
    found = np.zeros((24, 70, 90), bool)
    for _ in range(6):
        centre, radius_mm = random.uniform(0, found.shape), random.uniform(4, 22)
        offsets = np.indices(found.shape) - centre[:, None, None, None]
        found |= sum((o * mm) ** 2 for o, mm in zip(offsets, spacing_mm, strict=True)) < radius_mm**2
    found &= random.random(found.shape) < 0.999
    near = np.zeros_like(found)
    near[:, :, : int(random.integers(20, 60))] = True
    expected = _stray_by_whole_arrays(found, near, spacing_mm)
    assert np.array_equal(stray(found, near, spacing_mm), expected)


def test_boxes_whose_margins_meet_are_merged() -> None:
    left, right = Box((10, 10, 10), (20, 16, 16)), Box((10, 10, 20), (20, 16, 26))
    (both,) = kidney_boxes(mask(left, right), COARSE, FINE)
    assert both == Box((28, 28, 28), (92, 76, 116))


def test_merging_goes_on_until_nothing_overlaps() -> None:
    def cube(at: int, size: int = 3) -> Box:
        return Box((at, 0, 0), (at + size, 3, 3))

    # The third joins the first two, which alone do not meet.
    assert merge_overlapping([cube(0), cube(4), cube(2, 4)]) == (Box((0, 0, 0), (7, 3, 3)),)
    assert merge_overlapping([cube(0), cube(3)]) == (cube(0), cube(3))
    assert merge_overlapping([]) == ()


def test_surroundings_fill_the_tile_and_stay_in_the_scan() -> None:
    made = spec(patch_size=(64, 64, 64), size_multiple=(16, 16, 16))
    region, tile = surround(Box((100, 0, 210), (140, 40, 240)), FINE, made)
    assert tile == (48, 48, 32)
    assert region == Box((96, 0, 208), (144, 48, 240))
    # A tile of fixed size: the same, with more surroundings.
    region, tile = surround(
        Box((100, 0, 210), (140, 40, 240)), FINE, spec(patch_size=(64, 64, 64), flexible_tiles=False)
    )
    assert tile == (64, 64, 64)
    assert region == Box((88, 0, 176), (152, 64, 240))
    # A region larger than the scan is the scan.
    region, tile = surround(FINE.whole, FINE, made)
    assert region == FINE.whole


def test_only_what_reaches_into_the_core_is_kept() -> None:
    region, core = Box((10, 10, 10), (60, 60, 60)), Box((20, 20, 20), (50, 50, 50))
    found = np.zeros(region.shape, bool)
    found[0:3, 0:3, 0:3] = True  # A neighbour at the region's corner.
    assert kept_part(found, region, core) is None
    found[35:50, 20:25, 20:25] = True  # Reaches from the core to the region's upper face.
    assert kept_part(found, region, core) == Box((45, 30, 30), (60, 35, 35))
    assert kept_part(np.zeros(region.shape, bool), region, core) is None


def test_a_cut_part_grows_only_where_it_is_cut_and_the_scan_goes_on() -> None:
    region = Box((0, 10, 10), (60, 60, 60))
    part = Box((0, 30, 30), (60, 35, 35))
    assert grown(part, region, FINE) == Box((0, 30, 30), (84, 35, 35))
    assert grown(Box((5, 30, 30), (59, 35, 35)), region, FINE) is None
    # At the end of the scan there is nothing more to see.
    end = Box((150, 10, 10), (200, 60, 60))
    assert grown(Box((160, 30, 30), (200, 35, 35)), end, FINE) is None


@pytest.mark.parametrize("low_hu", [-1000.0, -200.0])
def test_body_is_the_largest_thing_that_is_no_air(low_hu: float) -> None:
    hu = np.full((20, 30, 40), low_hu, np.float32)
    hu[5:15, 8:20, 10:30] = 40
    hu[0, 0, 0] = 40  # A speck, or the table.
    assert body_box(hu, low_hu) == Box((4, 7, 9), (16, 21, 31))


def test_without_a_body_it_is_the_whole_volume() -> None:
    assert body_box(np.full((2, 3, 4), -1000, np.float32), -1000.0) == Box((0, 0, 0), (2, 3, 4))
