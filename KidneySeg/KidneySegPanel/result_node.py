"""A result in the scene: a segmentation node with our segments, and what is known about it in its attributes.

Attributes are saved with the scene, so that a result can be reviewed after it was loaded again.
"""

import base64
import json
import zlib

import numpy as np
import slicer
import vtk
from slicer.i18n import tr as _

from KidneySegPanel.label_segments import readLabels, writeLabels

RESULT = "KidneySeg.Result"
AUTOMATIC_TABLE = "KidneySeg.AutomaticTable"
AUTOMATIC_LABELS = "KidneySeg.AutomaticLabelsSha256"
PROVENANCE = "KidneySeg.Provenance"
PHASE = "KidneySeg.Phase"
FLAGS = "KidneySeg.Flags"
REVIEWER = "KidneySeg.Reviewer"
REVIEWED_AT = "KidneySeg.ReviewedAt"
REVIEWED_LABELS = "KidneySeg.ReviewedLabelsSha256"
REVIEW_STATUS = "KidneySeg.ReviewStatus"
REVIEW_COMMENT = "KidneySeg.ReviewComment"
SECONDS_SPENT = "KidneySeg.SecondsSpent"
# The automatic labels themselves, packed: what was changed is told to the data set.
AUTOMATIC_VOXELS = "KidneySeg.AutomaticVoxels"
DATASET_CASE = "KidneySeg.DatasetCase"
DATASET_REVISION = "KidneySeg.DatasetRevision"
TABLE_ROLE = "KidneySeg.MeasurementsRef"


def createResult(volumeNode, labels, index, reply):
    """Add a segmentation node with the result of one run. Touches no other node.

    :param labels: (z, y, x) uint8 on a box of the volume's own grid. :param index: (x, y, z) of its first voxel.
    :param reply: the engine's ``result`` message.
    """
    scene = slicer.mrmlScene
    name = scene.GenerateUniqueName(_("{volume} kidneys").format(volume=volumeNode.GetName() or "CT"))
    node = slicer.vtkMRMLSegmentationNode()
    node.SetName(name)
    node.SetUndoEnabled(True)
    scene.AddNode(node)
    wasModifying = node.StartModify()
    try:
        node.CreateDefaultDisplayNodes()
        node.SetReferenceImageGeometryParameterFromVolumeNode(volumeNode)
        node.SetAndObserveTransformNodeID(volumeNode.GetTransformNodeID())
        ijkToRas = vtk.vtkMatrix4x4()
        volumeNode.GetIJKToRASMatrix(ijkToRas)
        writeLabels(node.GetSegmentation(), labels, index, ijkToRas, segmentNames())
        node.SetAttribute(RESULT, "1")
        node.SetAttribute(AUTOMATIC_TABLE, json.dumps(reply["table"]))
        storeAutomatic(node, labels, index)
        node.SetAttribute(PROVENANCE, json.dumps(reply.get("provenance") or {}))
        node.SetAttribute(PHASE, json.dumps(reply.get("phase")))
        node.SetAttribute(FLAGS, json.dumps(reply.get("flags") or []))
        display = node.GetDisplayNode()
        display.SetOpacity2DFill(0.4)
        display.SetOpacity2DOutline(1.0)
    finally:
        node.EndModify(wasModifying)
    placeBesideInSubjectHierarchy(node, volumeNode)
    return node


def storeAutomatic(node, labels, index):
    """Keep the automatic labels with a result, so that corrections can be told from them."""
    node.SetAttribute(AUTOMATIC_LABELS, labelsHash(labels, index))
    packed = base64.b64encode(zlib.compress(np.ascontiguousarray(labels, np.uint8).tobytes(), 6)).decode()
    shape, first = list(labels.shape), [int(value) for value in index]
    node.SetAttribute(AUTOMATIC_VOXELS, json.dumps({"shape": shape, "index": first, "zlib": packed}))


def automaticLabels(node):
    """The automatic labels and the index of their first voxel; None where they are not known."""
    kept = attribute(node, AUTOMATIC_VOXELS)
    if not kept:
        return None
    voxels = np.frombuffer(zlib.decompress(base64.b64decode(kept["zlib"])), np.uint8)
    return voxels.reshape(kept["shape"]), tuple(kept["index"])


def modelFacts(node):
    """Name, version and sha256 of the model that made a result, as far as they are known."""
    model = (json.loads(node.GetAttribute(PROVENANCE) or "{}")).get("model") or {}
    return {key: str(model[key]) for key in ("name", "version", "sha256") if model.get(key)}


def reviewFacts(node):
    """Who said what of the labels as they are now, for report, DICOM SEG and data set.

    None if nobody did, or if they were changed since: then nobody answers for what is there.
    """
    reviewer, read = node.GetAttribute(REVIEWER), readLabels(node)
    if not reviewer or read is None or labelsHash(read[0], read[1]) != node.GetAttribute(REVIEWED_LABELS):
        return None
    facts = {
        "reader": reviewer,
        "time": node.GetAttribute(REVIEWED_AT) or "",
        "status": node.GetAttribute(REVIEW_STATUS) or "accepted",
        "comment": node.GetAttribute(REVIEW_COMMENT) or "",
    }
    changed = changedVoxels(node)
    return facts if changed is None else {**facts, "changed_voxels": changed}


def changedVoxels(node):
    """How many voxels differ from the automatic labels; None where these are not known."""
    from KidneySegPanel.parenchyma_keeper import onCommonBox

    automatic, read = automaticLabels(node), readLabels(node)
    if automatic is None or read is None:
        return None
    before, after, _index = onCommonBox(*automatic, read[0], read[1])
    return int((before != after).sum())


def modelName(node):
    """Name of the model that made a result, empty where that is not known."""
    provenance = json.loads(node.GetAttribute(PROVENANCE) or "{}")
    return (provenance.get("model") or {}).get("name") or ""


def segmentNames():
    """Names of segments in the user's language, by label key."""
    return {
        "right_cortex": _("Right renal cortex"),
        "right_medulla": _("Right renal medulla"),
        "left_cortex": _("Left renal cortex"),
        "left_medulla": _("Left renal medulla"),
        "right_cyst": _("Right renal cyst"),
        "left_cyst": _("Left renal cyst"),
        "right_mass": _("Right renal mass"),
        "left_mass": _("Left renal mass"),
        "unsided_cortex": _("Unsided renal cortex"),
        "unsided_medulla": _("Unsided renal medulla"),
        "unsided_cyst": _("Unsided renal cyst"),
        "unsided_mass": _("Unsided renal mass"),
        "right_undivided": _("Right renal parenchyma (undivided)"),
        "left_undivided": _("Left renal parenchyma (undivided)"),
        "unsided_undivided": _("Unsided renal parenchyma (undivided)"),
    }


def isResult(node):
    return node is not None and node.GetAttribute(RESULT) == "1"


def volumeOf(node):
    """The CT that a result was made from, None if it left the scene."""
    return node.GetNodeReference(slicer.vtkMRMLSegmentationNode.GetReferenceImageGeometryReferenceRole())


def attribute(node, name, default=None):
    """A JSON attribute of a result."""
    text = node.GetAttribute(name)
    return json.loads(text) if text else default


def labelsHash(labels, index):
    """SHA-256 of labels, the same however large the box round them is."""
    import hashlib

    from KidneySegPanel.volume_grid import cropToLabels

    cropped, offset = cropToLabels(labels)
    digest = hashlib.sha256(np.array([*np.add(index, offset), *cropped.shape], "<i8").tobytes())
    digest.update(np.ascontiguousarray(cropped, np.uint8).tobytes())
    return digest.hexdigest()


def isCorrected(node):
    """Whether any voxel differs from the automatic result."""
    read = readLabels(node)
    return read is not None and labelsHash(read[0], read[1]) != node.GetAttribute(AUTOMATIC_LABELS)


def review(node, reviewer, time, status="accepted", comment=""):
    """Store who looked at the labels as they are now, when, and what he says of them."""
    labels, index, _grid = readLabels(node)
    node.SetAttribute(REVIEWER, reviewer)
    node.SetAttribute(REVIEWED_AT, time)
    node.SetAttribute(REVIEWED_LABELS, labelsHash(labels, index))
    node.SetAttribute(REVIEW_STATUS, status)
    node.SetAttribute(REVIEW_COMMENT, comment)


def placeBesideInSubjectHierarchy(node, volumeNode):
    """In the data tree, put a node under the study of its volume."""
    tree = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
    if tree is None:
        return
    volumeItem, item = tree.GetItemByDataNode(volumeNode), tree.GetItemByDataNode(node)
    if volumeItem and item:
        tree.SetItemParent(item, tree.GetItemParent(volumeItem))
