"""Uneven and leaning stacks onto regular upright grids."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given
from hypothesis import strategies as st

from KidneySegLib.ct.upright import even_slices, is_sheared, upright
from KidneySegLib.errors import InputError


def test_literal_interpolation() -> None:
    stack = np.array([0, 10, 40], dtype=np.int16)[:, None, None]
    even = even_slices(stack, np.array([0.0, 1.0, 4.0]), 1.0)
    assert even.dtype == np.int16
    assert even.ravel().tolist() == [0, 10, 20, 30, 40]


@given(
    steps=st.lists(st.floats(0.3, 8.0), min_size=3, max_size=12),
    pieces=st.integers(2, 40),
    slope=st.floats(-30, 30),
)
def test_a_ramp_stays_a_ramp(steps: list[float], pieces: int, slope: float) -> None:
    positions = np.concatenate([[0.0], np.cumsum(steps)])
    spacing = positions[-1] / pieces
    even = even_slices((slope * positions).astype(np.float32)[:, None, None], positions, spacing)
    assert even.shape == (pieces + 1, 1, 1)
    assert even.ravel() == pytest.approx(slope * spacing * np.arange(pieces + 1), abs=1e-2)


def test_even_slices_of_an_even_stack_change_nothing() -> None:
    stack = np.random.default_rng(0).integers(-1000, 1000, (6, 3, 4)).astype(np.int16)
    assert np.array_equal(even_slices(stack, 2.5 * np.arange(6), 2.5), stack)


def leaning(degrees: float) -> sitk.Image:
    image = sitk.Image(30, 30, 30, sitk.sitkInt16) + 100
    image.SetSpacing((1.0, 1.0, 2.0))
    tilt = np.deg2rad(degrees)
    image.SetDirection((1, 0, 0, 0, np.cos(tilt), 0, 0, np.sin(tilt), 1))
    return image


def test_a_right_angled_grid_is_not_sheared(an_image: sitk.Image) -> None:
    assert not is_sheared(an_image)
    assert not is_sheared(leaning(0.5))
    assert is_sheared(leaning(5.0))


@pytest.mark.parametrize("degrees", [-30.0, -5.0, 12.0, 30.0])
def test_the_whole_volume_stays(degrees: float) -> None:
    image = leaning(degrees)
    result = upright(image, "scan")
    voxels = sitk.GetArrayFromImage(result)
    assert result.GetPixelID() == sitk.sitkInt16
    volume = np.prod(image.GetSpacing()) * 30**3 * abs(np.linalg.det(np.array(image.GetDirection()).reshape(3, 3)))
    assert np.count_nonzero(voxels == 100) * np.prod(result.GetSpacing()) == pytest.approx(volume, rel=0.06)
    assert set(np.unique(voxels)) <= {-1024, 100}


def test_too_far() -> None:
    with pytest.raises(InputError, match="slices of scan lean by 60 degrees"):
        upright(leaning(60.0), "scan")
