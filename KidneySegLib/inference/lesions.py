"""A second network beside the fine one, which knows cysts and masses: what it finds abnormal is no parenchyma.

The fine network was trained to tell parenchyma from everything else, with a narrow view; it now and then takes the wall
of a cyst, or a mass that enhances like cortex, for parenchyma. The lesion network (`networks.multires_unet3d`) sees
further and has an output for them. Both have voxels of the same size, so their probabilities are joined voxel by voxel:
parenchyma has the weighted mean of both, and the abnormality wins where it is more probable than that. A model that was
fine-tuned to other scans, which the lesion network never saw, gives that less weight (`training.finetune`).
"""

from __future__ import annotations

import numpy as np

from KidneySegLib.inference.labelling import training_labels
from KidneySegLib.inference.tiling import Float32
from KidneySegLib.labels import ABNORMALITY_LABEL
from KidneySegLib.models.bundle import BundleSpec

#: Kidneys without contrast medium have 25 to 45 HU, and in them a cyst or mass hardly shows: the lesion network, which
#: mistook a wide pelvis and parenchyma for a cyst in such a scan, is not asked about them.
ENHANCED_HU = 60.0


def shows_contrast(volume: Float32, values: Float32, spec: BundleSpec) -> bool:
    """Whether what the fine network calls parenchyma holds contrast medium; so for a region without any.

    Args:
        volume: (z, y, x), the fine network's normalised input of a region.
        values: (outputs, z, y, x) that it gave.
        spec: of its bundle.
    """
    parenchyma = values[spec.outputs.index("parenchyma")] > spec.threshold
    if not parenchyma.any():
        return True
    n = spec.normalisation
    return float(np.median(volume[parenchyma])) * n.standard_deviation_hu + n.mean_hu >= ENHANCED_HU


def with_lesions(values: Float32, spec: BundleSpec, lesions: Float32, lesion_spec: BundleSpec) -> Float32:
    """Probabilities of both networks as one network's.

    Args:
        values: (outputs, z, y, x) of the fine network, sigmoid.
        spec: of its bundle.
        lesions: (outputs, z, y, x) of the lesion network on the same voxels, softmax.
        lesion_spec: of its bundle.

    Returns:
        (`BundleSpec.finds` of ``spec``, z, y, x): parenchyma of both, the abnormality last, the rest as it is.
    """
    abnormality = lesions[lesion_spec.outputs.index("abnormality")]
    combined: Float32 = np.concatenate([values, abnormality[None]])
    weight = np.float32(spec.lesions.weight if spec.lesions is not None else 0.0)
    parenchyma = combined[spec.outputs.index("parenchyma")]
    parenchyma *= 1 - weight
    parenchyma += weight * lesions[lesion_spec.outputs.index("parenchyma")]
    return combined


def as_pass(values: Float32, spec: BundleSpec, lesions: Float32, lesion_spec: BundleSpec) -> Float32:
    """What the lesion network says of parenchyma, as one more pass of the fine network for evidence.

    Args:
        values, spec, lesions, lesion_spec: as for `with_lesions`.

    Returns:
        (outputs, z, y, x): its own parenchyma; the rest as the fine network has it, as far as that is parenchyma here.
    """
    parenchyma = lesions[lesion_spec.outputs.index("parenchyma")]
    other: Float32 = np.minimum(values, parenchyma)
    other[spec.outputs.index("parenchyma")] = parenchyma
    return other


def without_small(values: Float32, spec: BundleSpec) -> Float32:
    """Probabilities without the abnormalities that are too small to be told, in place.

    Args:
        values: (`BundleSpec.finds`, z, y, x); what is left out may be parenchyma again.
        spec: of a bundle with a lesion model.
    """
    from scipy import ndimage

    assert spec.lesions is not None
    found = training_labels(spec)(values) == ABNORMALITY_LABEL
    numbers, count = ndimage.label(found, structure=np.ones((3, 3, 3)))
    if count:
        # The largest ball inside is as wide as its middle is far from the outside, on both sides, less a voxel's half.
        depth_mm = ndimage.distance_transform_edt(np.pad(found, 1), sampling=spec.spacing_mm)[1:-1, 1:-1, 1:-1]
        widest_mm = 2 * ndimage.maximum(depth_mm, numbers, np.arange(count + 1)) - min(spec.spacing_mm)
        small = widest_mm < spec.lesions.least_mm
        small[0] = False
        values[spec.finds.index("abnormality")][small[numbers]] = 0
    return values
