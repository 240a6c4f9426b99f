"""The first, coarse look at the whole scan: where kidneys and their landmarks are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from KidneySegLib.inference.grid import Frame, Grid, grid_of
from KidneySegLib.inference.labelling import overview_labels
from KidneySegLib.inference.network import ReadyNetwork, normalise
from KidneySegLib.inference.regions import body_box
from KidneySegLib.inference.resampling import sample
from KidneySegLib.inference.tiling import fit_tile
from KidneySegLib.progress import Progress

if TYPE_CHECKING:
    import SimpleITK as sitk

#: Where the localiser holds a kidney for this probable, the fine network looks, even if something else is likelier.
KIDNEY_PROBABILITY = 0.3
#: Share of the stage that reading and averaging the scan takes.
_SAMPLING_SHARE = 0.5


@dataclass(frozen=True)
class Overview:
    """The localiser's answer.

    Attributes:
        grid: its grid over the whole scan.
        labels: (z, y, x) `labels.OverviewLabel` ids.
        kidney: (z, y, x) where to look for kidneys: what any pass holds for one.
    """

    grid: Grid
    labels: NDArray[np.uint8]
    kidney: NDArray[np.bool_]

    def image(self) -> sitk.Image:
        """The label map as an image in the world."""
        import SimpleITK as sitk

        image = sitk.GetImageFromArray(self.labels)
        self.grid.place(image, self.grid.whole)
        return image


def localise(network: ReadyNetwork, image: sitk.Image, frame: Frame, progress: Progress) -> Overview:
    """Run a localiser over a whole scan.

    Where its bundle mirrors, what any pass calls kidney is looked at closely: a transplant that one pass does not see
    at all, another may. The labels are the plain pass's, for in a mirror the liver lies on the left.

    Args:
        network: a ready localiser bundle.
        image: the scan in HU.
        frame: of that scan.
        progress: told about the stage ``localise``.
    """
    spec = network.bundle
    grid = grid_of(frame, spec.spacing_mm)
    n = spec.normalisation
    hu = sample(
        image,
        grid,
        grid.whole,
        low_hu=n.low_hu,
        high_hu=n.high_hu,
        on_block=lambda fraction: progress.report("localise", _SAMPLING_SHARE * fraction),
    )
    body = body_box(hu, n.low_hu)
    volume = normalise(np.ascontiguousarray(hu[body.slices]), n)
    tile = fit_tile(body.shape, spec.patch_size, spec.size_multiple, spec.tile_step, flexible=spec.flexible_tiles)

    def on_network(fraction: float, message: str) -> None:
        progress.report("localise", _SAMPLING_SHARE + (1.0 - _SAMPLING_SHARE) * fraction, message)

    _, passes = network.passes(volume, tile, on_network)
    labels = np.zeros(grid.shape, dtype=np.uint8)
    labels[body.slices] = overview_labels(spec)(passes[0])
    kidney = np.zeros(grid.shape, dtype=np.bool_)
    number = spec.outputs.index("kidney")
    kidney[body.slices] = np.maximum.reduce([values[number] for values in passes]) > KIDNEY_PROBABILITY
    return Overview(grid, labels, kidney)
