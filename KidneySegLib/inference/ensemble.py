"""The second model of an ensemble: an nnU-Net's probabilities on the grid of the first, beside whose they are averaged.

nnU-Net's network looks at the scan in its own way (`nnunet_scan`), round the same box; its probabilities are then
interpolated linearly onto the first model's voxels, and what its labels mean decides to which output they are added.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

import numpy as np

from KidneySegLib.inference.grid import Box, Grid, frame_of, size3
from KidneySegLib.inference.labelling import activate
from KidneySegLib.inference.network import ReadyNetwork
from KidneySegLib.inference.nnunet_scan import Layout, lay, placed, prepare
from KidneySegLib.inference.regions import surround
from KidneySegLib.inference.resampling import resample_linear
from KidneySegLib.inference.tiling import Float32
from KidneySegLib.models.bundle import BundleSpec
from KidneySegLib.models.ensemble import parts_of

if TYPE_CHECKING:
    import SimpleITK as sitk

#: Voxels of the nnU-Net's that are looked at beyond a box, so that interpolation at its faces has both neighbours.
_BEYOND = (2, 2, 2)

Report = Callable[[str, float, str], None]
Timed = Callable[[str], AbstractContextManager[None]]


class Partner:
    """The nnU-Net model of an ensemble and one scan.

    Args:
        network: the partner of an ensemble bundle, ready.
        outputs: of the ensemble bundle.
        image: the scan, in HU.
    """

    def __init__(self, network: ReadyNetwork, outputs: Sequence[str], image: sitk.Image) -> None:
        self._network = network
        self._outputs = tuple(outputs)
        self._image = image
        self._layout: Layout | None = None

    def mean_with(self, values: Float32, grid: Grid, region: Box, timed: Timed, report: Report) -> Float32:
        """The plain mean of another model's probabilities and this one's, in place.

        Args:
            values: (outputs, z, y, x) on ``region``; overwritten.
            grid, region: where they lie; of the same scan.
            timed: measures the stages preprocess, network and resample.
            report: told stage, fraction and message; may raise to cancel.
        """
        values += self.probabilities(grid, region, timed, report)
        values /= 2
        return values

    def probabilities(self, grid: Grid, region: Box, timed: Timed, report: Report) -> Float32:
        """Probabilities (outputs, z, y, x) on a region of a grid; arguments as for `mean_with`.

        Outside of what nnU-Net looks at (the scan, less what is 0 all round) there is background.
        """
        import SimpleITK as sitk

        spec = self._network.bundle
        with timed("preprocess"):
            self._layout = layout = self._layout or lay(self._image, spec)
            wanted = layout.box_of(self._box_on_scan(grid, region)).grown(_BEYOND, layout.size)
            # Only the shape of this grid counts here.
            own = Grid(frame_of(self._image), spec.spacing_mm, layout.size, (0.0, 0.0, 0.0))
            seen, tile = surround(wanted, own, spec)
            scan = prepare(self._image, spec, lambda f: report("preprocess", f, ""), layout=layout, region=seen)
        with timed("network"):
            logits = self._network.logits(scan.volume, tile, lambda f, message: report("network", f, message))
        with timed("resample"):
            z, y, x = wanted.within(seen)
            found = structure_probabilities(logits[:, z, y, x], spec)
            values = np.empty((len(self._outputs), *region.shape), np.float32)
            for value, name in zip(values, self._outputs, strict=True):
                parts = [found[part] for part in parts_of(name) if part in found]
                own_values = np.add.reduce(parts) if parts else np.zeros(wanted.shape, np.float32)
                image = placed(own_values, wanted, layout, self._image)
                on_grid = resample_linear(image, grid, region, 1.0 if name == "background" else 0.0)
                value[:] = sitk.GetArrayViewFromImage(on_grid)
        return values

    def _box_on_scan(self, grid: Grid, region: Box) -> Box:
        """The voxels of the scan's array, at least one, that touch a box of a grid in any orientation."""
        ends = [(a - 0.5, b - 0.5) for a, b in zip(region.start, region.stop, strict=True)]
        corners = [
            self._image.TransformPhysicalPointToContinuousIndex(grid.centre_of_mm(corner).tolist())[::-1]
            for corner in itertools.product(*ends)
        ]
        start, stop = [], []
        for count, places in zip(reversed(self._image.GetSize()), zip(*corners, strict=True), strict=True):
            first = min(max(math.floor(min(places) + 0.5), 0), count - 1)
            start.append(first)
            stop.append(min(max(math.ceil(max(places) + 0.5), first + 1), count))
        return Box(size3(start), size3(stop))


def structure_probabilities(logits: Float32, spec: BundleSpec) -> Mapping[str, Float32]:
    """Probability (z, y, x) of each structure of an nnU-Net model, background included; they add up to 1.

    Labels: the softmax. Regions paint one over the other and are taken to nest: a structure has what its own region
    says less the largest of those that paint over it (0 if that is more), and the background what no region says.

    Args:
        logits: (channels, z, y, x) as the network gives them.
        spec: of the bundle.
    """
    record = spec.nnunet
    assert record is not None
    values = activate(np.array(logits, dtype=np.float32), spec.activation)
    if spec.activation == "sigmoid":
        over = np.zeros(values.shape[1:], np.float32)
        for channel in values[::-1]:
            most = np.maximum(over, channel)
            np.subtract(most, over, out=channel)
            over = most
        values = np.concatenate([values, (1 - over)[None]])
    ids = (*record.channels, 0) if spec.activation == "sigmoid" else record.channels
    found: dict[str, Float32] = {}
    for id, channel in zip(ids, values, strict=True):
        name = record.structures.get(id, "background")
        found[name] = found[name] + channel if name in found else channel
    return found
