"""qMRMLSegmentsTableView: segments with visibility, colour and name, following the segmentation node."""

# ruff: noqa: RUF012  (_defaults is read once, when the stand-in is built)
from __future__ import annotations

from PySide6 import QtCore, QtGui, QtWidgets

from ..standin import models
from .observing import Observations

VISIBILITY, COLOUR, NAME = range(3)


def _is_visible(display, identifier):
    """Visibility of a segment; one that was just added gets its default properties, as Slicer's views see to
    at once.
    """
    import vtk

    vtk.vtkObject.GlobalWarningDisplayOff()  # asking for properties that are not there yet logs an error
    try:
        unknown = not display.GetSegmentVisibility(identifier) and not display.GetSegmentOpacity3D(identifier)
    finally:
        vtk.vtkObject.GlobalWarningDisplayOn()
    if unknown:
        display.SetSegmentDisplayPropertiesToDefault(identifier)
    return display.GetSegmentVisibility(identifier)


@models("qMRMLSegmentsTableView")
class SegmentsTableView:
    _defaults = {"headerVisible": True, "visibilityColumnVisible": True, "colorColumnVisible": True}

    def _set_up(self):
        self._scene = self._node = None
        self._shown, self._hidden = [], []
        self._observations = Observations(self)
        table = QtWidgets.QTableWidget(0, 3, self)
        table.setObjectName("SegmentsTable")
        table.setHorizontalHeaderLabels(["", "", "Name"])
        table.verticalHeader().hide()
        table.setSelectionBehavior(QtWidgets.QAbstractItemView.SelectRows)
        table.setColumnWidth(VISIBILITY, 28)
        table.setColumnWidth(COLOUR, 28)
        table.horizontalHeader().setStretchLastSection(True)
        table.itemSelectionChanged.connect(
            lambda: self.selectionChanged.emit(QtCore.QItemSelection(), QtCore.QItemSelection())
        )
        table.itemChanged.connect(self._edited)
        layout = QtWidgets.QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(table)
        self._table = table

    def setMRMLScene(self, scene):
        self._scene = scene
        self.mrmlSceneChanged.emit(scene)

    def setSegmentationNode(self, node):
        import vtk

        self._observations.clear()
        self._node = node
        if node is not None:
            self._observations.add(node, (vtk.vtkCommand.AnyEvent,), lambda widget: widget._refresh())
        self._refresh()

    def segmentationNode(self):
        return self._node

    def _refresh(self):
        selected = self.selectedSegmentIDs()
        segmentation = self._node.GetSegmentation() if self._node is not None else None
        identifiers = (
            [segmentation.GetNthSegmentID(i) for i in range(segmentation.GetNumberOfSegments())] if segmentation else []
        )
        self._shown = [
            i
            for i in identifiers
            if i not in self._hidden and self.textFilter.lower() in (segmentation.GetSegment(i).GetName() or "").lower()
        ]
        blocked = self._table.blockSignals(True)
        self._table.setRowCount(len(self._shown))
        for row, identifier in enumerate(self._shown):
            self._fill(row, identifier, segmentation.GetSegment(identifier))
        self._table.blockSignals(blocked)
        if selected and selected != self.selectedSegmentIDs():
            self.setSelectedSegmentIDs(selected)

    def _fill(self, row, identifier, segment):
        display = self._node.GetDisplayNode()
        visible = display is None or _is_visible(display, identifier)
        eye = QtWidgets.QTableWidgetItem("●" if visible else "○")
        eye.setTextAlignment(QtCore.Qt.AlignCenter)
        colour = QtWidgets.QTableWidgetItem()
        colour.setBackground(QtGui.QColor.fromRgbF(*segment.GetColor()))
        name = QtWidgets.QTableWidgetItem(segment.GetName() or "")
        name.setData(QtCore.Qt.UserRole, identifier)
        if self.readOnly:
            name.setFlags(name.flags() & ~QtCore.Qt.ItemIsEditable)
        for column, item in ((VISIBILITY, eye), (COLOUR, colour), (NAME, name)):
            self._table.setItem(row, column, item)

    def _edited(self, item):
        if item.column() == NAME and self._node is not None:
            self._node.GetSegmentation().GetSegment(self._shown[item.row()]).SetName(item.text())

    def _get_segmentCount(self):
        return len(self._shown)

    def _set_textFilter(self, text):
        self.__dict__.setdefault("_values", {})["textFilter"] = text
        self._refresh()

    def _set_readOnly(self, read_only):
        self.__dict__.setdefault("_values", {})["readOnly"] = read_only
        self._refresh()

    def _set_selectionMode(self, mode):
        self._table.setSelectionMode(QtWidgets.QAbstractItemView.SelectionMode(int(mode)))

    def _get_selectionMode(self):
        return self._table.selectionMode().value

    def _column_shown(self, column, name, shown):
        self.__dict__.setdefault("_values", {})[name] = shown
        self._table.setColumnHidden(column, not shown)

    def _set_visibilityColumnVisible(self, shown):
        self._column_shown(VISIBILITY, "visibilityColumnVisible", shown)

    def _set_colorColumnVisible(self, shown):
        self._column_shown(COLOUR, "colorColumnVisible", shown)

    def _set_headerVisible(self, shown):
        self.__dict__.setdefault("_values", {})["headerVisible"] = shown
        self._table.horizontalHeader().setVisible(shown)

    def displayedSegmentIDs(self):
        return tuple(self._shown)

    def selectedSegmentIDs(self):
        rows = sorted(index.row() for index in self._table.selectionModel().selectedRows())
        return tuple(self._shown[row] for row in rows if row < len(self._shown))

    def setSelectedSegmentIDs(self, identifiers):
        model, selection = self._table.model(), self._table.selectionModel()
        picked = QtCore.QItemSelection()
        for row, identifier in enumerate(self._shown):
            if identifier in identifiers:
                picked.select(model.index(row, 0), model.index(row, NAME))
        selection.select(picked, QtCore.QItemSelectionModel.ClearAndSelect)

    def clearSelection(self):
        self._table.clearSelection()

    def setHideSegments(self, identifiers):
        self._hidden = list(identifiers)
        self._refresh()

    def hideSegments(self):
        return tuple(self._hidden)

    def rowForSegmentID(self, identifier):
        return self._shown.index(identifier) if identifier in self._shown else -1

    def segmentIDForRow(self, row):
        return self._shown[row] if 0 <= row < len(self._shown) else ""

    def tableWidget(self):
        return self._table

    def showOnlySelectedSegments(self):
        display = self._node.GetDisplayNode()
        selected = self.selectedSegmentIDs()
        for identifier in self._shown:
            display.SetSegmentVisibility(identifier, identifier in selected)

    def toggleSelectedSegmentsVisibility(self):
        display = self._node.GetDisplayNode()
        for identifier in self.selectedSegmentIDs():
            display.SetSegmentVisibility(identifier, not display.GetSegmentVisibility(identifier))
