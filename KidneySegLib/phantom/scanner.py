"""A CT scanner for scenes: fine planes, slice profile, kernel, noise, streaks, field of view.

The scene is rendered slab by slab, so memory grows with the result, not with the fine grid.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast
from typing import Protocol as Interface

import numpy as np
import numpy.typing as npt

from KidneySegLib.phantom.artefacts import KernelFilter, NoiseMaker, beam_hardening, enlarge
from KidneySegLib.phantom.grid import Grid
from KidneySegLib.phantom.implant import SpineImplant
from KidneySegLib.phantom.protocol import KERNELS, Protocol, Scannable
from KidneySegLib.phantom.sampling import Stack, fine_grid, plan_axis, resample, sampling_mtf
from KidneySegLib.phantom.truth import KidneyTruth, check_keys, kidney_truths, majority_labels
from KidneySegLib.progress import Progress

if TYPE_CHECKING:
    from KidneySegLib.phantom.scene import Scene

FloatArray = npt.NDArray[np.float32]

AIR_HU = -1000.0
#: Room round the body's bounds that is rendered: skin folds, and behind the back the table.
MARGIN_MM, TABLE_MM = 10.0, 60.0
#: Voxels rendered at a time: 3 million keep the renderer's working memory under about 1 GB.
SLAB_VOXELS = 3_000_000


class Rendered(Interface):
    """What a renderer returns, on the grid that it was given."""

    @property
    def hu(self) -> FloatArray: ...

    @property
    def fractions(self) -> Mapping[str, FloatArray]: ...


Renderer = Callable[[Any, Grid], Rendered]


@dataclass(frozen=True)
class Acquisition:
    """A scan and its truth.

    Attributes:
        hu: int16 (z, y, x).
        labels: uint8 (z, y, x), ids 1-15 of `labels.LABELS`.
        grid: of both.
        volumes_ml: exact volumes inside the scan by key of the fractions (``right_cortex``).
        kidneys: the same by side, with counted volumes and whether the scan cuts the kidney.
        protocol: how it was scanned.
    """

    hu: npt.NDArray[np.int16]
    labels: npt.NDArray[np.uint8]
    grid: Grid
    volumes_ml: Mapping[str, float]
    kidneys: tuple[KidneyTruth, ...]
    protocol: Protocol


def scan(scene: Scene, protocol: Protocol, seed: int) -> tuple[npt.NDArray[np.int16], npt.NDArray[np.uint8], Grid]:
    """HU (z, y, x), label ids 1-15 and their grid: `acquire` without the record."""
    acquisition = acquire(scene, protocol, seed)
    return acquisition.hu, acquisition.labels, acquisition.grid


def acquire(
    scene: Scannable,
    protocol: Protocol,
    seed: int,
    *,
    renderer: Renderer | None = None,
    progress: Progress | None = None,
) -> Acquisition:
    """Scan a scene.

    Args:
        scene: what lies in the scanner.
        protocol: how it is scanned.
        seed: of the range, the noise and the artefacts; the same seed gives the same bytes on the same machine.
        renderer: draws a scene on a grid; `render.render` if None.
        progress: told the share of slices done, stage ``scan``; cancels between slabs.
    """
    if renderer is None:
        from KidneySegLib.phantom.render import render

        renderer = cast(Renderer, render)
    progress = progress or Progress()
    placing, noise_rng = (np.random.default_rng(s) for s in np.random.SeedSequence([seed, 0xC7]).spawn(2))
    grid = protocol.place(scene, placing)
    slices = _Slices(protocol, grid, scene, noise_rng)
    fine = slices.fine
    low, high = grid.bounds_mm_xyz[2]
    implant = SpineImplant.sample(placing, max(low, -110.0), min(high, 60.0)) if protocol.metal else None
    planes_at_once = max(1, SLAB_VOXELS // max(1, fine.shape_zyx[1] * fine.shape_zyx[2]))
    for start in range(0, fine.shape_zyx[0], planes_at_once):
        progress.report("scan", start / fine.shape_zyx[0])
        stop = min(start + planes_at_once, fine.shape_zyx[0])
        slab = fine.sub_grid((slice(start, stop), slice(None), slice(None)))
        rendered = renderer(scene, slab)
        if implant is not None:
            implant.paint(rendered.hu, slab)
        slices.add(start, rendered)
    progress.report("scan", 1.0)
    volumes = {key: voxels * fine.voxel_volume_ml for key, voxels in sorted(slices.filled_voxels.items())}
    kidneys = kidney_truths(volumes, slices.labels, grid.voxel_volume_ml)
    return Acquisition(slices.hu, slices.labels, grid, volumes, kidneys, protocol)


class _Slices:
    """Slices of a scan while fine planes arrive from below."""

    def __init__(self, protocol: Protocol, grid: Grid, scene: Scannable, rng: np.random.Generator) -> None:
        self.protocol = protocol
        self.grid = grid
        kernel = KERNELS[protocol.kernel]
        pixel = protocol.pixel_mm
        count, rows, columns = grid.shape_zyx
        self.stack = Stack.of(count, protocol.slice_spacing_mm, protocol.slice_thickness_mm)
        (x0, x1), (y0, y1), _ = scene.body_bounds_mm()
        x, y, _ = grid.origin_mm_xyz
        step = max(kernel.step_mm, pixel / 2)
        self.x_axis = plan_axis(columns, pixel, x, x0 - MARGIN_MM, x1 + MARGIN_MM, step)
        self.y_axis = plan_axis(rows, pixel, y, y0 - MARGIN_MM, y1 + TABLE_MM, step)
        self.fine = fine_grid(grid, self.stack, self.y_axis, self.x_axis)
        self.hu = np.full(grid.shape_zyx, round(AIR_HU), np.int16)
        self.labels = np.zeros(grid.shape_zyx, np.uint8)
        self.filled_voxels: dict[str, float] = {}
        self._filter = KernelFilter.of(
            kernel,
            (rows, columns),
            pixel,
            sampling_mtf(np.fft.fftfreq(rows, pixel), self.y_axis),
            sampling_mtf(np.fft.rfftfreq(columns, pixel), self.x_axis),
        )
        overlap = 1 - protocol.slice_spacing_mm / protocol.slice_thickness_mm
        self._noise = NoiseMaker(kernel, protocol.noise_hu, protocol.iterative, (rows, columns), pixel, overlap, rng)
        self._outside = _outside_circle(rows, columns) if protocol.circular_field else None
        self._sums: dict[int, FloatArray] = {}
        self._shares: dict[int, dict[str, FloatArray]] = {}
        self._next = 0

    def add(self, start: int, rendered: Rendered) -> None:
        """Take planes from ``start`` on, and finish the slices that are complete with them."""
        check_keys(rendered.fractions)
        shape = rendered.hu.shape
        stop = start + shape[0]
        flat = rendered.hu.reshape(shape[0], -1)
        present = {key: share for key, share in rendered.fractions.items() if share.any()}
        for index in range(self._next, self.grid.shape_zyx[0]):
            profile = self.stack.profile_planes(index)
            if profile.start >= stop:
                break
            low, high = max(profile.start, start), min(profile.stop, stop)
            if low < high:
                weights = self.stack.weights[low - profile.start : high - profile.start]
                part = _weighted_sum(weights, flat[low - start : high - start]).reshape(shape[1:])
                self._sums[index] = self._sums[index] + part if index in self._sums else part
            cell = self.stack.cell_planes(index)
            low, high = max(cell.start, start), min(cell.stop, stop)
            if low < high:
                for key, share in present.items():
                    sums = share[low - start : high - start].sum(axis=0, dtype=np.float32)
                    self.filled_voxels[key] = self.filled_voxels.get(key, 0.0) + float(sums.sum(dtype=np.float64))
                    shares = self._shares.setdefault(index, {})
                    shares[key] = shares[key] + sums if key in shares else sums
            if profile.stop <= stop:
                self._finish(index)
                self._next = index + 1

    def _finish(self, index: int) -> None:
        protocol = self.protocol
        clean = self._resample(self._sums.pop(index), AIR_HU)
        shares = {
            key: self._resample(sums / np.float32(self.stack.per_slice), 0.0)
            for key, sums in self._shares.pop(index, {}).items()
        }
        self.labels[index] = majority_labels(shares, clean.shape)
        hu = self._filter.apply(clean)
        hu += self._noise.next(clean)
        streaks = beam_hardening(clean, protocol.matrix * protocol.pixel_mm, protocol.beam_hardening)
        if streaks is not None:
            hu += enlarge(streaks, (hu.shape[0], hu.shape[1]))
        np.clip(hu, *protocol.clip_hu, out=hu)
        if self._outside is not None:
            hu[self._outside] = protocol.padding_hu
        self.hu[index] = np.rint(hu).astype(np.int16)

    def _resample(self, samples: FloatArray, fill: float) -> FloatArray:
        return resample(samples, self.y_axis, self.x_axis, fill)


def _weighted_sum(weights: FloatArray, planes: FloatArray) -> FloatArray:
    total: FloatArray = weights[0] * planes[0]
    for weight, plane in zip(weights[1:], planes[1:], strict=True):
        total += weight * plane
    return total


def _outside_circle(rows: int, columns: int) -> npt.NDArray[np.bool_]:
    y = (np.arange(rows) - (rows - 1) / 2)[:, None]
    x = (np.arange(columns) - (columns - 1) / 2)[None, :]
    return np.asarray(y * y + x * x > (min(rows, columns) / 2) ** 2)
