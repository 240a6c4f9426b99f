"""Label maps of others: every scheme, from real files, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from KidneySegLib.errors import InputError
from KidneySegLib.measurement import SCHEMES, read_labels

SHAPE = (12, 14, 16)


def image_of(values: np.ndarray, spacing: tuple[float, float, float] = (1.0, 1.0, 2.0)) -> sitk.Image:
    image = sitk.GetImageFromArray(values)
    image.SetSpacing(spacing)
    image.SetOrigin((5.0, -7.0, 100.0))
    return image


def map_with(*ids: float, dtype: type = np.uint8) -> np.ndarray:
    values = np.zeros(SHAPE, dtype=dtype)
    for n, value in enumerate(ids):
        values[n % SHAPE[0], 2:5, 3:9] = value
    return values


def written(tmp_path: Path, values: np.ndarray, name: str = "labels.nii.gz") -> Path:
    sitk.WriteImage(image_of(values), str(tmp_path / name))
    return tmp_path / name


@pytest.mark.parametrize(
    ("scheme", "expected"),
    [
        ("kidneyseg", {1: 1, 2: 2, 3: 3, 4: 4, 9: 9, 13: 13, 15: 15}),
        ("training", {1: 10, 2: 9, 3: 11, 4: 12}),
        ("sides", {1: 13, 2: 14}),
        ("kits", {1: 15, 2: 12, 3: 11}),
        ("abnormality", {1: 15, 2: 12}),
    ],
)
def test_ids_of_each_scheme(scheme: str, expected: dict[int, int], tmp_path: Path) -> None:
    values = map_with(*expected)
    labels = read_labels(written(tmp_path, values), scheme)
    found = sitk.GetArrayFromImage(labels)
    for theirs, ours in expected.items():
        np.testing.assert_array_equal(found == ours, values == theirs)
    assert labels.GetPixelID() == sitk.sitkUInt8
    assert labels.GetOrigin() == (5.0, -7.0, 100.0)


def test_schemes_are_those_of_the_design() -> None:
    assert list(SCHEMES) == ["kidneyseg", "training", "sides", "kits", "abnormality"]


@pytest.mark.parametrize("dtype", [np.uint16, np.int32, np.float32, np.float64])
@pytest.mark.parametrize("name", ["labels.nii.gz", "labels.nrrd", "labels.mha", "Öl 標.nii.gz"])
def test_any_type_and_format_of_whole_numbers(dtype: type, name: str, tmp_path: Path) -> None:
    labels = read_labels(written(tmp_path, map_with(1, 2, dtype=dtype), name), "sides")
    assert set(np.unique(sitk.GetArrayFromImage(labels))) == {0, 13, 14}


def test_an_empty_map_is_a_map(tmp_path: Path) -> None:
    assert not sitk.GetArrayFromImage(read_labels(written(tmp_path, map_with()))).any()


@pytest.mark.parametrize(
    ("values", "scheme", "words"),
    [
        (map_with(1, 3), "sides", "the labels 3, but the scheme sides knows 1, 2"),
        (map_with(16), "kidneyseg", "the labels 16"),
        (map_with(-1, dtype=np.int16), "kidneyseg", "the labels -1"),
        (map_with(0.5, dtype=np.float32), "sides", "no labels"),
        (np.arange(np.prod(SHAPE), dtype=np.int16).reshape(SHAPE), "kidneyseg", r"16, 17, 18, 19, 20 \.\.\."),
        (map_with(1), "tumours", "must be one of kidneyseg, training"),
    ],
)
def test_what_is_refused(values: np.ndarray, scheme: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=words):
        read_labels(written(tmp_path, values), scheme)


def test_files_that_are_no_images(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not a file"):
        read_labels(tmp_path / "none.nii.gz")
    (tmp_path / "text.nii.gz").write_text("not an image")
    with pytest.raises(InputError, match=r"text\.nii\.gz"):
        read_labels(tmp_path / "text.nii.gz")


def test_a_part_of_the_scans_grid_is_welcome(tmp_path: Path) -> None:
    scan = image_of(np.zeros(SHAPE, dtype=np.int16))
    part = image_of(map_with(1, 2))[3:14, 1:12, 2:9]
    sitk.WriteImage(part, str(tmp_path / "part.nii.gz"))
    assert read_labels(tmp_path / "part.nii.gz", "sides", scan).GetSize() == (11, 11, 7)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("size", "size 16 x 14 x 12 voxels, not 16 x 14 x 13"),
        ("spacing", "voxels of 1 x 1 x 2 mm, not 1 x 1 x 2.5 mm"),
        ("direction", r"axes that point elsewhere \(by up to 90.0 degrees\)"),
        ("origin", "its first voxel 4.0 mm away"),
    ],
)
def test_another_grid_is_refused_and_the_message_says_how_it_differs(change: str, words: str, tmp_path: Path) -> None:
    path = written(tmp_path, map_with(1))
    shape = (13, *SHAPE[1:]) if change == "size" else SHAPE
    scan = image_of(np.zeros(shape, dtype=np.int16))
    if change == "size":
        scan.SetOrigin((5.0, -7.0, 100.7))
    if change == "spacing":
        scan.SetSpacing((1.0, 1.0, 2.5))
    if change == "direction":
        scan.SetDirection((0.0, -1.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0))
    if change == "origin":
        scan.SetOrigin((5.0, -7.0, 104.0))
    with pytest.raises(InputError, match=words):
        read_labels(path, "sides", scan)
