"""From the scan's voxels to the network's grid and back, only where needed, a few slices at a time.

Along an axis, resampling is a matrix: each target voxel is a weighted mean of source voxels. The weight is the
overlap of the target voxel with the source voxel, and where targets are finer than sources the linear interpolation
(the two agree at equal size). So averaging down needs no separate anti-aliasing filter, and a scan's slices are turned
into the grid by three sparse matrix products a block of slices, several blocks at a time on as many threads, with no
copy of the scan in floating point. (Dense products on numpy's own threads took three times the processor time, and
crawled on a machine that had other work to do.)
A scan that is oblique to the patient's axes is first averaged down along its own axes, then turned by SimpleITK.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from KidneySegLib.inference.grid import Box, Frame, Grid, float3, grid_of, own_frame_of, size3
from KidneySegLib.inference.threads import thread_count

if TYPE_CHECKING:
    import SimpleITK as sitk

#: Voxels of the scan that a thread has in floating point at one time: they stay in its cache.
BLOCK_VOXELS = 300_000

Float32 = NDArray[np.float32]
Result = TypeVar("Result")
#: Called after each block with the fraction done; it may raise to cancel.
OnBlock = Callable[[float], None]


def _nothing(_fraction: float) -> None:
    return None


@dataclass(frozen=True)
class AxisWeights:
    """Resampling along one axis.

    Attributes:
        matrix: (target voxels, source voxels from ``start``), float32; each row sums to 1.
        start: first source voxel that has a weight.
    """

    matrix: Float32
    start: int

    @property
    def stop(self) -> int:
        return self.start + int(self.matrix.shape[1])

    def sparse(self, rows: slice = slice(None), columns: slice = slice(None)) -> Any:
        """A part of the matrix in compressed rows: most of it is 0."""
        from scipy.sparse import csr_array

        return csr_array(self.matrix[rows, columns])


def axis_weights(centres: NDArray[np.float64], ratio: float, source_count: int) -> AxisWeights:
    """Weights of source voxels for each target voxel.

    Args:
        centres: (targets,) target centres in source voxel coordinates (0 is the first source's centre).
        ratio: target voxel size / source voxel size.
        source_count: source voxels; beyond them the last one is repeated.
    """
    width = max(ratio, 1.0)
    reach = (width + 1.0) / 2.0
    inside = np.clip(centres, 0.0, source_count - 1.0)
    start = max(0, math.floor(float(inside.min()) - reach) + 1)
    stop = min(source_count, math.ceil(float(inside.max()) + reach))
    start = min(start, source_count - 1)
    stop = max(stop, start + 1)
    distance = np.abs(inside[:, None] - np.arange(start, stop, dtype=np.float64)[None, :])
    matrix = np.clip(reach - distance, 0.0, 1.0)
    matrix /= matrix.sum(axis=1, keepdims=True)
    return AxisWeights(np.ascontiguousarray(matrix, dtype=np.float32), start)


def sample(
    image: sitk.Image, grid: Grid, box: Box, *, low_hu: float, high_hu: float, on_block: OnBlock = _nothing
) -> Float32:
    """HU of a scan on a box of a grid.

    Args:
        image: the scan; any pixel type, any orientation.
        grid: made from this scan's frame.
        box: the part of the grid that is wanted.
        low_hu, high_hu: limits to which HU are clipped first, so that metal and padding do not bleed. Beyond an
            oblique scan's corners the result is ``low_hu``.
        on_block: see `OnBlock`.

    Returns:
        (z, y, x) float32, in memory order.
    """
    import SimpleITK as sitk

    array = sitk.GetArrayViewFromImage(image)
    if grid.frame.array_axes is None:
        return _sample_oblique(image, array, grid, box, low_hu, high_hu, on_block)
    weights = _weights_from_scan(grid, box)
    out = reduce_axes(array, weights, low_hu, high_hu, on_block)
    return np.ascontiguousarray(out.transpose(grid.frame.array_axes))


def scan_box(grid: Grid, box: Box) -> Box:
    """The voxels of an aligned scan, in array order, whose centres lie in a box of a grid (at least one each way).

    A centre on the face between two boxes belongs to the one that it is the low face of.
    """
    frame = grid.frame
    assert frame.array_axes is not None
    assert frame.signs is not None
    low, high = grid.faces_mm(box)
    start, stop = [0, 0, 0], [0, 0, 0]
    for i, (axis, sign) in enumerate(zip(frame.array_axes, frame.signs, strict=True)):
        n, s = frame.scan_size[axis], frame.scan_spacing_mm[axis]
        if sign > 0:
            begin, end = (math.ceil(_to_scan(face, n, s, sign) - 1e-6) for face in (low[i], high[i]))
        else:
            begin, end = (math.floor(_to_scan(face, n, s, sign) + 1e-6) + 1 for face in (high[i], low[i]))
        start[axis] = min(max(begin, 0), n - 1)
        stop[axis] = min(max(end, start[axis] + 1), n)
    return Box(size3(start), size3(stop))


def write_back(
    values: Float32,
    grid: Grid,
    box: Box,
    image: sitk.Image,
    decide: Callable[[Float32], NDArray[np.uint8]],
    on_block: OnBlock = _nothing,
) -> tuple[NDArray[np.uint8], Box]:
    """Network outputs onto the scan's own voxels, turned into labels block by block.

    Args:
        values: (channels, z, y, x) on ``box``.
        grid, box: where ``values`` lie.
        image: the scan.
        decide: labels (any shape) of values (channels, the same shape).
        on_block: see `OnBlock`.

    Returns:
        uint8 labels in the order of the scan's array, and the box of the scan that they fill.
    """
    if grid.frame.array_axes is None:
        return _write_back_oblique(values, grid, box, image, decide, on_block)
    order = grid.frame.array_axes
    target = scan_box(grid, box)
    inverse = size3(order.index(axis) for axis in range(3))
    moved = values.transpose(0, *(1 + i for i in inverse))  # (channels, array axes 0, 1, 2)
    weights = _weights_to_scan(grid, box, target)
    sources = moved[
        :, weights[0].start : weights[0].stop, weights[1].start : weights[1].stop, weights[2].start : weights[2].stop
    ]
    labels = np.empty(target.shape, dtype=np.uint8)
    in_plane = weights[1].sparse(), weights[2].sparse()
    flat = np.ascontiguousarray(sources).reshape(values.shape[0], sources.shape[1], -1)

    def write(rows: slice) -> slice:
        used = np.flatnonzero(weights[0].matrix[rows].any(axis=0))
        part = slice(int(used[0]), int(used[-1]) + 1)
        across = weights[0].sparse(rows, part)
        channels = [
            resample_planes((across @ channel[part]).reshape(-1, *sources.shape[2:]), *in_plane) for channel in flat
        ]
        labels[rows] = decide(np.stack(channels))
        return rows

    blocks = list(row_blocks(target.shape[0], target.shape[1] * target.shape[2] * values.shape[0]))
    for rows in on_threads(write, blocks):
        on_block(rows.stop / target.shape[0])
    return labels, target


def _to_scan(coordinate_mm: float, count: int, spacing_mm: float, sign: int) -> float:
    """Voxel coordinate along a scan axis of a frame coordinate."""
    voxels = coordinate_mm / spacing_mm
    return voxels - 0.5 if sign > 0 else count - 0.5 - voxels


def _weights_from_scan(grid: Grid, box: Box) -> list[AxisWeights]:
    """Weights for each array axis of the scan, with the voxels of the box as targets."""
    frame = grid.frame
    assert frame.array_axes is not None
    assert frame.signs is not None
    weights: list[AxisWeights | None] = [None, None, None]
    for i, (axis, sign) in enumerate(zip(frame.array_axes, frame.signs, strict=True)):
        n, s = frame.scan_size[axis], frame.scan_spacing_mm[axis]
        coordinates = grid.first_mm[i] + np.arange(box.start[i], box.stop[i]) * grid.spacing_mm[i]
        centres = np.array([_to_scan(c, n, s, sign) for c in coordinates])
        weights[axis] = axis_weights(centres, grid.spacing_mm[i] / s, n)
    return [w for w in weights if w is not None]


def _weights_to_scan(grid: Grid, box: Box, target: Box) -> list[AxisWeights]:
    """Weights for each array axis of the scan, with the scan's voxels as targets and the box's as sources."""
    frame = grid.frame
    assert frame.array_axes is not None
    assert frame.signs is not None
    weights: list[AxisWeights | None] = [None, None, None]
    for i, (axis, sign) in enumerate(zip(frame.array_axes, frame.signs, strict=True)):
        n, s = frame.scan_size[axis], frame.scan_spacing_mm[axis]
        voxels = np.arange(target.start[axis], target.stop[axis], dtype=np.float64)
        coordinates = (voxels + 0.5) * s if sign > 0 else (n - 0.5 - voxels) * s
        centres = (coordinates - grid.first_mm[i]) / grid.spacing_mm[i] - box.start[i]
        weights[axis] = axis_weights(centres, s / grid.spacing_mm[i], box.shape[i])
    return [w for w in weights if w is not None]


def row_blocks(count: int, voxels_each: int) -> Iterator[slice]:
    """Rows a few at a time, so that a block has about `BLOCK_VOXELS`."""
    step = max(1, BLOCK_VOXELS // max(voxels_each, 1))
    for begin in range(0, count, step):
        yield slice(begin, min(begin + step, count))


def resample_planes(block: Float32, w1: Any, w2: Any) -> Float32:
    """Apply sparse weights to the last two axes of (planes, rows, columns)."""
    down = np.empty((block.shape[0], w1.shape[0], block.shape[2]), dtype=np.float32)
    for plane, source in zip(down, block, strict=True):
        plane[:] = w1 @ source
    across: Float32 = w2 @ down.reshape(-1, down.shape[2]).T
    return np.ascontiguousarray(across.T).reshape(block.shape[0], w1.shape[0], w2.shape[0])


def on_threads(work: Callable[[slice], Result], blocks: list[slice]) -> Iterator[Result]:
    """Results of work on blocks, in order, as many at a time as there are threads."""
    count = thread_count()
    if count == 1 or len(blocks) == 1:
        yield from map(work, blocks)
        return
    with ThreadPoolExecutor(count) as pool:
        for begin in range(0, len(blocks), count):
            yield from pool.map(work, blocks[begin : begin + count])


def reduce_axes(
    array: NDArray[Any], weights: Sequence[AxisWeights], low_hu: float, high_hu: float, on_block: OnBlock
) -> Float32:
    """Apply one weight matrix to each axis of an array, reading it block by block along its first axis."""
    w0, w1, w2 = weights
    source = array[w0.start : w0.stop, w1.start : w1.stop, w2.start : w2.stop]
    out = np.zeros((w0.matrix.shape[0], w1.matrix.shape[0], w2.matrix.shape[0]), dtype=np.float32)
    flat = out.reshape(out.shape[0], -1)
    low, high = _limits(array.dtype, low_hu, high_hu)
    in_plane = w1.sparse(), w2.sparse()

    def read(rows: slice) -> tuple[slice, slice, Float32]:
        used = np.flatnonzero(w0.matrix[:, rows].any(axis=1))
        target = slice(int(used[0]), int(used[-1]) + 1) if used.size else slice(0, 0)
        block = np.clip(source[rows], low, high).astype(np.float32, copy=False)
        if low < low_hu or high > high_hu:  # Limits between two integers.
            np.clip(block, low_hu, high_hu, out=block)
        planes = resample_planes(block, *in_plane).reshape(block.shape[0], -1)
        return rows, target, w0.sparse(target, rows) @ planes

    for rows, target, part in on_threads(read, list(row_blocks(source.shape[0], source.shape[1] * source.shape[2]))):
        flat[target] += part
        on_block(rows.stop / source.shape[0])
    return out


def _limits(dtype: np.dtype[Any], low_hu: float, high_hu: float) -> tuple[Any, Any]:
    """Clipping limits in the array's own type, so that integers are clipped as integers."""
    if not np.issubdtype(dtype, np.integer):
        return dtype.type(low_hu), dtype.type(high_hu)
    info = np.iinfo(dtype)
    low, high = math.floor(max(low_hu, info.min)), math.ceil(min(high_hu, info.max))
    return dtype.type(max(low, info.min)), dtype.type(min(high, info.max))


def _sample_oblique(
    image: sitk.Image, array: NDArray[Any], grid: Grid, box: Box, low_hu: float, high_hu: float, on_block: OnBlock
) -> Float32:
    import SimpleITK as sitk

    own = own_frame_of(image)
    finest = min(grid.spacing_mm)
    reduced_grid = grid_of(own, float3([max(s, finest) for s in own.scan_spacing_mm]))
    part = _own_box(image, grid, box, reduced_grid)
    values = reduce_axes(array, _weights_from_scan(reduced_grid, part), low_hu, high_hu, on_block)
    source = sitk.GetImageFromArray(values)
    reduced_grid.place(source, part)
    turned = resample_linear(source, grid, box, low_hu)
    return np.array(sitk.GetArrayViewFromImage(turned), dtype=np.float32)  # A copy: the view dies with the image.


def _write_back_oblique(
    values: Float32,
    grid: Grid,
    box: Box,
    image: sitk.Image,
    decide: Callable[[Float32], NDArray[np.uint8]],
    on_block: OnBlock,
) -> tuple[NDArray[np.uint8], Box]:
    import SimpleITK as sitk

    scan_grid = grid_of(own_frame_of(image), own_frame_of(image).scan_spacing_mm)
    target = _own_box(image, grid, box, scan_grid)
    channels = []
    for channel in values:
        source = sitk.GetImageFromArray(channel)
        grid.place(source, box)
        channels.append(source)
    labels = np.empty(target.shape, dtype=np.uint8)
    for rows in row_blocks(target.shape[0], target.shape[1] * target.shape[2] * len(channels)):
        part = Box(
            (target.start[0] + rows.start, target.start[1], target.start[2]),
            (target.start[0] + rows.stop, target.stop[1], target.stop[2]),
        )
        turned = [resample_linear(source, scan_grid, part, 0.0) for source in channels]
        labels[rows] = decide(np.stack([sitk.GetArrayViewFromImage(t) for t in turned]))
        on_block(rows.stop / target.shape[0])
    return labels, target


def _own_box(image: sitk.Image, grid: Grid, box: Box, own_grid: Grid) -> Box:
    """The box of a grid along the scan's own axes that holds a box of a grid along the patient's axes."""
    frame: Frame = own_grid.frame
    low, high = grid.faces_mm(box)
    corners = [
        frame.axes.T @ (grid.frame.corner_mm + grid.frame.axes @ np.array([z, y, x]) - frame.corner_mm)
        for z in (low[0], high[0])
        for y in (low[1], high[1])
        for x in (low[2], high[2])
    ]
    margin = max(own_grid.spacing_mm)
    return own_grid.box_between(
        (np.min(corners, axis=0) - margin).tolist(), (np.max(corners, axis=0) + margin).tolist()
    )


def resample_linear(source: sitk.Image, grid: Grid, box: Box, outside: float) -> sitk.Image:
    """An image anywhere in the world on a box of a grid, interpolated linearly; ``outside`` beyond its outer faces."""
    import SimpleITK as sitk

    resampler = sitk.ResampleImageFilter()
    resampler.SetInterpolator(sitk.sitkLinear)
    resampler.SetDefaultPixelValue(outside)
    resampler.SetSize([int(n) for n in reversed(box.shape)])
    resampler.SetOutputSpacing([float(s) for s in reversed(grid.spacing_mm)])
    resampler.SetOutputDirection(grid.frame.axes[:, ::-1].ravel().tolist())
    resampler.SetOutputOrigin(grid.centre_of_mm(box.start).tolist())
    resampler.SetNumberOfThreads(thread_count())
    return resampler.Execute(source)
