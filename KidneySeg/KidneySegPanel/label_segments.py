"""Labels of the engine as segments of a node, and back.

A segment is one of ours when its tag `LABEL_TAG` (or, after an export that lost tags, its ID) is a key of
`KidneySegLib.labels`. No other segment is ever read or written.
"""

import numpy as np
import slicer
import vtk
from vtk.util import numpy_support

from KidneySegLib.labels import LABEL_BY_ID, LABEL_BY_KEY, LABELS, PARENCHYMA, Structure
from KidneySegPanel.terminology import terminologyEntry

LABEL_TAG = "KidneySeg.Label"


def binaryLabelmapName():
    return slicer.vtkSegmentationConverter.GetSegmentationBinaryLabelmapRepresentationName()


def ourSegments(segmentation):
    """``{label: segment ID}`` of the segments that are ours."""
    found = {}
    tagged = vtk.mutable("")
    for number in range(segmentation.GetNumberOfSegments()):
        segmentId = segmentation.GetNthSegmentID(number)
        key = str(tagged) if segmentation.GetSegment(segmentId).GetTag(LABEL_TAG, tagged) else segmentId
        label = LABEL_BY_KEY.get(key)
        if label and label not in found:
            found[label] = segmentId
    return found


def writeLabels(segmentation, labels, index, ijkToRas, names=None):
    """Put labels into segments of a segmentation: one shared layer, replaced as a whole.

    Segments that are missing are made: cortex and medulla of each divided kidney, and whatever else has a voxel.

    :param labels: (z, y, x) uint8 with ids of `KidneySegLib.labels`.
    :param index: (x, y, z) of the first voxel in the grid.
    :param ijkToRas: vtkMatrix4x4 of the grid.
    :param names: translated names by label key.
    """
    existing = ourSegments(segmentation)
    image = _ownLayer(segmentation, existing) or slicer.vtkOrientedImageData()
    for label, segmentId in existing.items():
        segment = segmentation.GetSegment(segmentId)
        segment.SetLabelValue(label.id)
        if segment.GetRepresentation(binaryLabelmapName()) is not image:
            segment.AddRepresentation(binaryLabelmapName(), image)
    # Into the image that the segmentation observes: that is what makes views and surfaces follow.
    image.DeepCopy(orientedImage(labels, index, ijkToRas))
    wanted = wantedLabels(labels)
    for label in LABELS:
        if label in existing or label not in wanted:
            continue
        segment = slicer.vtkSegment()
        segment.SetName((names or {}).get(label.key, label.name))
        segment.SetColor(*[channel / 255 for channel in label.colour])
        segment.SetTag(LABEL_TAG, label.key)
        segment.SetTag(slicer.vtkSegment.GetTerminologyEntryTagName(), terminologyEntry(label))
        segment.SetLabelValue(label.id)
        segment.AddRepresentation(binaryLabelmapName(), image)
        segmentation.AddSegment(segment, label.key)


def _ownLayer(segmentation, existing):
    """An image that holds our segments and nobody else's; None if there is none."""
    ours = set(existing.values())
    for segmentId in existing.values():
        image = segmentation.GetSegment(segmentId).GetRepresentation(binaryLabelmapName())
        if image is None:
            continue
        for number in range(segmentation.GetNumberOfSegments()):
            otherId = segmentation.GetNthSegmentID(number)
            other = segmentation.GetSegment(otherId)
            if otherId not in ours and other.GetRepresentation(binaryLabelmapName()) is image:
                segmentation.SeparateSegmentLabelmap(otherId)
        return image
    return None


def wantedLabels(labels):
    """Labels that deserve a segment, so that each divided kidney can be painted in both its parts."""
    present = {LABEL_BY_ID[int(value)] for value in np.unique(labels) if value}
    divided = {label.side for label in present if label.structure in (Structure.CORTEX, Structure.MEDULLA)}
    parts = (Structure.CORTEX, Structure.MEDULLA)
    return present | {label for label in LABELS if label.side in divided and label.structure in parts}


def readLabels(segmentationNode):
    """Labels as they are now, on the smallest box that holds all our segments.

    :return: (z, y, x) uint8, (x, y, z) index of its first voxel in the segmentation's grid, 4x4 ijkToRas of the grid;
      or None if the node has none of our segments.
    """
    segmentation = segmentationNode.GetSegmentation()
    name = binaryLabelmapName()
    ours = ourSegments(segmentation)
    if not ours:
        return None
    if not segmentation.ContainsRepresentation(name) and not segmentation.CreateRepresentation(name):
        return None
    layers = {}
    for label, segmentId in ours.items():
        segment = segmentation.GetSegment(segmentId)
        image = segment.GetRepresentation(name)
        if image is not None and not image.IsEmpty():
            layers.setdefault(image, []).append((label, segment.GetLabelValue()))
    if not layers:
        return np.zeros((1, 1, 1), np.uint8), (0, 0, 0), np.eye(4)
    grid = _gridOf(next(iter(layers)))
    boxes = {}
    for image in layers:
        if not np.allclose(_gridOf(image), grid, atol=1e-4):
            image_ = _resampleLike(image, next(iter(layers)))
            boxes[image] = (_voxels(image_), _extent(image_))
        else:
            boxes[image] = (_voxels(image), _extent(image))
    low = np.min([extent[::2] for _box, extent in boxes.values()], axis=0)
    high = np.max([extent[1::2] for _box, extent in boxes.values()], axis=0)
    labels = np.zeros(tuple(high - low + 1)[::-1], np.uint8)
    for image, members in layers.items():
        box, extent = boxes[image]
        x, y, z = np.array(extent[::2]) - low
        part = labels[z : z + box.shape[0], y : y + box.shape[1], x : x + box.shape[2]]
        for label, value in members:
            part[box == value] = label.id
    return labels, tuple(int(value) for value in low), grid


def volumesMl(labels, voxelMl):
    """mL by side and column of the measurement table, from voxel counts.

    :return: ``{side: {"parenchyma_ml": ..., "cortex_ml": ..., ...}}`` for sides that are there, then ``both``.
      A kidney that is not divided has no ``cortex_ml`` and no ``medulla_ml``.
    """
    counts = np.bincount(labels.ravel(), minlength=16)
    volumes = {}
    for label in LABELS:
        count = int(counts[label.id])
        if not count:
            continue
        row = volumes.setdefault(label.side.value, {"parenchyma_ml": 0.0})
        if label.structure in PARENCHYMA:
            row["parenchyma_ml"] += count * voxelMl
        if label.structure is not Structure.UNDIVIDED:
            row[f"{label.structure.value}_ml"] = count * voxelMl
    if volumes:
        both = {}
        for row in volumes.values():
            for column, value in row.items():
                both[column] = both.get(column, 0.0) + value
        volumes["both"] = both
    return volumes


def orientedImage(labels, index, ijkToRas):
    """A vtkOrientedImageData of an array, at its place in a grid."""
    image = slicer.vtkOrientedImageData()
    depth, height, width = labels.shape
    x, y, z = (int(value) for value in index)
    image.SetExtent(x, x + width - 1, y, y + height - 1, z, z + depth - 1)
    scalars = numpy_support.numpy_to_vtk(np.ascontiguousarray(labels, np.uint8).ravel(), deep=True)
    scalars.SetName("ImageScalars")
    image.GetPointData().SetScalars(scalars)
    image.SetImageToWorldMatrix(ijkToRas)
    return image


def _extent(image):
    return image.GetExtent()


def _gridOf(image):
    matrix = vtk.vtkMatrix4x4()
    image.GetImageToWorldMatrix(matrix)
    return np.array([[matrix.GetElement(row, column) for column in range(4)] for row in range(4)])


def _voxels(image):
    low_x, high_x, low_y, high_y, low_z, high_z = image.GetExtent()
    shape = (high_z - low_z + 1, high_y - low_y + 1, high_x - low_x + 1)
    return numpy_support.vtk_to_numpy(image.GetPointData().GetScalars()).reshape(shape)


def _resampleLike(image, reference):
    output = slicer.vtkOrientedImageData()
    slicer.vtkOrientedImageDataResample.ResampleOrientedImageToReferenceOrientedImage(image, reference, output)
    return output
