"""From an nnU-Net's logits to its label map on the scan's own voxels, a few slices at a time.

nnU-Net resamples the logits of the whole scan and decides voxel by voxel. Here the decision is made block by block, and
only where it can come out as anything but background: between samples that all say background, linear interpolation
says so too, because it is a mean of them.

Source: nnunetv2 2.8.1, ``inference/export_prediction.py`` and ``utilities/label_handling/label_handling.py``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from KidneySegLib.inference.grid import Box, size3
from KidneySegLib.inference.labelling import TRAINING_LABELS
from KidneySegLib.inference.nnunet_scan import PreparedScan
from KidneySegLib.inference.resampling import AxisWeights, OnBlock, on_threads, resample_planes, row_blocks
from KidneySegLib.inference.spline import axis_matrices, separate_axis
from KidneySegLib.inference.tiling import Float32
from KidneySegLib.models.bundle import BundleSpec
from KidneySegLib.models.nnunet_record import NnUnetRecord

Ids = NDArray[np.uint8]


def their_ids(spec: BundleSpec) -> Callable[[Float32], Ids]:
    """How logits (channels, ...) become ids of the model's own label table.

    Labels: the greatest logit. Regions: one after the other, each paints its id where its probability is above the
    threshold.
    """
    assert spec.nnunet is not None
    channels = np.array(spec.nnunet.channels, dtype=np.uint8)
    if spec.activation == "softmax":
        return lambda logits: channels[np.argmax(logits, axis=0)]
    limit = math.log(spec.threshold / (1.0 - spec.threshold)) if 0.0 < spec.threshold < 1.0 else 0.0

    def paint(logits: Float32) -> Ids:
        ids = np.zeros(logits.shape[1:], dtype=np.uint8)
        for id, logit in zip(channels, logits, strict=True):
            ids[logit > limit] = id
        return ids

    return paint


def training_table(record: NnUnetRecord) -> Ids:
    """Training label (`labels.TrainingLabel`, `ABNORMALITY_LABEL`) of each id of theirs: index with a label map."""
    table = np.zeros(256, dtype=np.uint8)
    for id, structure in record.structures.items():
        table[id] = TRAINING_LABELS[structure]
    return table


def ids_on_scan(logits: Float32, scan: PreparedScan, spec: BundleSpec, on_block: OnBlock) -> tuple[Ids, Box] | None:
    """The label map on the scan's voxels, as far as it is not background.

    Args:
        logits: (channels, ...) in the network's axes, of ``scan.volume``'s shape. Of a region, only voxels of the scan
            that need nothing from outside it get a label.
        scan: as it was prepared.
        spec: of the bundle.
        on_block: told the fraction done; may raise to cancel.

    Returns:
        ids in the scan's own axes and the box of the scan's array that they fill; None where all is background.
    """
    assert spec.nnunet is not None
    decide = their_ids(spec)
    source = size3(logits.shape[1:])
    separate = separate_axis(spec.nnunet.logits, spec.spacing_mm, scan.spacing_mm)
    matrices: Sequence[AxisWeights] = axis_matrices(scan.size or source, scan.crop.shape, spec.nnunet.logits, separate)
    inside: list[NDArray[np.bool_]] = [np.ones(m.matrix.shape[0], dtype=bool) for m in matrices]
    if scan.region is not None:
        inside = [_within(m, part) for m, part in zip(matrices, scan.region.slices, strict=True)]
        matrices = [AxisWeights(m.matrix[:, p], 0) for m, p in zip(matrices, scan.region.slices, strict=True)]
    found = _found(logits, decide)
    if found is None:
        on_block(1.0)
        return None
    if max(spec.nnunet.logits.order, spec.nnunet.logits.order_z) > 1:
        found = Box((0, 0, 0), source)  # A cubic spline can overshoot.
    rows = [
        np.flatnonzero(m.matrix[:, a:b].any(axis=1) & whole)
        for m, a, b, whole in zip(matrices, found.start, found.stop, inside, strict=True)
    ]
    if any(r.size == 0 for r in rows):
        on_block(1.0)
        return None
    target = Box(size3(r[0] for r in rows), size3(r[-1] + 1 for r in rows))
    ids = _resampled(logits, matrices, target, decide, on_block)
    inner = scan.turn.undo(ids)
    crop = scan.crop
    place = Box(
        size3(a + o for a, o in zip(target.start, crop.start, strict=True)),
        size3(a + o for a, o in zip(target.stop, crop.start, strict=True)),
    )
    return np.ascontiguousarray(inner), scan.turn.undo_box(place, scan.shape)


def _within(weights: AxisWeights, part: slice) -> NDArray[np.bool_]:
    """Target voxels that need no source voxel outside a part."""
    outside: NDArray[np.bool_] = np.ones(weights.matrix.shape[1], dtype=bool)
    outside[part] = False
    needed: NDArray[np.bool_] = np.logical_not(weights.matrix[:, outside].any(axis=1))
    return needed


def _found(logits: Float32, decide: Callable[[Float32], Ids]) -> Box | None:
    """The box of samples that are not background."""
    used = [np.zeros(n, dtype=bool) for n in logits.shape[1:]]

    def look(rows: slice) -> tuple[slice, Ids]:
        return rows, decide(logits[:, rows])

    blocks = list(row_blocks(logits.shape[1], math.prod(logits.shape[2:]) * logits.shape[0]))
    for rows, ids in on_threads(look, blocks):
        some = ids != 0
        plane = some.any(axis=0)
        used[0][rows] = some.any(axis=(1, 2))
        used[1] |= plane.any(axis=1)
        used[2] |= plane.any(axis=0)
    if not used[0].any():
        return None
    indices = [np.flatnonzero(u) for u in used]
    return Box(size3(i[0] for i in indices), size3(i[-1] + 1 for i in indices))


def _resampled(logits: Float32, matrices: Any, target: Box, decide: Callable[[Float32], Ids], on_block: OnBlock) -> Ids:
    """Ids on a box of the target voxels."""
    across, parts = matrices[0].matrix[target.slices[0]], []
    for axis in (1, 2):
        weights = matrices[axis].matrix[target.slices[axis]]
        used = np.flatnonzero(weights.any(axis=0))
        parts.append(slice(int(used[0]), int(used[-1]) + 1))
    in_plane = [matrices[axis].sparse(target.slices[axis], parts[axis - 1]) for axis in (1, 2)]
    seen = logits[:, :, parts[0], parts[1]]
    shape = target.shape
    ids = np.empty(shape, dtype=np.uint8)

    def write(rows: slice) -> slice:
        used = np.flatnonzero(across[rows].any(axis=0))
        part = slice(int(used[0]), int(used[-1]) + 1)
        weights = matrices[0].sparse(slice(rows.start + target.start[0], rows.stop + target.start[0]), part)
        block = np.empty((logits.shape[0], rows.stop - rows.start, *shape[1:]), dtype=np.float32)
        for channel, values in zip(block, seen[:, part], strict=True):
            # In-plane first where slices get more, and last where they get fewer: the smaller work.
            planes = np.ascontiguousarray(values).reshape(values.shape[0], -1)
            channel[:] = resample_planes((weights @ planes).reshape(-1, *values.shape[1:]), *in_plane)
        ids[rows] = decide(block)
        return rows

    for rows in on_threads(write, list(row_blocks(shape[0], shape[1] * shape[2] * logits.shape[0]))):
        on_block(rows.stop / shape[0])
    return ids
