"""What is asked of the engine for the re-training data set and for DICOM SEG."""

import slicer
from slicer.i18n import tr as _

from KidneySegPanel import result_node
from KidneySegPanel.label_segments import readLabels
from KidneySegPanel.measurement_table import readTable, tableOf

_UNCERTAIN = ("parenchyma_plus_minus_ml", "cortex_plus_minus_ml", "medulla_plus_minus_ml")


def dicomFiles(volumeNode):
    """Files of the DICOM series that a volume was loaded from; empty for any other volume."""
    database = getattr(slicer, "dicomDatabase", None)
    instances = (volumeNode.GetAttribute("DICOM.instanceUIDs") or "").split() if volumeNode else []
    if not instances or database is None or not database.isOpen:
        return []
    files = [database.fileForInstance(uid) for uid in instances]
    return files if all(files) else []


def addToDataset(logic, node, volumeNode, folder, done, failed):
    """Add a reviewed result to a data set. Returns the EngineRequest, None if not sent."""

    def fields():
        review = result_node.reviewFacts(node) or {}
        automatic = result_node.automaticLabels(node)
        spent = node.GetAttribute(result_node.SECONDS_SPENT)
        revision = node.GetAttribute(result_node.DATASET_REVISION)
        _description, grid = logic.sender.send(volumeNode)
        return {
            "dataset": str(folder),
            "automatic": logic.sender.sendLabels(*grid.labelsFromOwn(*automatic), grid) if automatic else None,
            "reader": review.get("reader", ""),
            "status": review.get("status", "unreviewed"),
            "comment": review.get("comment", ""),
            "seconds_spent": float(spent) if spent else None,
            "model_facts": result_node.modelFacts(node),
            "flags": result_node.attribute(node, result_node.FLAGS, []),
            "uncertainty": _uncertainty(node),
            "subject": _subject(volumeNode),
            "dataset_case": node.GetAttribute(result_node.DATASET_CASE),
            "based_on": int(revision) if revision else None,
        }

    return _withLabels(logic, "dataset_add", node, volumeNode, fields, done, failed)


def saveDicomSeg(logic, node, volumeNode, path, done, failed):
    """Write a result as DICOM SEG. Returns the EngineRequest, None if not sent."""

    def fields():
        provenance = result_node.attribute(node, result_node.PROVENANCE, {})
        source = "corrected" if result_node.isCorrected(node) else "automatic"
        return {
            "output": str(path),
            "files": dicomFiles(volumeNode),
            "provenance": {**provenance, "source": source, "review": result_node.reviewFacts(node)},
        }

    return _withLabels(logic, "dicom_seg", node, volumeNode, fields, done, failed)


def _withLabels(logic, command, node, volumeNode, fields, done, failed):
    try:
        description, grid = logic.sender.send(volumeNode)
        labels, index, _ijkToRas = readLabels(node)
        sent = logic.sender.sendLabels(*grid.labelsFromOwn(labels, index), grid)
        more = fields()
    except (OSError, ValueError, MemoryError) as error:
        failed({"message": str(error), "advice": _("Free some disk space.")})
        return None
    return logic.engine.request(
        command, done=done, failed=failed, cancelled=_cancelled(failed), volume=description, labels=sent, **more
    )


def listDataset(logic, folder, done, failed):
    return logic.engine.request(
        "dataset_list", done=done, failed=failed, cancelled=_cancelled(failed), dataset=str(folder)
    )


def loadFromDataset(logic, folder, case, revision, done, failed):
    """:param revision: its number; None is the newest."""
    return logic.engine.request(
        "dataset_load",
        done=done,
        failed=failed,
        cancelled=_cancelled(failed),
        dataset=str(folder),
        case=case,
        revision=revision,
    )


def exportDataset(logic, folder, output, kind, done, failed):
    return logic.engine.request(
        "dataset_export",
        done=done,
        failed=failed,
        cancelled=_cancelled(failed),
        dataset=str(folder),
        output=str(output),
        format=kind,
    )


def _cancelled(failed):
    return lambda: failed({"message": _("The engine was stopped before it was done."), "advice": _("Try again.")})


def _subject(volumeNode):
    """PatientID, so that all scans of a patient stay in one part: the engine stores a keyed hash of it and no more."""
    database = getattr(slicer, "dicomDatabase", None)
    instances = (volumeNode.GetAttribute("DICOM.instanceUIDs") or "").split()
    if not instances or database is None or not database.isOpen:
        return None
    return database.instanceValue(instances[0], "0010,0020").strip() or None


def _uncertainty(node):
    """What the model said of its own result, from the automatic table."""
    table = result_node.attribute(node, result_node.AUTOMATIC_TABLE) or (
        readTable(tableOf(node)) if tableOf(node) else {"columns": [], "rows": []}
    )
    columns = table["columns"]
    both = next((row for row in table["rows"] if "side" in columns and row[columns.index("side")] == "both"), None)
    if both is None:
        return {}
    cells = dict(zip(columns, both, strict=True))
    found = {name: float(cells[name]) for name in _UNCERTAIN if cells.get(name)}
    return {**found, "traffic_light": cells["traffic_light"]} if cells.get("traffic_light") else found
