"""What weakens a scan is flagged, what cannot be right is refused."""

from __future__ import annotations

import pytest
import SimpleITK as sitk

from KidneySegLib.ct import check_geometry
from KidneySegLib.ct.geometry import check_grid
from KidneySegLib.errors import InputError


def grid(size: tuple[int, ...] = (30, 30, 30), spacing_mm: tuple[float, ...] = (1.0, 1.0, 1.0)) -> sitk.Image:
    image = sitk.Image(list(size), sitk.sitkInt16)
    image.SetSpacing(spacing_mm)
    return image


@pytest.mark.parametrize(
    ("spacing_mm", "thickness_mm", "flags"),
    [
        ((0.7, 0.7, 1.0), 1.0, ()),
        ((0.7, 0.7, 5.0), 5.0, ()),
        ((0.7, 0.7, 5.000001), 5.000001, ()),
        ((0.7, 0.7, 5.1), 5.1, ("slices_thick_for_cortex",)),
        ((0.7, 0.7, 2.5), 8.0, ("slices_thick_for_cortex",)),
        ((0.7, 0.7, 8.0), 5.0, ("slices_thick_for_cortex",)),
        ((0.7, 5.5, 0.7), 5.5, ("slices_thick_for_cortex",)),
        ((1.5, 1.5, 5.0), 5.0, ()),
        ((1.6, 1.6, 5.0), 5.0, ("pixels_coarse_for_cortex",)),
        ((3.0, 3.0, 3.0), 3.0, ("pixels_coarse_for_cortex",)),
        ((2.0, 2.0, 8.0), 8.0, ("slices_thick_for_cortex", "pixels_coarse_for_cortex")),
    ],
)
def test_flags(spacing_mm: tuple[float, ...], thickness_mm: float, flags: tuple[str, ...]) -> None:
    assert check_geometry(grid(spacing_mm=spacing_mm), thickness_mm) == flags


def test_a_good_grid_passes() -> None:
    check_grid(grid((512, 512, 5), (0.7, 0.7, 5.0)), "scan")


@pytest.mark.parametrize(
    ("size", "spacing_mm", "words"),
    [
        ((30, 30, 4), (1.0, 1.0, 5.0), "scan has 30 x 30 x 4 voxels, but at least 5 slices are needed"),
        ((30, 30, 30), (0.01, 1.0, 1.0), "scan has a voxel size of 0.01 x 1 x 1 mm, but a CT has 0.05 to 20 mm"),
        ((30, 30, 30), (25.0, 1.0, 1.0), "scan has a voxel size of 25 x 1 x 1 mm, but a CT has 0.05 to 20 mm"),
        ((30, 30, 9), (1.0, 1.0, 1.0), "scan is only 30 x 30 x 9 mm large"),
    ],
)
def test_refused(size: tuple[int, ...], spacing_mm: tuple[float, ...], words: str) -> None:
    with pytest.raises(InputError, match=words):
        check_grid(grid(size, spacing_mm), "scan")


def test_leaning_axes_are_refused_unless_allowed() -> None:
    image = grid()
    image.SetDirection((1, 0, 0, 0, 1, 0.3, 0, 0, 0.954))
    check_grid(image, "scan", right_angled=False)
    with pytest.raises(InputError, match="axes of scan are not at right angles"):
        check_grid(image, "scan")
