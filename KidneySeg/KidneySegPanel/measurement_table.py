"""The measurement table as a node of the scene: text cells, exactly those of volumes.csv."""

import csv
import io

import slicer
import vtk
from slicer.i18n import tr as _

from KidneySegPanel.result_node import TABLE_ROLE, placeBesideInSubjectHierarchy


def showTable(resultNode, volumeNode, table):
    """Write a table of the engine into the result's table node, which is made if there is none.

    :param resultNode: segmentation node, or None where no kidney was found.
    :param table: ``{"columns": [...], "rows": [[...]]}`` of text.
    """
    node = tableOf(resultNode) if resultNode else None
    if node is None:
        name = _("{volume} kidney volumes").format(volume=volumeNode.GetName() or "CT")
        node = slicer.vtkMRMLTableNode()
        node.SetName(slicer.mrmlScene.GenerateUniqueName(name))
        node.SetUndoEnabled(True)
        slicer.mrmlScene.AddNode(node)
        placeBesideInSubjectHierarchy(node, volumeNode)
        if resultNode:
            resultNode.SetNodeReferenceID(TABLE_ROLE, node.GetID())
    wasModifying = node.StartModify()
    try:
        content = vtk.vtkTable()
        for number, column in enumerate(table["columns"]):
            array = vtk.vtkStringArray()
            array.SetName(column)
            for row in table["rows"]:
                array.InsertNextValue(row[number])
            content.AddColumn(array)
        node.SetAndObserveTable(content)
        node.SetLocked(True)
    finally:
        node.EndModify(wasModifying)
    return node


def tableOf(resultNode):
    """The table node of a result, None if it has none (any more)."""
    return resultNode.GetNodeReference(TABLE_ROLE) if resultNode else None


def readTable(node):
    """``{"columns": [...], "rows": [[...]]}`` of a table node."""
    content = node.GetTable()
    columns = [content.GetColumnName(number) for number in range(content.GetNumberOfColumns())]
    rows = [
        [str(content.GetValue(row, column).ToString()) for column in range(len(columns))]
        for row in range(content.GetNumberOfRows())
    ]
    return {"columns": columns, "rows": rows}


def csvText(table):
    """volumes.csv: UTF-8 without BOM, a comma between cells, one line feed a row."""
    return _joined(table, delimiter=",")


def clipboardText(table):
    """Cells that a spreadsheet takes from the clipboard."""
    return _joined(table, delimiter="\t")


def _joined(table, delimiter):
    stream = io.StringIO(newline="")
    writer = csv.writer(stream, delimiter=delimiter, lineterminator="\n")
    writer.writerow(table["columns"])
    writer.writerows(table["rows"])
    return stream.getvalue()


def millilitres(table):
    """``{side: {column: mL}}`` of the cells that were measured."""
    volumes = {}
    columns = table["columns"]
    side = columns.index("side")
    for row in table["rows"]:
        volumes[row[side]] = {
            column: float(cell) for column, cell in zip(columns, row, strict=True) if column.endswith("_ml") and cell
        }
    return volumes


def caseFlags(table):
    """Flag keys of all rows, each once, in order."""
    if "flags" not in table["columns"]:
        return []
    number = table["columns"].index("flags")
    return list(dict.fromkeys(key for row in table["rows"] for key in row[number].split(";") if key))
