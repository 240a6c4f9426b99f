"""One scan through a two-stage bundle (Zhu et al., KiTS19).

Stage 1 finds kidney and mass as one foreground in slabs of slices; its mask grows by an ellipsoid; stage 2 sees, slice
by slice, mask * concat(y1 * I, I, (1 - y1) * I). That is the paper's formula; its code has the channels in another
order, pairs the last slice with the first slice's mask, and grows the mask in voxels: none of these is repeated. Where
the bundle mirrors, each stage looks at the scan in every mirror and its probabilities are averaged; where cysts have a
class of their own, each lesion is one kind (both ours).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from KidneySegLib.inference.evidence import Evidence, stored
from KidneySegLib.inference.grid import Box, bounds_of, frame_of, grid_of, size3
from KidneySegLib.inference.labelling import activate, training_labels
from KidneySegLib.inference.lesion_kinds import settle_lesion_kinds
from KidneySegLib.inference.network import normalise
from KidneySegLib.inference.resampling import sample, write_back
from KidneySegLib.inference.tiling import Float32, mirror_combinations, mirrored_looks
from KidneySegLib.inference.two_stage_mask import dilated
from KidneySegLib.inference.two_stage_networks import TwoStageNetworks
from KidneySegLib.labels import TrainingLabel
from KidneySegLib.models.bundle import BundleSpec
from KidneySegLib.progress import Progress

if TYPE_CHECKING:
    import SimpleITK as sitk

#: Raised where a model's kidney class holds cysts too.
CYSTS_IN_KIDNEY = "cysts_in_kidney"
#: Raised where a model with a class for each shows a cyst or a mass.
TOLD_BY_NETWORK = "cyst_or_mass_by_network"
_MULTIPLE = 16
#: Of the network's time, for the progress bar.
_SHARE_OF_FIRST = 0.5

Timed = Callable[[str], AbstractContextManager[None]]
#: Told the fraction done; may raise to cancel.
OnPart = Callable[[float], None]
#: What is found, (outputs, z, y, x), in stacked arrays (arrays, z, y, x).
Look = Callable[[Float32, OnPart], Float32]


@dataclass(frozen=True)
class TwoStageFound:
    """What both stages found in a scan.

    Attributes:
        labels: uint8 training labels (`labels.TrainingLabel`) on the part of the scan that the mask fills; one empty
            voxel if it fills none.
        index: (x, y, z) index of their first voxel in the scan's grid.
        kidney: how probable the whole kidney is, cysts and masses included, to each look of the first stage and then of
            the second; None if the first stage found nothing.
    """

    labels: sitk.Image
    index: tuple[int, int, int]
    kidney: Evidence | None


def find_two_stage(networks: TwoStageNetworks, image: sitk.Image, timed: Timed, progress: Progress) -> TwoStageFound:
    """What a two-stage bundle finds in a scan.

    Args:
        networks: of the bundle.
        image: the scan, in HU.
        timed: measures the stages preprocess, network (both stages) and resample.
        progress: told about them; may cancel.
    """
    spec = networks.bundle
    record, n = spec.two_stage, spec.normalisation
    assert record is not None
    grid = grid_of(frame_of(image), spec.spacing_mm)
    with timed("preprocess"):
        hu = sample(
            image,
            grid,
            grid.whole,
            low_hu=n.low_hu,
            high_hu=n.high_hu,
            on_block=lambda fraction: progress.report("preprocess", fraction),
        )
        volume = normalise(hu, n)
    with timed("network"):
        first_looks = _looks_in_mirrors(
            networks.mirror_axes,
            lambda seen, on_part: first_stage(networks, seen[0], on_part)[None],
            (volume,),
            lambda fraction: progress.report("network", fraction * _SHARE_OF_FIRST),
        )
        y1 = _mean(first_looks)[0]
        mask = dilated(y1 > record.foreground_probability, record.dilation_mm, spec.spacing_mm)
    found = bounds_of(mask)
    if found is None:
        labels, place = np.zeros((1, 1, 1), np.uint8), Box((0, 0, 0), (1, 1, 1))
        return TwoStageFound(_placed(labels, image, place), (0, 0, 0), None)
    with timed("network"):
        box = found.slices
        looks = _looks_in_mirrors(
            networks.mirror_axes,
            lambda seen, on_part: second_stage(networks, seen[0], seen[1], seen[2] > 0, on_part),
            (volume[box], y1[box], mask[box]),
            lambda fraction: progress.report("network", _SHARE_OF_FIRST + fraction * (1 - _SHARE_OF_FIRST)),
        )
        kidney = stored(
            [*(look[(slice(1), *box)] for look in first_looks), *(1 - look[:1] for look in looks)], grid, found
        )
        values = _mean(looks)
        if "cyst" in spec.outputs:
            settle_lesion_kinds(values, *(spec.outputs.index(name) for name in ("parenchyma", "cyst", "mass")))
    with timed("resample"):
        labels, place = write_back(
            values,
            grid,
            found,
            image,
            training_labels(spec),
            lambda fraction: progress.report("resample", fraction),
        )
    return TwoStageFound(_placed(labels, image, place), size3(reversed(place.start)), kidney)


def lesion_flags(spec: BundleSpec, labels: sitk.Image) -> tuple[str, ...]:
    """What must be said of the cysts and masses in a two-stage model's labels, or of their absence."""
    import SimpleITK as sitk

    if "cyst" not in spec.outputs:
        return (CYSTS_IN_KIDNEY,)
    lesion = np.isin(sitk.GetArrayViewFromImage(labels), (TrainingLabel.CYST, TrainingLabel.MASS))
    return (TOLD_BY_NETWORK,) if lesion.any() else ()


def _looks_in_mirrors(
    axes: tuple[int, ...], look: Look, given: Sequence[NDArray[Any]], on_part: OnPart
) -> list[Float32]:
    """What a look at arrays (z, y, x) finds, (outputs, z, y, x), in every mirroring of axes, turned back."""
    passes, done = len(mirror_combinations(axes)), itertools.count()

    def predict(stacked: Float32) -> Float32:
        before = next(done)
        return look(stacked[0], lambda fraction: on_part((before + fraction) / passes))[None]

    return [found[0] for found in mirrored_looks(np.stack(given, dtype=np.float32)[None], predict, axes)]


def _mean(looks: Sequence[Float32]) -> Float32:
    mean: Float32 = np.mean(looks, axis=0, dtype=np.float32)
    return mean


def first_stage(networks: TwoStageNetworks, volume: Float32, on_part: OnPart) -> Float32:
    """Probability of kidney and mass together (z, y, x) of a normalised volume; slabs overlap and are averaged."""
    spec = networks.bundle
    record = spec.two_stage
    assert record is not None
    factor = record.pooling
    air = spec.padding
    edge = _MULTIPLE * factor
    after = [max(0, record.slab - volume.shape[0]), -volume.shape[1] % edge, -volume.shape[2] % edge]
    padded = np.pad(volume, [(0, 0), (0, after[1]), (0, after[2])], constant_values=air)
    padded = np.pad(padded, [(0, after[0]), (0, 0), (0, 0)], mode="edge")
    depth, rows, columns = padded.shape
    coarse = padded.reshape(depth, rows // factor, factor, columns // factor, factor).mean(axis=(2, 4))
    total = np.zeros(coarse.shape, np.float32)
    count = np.zeros((depth, 1, 1), np.float32)
    last = depth - record.slab
    starts = [*range(0, last, record.slab_step), last]
    for number, start in enumerate(starts):
        slab = np.ascontiguousarray(coarse[start : start + record.slab], dtype=np.float32)
        total[start : start + record.slab] += activate(networks.first(slab[None, None])[0], "softmax")[1]
        count[start : start + record.slab] += 1
        on_part((number + 1) / len(starts))
    fine = _refined(np.asarray(total / count, dtype=np.float32), factor)
    return fine[: volume.shape[0], : volume.shape[1], : volume.shape[2]]


def second_stage(
    networks: TwoStageNetworks, volume: Float32, y1: Float32, mask: NDArray[np.bool_], on_part: OnPart
) -> Float32:
    """Probabilities (outputs, z, y, x), all background outside of the mask; arguments are (z, y, x) of one box.

    A network with more than three channels sees as many slices above as below its own; beyond the mask all is 0.
    """
    outputs = len(networks.bundle.outputs)
    slices = int(networks.bundle.network_arguments["in_channels"]) // 3
    values = np.zeros((outputs, *volume.shape), np.float32)
    values[0] = 1.0
    margins = [-n % _MULTIPLE for n in volume.shape[1:]]
    around = [(slices // 2, slices // 2), (0, 0), (0, 0)]
    masked, foreground = np.pad(mask * volume, around), np.pad(y1, around)
    for index in range(volume.shape[0]):
        on_part(index / volume.shape[0])
        inside = mask[index]
        if not inside.any():
            continue
        ones, shares = masked[index : index + slices], foreground[index : index + slices]
        given = np.concatenate([shares * ones, ones, (1 - shares) * ones])
        given = np.pad(given, [(0, 0), (0, margins[0]), (0, margins[1])])
        logits = networks.second(np.ascontiguousarray(given[None], dtype=np.float32))[0]
        found = activate(logits, "softmax")[:, : inside.shape[0], : inside.shape[1]]
        values[:, index] = np.where(inside, found, values[:, index])
    on_part(1.0)
    return values


def _refined(coarse: Float32, factor: int) -> Float32:
    """The coarse planes on pixels ``factor`` times as fine, by linear interpolation."""
    if factor == 1:
        return coarse
    for axis in (1, 2):
        size = coarse.shape[axis]
        position = np.clip((np.arange(size * factor) + 0.5) / factor - 0.5, 0, size - 1)
        low = np.minimum(position.astype(np.int64), max(size - 2, 0))
        shape = [1, 1, 1]
        shape[axis] = -1
        share = (position - low).astype(np.float32).reshape(shape)
        upper = np.minimum(low + 1, size - 1)
        coarse = coarse.take(low, axis) * (1 - share) + coarse.take(upper, axis) * share
    return coarse


def _placed(labels: NDArray[np.uint8], image: sitk.Image, place: Box) -> sitk.Image:
    import SimpleITK as sitk

    placed = sitk.GetImageFromArray(labels)
    placed.SetSpacing(image.GetSpacing())
    placed.SetDirection(image.GetDirection())
    placed.SetOrigin(image.TransformIndexToPhysicalPoint(size3(reversed(place.start))))
    return placed
