"""Smooth random fields: what makes organs lumpy, boundaries uneven and tissue textured."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]

#: Nodes of the periodic lattice along each axis. The period in mm is this times the field's scale.
LATTICE_NODES = 32
#: Root mean square of a cubic B-spline field on a lattice of unit normals (0.4794 an axis, cubed, square root).
_SPLINE_RMS = 0.332


@dataclass(frozen=True)
class Field:
    """A smooth Gaussian random field in world coordinates, the same on every grid that it is evaluated on.

    Attributes:
        seed: seed of the lattice.
        scale_mm: distance of lattice nodes; features are about twice as wide.
        amplitude: standard deviation of the values, in the unit of what it is added to.
    """

    seed: int
    scale_mm: float
    amplitude: float

    def evaluate(self, z_mm: FloatArray, y_mm: FloatArray, x_mm: FloatArray) -> FloatArray:
        """Values on the grid spanned by three coordinate vectors.

        A tensor-product cubic B-spline over a periodic lattice of normals, evaluated as three matrix products.

        Args:
            z_mm, y_mm, x_mm: world coordinates along each axis, LPS.

        Returns:
            Array (z, y, x), float32.
        """
        lattice = np.random.default_rng(self.seed).standard_normal((LATTICE_NODES,) * 3).astype(np.float32)
        lattice *= self.amplitude / _SPLINE_RMS
        of_z, of_y, of_x = (_spline_weights(axis_mm, self.scale_mm) for axis_mm in (z_mm, y_mm, x_mm))
        # z first: a scan is rendered in slabs of few planes, and what is multiplied later is then as small as they are.
        along_z = (of_z @ lattice.reshape(LATTICE_NODES, -1)).reshape(-1, LATTICE_NODES, LATTICE_NODES)
        along_y = np.matmul(of_y, along_z)
        flat = along_y.reshape(-1, LATTICE_NODES)
        values: FloatArray = (flat @ of_x.T).reshape(len(z_mm), len(y_mm), len(x_mm))
        return values


def _spline_weights(coordinates_mm: FloatArray, scale_mm: float) -> FloatArray:
    """Matrix (coordinates, lattice nodes) of cubic B-spline weights with periodic wrap."""
    position = np.asarray(coordinates_mm, np.float64) / scale_mm
    node = np.floor(position).astype(int)
    t = position - node
    weights = np.zeros((len(position), LATTICE_NODES), np.float32)
    rows = np.arange(len(position))
    values = ((1 - t) ** 3 / 6, (3 * t**3 - 6 * t**2 + 4) / 6, (-3 * t**3 + 3 * t**2 + 3 * t + 1) / 6, t**3 / 6)
    for offset, value in zip((-1, 0, 1, 2), values, strict=True):
        np.add.at(weights, (rows, (node + offset) % LATTICE_NODES), value)
    return weights
