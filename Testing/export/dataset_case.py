"""Small scans and label maps for the data set."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import SimpleITK as sitk

from KidneySegLib.ct import CtScan, scan_from_image
from KidneySegLib.export.dataset import DataSet
from Testing.postprocessing.patient import DIRECTIONS, Array

SHAPE = (14, 16, 20)
SPACING_MM = (0.7, 0.9, 2.5)
VOXEL_ML = 0.7 * 0.9 * 2.5 / 1000


def image_of(voxels: Array, direction: Array | None = None) -> sitk.Image:
    image = sitk.GetImageFromArray(voxels)
    image.SetSpacing(SPACING_MM)
    image.SetOrigin((-12.3456789, 34.5678912, -101.1111111))
    image.SetDirection((DIRECTIONS["oblique"] if direction is None else direction).ravel().tolist())
    return image


def scan(seed: int = 0, direction: Array | None = None) -> CtScan:
    """A scan of noise; another one for each seed."""
    voxels = np.random.default_rng(seed).integers(-200, 300, SHAPE).astype(np.int16)
    return scan_from_image(image_of(voxels, direction), source=Path("/data/DOE^JANE/ct.nii.gz"))


def labels(direction: Array | None = None, *, undivided: bool = False, cyst: bool = True) -> sitk.Image:
    """Right cortex 1 (48 voxels), medulla 2 (24), left cortex 3 (24), left medulla 4 (24), right cyst 5 (8)."""
    voxels = np.zeros(SHAPE, dtype=np.uint8)
    voxels[2:6, 3:6, 2:8] = 1
    voxels[2:6, 4, 2:8] = 2
    voxels[6:10, 8:10, 12:18] = 4
    voxels[6:10, 8, 12:18] = 3
    if cyst:
        voxels[8:10, 3:5, 3:5] = 5
    if undivided:
        voxels[(voxels == 1) | (voxels == 2)] = 13
        voxels[(voxels == 3) | (voxels == 4)] = 14
    return image_of(voxels, direction)


def corrected(direction: Array | None = None) -> sitk.Image:
    """As `labels`, with six voxels of right medulla painted cortex and two of the cyst erased."""
    image = labels(direction)
    voxels = sitk.GetArrayFromImage(image)
    voxels[2, 4, 2:8] = 1
    voxels[8, 3, 3:5] = 0
    return image_of(voxels, direction)


def check_whole(folder: Path) -> DataSet:
    """Whatever happened to it, each case of a data set is whole and each file is what was written."""
    data_set = DataSet.open(folder)
    for case in data_set.cases():
        assert case.image().GetSize() == SHAPE[::-1]
        assert [one.number for one in case.revisions] == list(range(1, len(case.revisions) + 1))
        for one in case.revisions:
            one.labels()
            for name in one.files:
                assert (one.folder / name).is_file()
    return data_set
