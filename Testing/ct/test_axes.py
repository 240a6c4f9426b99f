"""LPS and RAS, (x, y, z) and (z, y, x): round trips on oblique, anisotropic and left-handed grids."""

from __future__ import annotations

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from KidneySegLib.ct.axes import affine_lps, affine_ras, set_affine_lps, swap_lps_ras, zyx

coordinates = st.floats(-500, 500)


@st.composite
def grids(draw: st.DrawFn) -> sitk.Image:
    image = sitk.Image(2, 3, 4, sitk.sitkUInt8)
    image.SetSpacing(draw(st.tuples(*[st.floats(0.3, 8.0)] * 3)))
    image.SetOrigin(draw(st.tuples(*[coordinates] * 3)))
    turn = Rotation.from_euler("xyz", draw(st.tuples(*[st.floats(-3.1, 3.1)] * 3))).as_matrix()
    image.SetDirection((turn * np.array([1, 1, draw(st.sampled_from([1, -1]))])).ravel().tolist())
    return image


@given(image=grids(), index=st.tuples(*[st.integers(-5, 9)] * 3))
def test_affine_maps_as_sitk_does(image: sitk.Image, index: tuple[int, int, int]) -> None:
    assert (affine_lps(image) @ [*index, 1])[:3] == pytest.approx(
        image.TransformContinuousIndexToPhysicalPoint([float(i) for i in index]), abs=1e-9
    )


@given(image=grids())
def test_round_trip_through_ras(image: sitk.Image) -> None:
    copy = sitk.Image(2, 3, 4, sitk.sitkUInt8)
    set_affine_lps(copy, swap_lps_ras(affine_ras(image)))
    assert copy.GetSpacing() == pytest.approx(image.GetSpacing())
    assert copy.GetOrigin() == pytest.approx(image.GetOrigin())
    assert copy.GetDirection() == pytest.approx(image.GetDirection(), abs=1e-12)


def test_ras_is_what_nibabel_reads(tmp_path_factory: pytest.TempPathFactory, an_image: sitk.Image) -> None:
    path = tmp_path_factory.mktemp("ras") / "scan.nii"
    sitk.WriteImage(an_image, str(path))
    assert affine_ras(an_image) == pytest.approx(nibabel.load(path).affine, abs=1e-5)


def test_literal_signs() -> None:
    image = sitk.Image(2, 2, 2, sitk.sitkUInt8)
    image.SetSpacing((1.0, 2.0, 3.0))
    image.SetOrigin((10.0, 20.0, 30.0))
    assert affine_ras(image).tolist() == [[-1, 0, 0, -10], [0, -2, 0, -20], [0, 0, 3, 30], [0, 0, 0, 1]]


def test_zyx() -> None:
    assert zyx((1, 2, 3)) == (3, 2, 1)
    assert zyx(zyx(("x", "y", "z"))) == ("x", "y", "z")


def test_a_flat_matrix_is_refused() -> None:
    with pytest.raises(ValueError, match="three axes with a length"):
        set_affine_lps(sitk.Image(2, 2, 2, sitk.sitkUInt8), np.diag([1.0, 1.0, 0.0, 1.0]))
