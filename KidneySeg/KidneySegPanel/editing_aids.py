"""Editing aids for kidneys: each takes labels and HU of one box and gives new labels. numpy and SimpleITK only.

Arrays are (z, y, x); spacing is in the same order, in mm. Labels of other kidneys, cysts and masses never change.
"""

import itertools

import numpy as np

from KidneySegLib.labels import PARENCHYMA, Side, Structure, label_id, parenchyma_ids

# Smaller pieces are noise of single voxels inside cortex, no vessel and no pelvis.
LEAST_REMOVED_ML = 0.05
# Width of smoothing: about one pixel of a body CT, so that pyramids keep their shape.
SMOOTHING_MM = 1.0


def growCortex(labels, hu, side, lowHu, highHu, steps=1):
    """Move the corticomedullary boundary inwards: medulla beside cortex becomes cortex where HU lie in a range."""
    cortex, medulla = label_id(Structure.CORTEX, side), label_id(Structure.MEDULLA, side)
    return _moveBoundary(labels, hu, medulla, cortex, lowHu, highHu, steps)


def shrinkCortex(labels, hu, side, lowHu, highHu, steps=1):
    """Move the corticomedullary boundary outwards: cortex beside medulla becomes medulla where HU lie in a range."""
    cortex, medulla = label_id(Structure.CORTEX, side), label_id(Structure.MEDULLA, side)
    return _moveBoundary(labels, hu, cortex, medulla, lowHu, highHu, steps)


def _moveBoundary(labels, hu, source, target, lowHu, highHu, steps):
    changed = labels.copy()
    inRange = (hu >= lowHu) & (hu <= highHu)
    for _step in range(steps):
        beside = _neighbours(changed == target) & (changed == source) & inRange
        if not beside.any():
            break
        changed[beside] = target
    return changed


def _neighbours(mask):
    """Voxels that share a face with a mask."""
    found = np.zeros_like(mask)
    for axis in range(3):
        lower, upper = [slice(None)] * 3, [slice(None)] * 3
        lower[axis], upper[axis] = slice(None, -1), slice(1, None)
        found[tuple(upper)] |= mask[tuple(lower)]
        found[tuple(lower)] |= mask[tuple(upper)]
    return found


def removeByThreshold(labels, hu, side, lowHu, highHu, spacing, leastMl=LEAST_REMOVED_ML):
    """Take vessels, pelvis or fat out of a kidney's parenchyma: connected voxels whose HU lie in a range.

    Pieces below ``leastMl`` stay: they are noise.
    """
    import SimpleITK as sitk

    kidney = np.isin(labels, parenchyma_ids(side))
    found = kidney & (hu >= lowHu) & (hu <= highHu)
    changed = labels.copy()
    if not found.any():
        return changed
    pieces = sitk.GetArrayFromImage(sitk.ConnectedComponent(sitk.GetImageFromArray(found.astype(np.uint8))))
    least = leastMl / (float(np.prod(spacing)) / 1000)
    large = np.flatnonzero(np.bincount(pieces.ravel()) >= max(least, 1))
    changed[np.isin(pieces, large[large > 0])] = 0
    return changed


def fillBetweenSlices(labels, side, structure, axis, spacing):
    """Fill slices in which a structure is missing between slices in which it is drawn.

    The outline between two drawn slices is where the mean of their signed distances, weighted by nearness, is zero
    (shape-based interpolation: Raya and Udupa, IEEE Trans Med Imaging 1990). Only background is filled.

    :param axis: of the slices, 0 to 2 as in the array.
    """
    import SimpleITK as sitk

    value = label_id(structure, side)
    planes = np.moveaxis(labels, axis, 0)
    inPlane = [mm for number, mm in enumerate(spacing) if number != axis]
    drawn = np.flatnonzero((planes == value).any(axis=(1, 2)))
    changed = labels.copy()
    filled = np.moveaxis(changed, axis, 0)

    def distance(plane):
        image = sitk.GetImageFromArray((planes[plane] == value).astype(np.uint8))
        image.SetSpacing(inPlane[::-1])
        return sitk.GetArrayFromImage(sitk.SignedMaurerDistanceMap(image, squaredDistance=False, useImageSpacing=True))

    for below, above in itertools.pairwise(drawn):
        if above - below < 2:
            continue
        first, second = distance(below), distance(above)
        for plane in range(below + 1, above):
            share = (plane - below) / (above - below)
            inside = (1 - share) * first + share * second <= 0
            filled[plane][inside & (filled[plane] == 0)] = value
    return changed


def smooth(labels, side, spacing, sigmaMm=SMOOTHING_MM):
    """Smooth the outline of a kidney and its corticomedullary boundary; both volumes stay as they are, to the voxel.

    The mask is blurred, and as many of its brightest voxels are taken as it had: a threshold that keeps the volume.
    Voxels of other labels are not taken.
    """
    changed = labels.copy()
    ids = parenchyma_ids(side)
    kidney = np.isin(labels, ids)
    if not kidney.any():
        return changed
    free = kidney | (labels == 0)
    outline = _brightest(_blurred(kidney, spacing, sigmaMm), free, int(kidney.sum()))
    cortexId, medullaId, wholeId = (label_id(structure, side) for structure in PARENCHYMA)
    changed[kidney] = 0
    if (labels == wholeId).any():
        changed[outline] = wholeId
        return changed
    cortex = labels == cortexId
    # What is outside the kidney counts as cortex, so that the outline does not pull the inner boundary.
    inner = _blurred(labels == medullaId, spacing, sigmaMm)
    medulla = _brightest(inner, outline, int(kidney.sum()) - int(cortex.sum()))
    changed[outline] = cortexId
    changed[medulla] = medullaId
    return changed


def _blurred(mask, spacing, sigmaMm):
    import SimpleITK as sitk

    image = sitk.GetImageFromArray(mask.astype(np.float32))
    image.SetSpacing(list(spacing)[::-1])
    # DiscreteGaussian leaves an axis alone whose voxels are larger than what is smoothed.
    return sitk.GetArrayFromImage(sitk.DiscreteGaussian(image, sigmaMm**2, 32, 0.01, True))


def _brightest(values, allowed, count):
    """Exactly ``count`` allowed voxels with the largest values; of equal ones the first."""
    places = np.flatnonzero(allowed)
    order = np.argsort(-values.ravel()[places], kind="stable")[:count]
    mask = np.zeros(values.size, bool)
    mask[places[order]] = True
    return mask.reshape(values.shape)


def sidesOf(labels):
    """Sides that have parenchyma."""
    present = set(np.unique(labels).tolist())
    return [side for side in Side if present & set(parenchyma_ids(side))]
