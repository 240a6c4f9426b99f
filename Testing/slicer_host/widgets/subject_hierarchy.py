"""qMRMLSubjectHierarchyComboBox and qMRMLSubjectHierarchyTreeView: current item and node, filters kept but not
applied.
"""

from __future__ import annotations

from PySide6 import QtGui, QtWidgets

from ..standin import models
from .observing import Observations, scene_events


class _ItemSelection:
    """Shared body: a current subject hierarchy item."""

    def _set_up(self):
        self._scene, self._item, self._root = None, 0, 0
        self._observations = Observations(self)

    def setMRMLScene(self, scene):
        if scene is self._scene:
            return
        self._observations.clear()
        self._scene = scene
        self._item = 0
        if scene is not None:
            self._observations.add(scene, scene_events(), lambda widget: widget._scene_changed())
        self._scene_changed()

    def mrmlScene(self):
        return self._scene

    def _scene_changed(self):
        if self._item and self.currentNode() is None:
            self.setCurrentItem(0)

    def subjectHierarchyNode(self):
        import slicer

        return (
            slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(self._scene) if self._scene is not None else None
        )

    def currentItem(self):
        return self._item

    def setCurrentItem(self, item):
        if item != self._item:
            self._item = item
            self.currentItemChanged.emit(item)

    def currentNode(self):
        return self.subjectHierarchyNode().GetItemDataNode(self._item) if self._item else None

    def setCurrentNode(self, node):
        hierarchy = self.subjectHierarchyNode()
        item = hierarchy.GetItemByDataNode(node) if node is not None and hierarchy is not None else 0
        if node is not None and not item:
            item = hierarchy.CreateItem(hierarchy.GetSceneItemID(), node)
        self.setCurrentItem(item)

    def clearSelection(self):
        self.setCurrentItem(0)

    def rootItem(self):
        return self._root

    def setRootItem(self, item):
        self._root = item


_SHARED = {
    name: member for name, member in vars(_ItemSelection).items() if name == "_set_up" or not name.startswith("__")
}

models("qMRMLSubjectHierarchyComboBox")(type("SubjectHierarchyComboBox", (), dict(_SHARED)))


def _tree_set_up(self):
    _ItemSelection._set_up(self)
    QtWidgets.QTreeView.setModel(self, QtGui.QStandardItemModel(self))
    self.setEditTriggers(QtWidgets.QAbstractItemView.NoEditTriggers)


def _tree_set_current_item(self, item):
    if item != self._item:
        self._item = item
        self.currentItemChanged.emit(item)
        self.currentItemsChanged.emit([item] if item else [])


_TREE = {**_SHARED, "_set_up": _tree_set_up, "setCurrentItem": _tree_set_current_item}
models("qMRMLSubjectHierarchyTreeView")(type("SubjectHierarchyTreeView", (), _TREE))
