"""Where cortex ends, as the scan itself shows it: the bright rim and the columns between the pyramids.

A network that learnt from phantoms knows what kidneys look like on the average, and where it is in doubt it draws that.
Cortex and medulla of one kidney on one scan are two brightnesses, and those can be seen. So inside the parenchyma the
network's probability of cortex is taken for what is known beforehand, the scan's brightness for what is seen, and both
are put together by Bayes' rule, neighbours being likely the same (a mean field of Ising's model). The method is ours;
its parts are those of Zhang, Brady and Smith, IEEE Trans Med Imaging 20 (2001) 45-57.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from KidneySegLib.inference.grid import bounds_of
from KidneySegLib.inference.tiling import Float32
from KidneySegLib.models.bundle import BundleSpec

#: Fewer voxels of parenchyma, or of one of its two parts, than this have no brightness of their own.
FEWEST_VOXELS = 50
#: Rounds of measuring brightness and deciding anew.
_ROUNDS = 8
#: Standard deviations of Gaussians, in voxels: of the scan's smoothing, of a neighbourhood, of what is near a border.
_SMOOTH, _NEIGHBOURHOOD, _NEAR = 0.4, 0.8, 0.7
#: How strongly neighbours speak for each other, as a logit.
_NEIGHBOURS = 2.0
#: Greatest logit that the brightness of one voxel is worth: vessels and stones are not endlessly cortex.
_MOST_LOGIT = 5.0
#: Least spread of brightness within one part, as a share of the difference of both, and in HU.
_LEAST_SPREAD, _LEAST_SPREAD_HU = 0.15, 4.0
#: Probabilities are kept this far from 0 and 1 before their logit is taken.
_CLIP = 1e-3


def with_cortex_as_seen(
    values: Float32, volume: Float32, spec: BundleSpec, scan_spacing_mm: Sequence[float]
) -> Float32:
    """Probabilities with those of cortex by the scan's brightness, within the parenchyma.

    Nothing changes where the bundle does not ask for it, outside the parenchyma, where too little of it is there, and
    where cortex is not brighter than medulla by `CortexBorder.least_contrast_hu`: there the network's answer stays, and
    the flags of the scan's phase say what it is worth.

    Args:
        values: (outputs, z, y, x) in 0..1; not changed.
        volume: (z, y, x) the network's input on the same voxels.
        spec: of the bundle, outputs parenchyma and cortex among them where it asks.
        scan_spacing_mm: voxel size of the scan along the network's axes (z, y, x).

    Returns:
        ``values`` itself, or a copy.
    """
    if spec.cortex_border is None:
        return values
    inside = values[spec.outputs.index("parenchyma")] > spec.threshold
    box = bounds_of(inside)
    if box is None:
        return values
    number = spec.outputs.index("cortex")
    hu = volume[box.slices] * spec.normalisation.standard_deviation_hu + spec.normalisation.mean_hu
    seen = cortex_as_seen(
        hu,
        inside[box.slices],
        values[number][box.slices],
        spec.cortex_border.least_contrast_hu,
        mixed_voxels(scan_spacing_mm, spec.spacing_mm),
        spec.cortex_border.prior_shift,
    )
    result = values.copy()
    result[number][box.slices] = np.where(inside[box.slices], seen, values[number][box.slices])
    return result


def mixed_voxels(scan_spacing_mm: Sequence[float], spacing_mm: Sequence[float]) -> tuple[int, int, int]:
    """How deep, in the network's voxels (z, y, x), the scan's voxels mix in what lies beyond a surface.

    Half a voxel of the scan, rounded up; 0 where it is no larger than the network's.
    """
    z, y, x = (
        math.ceil(scan / (2 * own) - 1e-6) if scan > own * (1 + 1e-6) else 0
        for scan, own in zip(scan_spacing_mm, spacing_mm, strict=True)
    )
    return z, y, x


def cortex_as_seen(
    hu: Float32,
    inside: NDArray[np.bool_],
    known: Float32,
    least_contrast_hu: float,
    mixed: tuple[int, int, int] = (0, 0, 0),
    prior_shift: float = 0.0,
) -> Float32:
    """Probability of cortex (z, y, x) from that known beforehand and from brightness; ``known`` itself if in vain.

    Args:
        hu: (z, y, x).
        inside: parenchyma.
        known: probability of cortex, 0..1.
        least_contrast_hu: by which cortex must be brighter than medulla.
        mixed: from `mixed_voxels`.
        prior_shift: added to the logit of ``known``.
    """
    from scipy.ndimage import binary_erosion, gaussian_filter
    from scipy.special import expit, logit

    def blurred(volume: NDArray[np.float32], deviation: float) -> Float32:
        return np.asarray(gaussian_filter(volume, deviation, truncate=3.0), np.float32)

    # Voxels at the parenchyma's surface are partly fat: their brightness is not measured and is worth little.
    core = binary_erosion(inside)
    if np.count_nonzero(core) < FEWEST_VOXELS:
        return known
    weight = core.astype(np.float32)
    share = blurred(weight, _SMOOTH)
    bright = np.where(share > 0.05, blurred(np.where(core, hu, 0.0).astype(np.float32), _SMOOTH), hu)
    bright = np.where(share > 0.05, bright / np.maximum(share, 0.05), bright)
    trust = blurred(weight, _NEAR)
    # Above and below, a slice thicker than a voxel mixes fat in as far as half its thickness: there, dark says nothing.
    # Else poles would be capped with medulla.
    deep = inside
    for axis, depth in enumerate(mixed):
        if depth > 0:
            deep = binary_erosion(deep, np.ones([2 * depth + 1 if a == axis else 1 for a in range(3)], bool))
    parenchyma = inside.astype(np.float32)
    company = np.maximum(blurred(parenchyma, _NEIGHBOURHOOD), 1e-3)
    prior = logit(np.clip(known, _CLIP, 1 - _CLIP)) + prior_shift
    cortex: Float32 = known
    for _ in range(_ROUNDS):
        parts = _two_parts(bright[core], cortex[core])
        if parts is None or parts[0] - parts[1] < least_contrast_hu:
            return known
        of_cortex, of_medulla, spread = parts
        evidence = ((bright - of_medulla) ** 2 - (bright - of_cortex) ** 2) / (2 * spread**2)
        others = blurred((2 * cortex - 1) * parenchyma, _NEIGHBOURHOOD) / company
        heard = np.clip(evidence, np.where(deep, -_MOST_LOGIT, 0.0), _MOST_LOGIT)
        cortex = expit(prior + trust * heard + _NEIGHBOURS * others).astype(np.float32)
    return cortex


def _two_parts(bright: NDArray[np.floating], cortex: NDArray[np.floating]) -> tuple[float, float, float] | None:
    """Mean HU of cortex and of medulla, and the spread within each; None if one of them is hardly there."""
    weight, other = cortex**2, (1 - cortex) ** 2
    if min(weight.sum(), other.sum()) < FEWEST_VOXELS / 2:
        return None
    of_cortex = float((weight * bright).sum() / weight.sum())
    of_medulla = float((other * bright).sum() / other.sum())
    apart = np.abs(bright - np.where(cortex > 0.5, of_cortex, of_medulla))
    # 1.4826 times the median of absolute deviations is a normal distribution's standard deviation.
    spread = max(1.4826 * float(np.median(apart)), _LEAST_SPREAD * (of_cortex - of_medulla), _LEAST_SPREAD_HU)
    return of_cortex, of_medulla, spread
