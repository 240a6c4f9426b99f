"""What the passes of the fine network said, voxel by voxel: from it a measurement learns how far to trust itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from KidneySegLib.inference.grid import Box, Grid
from KidneySegLib.inference.tiling import Float32
from KidneySegLib.models.bundle import BundleSpec

if TYPE_CHECKING:
    import SimpleITK as sitk

#: A probability of 1 as evidence stores it.
FULL_PROBABILITY = 255
#: Structures that evidence is kept of.
EVIDENCE_OF = ("parenchyma", "cortex")


@dataclass(frozen=True)
class Evidence:
    """One region that the fine network looked at.

    Attributes:
        grid: the network's grid.
        box: the region, a part of the grid.
        passes: uint8 (passes, structures, z, y, x): probabilities times 255 of `EVIDENCE_OF` (the second is absent
            where the model does not divide parenchyma), one pass plain, the others mirrored. Of a two-stage model
            (`two_stage.TwoStageFound`): of the whole kidney.
    """

    grid: Grid
    box: Box
    passes: NDArray[np.uint8]

    def region(self) -> sitk.Image:
        """An empty uint8 image on the region's voxels, placed in the world."""
        import SimpleITK as sitk

        image = sitk.Image([int(n) for n in reversed(self.box.shape)], sitk.sitkUInt8)
        self.grid.place(image, self.box)
        return image


#: Key of a bundle's metrics that says how evidence becomes uncertainty; without it none is kept.
CALIBRATION_KEY = "uncertainty"


def has_evidence(spec: BundleSpec) -> bool:
    """Whether a bundle says what its evidence is worth, and gives probabilities of parenchyma (no ensemble's)."""
    calibrated = CALIBRATION_KEY in spec.metrics and not spec.is_ensemble
    return calibrated and spec.activation == "sigmoid" and "parenchyma" in spec.outputs


def evidence_of(passes: list[Float32], spec: BundleSpec, grid: Grid, box: Box) -> Evidence:
    """Evidence from the probabilities (channels, z, y, x) of each pass on a box."""
    channels = [spec.outputs.index(name) for name in EVIDENCE_OF if name in spec.outputs]
    return stored([values[channels] for values in passes], grid, box)


def stored(passes: Sequence[Float32], grid: Grid, box: Box) -> Evidence:
    """Evidence from the probabilities of what it is of, (structures, z, y, x), of each pass on a box."""
    return Evidence(grid, box, np.stack([np.rint(values * FULL_PROBABILITY).astype(np.uint8) for values in passes]))
