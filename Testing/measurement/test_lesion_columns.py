"""Largest diameter and mean HU of cysts and masses, per side."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk

from KidneySegLib.export.report import _QUANTITIES
from KidneySegLib.measurement import COLUMNS, measure


def test_each_side_has_its_own_largest_cyst_and_mass() -> None:
    values = np.zeros((20, 40, 60), np.uint8)
    hu = np.full(values.shape, 30, np.int16)
    for label_id, box, value in (
        (2, np.s_[4:16, 4:30, 4:14], 120),
        (5, np.s_[8:12, 4:12, 14:20], 6),  # A cyst of 4 x 8 x 6 voxels,
        (5, np.s_[4:10, 20:26, 14:20], 12),  # and one of 6 x 6 x 6.
        (4, np.s_[4:16, 4:30, 40:50], 110),
        (8, np.s_[8:14, 10:16, 50:58], 90),
    ):
        values[box] = label_id
        hu[box] = value
    labels, image = sitk.GetImageFromArray(values), sitk.GetImageFromArray(hu)
    table = measure(labels, image)
    right, left, both = (table.row(side) for side in ("right", "left", "both"))
    assert right is not None and left is not None and both is not None  # noqa: PT018
    # From the middle of one face to that of the other, at the edges of the box: 8 long, 5 and 3 centres wide.
    assert right.cyst_largest_diameter_mm == pytest.approx(np.sqrt(8**2 + 5**2 + 3**2))
    assert right.cyst_hu_mean == pytest.approx((6 * 2 * 6 * 4 + 12 * 4 * 4 * 4) / (2 * 6 * 4 + 4 * 4 * 4))
    assert (right.mass_largest_diameter_mm, right.mass_hu_mean) == (None, None)
    assert left.mass_hu_mean == 90.0
    assert left.mass_largest_diameter_mm == both.mass_largest_diameter_mm == pytest.approx(np.sqrt(8**2 + 5**2 + 5**2))
    assert both.cyst_hu_mean == right.cyst_hu_mean


def test_the_table_and_the_report_show_them() -> None:
    names = {f"{kind}_{what}" for kind in ("cyst", "mass") for what in ("largest_diameter_mm", "hu_mean")}
    assert names <= set(COLUMNS)
    assert names <= {name for _, _, name, _ in _QUANTITIES}
