"""Cyst or mass, for networks that find abnormality alone: a rule by HU and homogeneity, one component at a time.

The rule, stated in every result by the flag ``cyst_or_mass_by_hu``: a component is a cyst if its inner part has a mean
of at most 30 HU and is homogeneous, which means that after averaging (a Gaussian of 1.5 mm), so that noise is not taken
for structure, at most 5 % of it is brighter than 45 HU. All else is a mass. Bosniak 2019 (Silverman et al., Radiology
2019;292:475-488, doi:10.1148/radiol.2019182646) calls homogeneous masses of -9 to 20 HU, and in the portal venous phase
up to 30 HU, benign cysts. What enhances, or has a nodule or thick wall that does, is brighter. A hyperdense cyst cannot
be told from a solid mass on one enhanced scan, so it becomes a mass: what needs a look is never called harmless.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from KidneySegLib.labels import ABNORMALITY_LABEL, TrainingLabel
from KidneySegLib.postprocessing.abnormality import Mask, plausible_abnormality
from KidneySegLib.postprocessing.grid import bounding_box

if TYPE_CHECKING:
    import SimpleITK as sitk

#: The flag of a result whose cysts and masses were told apart here.
FLAG = "cyst_or_mass_by_hu"
#: The mean of a cyst's inner part is at most this.
CYST_MEAN_HU = 30.0
#: An averaged voxel brighter than this is no fluid,
BRIGHT_HU = 45.0
#: and of a cyst's inner part at most so much is as bright.
BRIGHT_SHARE = 0.05
#: Standard deviation of the Gaussian that averages noise away.
AVERAGED_OVER_MM = 1.5
#: HU are clipped to this before averaging, so that a stone or a little air beside a cyst does not decide.
CLIPPED_HU = (-100.0, 300.0)


@dataclass(frozen=True)
class Attenuation:
    """What the rule looks at.

    Attributes:
        mean_hu: of the component's inner part.
        bright_share: share of the inner part that is brighter than `BRIGHT_HU` after averaging within the component.
    """

    mean_hu: float
    bright_share: float

    @property
    def is_cyst(self) -> bool:
        return self.mean_hu <= CYST_MEAN_HU and self.bright_share <= BRIGHT_SHARE


def attenuation_of(mask: Mask, hu: NDArray[Any], spacing_zyx_mm: tuple[float, ...]) -> Attenuation:
    """Mean and homogeneity of one component.

    Args:
        mask: (z, y, x), not empty.
        hu: of the same voxels.
        spacing_zyx_mm: voxel edges in the same order.
    """
    from scipy import ndimage

    # `measurement` imports this package.
    from KidneySegLib.measurement.attenuation import interior

    inside = interior(mask, spacing_zyx_mm)
    values = np.clip(np.asarray(hu, np.float32), *CLIPPED_HU)
    sigma = [AVERAGED_OVER_MM / edge for edge in spacing_zyx_mm]
    # Averages of the component's own voxels: what lies outside has weight 0.
    weight = ndimage.gaussian_filter(inside.astype(np.float32), sigma)
    averaged = ndimage.gaussian_filter(np.where(inside, values, np.float32(0)), sigma)[inside] / weight[inside]
    return Attenuation(float(values[inside].mean(dtype=np.float64)), float((averaged > BRIGHT_HU).mean()))


def split_abnormality(labels: sitk.Image, image: sitk.Image) -> tuple[sitk.Image, tuple[str, ...], tuple[str, ...]]:
    """Apply the plausibility rules of `abnormality` and tell cyst from mass, component by component.

    Args:
        labels: training ids, and `ABNORMALITY_LABEL`, on a part of the scan's grid.
        image: the whole scan, in HU.

    Returns:
        The labels with training ids only; flags of the case; notes, which say what was removed. Labels without
        abnormality come back as they are, without flags.
    """
    import SimpleITK as sitk
    from scipy import ndimage

    values = sitk.GetArrayFromImage(labels)
    whole = values == ABNORMALITY_LABEL
    box = bounding_box(values)
    if box is None or not whole.any():
        return labels, (), ()
    spacing = tuple(float(v) for v in labels.GetSpacing()[::-1])
    part, abnormal = values[box], whole[box]
    parenchyma = (part == TrainingLabel.MEDULLA) | (part == TrainingLabel.CORTEX)
    kept = plausible_abnormality(abnormal, parenchyma, spacing)
    part[abnormal] = TrainingLabel.BACKGROUND
    x, y, z = image.TransformPhysicalPointToIndex(labels.GetOrigin())
    start = tuple(s.start + o for s, o in zip(box, (z, y, x), strict=True))
    region = tuple(slice(a, a + n) for a, n in zip(start, part.shape, strict=True))
    hu = sitk.GetArrayViewFromImage(image)[region]
    numbers, _ = ndimage.label(kept, structure=np.ones((3, 3, 3)))
    for number, place in enumerate(ndimage.find_objects(numbers), start=1):
        # Room round the component, so that eroding and averaging treat its border as a border.
        wide = tuple(slice(max(0, s.start - 1), s.stop + 1) for s in place)
        mask = numbers[wide] == number
        kind = TrainingLabel.CYST if attenuation_of(mask, hu[wide], spacing).is_cyst else TrainingLabel.MASS
        part[wide][mask] = kind
    split = sitk.GetImageFromArray(values)
    split.CopyInformation(labels)
    removed_ml = np.count_nonzero(abnormal & ~kept) * float(np.prod(spacing)) / 1000
    notes = () if not removed_ml else (f"{removed_ml:.1f} mL of abnormality away from the kidneys were removed.",)
    return split, (FLAG,) if kept.any() else (), notes
