"""Boxes round the kidneys of corrected cases, on the network's own grid."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from KidneySegLib.errors import InputError
from KidneySegLib.export.dataset import DataSet
from KidneySegLib.export.dataset.choice import NEWEST, Chosen, choose, parts
from KidneySegLib.labels import LABELS, PARENCHYMA, Side, Structure
from KidneySegLib.training.samples import FULL_FRACTION, Sample, as_hu

if TYPE_CHECKING:
    import SimpleITK as sitk

    from KidneySegLib.models import Bundle

Size3 = tuple[int, int, int]
_STRUCTURES = {
    "parenchyma": tuple(PARENCHYMA),
    "cortex": (Structure.CORTEX,),
    "cyst": (Structure.CYST,),
    "mass": (Structure.MASS,),
    "abnormality": (Structure.CYST, Structure.MASS),
}
#: HU of what lies outside a scan.
_AIR_HU = -1024


@dataclass(frozen=True)
class Material:
    """The cases of a data set that count.

    Attributes:
        train: to learn from.
        held_out: never learnt from; the model is judged on them.
        left_out: ids of other cases, and why.
        digest: SHA-256 of images and labels of all these cases; another one means other data.
    """

    train: tuple[Chosen, ...]
    held_out: tuple[Chosen, ...]
    left_out: dict[str, str]
    digest: str


def material(data_set: DataSet, readers: str = NEWEST) -> Material:
    """Accepted labels of a data set, divided as its cases say.

    Args:
        readers: as for the export of the data set: ``newest``, ``consensus[:METHOD]`` or a reader's name.

    Raises:
        InputError: there is nothing to learn from.
    """
    chosen, left_out = choose(data_set, readers)
    train, held_out = parts(chosen)
    if not train:
        raise InputError(
            f"{data_set.folder} has no case to train on. Accept labels of at least one case that is not held out."
        )
    facts = [
        [
            one.case.case_id,
            one.case.split.value,
            one.case.image_sha256,
            one.method,
            [dict(r.files) for r in one.revisions],
        ]
        for one in sorted(chosen, key=lambda one: one.case.case_id)
    ]
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
    return Material(train, held_out, left_out, digest)


def case_samples(
    image: sitk.Image,
    labels: NDArray[np.uint8],
    bundle: Bundle,
    shape: Size3,
    *,
    number: int,
    elsewhere: int = 1,
) -> Iterator[Sample]:
    """A box round each kidney of a case, and some anywhere in the scan.

    Args:
        image: the CT in HU.
        labels: ids 1-15 on its grid, (z, y, x).
        bundle: whose spacing, HU limits and outputs count.
        shape: of a box in the network's voxels (z, y, x).
        number: of the case, the seed of the boxes that lie anywhere.
        elsewhere: how many of those.

    Returns:
        Samples whose targets are the share of each voxel that is parenchyma, cortex and so on. ``cortex_weight`` is 0
        where a kidney in the box is not divided: then only its parenchyma teaches anything.
    """
    import SimpleITK as sitk

    from KidneySegLib.inference.grid import frame_of, grid_of

    grid = grid_of(frame_of(image), bundle.spacing_mm)
    centres = [_centre(image, mask, grid) for mask in _kidneys(labels)]
    random = np.random.default_rng([number, 6])
    centres += [np.array([random.uniform(0, n) for n in grid.shape]) for _ in range(elsewhere)]

    def fraction(ids: Sequence[int]) -> sitk.Image:
        mask = sitk.GetImageFromArray(np.isin(labels, ids).astype(np.uint8) * FULL_FRACTION)
        mask.CopyInformation(image)
        return mask

    masks = [
        fraction([label.id for label in LABELS if label.structure in _STRUCTURES[name]]) for name in bundle.outputs
    ]
    undivided = fraction([label.id for label in LABELS if label.structure is Structure.UNDIVIDED])
    n = bundle.normalisation
    for centre in centres:
        start = np.rint(centre - np.array(shape) / 2).astype(int)
        hu = _cut(image, grid, start, shape, (n.low_hu, n.high_hu), _AIR_HU)
        targets = np.stack([_cut(mask, grid, start, shape, (0, FULL_FRACTION), 0) for mask in masks])
        whole = not _cut(undivided, grid, start, shape, (0, FULL_FRACTION), 0).any()
        yield Sample(as_hu(hu), np.rint(targets).astype(np.uint8), number, 1.0 if whole else 0.0)


def _kidneys(labels: NDArray[np.uint8]) -> Iterator[NDArray[np.bool_]]:
    for side in Side:
        ids = [label.id for label in LABELS if label.side is side and label.structure in PARENCHYMA]
        mask = np.isin(labels, ids)
        if mask.any():
            yield mask


def _centre(image: sitk.Image, mask: NDArray[np.bool_], grid: object) -> NDArray[np.float64]:
    """The middle of a mask's bounding box as voxel coordinates (z, y, x) of the network's grid."""
    from KidneySegLib.inference.grid import Grid

    assert isinstance(grid, Grid)
    middle = [(where.min() + where.max()) / 2 for where in np.nonzero(mask)]
    world = np.array(image.TransformContinuousIndexToPhysicalPoint([float(v) for v in reversed(middle)]))
    inside = grid.frame.axes.T @ (world - grid.frame.corner_mm)
    return np.asarray((inside - np.array(grid.first_mm)) / np.array(grid.spacing_mm), np.float64)


def _cut(
    image: sitk.Image, grid: object, start: NDArray[np.int_], shape: Size3, limits: tuple[float, float], outside: float
) -> NDArray[np.float32]:
    """Values on a box of the grid that may reach beyond it."""
    from KidneySegLib.inference.grid import Box, Grid, size3
    from KidneySegLib.inference.resampling import sample

    assert isinstance(grid, Grid)
    out = np.full(shape, outside, np.float32)
    low = np.clip(start, 0, np.array(grid.shape) - 1)
    high = np.clip(start + np.array(shape), low + 1, np.array(grid.shape))
    inner = tuple(slice(int(a), int(b)) for a, b in zip(low - start, high - start, strict=True))
    if all(s.start >= 0 and s.stop <= n for s, n in zip(inner, shape, strict=True)):
        out[inner] = sample(image, grid, Box(size3(low), size3(high)), low_hu=limits[0], high_hu=limits[1])
    return out
