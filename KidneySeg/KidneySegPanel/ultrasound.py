"""What is different where the chosen volume is a 2-D ultrasound picture: checks, models, run and outline."""

import json
import os

import numpy as np
import slicer
import vtk
from slicer.i18n import tr as _

from KidneySegPanel.case_request import readReplyLabels
from KidneySegPanel.dicom_facts import dicomFacts
from KidneySegPanel.input_checks import GOOD, WARNING, Check
from KidneySegPanel.label_segments import binaryLabelmapName, orientedImage
from KidneySegPanel.measurement_table import showTable
from KidneySegPanel.result_node import PROVENANCE, placeBesideInSubjectHierarchy
from KidneySegPanel.segmentation_run import SegmentationRun

ULTRASOUND = "ultrasound"
OUTLINE = "KidneySeg.UltrasoundOutline"
OUTLINE_COLOUR = (1.0, 0.69, 0.0)
_WHITE = 255


def isUltrasound(volumeNode):
    """Whether a volume is one picture (or DICOM says that it is ultrasound) with grey levels rather than HU."""
    image = volumeNode.GetImageData() if volumeNode is not None else None
    if image is None or 0 in image.GetDimensions():
        return False
    low, high = image.GetScalarRange()
    if low < 0 or high > _WHITE:
        return False
    return dicomFacts(volumeNode).get("modality") == "US" or image.GetDimensions()[2] == 1


def modelsFor(models, ultrasound):
    """Those of the engine's models that know such a volume."""
    return [model for model in models if (model.get("task") == ULTRASOUND) == ultrasound]


def pixelMm(volumeNode):
    """Edges of a pixel (y, x) in mm; None where the volume only has a picture file's default of 1."""
    x, y = volumeNode.GetSpacing()[:2]
    return None if x == 1.0 and y == 1.0 else (float(y), float(x))


def ultrasoundChecks(volumeNode):
    """Rows for the Input section."""
    width, height, frames = volumeNode.GetImageData().GetDimensions()
    size = _("{width} x {height} pixels").format(width=width, height=height)
    if frames > 1:
        size = _("{size}, {frames} frames").format(size=size, frames=frames)
    edges = pixelMm(volumeNode)
    if edges is None:
        scale = Check(WARNING, _("Calibration"), _("Not calibrated: lengths and areas will be in pixels."))
    else:
        scale = Check(GOOD, _("Calibration"), _("{mm:.3f} mm a pixel").format(mm=edges[1]))
    return (Check(GOOD, _("Ultrasound picture"), size), scale)


class UltrasoundRun(SegmentationRun):
    """A run on an ultrasound picture. `resultNode` stays None: there is no CT result to review.

    Attributes:
        outlineNode: segmentation node with the kidney, None where none was found.
    """

    COMMAND = "segment_ultrasound"
    isUltrasound = True
    outlineNode = None

    @property
    def foundKidney(self):
        return self.outlineNode is not None

    def _send(self):
        workspace = self._engine.prepareWorkspace()
        frames = slicer.util.arrayFromVolume(self.volumeNode)
        # Slicer's rows run as the file's do; an opacity channel is left out.
        frames = np.ascontiguousarray(frames[..., :3] if frames.ndim == 4 else frames).astype(np.uint8)
        if frames.ndim == 4 and frames.shape[3] != 3:
            frames = np.ascontiguousarray(frames[..., 0])
        name = f"picture-{os.urandom(4).hex()}.npy"
        with open(workspace / name, "wb") as stream:
            np.save(stream, frames, allow_pickle=False)
        edges = pixelMm(self.volumeNode)
        return {"picture": {"array": name, "pixel_mm": list(edges) if edges else None}}

    def _import(self, reply):
        labels, index = readReplyLabels(self._engine.workspace, reply)
        self.reply = reply
        slicer.mrmlScene.SaveStateForUndo()
        if labels.any():
            self.outlineNode = createOutline(self.volumeNode, labels, index, reply)
        self.tableNode = showTable(None, self.volumeNode, reply["table"])


def createOutline(volumeNode, labels, index, reply):
    """Add a segmentation node with the kidney's outline over its picture. Touches no other node.

    :param labels: (z, y, x) uint8, 1 in the kidney. :param reply: the engine's ``result`` message.
    """
    scene = slicer.mrmlScene
    node = slicer.vtkMRMLSegmentationNode()
    node.SetName(scene.GenerateUniqueName(_("{volume} kidney outline").format(volume=volumeNode.GetName() or "US")))
    node.SetUndoEnabled(True)
    scene.AddNode(node)
    wasModifying = node.StartModify()
    try:
        node.CreateDefaultDisplayNodes()
        node.SetReferenceImageGeometryParameterFromVolumeNode(volumeNode)
        node.SetAndObserveTransformNodeID(volumeNode.GetTransformNodeID())
        ijkToRas = vtk.vtkMatrix4x4()
        volumeNode.GetIJKToRASMatrix(ijkToRas)
        image = slicer.vtkOrientedImageData()
        image.DeepCopy(orientedImage(labels, index, ijkToRas))
        segment = slicer.vtkSegment()
        segment.SetName(_("Kidney"))
        segment.SetColor(*OUTLINE_COLOUR)
        segment.SetLabelValue(1)
        segment.AddRepresentation(binaryLabelmapName(), image)
        node.GetSegmentation().AddSegment(segment, "kidney")
        node.SetAttribute(OUTLINE, "1")
        node.SetAttribute(PROVENANCE, json.dumps(reply.get("provenance") or {}))
        display = node.GetDisplayNode()
        display.SetOpacity2DFill(0.0)
        display.SetOpacity2DOutline(1.0)
    finally:
        node.EndModify(wasModifying)
    placeBesideInSubjectHierarchy(node, volumeNode)
    return node
