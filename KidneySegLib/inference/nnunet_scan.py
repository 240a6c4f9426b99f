"""A scan as nnU-Net's preprocessor gives it to its networks, without a copy of it in floating point.

In nnU-Net's order: turn, transpose, cut off what is 0 all round, normalise, resample. Here clipping comes before
resampling and the rest of the normalisation after it, which is the same: a spline's weights sum to 1.

Source: nnunetv2 2.8.1, ``preprocessing/preprocessors/default_preprocessor.py``.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from KidneySegLib.inference.grid import Box, float3, size3
from KidneySegLib.inference.resampling import AxisWeights, OnBlock, on_threads, reduce_axes, resample_planes
from KidneySegLib.inference.spline import axis_matrices, new_shape, separate_axis
from KidneySegLib.inference.tiling import Float32
from KidneySegLib.models.bundle import BundleSpec, Size, SpacingMm

if TYPE_CHECKING:
    import SimpleITK as sitk

#: nnU-Net's least standard deviation.
_LEAST_DEVIATION = 1e-8
#: World LPS axis of each array axis (z, y, x) and its direction there, for scans turned to RAS.
_RAS = ((2, 1.0), (1, -1.0), (0, -1.0))


@dataclass(frozen=True)
class Turn:
    """How the network's array axes lie in the scan's array.

    Attributes:
        axes: the scan's array axis that is the network's first, second, third.
        signs: -1 where the network goes along it backwards.
    """

    axes: tuple[int, int, int]
    signs: tuple[int, int, int]

    def apply(self, array: NDArray[Any]) -> NDArray[Any]:
        """A view of a scan's array with the network's axes."""
        return array.transpose(self.axes)[tuple(slice(None, None, s) for s in self.signs)]

    def undo(self, array: NDArray[Any]) -> NDArray[Any]:
        """A view of the network's array with the scan's axes."""
        back = [self.axes.index(axis) for axis in range(3)]
        return array[tuple(slice(None, None, s) for s in self.signs)].transpose(back)

    def undo_box(self, box: Box, shape: Size) -> Box:
        """The box in the scan's array of a box in the network's array of a shape."""
        start, stop = [0, 0, 0], [0, 0, 0]
        for i, (axis, sign) in enumerate(zip(self.axes, self.signs, strict=True)):
            low, high = box.start[i], box.stop[i]
            start[axis], stop[axis] = (low, high) if sign > 0 else (shape[i] - high, shape[i] - low)
        return Box(size3(start), size3(stop))

    def apply_box(self, box: Box, shape: Size) -> Box:
        """The box in the network's array, of a shape, of a box in the scan's array: `undo_box` the other way."""
        start, stop = [0, 0, 0], [0, 0, 0]
        for i, (axis, sign) in enumerate(zip(self.axes, self.signs, strict=True)):
            low, high = box.start[axis], box.stop[axis]
            start[i], stop[i] = (low, high) if sign > 0 else (shape[i] - high, shape[i] - low)
        return Box(size3(start), size3(stop))


@dataclass(frozen=True)
class Layout:
    """How a scan lies before a bundle's network.

    Attributes:
        turn: see `Turn`.
        shape: voxels of the scan, in the network's axes.
        crop: what of it is not 0 all round.
        spacing_mm: the scan's, in the network's axes.
        size: voxels of the whole scan after resampling.
    """

    turn: Turn
    shape: Size
    crop: Box
    spacing_mm: SpacingMm
    size: Size

    def box_of(self, scan_box: Box) -> Box:
        """The network's voxels that touch a box of the scan's array; at least one each way."""
        turned = self.turn.apply_box(scan_box, self.shape)
        start, stop = [], []
        for low, high, first, last, count in zip(
            turned.start, turned.stop, self.crop.start, self.crop.stop, self.size, strict=True
        ):
            ratio = count / (last - first)
            begin = min(max(math.floor((low - first) * ratio), 0), count - 1)
            start.append(begin)
            stop.append(min(max(math.ceil((high - first) * ratio), begin + 1), count))
        return Box(size3(start), size3(stop))


@dataclass(frozen=True)
class PreparedScan:
    """Network input, and what is needed to go back.

    Attributes:
        volume: normalised and resampled, in the network's axes; of the whole scan, or of ``region``.
        turn, shape, crop, spacing_mm: see `Layout`.
        region: the part of the resampled scan that ``volume`` is; None: all of it.
        size: voxels of the whole resampled scan; None: those of ``volume``.
    """

    volume: Float32
    turn: Turn
    shape: Size
    crop: Box
    spacing_mm: SpacingMm
    region: Box | None = None
    size: Size | None = None


def lay(image: sitk.Image, spec: BundleSpec) -> Layout:
    """How a scan lies before a bundle's network."""
    import SimpleITK as sitk

    turn = turn_of(image, spec)
    array = turn.apply(sitk.GetArrayViewFromImage(image))
    spacing = float3([image.GetSpacing()[2 - axis] for axis in turn.axes])
    crop = nonzero_box(array)
    return Layout(turn, size3(array.shape), crop, spacing, new_shape(crop.shape, spacing, spec.spacing_mm))


def prepare(
    image: sitk.Image,
    spec: BundleSpec,
    on_block: OnBlock,
    *,
    layout: Layout | None = None,
    region: Box | None = None,
) -> PreparedScan:
    """Network input of a scan.

    Args:
        image: HU, any number type and orientation.
        spec: of a bundle made from nnU-Net's.
        on_block: told the fraction done; may raise to cancel.
        layout: from `lay`, where it is known.
        region: of the resampled scan, in the network's axes: only this part is made, with the same values as in the
            whole.
    """
    import SimpleITK as sitk

    assert spec.nnunet is not None
    layout = layout or lay(image, spec)
    array = layout.turn.apply(sitk.GetArrayViewFromImage(image))
    volume = _resampled(array[layout.crop.slices], layout, spec, region, on_block)
    return PreparedScan(volume, layout.turn, layout.shape, layout.crop, layout.spacing_mm, region, layout.size)


def placed(values: NDArray[Any], box: Box, layout: Layout, image: sitk.Image) -> sitk.Image:
    """Values on a box of the network's voxels as an image in the world.

    Args:
        values: in the network's axes, of the box's shape.
        box: part of the resampled scan.
        layout: of the scan.
        image: the scan.
    """
    import SimpleITK as sitk

    axes = range(3)
    steps = [n / m for n, m in zip(layout.crop.shape, layout.size, strict=True)]  # In voxels of the scan.
    # The first voxel's centre along the network's axes; the outer faces of crop and resampled scan agree.
    first = [layout.crop.start[i] + (box.start[i] + 0.5) * steps[i] - 0.5 for i in axes]
    last = [layout.crop.start[i] + (box.stop[i] - 0.5) * steps[i] - 0.5 for i in axes]
    index, spacing = [0.0] * 3, [0.0] * 3  # Along the scan's array axes.
    for i, (axis, sign) in enumerate(zip(layout.turn.axes, layout.turn.signs, strict=True)):
        index[axis] = first[i] if sign > 0 else layout.shape[i] - 1 - last[i]
        spacing[axis] = steps[i] * image.GetSpacing()[2 - axis]
    part = sitk.GetImageFromArray(np.ascontiguousarray(layout.turn.undo(values)))
    part.SetSpacing(spacing[::-1])
    part.SetDirection(image.GetDirection())
    part.SetOrigin(image.TransformContinuousIndexToPhysicalPoint(index[::-1]))
    return part


def turn_of(image: sitk.Image, spec: BundleSpec) -> Turn:
    """How a bundle wants a scan's array to lie."""
    assert spec.nnunet is not None
    axes, signs = (0, 1, 2), (1, 1, 1)
    if spec.nnunet.orientation == "RAS":
        # Columns: the scan's array axes 0, 1, 2 in the world.
        vectors: Any = np.array(image.GetDirection()).reshape(3, 3)[:, ::-1]
        nearest: tuple[int, ...] = max(
            itertools.permutations(range(3)),
            key=lambda p: float(sum(abs(vectors[world, p[i]]) for i, (world, _) in enumerate(_RAS))),
        )
        axes = size3(nearest)
        signs = size3(1 if vectors[world, axes[i]] * way > 0 else -1 for i, (world, way) in enumerate(_RAS))
    order = spec.nnunet.transpose
    return Turn(size3(axes[i] for i in order), size3(signs[i] for i in order))


def nonzero_box(array: NDArray[Any]) -> Box:
    """The smallest box with all that is not 0; everything where all is 0. Looks from outside, so it is fast on a CT."""
    start, stop = [0, 0, 0], [int(n) for n in array.shape]
    for axis in range(3):
        part: Any = array[tuple(slice(a, b) for a, b in zip(start, stop, strict=True))]
        planes: Any = np.moveaxis(part, axis, 0)
        count = int(planes.shape[0])
        first = next((i for i in range(count) if bool(planes[i].any())), None)
        if first is None:
            return Box((0, 0, 0), size3(array.shape))
        last = next(i for i in range(count - 1, -1, -1) if bool(planes[i].any()))
        start[axis], stop[axis] = first, last + 1
    return Box(size3(start), size3(stop))


def _resampled(array: NDArray[Any], layout: Layout, spec: BundleSpec, region: Box | None, on_block: OnBlock) -> Float32:
    assert spec.nnunet is not None
    n = spec.normalisation
    if spec.nnunet.normalisation == "z_score" and spec.nnunet.inside_mask:
        array = _normalised_inside(array)
        low, high, shift, scale = float(array.min()), float(array.max()), 0.0, 1.0
    else:
        low, high = float(array.min()), float(array.max())
        if spec.nnunet.normalisation == "ct":
            low, high = min(max(low, n.low_hu), n.high_hu), max(min(high, n.high_hu), n.low_hu)
        shift, scale = _affine(array, spec, low, high)
    wanted = region or Box((0, 0, 0), layout.size)
    if layout.size == array.shape:
        volume = np.clip(array[wanted.slices], low, high).astype(np.float32)
    else:
        separate = separate_axis(spec.nnunet.data, layout.spacing_mm, spec.spacing_mm)
        matrices = [
            _rows(weights, part)
            for weights, part in zip(
                axis_matrices(size3(array.shape), layout.size, spec.nnunet.data, separate), wanted.slices, strict=True
            )
        ]
        if separate is None:
            volume = reduce_axes(array, matrices, low, high, on_block)
            # scikit-image keeps to the range of the image that it resizes.
            np.clip(volume, low, high, out=volume)
        else:
            volume = _plane_by_plane(array, matrices, separate, low, high, on_block)
    volume -= np.float32(shift)
    volume /= np.float32(scale)
    return np.ascontiguousarray(volume)


def _rows(weights: AxisWeights, part: slice) -> AxisWeights:
    """Those of some target voxels, and of the source voxels that they need."""
    matrix = weights.matrix[part]
    used = np.flatnonzero(matrix.any(axis=0))
    first, last = int(used[0]), int(used[-1]) + 1
    return AxisWeights(matrix[:, first:last], weights.start + first)


def _affine(array: NDArray[Any], spec: BundleSpec, low: float, high: float) -> tuple[float, float]:
    """What is subtracted after clipping, and divided by after that."""
    assert spec.nnunet is not None
    n = spec.normalisation
    if spec.nnunet.normalisation == "ct":
        return n.mean_hu, max(n.standard_deviation_hu, _LEAST_DEVIATION)
    if spec.nnunet.normalisation == "z_score":
        mean = float(array.mean(dtype=np.float64))
        squares = sum(float(np.square(plane.astype(np.float64) - mean).sum()) for plane in array)
        return mean, max(float(np.sqrt(squares / array.size)), _LEAST_DEVIATION)
    if spec.nnunet.normalisation == "rescale_to_0_1":
        return low, max(high - low, _LEAST_DEVIATION)
    return 0.0, 1.0


def _normalised_inside(array: NDArray[Any]) -> Float32:
    """Z-score over what is not 0 (holes count as inside); the outside stays as it is."""
    from scipy import ndimage

    inside = ndimage.binary_fill_holes(array != 0)
    values: Float32 = array.astype(np.float32)
    chosen = values[inside]
    mean, deviation = float(chosen.mean(dtype=np.float64)), float(chosen.std(dtype=np.float64))
    values[inside] = (chosen - np.float32(mean)) / np.float32(max(deviation, _LEAST_DEVIATION))
    return values


def _plane_by_plane(
    array: NDArray[Any], matrices: Sequence[AxisWeights], axis: int, low: float, high: float, on_block: OnBlock
) -> Float32:
    """In-plane resampling of each plane, kept to that plane's range; then the coarse axis."""
    planes: Any = np.moveaxis(array, axis, 0)
    across = matrices[axis]
    planes = planes[across.start : across.stop]
    w1, w2 = (matrices[a] for a in range(3) if a != axis)
    in_plane = w1.sparse(), w2.sparse()
    middle: Float32 = np.empty((planes.shape[0], w1.matrix.shape[0], w2.matrix.shape[0]), dtype=np.float32)

    def resample(rows: slice) -> slice:
        for index in range(rows.start, rows.stop):
            plane = planes[index]
            least, most = (float(np.float32(min(max(v, low), high))) for v in (plane.min(), plane.max()))
            part = plane[w1.start : w1.stop, w2.start : w2.stop].astype(np.float32)
            np.clip(part, low, high, out=part)
            changed = resample_planes(part[None], *in_plane)[0]
            np.clip(changed, least, most, out=middle[index])
        return rows

    for rows in on_threads(resample, [slice(i, i + 1) for i in range(planes.shape[0])]):
        on_block(rows.stop / planes.shape[0])
    count = across.matrix.shape[0]
    if count == across.matrix.shape[1] and np.array_equal(across.matrix, np.eye(count, dtype=np.float32)):
        out = middle
    else:
        out = (across.sparse() @ middle.reshape(middle.shape[0], -1)).reshape(-1, *middle.shape[1:])
    return np.moveaxis(out, 0, axis)
