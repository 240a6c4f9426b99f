from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk

from KidneySegLib.errors import InputError
from KidneySegLib.worker_parts import arrays
from KidneySegLib.worker_parts.protocol import ProtocolError

OBLIQUE = [0.0, -0.6, 0.8, 1.0, 0.0, 0.0, 0.0, 0.8, 0.6]
GEOMETRY = {"spacing_mm": [0.7, 0.8, 5.0], "origin_mm": [-10.0, 20.0, -300.5], "direction": OBLIQUE}


def test_voxels_and_geometry_survive_the_round_trip(tmp_path):
    image = sitk.GetImageFromArray(np.arange(24, dtype=np.int16).reshape(2, 3, 4))
    image.SetSpacing(GEOMETRY["spacing_mm"])
    image.SetOrigin(GEOMETRY["origin_mm"])
    image.SetDirection(OBLIQUE)
    back = arrays.read_image(tmp_path, arrays.write_image(tmp_path, "a.npy", image))
    assert back.GetSize() == (4, 3, 2)
    assert back.GetPixel(3, 2, 1) == 23
    assert back.GetSpacing() == pytest.approx(image.GetSpacing())
    assert back.GetOrigin() == pytest.approx(image.GetOrigin())
    assert back.GetDirection() == pytest.approx(image.GetDirection())


@pytest.mark.parametrize(
    ("voxels", "pixel"),
    [
        (np.array([[[1, 2]]], np.uint8), sitk.sitkUInt8),
        (np.array([[[-1000, 3000]]], np.int16), sitk.sitkInt16),
        (np.array([[[0, 3000]]], np.uint16), sitk.sitkInt16),
        (np.array([[[0, 70000]]], np.int32), sitk.sitkFloat32),
        (np.array([[[0.5, 1]]], np.float64), sitk.sitkFloat32),
    ],
)
def test_voxels_become_int16_only_without_loss(tmp_path, voxels, pixel):
    np.save(tmp_path / "v.npy", voxels)
    image = arrays.read_image(tmp_path, {"array": "v.npy", **GEOMETRY})
    assert image.GetPixelID() == pixel
    assert [image.GetPixel(x, 0, 0) for x in (0, 1)] == voxels.ravel().tolist()


@pytest.mark.parametrize("name", ["../v.npy", "/etc/v.npy", "v.txt", "a/v.npy", "..\\v.npy", None, 3])
def test_only_files_of_the_workspace_are_read(tmp_path, name):
    with pytest.raises(ProtocolError, match="inside the workspace"):
        arrays.read_image(tmp_path, {"array": name, **GEOMETRY})


def test_a_pickled_array_is_never_unpickled(tmp_path):
    np.save(tmp_path / "v.npy", np.array([[[{}]]], dtype=object), allow_pickle=True)
    with pytest.raises(InputError, match="could not be read"):
        arrays.read_image(tmp_path, {"array": "v.npy", **GEOMETRY})


def test_sheared_axes_are_an_error_that_says_so(tmp_path):
    np.save(tmp_path / "v.npy", np.zeros((2, 2, 2), np.int16))
    sheared = {**GEOMETRY, "direction": [1, 0, 0.5, 0, 1, 0, 0, 0, 1]}
    with pytest.raises(InputError, match="right angles"):
        arrays.read_image(tmp_path, {"array": "v.npy", **sheared})


@pytest.mark.parametrize("shape", [(3, 4), (0, 2, 2), (1, 2, 3, 4)])
def test_only_three_axes(tmp_path, shape):
    np.save(tmp_path / "v.npy", np.zeros(shape, np.int16))
    with pytest.raises(InputError, match="three axes"):
        arrays.read_image(tmp_path, {"array": "v.npy", **GEOMETRY})
