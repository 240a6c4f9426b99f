"""A case of the data set in the scene again, ready for further editing."""

import numpy as np
import slicer

from KidneySegLib.worker_parts.arrays import array_path
from KidneySegPanel import result_node


def showLoaded(workspace, reply):
    """Bring image and labels of a ``dataset_load`` reply into the scene.

    A volume of the same case that is in the scene already is used again.

    :return: volume node and result node.
    :raises RuntimeError: if the image cannot be loaded.
    """
    caseId = reply["case"]["case_id"]
    volumeNode = _volumeOfCase(caseId)
    if volumeNode is None:
        volumeNode = slicer.util.loadVolume(reply["image"], {"name": caseId, "show": False})
        volumeNode.SetAttribute(result_node.DATASET_CASE, caseId)
    labels, index = _labels(workspace, reply["labels"])
    revision = reply["revision"]
    node = result_node.createResult(
        volumeNode,
        labels,
        index,
        {
            "table": reply["table"],
            "flags": revision["flags"],
            "provenance": {"model": revision["model"] or None, "source": revision["origin"]},
        },
    )
    if reply["automatic"] is not None:
        result_node.storeAutomatic(node, *_labels(workspace, reply["automatic"]))
    else:
        # Nobody knows what a model said: what is there counts as a person's.
        node.SetAttribute(result_node.AUTOMATIC_LABELS, "unknown")
        node.RemoveAttribute(result_node.AUTOMATIC_VOXELS)
    node.SetAttribute(result_node.DATASET_CASE, caseId)
    node.SetAttribute(result_node.DATASET_REVISION, str(revision["number"]))
    return volumeNode, node


def _volumeOfCase(caseId):
    for node in slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode"):
        if node.GetAttribute(result_node.DATASET_CASE) == caseId and node.GetImageData() is not None:
            return node
    return None


def _labels(workspace, sent):
    path = array_path(workspace, sent["array"])
    labels = np.array(np.load(path, allow_pickle=False), dtype=np.uint8)
    path.unlink(missing_ok=True)
    return labels, tuple(int(value) for value in sent["index"])
