"""The sheet that a scene is painted on: HU, truth and landmarks of one grid, layer over layer."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from KidneySegLib.labels import OverviewLabel
from KidneySegLib.phantom.fields import Field
from KidneySegLib.phantom.grid import Grid
from KidneySegLib.phantom.shapes import FloatArray, Point, capsule

Block = tuple[slice, slice, slice]
AIR_HU = -1000.0


class Canvas:
    """HU and truth of one grid while a scene is painted on it.

    Edges are soft over one voxel: a voxel that a shape covers by a third takes a third of its HU (partial volume).
    Shapes are evaluated in warped coordinates, so one warp bends the whole anatomy and its truth alike.

    Attributes:
        hu: float32 (z, y, x).
        tissue: uint8 (z, y, x), `OverviewLabel` ids.
        fractions: float32 (z, y, x) in 0..1 for each truth key (``right_cortex``), only for what was painted.
        distances: named signed distances (mm) that later parts need, such as the body's cavity.
    """

    def __init__(self, grid: Grid, warp: Sequence[Field]) -> None:
        self.grid = grid
        self.z_mm = grid.z_mm.astype(np.float32)
        self.y_mm = grid.y_mm.astype(np.float32)
        self.x_mm = grid.x_mm.astype(np.float32)
        shape = (len(self.z_mm), len(self.y_mm), len(self.x_mm))
        dx, dy, dz = (self.field(f) for f in warp) if warp else (np.zeros(shape, np.float32),) * 3
        self.x: FloatArray = dx + self.x_mm[None, None, :]
        self.y: FloatArray = dy + self.y_mm[None, :, None]
        self.z: FloatArray = dz + self.z_mm[:, None, None]
        self._margin_mm = [float(np.abs(d).max(initial=0)) for d in (dz, dy, dx)]
        self.hu: FloatArray = np.full(shape, AIR_HU, np.float32)
        self.tissue: NDArray[np.uint8] = np.zeros(shape, np.uint8)
        self.fractions: dict[str, FloatArray] = {}
        self.distances: dict[str, FloatArray] = {}
        self.edge_mm = np.float32(np.mean(grid.spacing_mm_zyx))

    @property
    def whole(self) -> Block:
        return (slice(None),) * 3

    def field(self, field: Field, block: Block | None = None) -> FloatArray:
        """A random field on the grid, or on a block of it."""
        z, y, x = block or self.whole
        return field.evaluate(self.z_mm[z], self.y_mm[y], self.x_mm[x])

    def block(self, lower_mm: Point, upper_mm: Point, margin_mm: float = 2.0) -> Block | None:
        """Voxels that a shape within the box (x, y, z) may touch, or None where that is outside the grid."""
        slices = []
        for axis, vector, warp_mm in zip((2, 1, 0), (self.z_mm, self.y_mm, self.x_mm), self._margin_mm, strict=True):
            margin = margin_mm + warp_mm + float(self.edge_mm)
            start = int(np.searchsorted(vector, lower_mm[axis] - margin))
            stop = int(np.searchsorted(vector, upper_mm[axis] + margin))
            if stop <= start:
                return None
            slices.append(slice(start, stop))
        return slices[0], slices[1], slices[2]

    def coordinates(self, block: Block) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Warped world coordinates x, y, z of a block."""
        return self.x[block], self.y[block], self.z[block]

    def coverage(self, distance_mm: FloatArray) -> FloatArray:
        """How much of each voxel lies inside, 0..1, from a signed distance."""
        covered: FloatArray = np.clip(np.float32(0.5) - distance_mm / self.edge_mm, 0, 1)
        return covered

    def paint(
        self,
        block: Block,
        coverage: FloatArray,
        hu: float | FloatArray,
        tissue: OverviewLabel = OverviewLabel.BACKGROUND,
        truth: Sequence[tuple[str, FloatArray | float]] = (),
    ) -> None:
        """Lay a shape over what is there.

        Args:
            block: voxels concerned.
            coverage: share of each voxel that the shape covers, 0..1, shape of the block.
            hu: value of the shape, one or one a voxel.
            tissue: landmark id that the shape leaves.
            truth: keys of `fractions` that the shape belongs to, each with the share of the shape that does.
        """
        self.hu[block] += coverage * (hu - self.hu[block])
        self.tissue[block][coverage > 0.5] = tissue
        for fraction in self.fractions.values():
            fraction[block] *= 1 - coverage
        for key, share in truth:
            if key not in self.fractions:
                self.fractions[key] = np.zeros(self.hu.shape, np.float32)
            self.fractions[key][block] += coverage * share

    def paint_tube(
        self,
        path_mm: NDArray[np.float64],
        radius_mm: Sequence[float] | float,
        hu: float,
        tissue: OverviewLabel = OverviewLabel.BACKGROUND,
        clip: FloatArray | None = None,
    ) -> None:
        """A tube along a path (n, 3); painted once as the union of its pieces, so that pieces leave no seams.

        Args:
            clip: signed distance on the whole grid; the tube is painted only where it is negative.
        """
        radii = np.broadcast_to(np.asarray(radius_mm, float), (len(path_mm),))
        widest = float(radii.max(initial=0))
        block = self.block(path_mm.min(0) - widest, path_mm.max(0) + widest)
        if block is None:
            return
        start = [s.start or 0 for s in block]
        covered = np.zeros(self.hu[block].shape, np.float32)
        for i in range(len(path_mm) - 1):
            a, b = path_mm[i], path_mm[i + 1]
            reach = max(radii[i], radii[i + 1])
            piece = self.block(np.minimum(a, b) - reach, np.maximum(a, b) + reach)
            if piece is None:
                continue
            inner = tuple(slice(p.start - s, p.stop - s) for p, s in zip(piece, start, strict=True))
            x, y, z = self.coordinates(piece)
            part = self.coverage(capsule(x, y, z, a, b, (radii[i], radii[i + 1])))
            np.maximum(covered[inner], part, out=covered[inner])
        if clip is not None:
            covered *= self.coverage(clip[block])
        self.paint(block, covered, hu, tissue)
