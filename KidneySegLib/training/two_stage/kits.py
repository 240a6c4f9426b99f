"""Slabs from a folder in KiTS' layout: ``case_00000/imaging.nii.gz`` and ``segmentation.nii.gz``."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from KidneySegLib.errors import InputError
from KidneySegLib.training.samples import Sample, as_fraction, as_hu
from KidneySegLib.training.two_stage.config import TwoStageConfig

if TYPE_CHECKING:
    from KidneySegLib.training.two_stage.run import Data

IMAGE_FILE = "imaging.nii.gz"
LABEL_FILE = "segmentation.nii.gz"
#: As KiTS names cases, and longer numbers.
CASE_PATTERN = re.compile(r"case_\d{5,}")


@dataclass(frozen=True)
class KitsCase:
    """A case with both of its files."""

    name: str
    image: Path
    labels: Path


def find_cases(folder: Path, excluded: tuple[str, ...] = ()) -> tuple[tuple[KitsCase, ...], tuple[str, ...]]:
    """Cases of a folder in KiTS' layout, by name.

    Args:
        folder: with a folder for each case.
        excluded: names that are left out.

    Returns:
        The cases, and a sentence about each folder that was left out.

    Raises:
        InputError: if there is no folder, or no case in it.
    """
    if not folder.is_dir():
        raise InputError(f"{folder} is no folder. Give a folder in KiTS' layout (case_00000/{IMAGE_FILE}).")
    cases, notes = [], []
    for path in sorted(p for p in folder.iterdir() if p.is_dir() and CASE_PATTERN.fullmatch(p.name)):
        missing = [name for name in (IMAGE_FILE, LABEL_FILE) if not (path / name).is_file()]
        if path.name in excluded:
            notes.append(f"{path.name} is excluded by the recipe")
        elif missing:
            notes.append(f"{path.name} has no {' and no '.join(missing)}")
        else:
            cases.append(KitsCase(path.name, path / IMAGE_FILE, path / LABEL_FILE))
    if not cases:
        raise InputError(
            f"{folder} holds no usable case: case_00000/{IMAGE_FILE} and {LABEL_FILE} were expected. {'; '.join(notes)}"
        )
    return tuple(cases), tuple(notes)


@dataclass(frozen=True)
class KitsSlabs:
    """All slabs of a case: of its middle, cut or filled up with air in the plane, half overlapping along z.

    The seed is the number of the case. Resampling averages over a voxel (scan) and over the labels' shares.

    Attributes:
        cases: the data set.
        shape, spacing_mm: of a slab, (z, y, x).
        classes: of the targets.
        labels: class of each label id.
    """

    cases: tuple[KitsCase, ...]
    shape: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]
    classes: tuple[str, ...]
    labels: dict[str, str]

    def __call__(self, seed: int) -> Iterator[Sample]:
        import SimpleITK as sitk

        from KidneySegLib.ct import read_ct
        from KidneySegLib.inference.grid import frame_of, grid_of
        from KidneySegLib.inference.resampling import sample

        case = self.cases[seed]
        image = read_ct(case.image).image
        labels = sitk.ReadImage(str(case.labels))
        if labels.GetSize() != image.GetSize():
            raise InputError(f"{case.labels} has another size than {case.image.name}. Mend or exclude the case.")
        labels.CopyInformation(image)
        grid = grid_of(frame_of(image), self.spacing_mm)
        hu = as_hu(sample(image, grid, grid.whole, low_hu=-1024, high_hu=3071))
        values = sitk.GetArrayViewFromImage(labels)
        shares = []
        for name in self.classes:
            own = np.isin(values, [int(id) for id, meaning in self.labels.items() if meaning == name])
            mask = sitk.GetImageFromArray(own.astype(np.uint8))
            mask.CopyInformation(image)
            shares.append(as_fraction(sample(mask, grid, grid.whole, low_hu=0, high_hu=1)))
        targets = np.stack(shares)
        step = max(1, self.shape[0] // 2)
        last = max(0, hu.shape[0] - self.shape[0])
        for start in sorted({*range(0, last, step), last}):
            window = slice(start, start + self.shape[0])
            yield Sample(_fitted(hu[window], self.shape, -1024), _fitted_all(targets[:, window], self.shape), seed)


def kits_data(folder: Path, config: TwoStageConfig) -> Data:
    """A data set's slabs; the last cases, by a draw from the seed, are held out for validation.

    Raises:
        InputError: if there are fewer than two cases.
    """
    from KidneySegLib.training.two_stage.run import Data

    cases, notes = find_cases(folder, config.excluded)
    if len(cases) < 2:
        raise InputError(f"{folder} holds {len(cases)} usable case; training needs at least two, one of them held out.")
    held = config.validation if config.validation >= 1 else config.validation * len(cases)
    count = min(len(cases) - 1, max(1, round(held)))
    order = [int(n) for n in np.random.default_rng(config.seed).permutation(len(cases))]
    source = KitsSlabs(cases, config.slab, config.spacing_mm, config.classes, dict(config.labels))
    facts = {
        "data": "KiTS layout",
        "cases": [case.name for case in cases],
        "held_out": [cases[n].name for n in sorted(order[:count])],
        "left_out": list(notes),
    }
    training = sorted(order[count:])
    return Data(source, {"first": training, "second": training}, sorted(order[:count]), facts)


def _fitted(array: NDArray[Any], shape: tuple[int, int, int], fill: int) -> NDArray[Any]:
    """The middle of an array, cut or filled up to a shape; missing slices are added at the end."""
    out = np.full(shape, fill, array.dtype)
    source, target = [slice(0, min(array.shape[0], shape[0]))], [slice(0, min(array.shape[0], shape[0]))]
    for have, want in zip(array.shape[1:], shape[1:], strict=True):
        kept = min(have, want)
        source.append(slice((have - kept) // 2, (have - kept) // 2 + kept))
        target.append(slice((want - kept) // 2, (want - kept) // 2 + kept))
    out[tuple(target)] = array[tuple(source)]
    return out


def _fitted_all(targets: NDArray[Any], shape: tuple[int, int, int]) -> NDArray[Any]:
    return np.stack([_fitted(target, shape, 0) for target in targets])
