"""Which numbers can be Hounsfield units."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given
from hypothesis.extra.numpy import arrays

from KidneySegLib.ct.hounsfield import check_hu, count_hu
from KidneySegLib.errors import InputError


def body(low: int = -1000, high: int = 1200, noise: float = 10.0) -> np.ndarray:
    """Air, fat, tissue and a little bone, as float."""
    generator = np.random.default_rng(0)
    values = generator.normal(0, noise, (20, 20, 20))
    values[:8] += low
    values[8:12] += -100
    values[12:19] += 50
    values[19] += 60
    values[19, :2] += high
    return values


def image(values: np.ndarray, dtype: type = np.int16) -> sitk.Image:
    return sitk.GetImageFromArray(values.astype(dtype))


def test_a_body_passes() -> None:
    assert check_hu(image(body()), "scan") == ()
    assert check_hu(image(body(), np.float32), "scan") == ()


@pytest.mark.parametrize(("low", "high"), [(-1024, 1023), (-200, 300), (-1024, 800)])
def test_a_clipped_range_is_flagged(low: int, high: int) -> None:
    values = body()
    values[16:18] += 1500
    assert check_hu(image(np.clip(values, low, high)), "scan") == ("hu_clipped",)


def test_the_12_bit_range_is_no_clipping() -> None:
    assert check_hu(image(np.clip(body(high=5000), -1024, 3071)), "scan") == ()


@pytest.mark.parametrize("padding", [-2000, -3024, -32768])
def test_padding_outside_the_field_of_view_passes(padding: int) -> None:
    values = body()
    values[:3] = padding
    if padding > -32768:
        assert check_hu(image(values), "scan") == ()


def test_a_little_metal_passes() -> None:
    values = body()
    values[15, 10, 10:12] = 30000
    assert check_hu(image(values), "scan") == ()


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (np.zeros((5, 5, 5)), "All voxels of scan are 0: it holds no picture"),
        (np.clip(body() + 1024, 0, None), "has no negative voxel"),
        (np.where(np.indices((20, 20, 20))[0] < 3, -2000, np.clip(body() + 1024, 0, None)), "cannot be Hounsfield"),
        (body() - 1024, "cannot be Hounsfield"),
        (body() / 1000, "cannot be Hounsfield"),
        (body() * 30, "cannot be Hounsfield"),
        (np.full((5, 5, 5), -1000) + np.indices((5, 5, 5))[0], "cannot be Hounsfield"),
    ],
    ids=["zero", "offset", "offset with padding", "rescaled twice", "normalised", "scaled up", "air only"],
)
def test_refused(values: np.ndarray, words: str) -> None:
    with pytest.raises(InputError, match=words):
        check_hu(image(values, np.float32), "scan")


@pytest.mark.parametrize("odd", [np.nan, np.inf, -np.inf])
def test_no_number(odd: float) -> None:
    values = body()
    values[3, 4, 5] = odd
    with pytest.raises(InputError, match="scan has voxels without a number"):
        check_hu(image(values, np.float32), "scan")


@given(arrays(np.int16, (2, 3, 5)))
def test_every_voxel_is_counted(values: np.ndarray) -> None:
    counts = count_hu(sitk.GetImageFromArray(values), "scan")
    assert counts.sum() == 30
    assert all(counts[int(value) + 32768] == np.count_nonzero(values == value) for value in np.unique(values))
