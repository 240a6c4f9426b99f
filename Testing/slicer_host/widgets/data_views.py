"""Table, segment-selector and text widgets that show a MRML node."""

from __future__ import annotations

from PySide6 import QtGui, QtWidgets

from ..standin import build, models
from .observing import Observations


@models("qMRMLTableView")
class TableView:
    def _set_up(self):
        self._scene = self._node = None
        self._observations = Observations(self)
        self._items = QtGui.QStandardItemModel(self)
        QtWidgets.QTableView.setModel(self, self._items)

    def setMRMLScene(self, scene):
        if scene is not self._scene:
            self._scene = scene
            self.mrmlSceneChanged.emit(scene)

    def mrmlScene(self):
        return self._scene

    def setMRMLTableNode(self, node):
        import vtk

        self._observations.clear()
        self._node = node
        if node is not None:
            self._observations.add(node, (vtk.vtkCommand.ModifiedEvent,), lambda widget: widget._refresh())
        self._refresh()

    def mrmlTableNode(self):
        return self._node

    def _refresh(self):
        self._items.clear()
        table = self._node.GetTable() if self._node is not None else None
        if table is None:
            return
        columns, rows = table.GetNumberOfColumns(), table.GetNumberOfRows()
        names = [table.GetColumnName(column) or "" for column in range(columns)]
        self._items.setColumnCount(columns)
        for row in range(rows):
            self._items.appendRow(
                [QtGui.QStandardItem(self._node.GetCellText(row, column)) for column in range(columns)]
            )
        self._items.setHorizontalHeaderLabels(names)

    def copySelection(self):
        rows: dict[int, list[str]] = {}
        for index in sorted(self.selectionModel().selectedIndexes(), key=lambda i: (i.row(), i.column())):
            rows.setdefault(index.row(), []).append(index.data() or "")
        QtGui.QGuiApplication.clipboard().setText("\n".join("\t".join(cells) for cells in rows.values()))


@models("qMRMLSegmentSelectorWidget")
class SegmentSelectorWidget:
    def _set_up(self):
        self._scene = None
        self._observations = Observations(self)
        layout = QtWidgets.QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        self._nodes = build("qMRMLNodeComboBox")(self)
        self._nodes.nodeTypes = ["vtkMRMLSegmentationNode"]
        self._segments = QtWidgets.QComboBox(self)
        layout.addWidget(self._nodes)
        layout.addWidget(self._segments)
        self._nodes.currentNodeChanged[object].connect(self._node_changed)
        self._segments.currentIndexChanged.connect(lambda _: self.currentSegmentChanged.emit(self.currentSegmentID()))

    def setMRMLScene(self, scene):
        if scene is not self._scene:
            self._scene = scene
            self._nodes.setMRMLScene(scene)
            self.mrmlSceneChanged.emit(scene)

    def _node_changed(self, node):
        import slicer

        self._observations.clear()
        if node is not None:
            events = (
                slicer.vtkSegmentation.SegmentAdded,
                slicer.vtkSegmentation.SegmentRemoved,
                slicer.vtkSegmentation.SegmentModified,
            )
            self._observations.add(node, events, lambda widget: widget._fill())
        self._fill()
        self.currentNodeChanged[object].emit(node)
        self.currentNodeChanged[bool].emit(node is not None)

    def _fill(self):
        kept = self.currentSegmentID()
        self._segments.clear()
        node = self.currentNode()
        segmentation = node.GetSegmentation() if node is not None else None
        for i in range(segmentation.GetNumberOfSegments() if segmentation is not None else 0):
            self._segments.addItem(segmentation.GetNthSegment(i).GetName(), segmentation.GetNthSegmentID(i))
        self.setCurrentSegmentID(kept)

    def setCurrentNode(self, node):
        self._nodes.setCurrentNode(node)

    def setCurrentNodeID(self, identifier):
        self._nodes.setCurrentNodeID(identifier)

    def currentNode(self):
        return self._nodes.currentNode()

    def currentNodeID(self):
        return self._nodes.currentNodeID

    def currentSegmentID(self):
        return self._segments.itemData(self._segments.currentIndex) or ""

    def setCurrentSegmentID(self, identifier):
        self._segments.setCurrentIndex(self._segments.findData(identifier))

    def segmentIDs(self):
        return tuple(self._segments.itemData(i) for i in range(self._segments.count))


@models("qMRMLTextWidget")
class TextWidget:
    def _set_up(self):
        self._node = None
        self._edit = QtWidgets.QTextEdit(self)
        layout = QtWidgets.QVBoxLayout(self)
        layout.addWidget(self._edit)

    def setMRMLTextNode(self, node):
        self._node = node
        self._edit.setPlainText(node.GetText() if node is not None else "")

    setMRMLNode = setMRMLTextNode

    def mrmlTextNode(self):
        return self._node

    mrmlNode = mrmlTextNode

    def textEditWidget(self):
        return self._edit
