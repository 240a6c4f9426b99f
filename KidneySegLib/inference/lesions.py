"""Cysts and masses that the fine network has an output for, where they are shown on request only.

Asked or not, what the network calls abnormal is no parenchyma. To say that something is a cyst or a mass is another
matter: a network that has seen phantoms alone now and then takes a wide pelvis or a loop of bowel for one. So only what
is large enough counts, and only in kidneys that hold contrast medium; and where nobody asked, it is not labelled, but a
flag says that something lies at a kidney.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from KidneySegLib.inference.labelling import training_labels
from KidneySegLib.inference.tiling import Float32
from KidneySegLib.labels import ABNORMALITY_LABEL, TrainingLabel
from KidneySegLib.models.bundle import Bundle, BundleSpec

#: Kidneys without contrast medium have 25 to 45 HU, and in them a cyst or mass hardly shows: networks take a wide
#: pelvis and parenchyma for a cyst there.
ENHANCED_HU = 60.0
#: Raised where lesions that are not shown lie at a kidney.
SUSPECTED = "cyst_or_mass_suspected"
#: What lies within so many voxels of parenchyma lies at it.
_AT_VOXELS = 2


def without_lesions(bundle: Bundle) -> Bundle:
    """A bundle that shows lesions on request, as one that does not find them; any other as it is."""
    return bundle if bundle.lesions is None else replace(bundle, outputs=bundle.outputs[:-1], lesions=None)


def lie_at_parenchyma(labels: NDArray[np.uint8]) -> bool:
    """Whether any abnormality of a map (z, y, x) of training labels lies at parenchyma."""
    from scipy import ndimage

    abnormal = labels == ABNORMALITY_LABEL
    if not abnormal.any():
        return False
    near = ndimage.binary_dilation(
        np.isin(labels, (TrainingLabel.MEDULLA, TrainingLabel.CORTEX)), iterations=_AT_VOXELS
    )
    return bool((near & abnormal).any())


def worth_showing(values: Float32, volume: Float32, spec: BundleSpec) -> Float32:
    """Probabilities with those abnormalities that are worth showing, in place.

    Args:
        values: (outputs, z, y, x); what is left out may be parenchyma again.
        volume: (z, y, x), the normalised input of the same voxels.
        spec: of a bundle with `BundleSpec.lesions`.
    """
    if shows_contrast(volume, values, spec):
        return without_small(values, spec)
    values[-1] = 0
    return values


def shows_contrast(volume: Float32, values: Float32, spec: BundleSpec) -> bool:
    """Whether what the network calls parenchyma holds contrast medium; so for a region without any.

    Args:
        volume: (z, y, x), the network's normalised input of a region.
        values: (outputs, z, y, x) that it gave.
        spec: of its bundle.
    """
    parenchyma = values[spec.outputs.index("parenchyma")] > spec.threshold
    if not parenchyma.any():
        return True
    n = spec.normalisation
    return float(np.median(volume[parenchyma])) * n.standard_deviation_hu + n.mean_hu >= ENHANCED_HU


def without_small(values: Float32, spec: BundleSpec) -> Float32:
    """Probabilities without the abnormalities that are too small to be told, in place.

    Args:
        values: (outputs, z, y, x); what is left out may be parenchyma again.
        spec: of a bundle with `BundleSpec.lesions`.
    """
    from scipy import ndimage

    assert spec.lesions is not None
    found = training_labels(spec)(values) == ABNORMALITY_LABEL
    numbers, count = ndimage.label(found, structure=np.ones((3, 3, 3)))
    if count:
        # The largest ball inside is as wide as its middle is far from the outside, on both sides, less a voxel's half.
        depth_mm = ndimage.distance_transform_edt(np.pad(found, 1), sampling=spec.spacing_mm)[1:-1, 1:-1, 1:-1]
        widest_mm = 2 * ndimage.maximum(depth_mm, numbers, np.arange(count + 1)) - min(spec.spacing_mm)
        least_mm = np.full(count + 1, spec.lesions.least_mm)
        if spec.lesions.least_sure_mm is not None:
            mean = ndimage.mean(values[-1], numbers, np.arange(count + 1))
            least_mm[mean >= spec.lesions.sure_probability] = spec.lesions.least_sure_mm
        small = widest_mm < least_mm
        small[0] = False
        values[-1][small[numbers]] = 0
    return values
