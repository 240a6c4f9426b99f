"""A kidney that the scan cuts, judged on the scan's own grid."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk

from KidneySegLib.labels import Side
from KidneySegLib.postprocessing import assign_kidneys, label_flags
from KidneySegLib.postprocessing.edges import padding_value
from Testing.postprocessing.patient import LEFT, RIGHT, Blob, Patient, result_of


def map_of(size: tuple[int, int, int], box: tuple[slice, ...], spacing: tuple[float, ...] = (2.0, 2.0, 3.0)) -> tuple:
    """A scan of water and a label map with a right kidney in a box (z, y, x)."""
    values = np.zeros(size[::-1], dtype=np.uint8)
    values[box] = 1
    labels = sitk.GetImageFromArray(values)
    labels.SetSpacing(spacing)
    image = sitk.Image(size, sitk.sitkInt16)
    image.CopyInformation(labels)
    return image, labels


INNER = slice(3, 17)


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("cut", [slice(0, 17), slice(3, 20)])
def test_each_of_the_six_borders_cuts(axis: int, cut: slice) -> None:
    box = [INNER, INNER, INNER]
    box[axis] = cut
    image, labels = map_of((20, 20, 20), tuple(box))
    assert (Side.RIGHT, "kidney_cut_by_scan") in label_flags(labels, image)


def test_a_kidney_inside_is_not_cut() -> None:
    image, labels = map_of((20, 20, 20), (INNER, INNER, INNER))
    assert "kidney_cut_by_scan" not in dict(label_flags(labels, image)).values()


def test_the_border_of_a_crop_does_not_cut() -> None:
    image, labels = map_of((20, 20, 20), (INNER, INNER, INNER))
    assert "kidney_cut_by_scan" not in dict(label_flags(labels[3:17, 3:17, 3:17], image)).values()


def test_within_a_millimetre_of_thin_slices_counts_as_cut() -> None:
    image, labels = map_of((20, 20, 20), (slice(1, 17), INNER, INNER), (2.0, 2.0, 0.6))
    assert (Side.RIGHT, "kidney_cut_by_scan") in label_flags(labels, image)
    image, labels = map_of((20, 20, 20), (slice(2, 17), INNER, INNER), (2.0, 2.0, 0.6))
    assert "kidney_cut_by_scan" not in dict(label_flags(labels, image)).values()


def test_only_the_cut_kidney_is_flagged() -> None:
    image, labels = Patient((RIGHT, Blob((62, 20, -120)))).scan()
    flags = assign_kidneys(result_of(labels), image).flags
    assert (Side.LEFT, "kidney_cut_by_scan") in flags
    assert (Side.RIGHT, "kidney_cut_by_scan") not in flags


@pytest.mark.parametrize(("radius", "cut"), [(75.0, True), (150.0, False)])
def test_a_round_field_of_view_cuts(radius: float, cut: bool) -> None:
    image, labels = Patient().scan()
    hu, ids = sitk.GetArrayFromImage(image), sitk.GetArrayFromImage(labels)
    _, y, x = np.indices(hu.shape)
    spacing = image.GetSpacing()
    middle = [(n - 1) / 2 for n in image.GetSize()]
    outside = np.hypot((x - middle[0]) * spacing[0], (y - middle[1]) * spacing[1]) > radius
    hu[outside], ids[outside] = -3024, 0
    scan, kept = sitk.GetImageFromArray(hu), sitk.GetImageFromArray(ids)
    for made in (scan, kept):
        made.CopyInformation(image)
    assert padding_value(scan) == -3024
    flags = {flag for flag in assign_kidneys(result_of(kept), scan).flags if flag[1] == "kidney_cut_by_scan"}
    assert flags == ({(Side.RIGHT, "kidney_cut_by_scan"), (Side.LEFT, "kidney_cut_by_scan")} if cut else set())


def test_no_padding_where_corners_differ_or_hold_tissue() -> None:
    image = sitk.Image((4, 4, 4), sitk.sitkInt16)
    assert padding_value(image) is None
    image = image - 2000
    assert padding_value(image) == -2000
    image[3, 3, 3] = -1990
    assert padding_value(image) is None


def test_small_and_large_kidneys() -> None:
    image, labels = Patient((Blob((-58, 20, 0), (15, 15, 26), 4.0), Blob((70, 20, 0), (45, 45, 55)))).scan()
    assert set(assign_kidneys(result_of(labels), image).flags) == {
        (Side.RIGHT, "kidney_small"),
        (Side.LEFT, "kidney_large"),
    }
    image, labels = Patient((RIGHT, LEFT)).scan()
    assert assign_kidneys(result_of(labels), image).flags == ()
