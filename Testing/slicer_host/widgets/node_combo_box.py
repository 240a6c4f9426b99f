"""qMRMLNodeComboBox and qMRMLCheckableNodeComboBox."""

# ruff: noqa: RUF012  (_defaults is read once, when the stand-in is built)
from __future__ import annotations

from PySide6 import QtCore, QtWidgets

from ..standin import build, models
from .observing import Observations, node_id, scene_events


@models("qMRMLNodeComboBox")
class NodeComboBox:
    """Never selects a node by itself when one is added; after its current node is removed it takes another one,
    unless None may be chosen."""

    _defaults = {"addEnabled": True, "removeEnabled": True, "showChildNodeTypes": True, "selectNodeUponCreation": True}

    def _set_up(self):
        self._scene = self._current = self._requested = None
        self._attributes, self._labels, self._ids = [], {}, []
        self._observations = Observations(self)
        self._combo = build("ctkComboBox")(self)
        self._combo.setObjectName("ComboBox")
        self._combo.setSizeAdjustPolicy(QtWidgets.QComboBox.AdjustToMinimumContentsLengthWithIcon)
        self._combo.setMinimumContentsLength(10)
        layout = QtWidgets.QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._combo)
        self._combo.activated.connect(self._activated)
        self.setEnabled(False)

    def mrmlScene(self):
        return self._scene

    def setMRMLScene(self, scene):
        if scene is self._scene:
            return
        from slicer import vtkMRMLScene

        self._observations.clear()
        self._scene = scene
        if scene is not None:
            self._observations.add(scene, scene_events(), lambda widget: widget._refresh())
            self._observations.add(scene, (vtkMRMLScene.NodeAboutToBeRemovedEvent,), lambda widget: None)
        self._refresh()
        self.setEnabled(scene is not None)
        if scene is not None and self._requested is not None:
            requested, self._requested = self._requested, None
            self.setCurrentNode(requested)

    def _offers(self, node):
        kinds = self.nodeTypes
        if kinds and not any(
            node.GetClassName() == kind or (self.showChildNodeTypes and node.IsA(kind)) for kind in kinds
        ):
            return False
        if any(node.IsA(kind) for kind in self.hideChildNodeTypes) or (
            node.GetHideFromEditors() and not self.showHidden
        ):
            return False
        for kind, name, value in self._attributes:
            if node.IsA(kind) and (
                node.GetAttribute(name) is None or (value is not None and node.GetAttribute(name) != str(value))
            ):
                return False
        return True

    def _nodes(self):
        if self._scene is None:
            return []
        nodes = (self._scene.GetNthNode(i) for i in range(self._scene.GetNumberOfNodes()))
        return [node for node in nodes if node is not None and self._offers(node)]

    def _refresh(self):
        if self._scene is not None and self._scene.IsBatchProcessing():
            return
        nodes = self._nodes()
        blocked = self._combo.blockSignals(True)
        self._combo.clear()
        self._ids = []
        if self.noneEnabled or not nodes:
            self._combo.addItem(self.noneDisplay or ("None" if self.noneEnabled else self._prompt()))
            self._ids.append("")
        for node in nodes:
            self._combo.addItem(node.GetName() or "")
            self._ids.append(node.GetID())
        current = self._current if self._current in nodes else None
        if current is None and self._current is not None and nodes and not self.noneEnabled:
            current = nodes[-1]
        self._show(current)
        self._combo.blockSignals(blocked)
        self._select(current)

    def _prompt(self):
        kind = (self.nodeTypes or ["node"])[0]
        return "Select a " + (self._labels.get(kind) or kind.replace("vtkMRML", "").replace("Node", ""))

    def _show(self, node):
        identifier = node_id(node)
        self._combo.setCurrentIndex(self._ids.index(identifier) if identifier in self._ids else -1)

    def _select(self, node):
        if node is self._current:
            return
        self._current = node
        self._show(node)
        self.currentNodeChanged[object].emit(node)
        self.currentNodeChanged[bool].emit(node is not None)
        self.currentNodeIDChanged.emit(node_id(node))

    def _activated(self, row):
        node = self._scene.GetNodeByID(self._ids[row]) if self._scene is not None and self._ids[row] else None
        self._select(node)
        self.nodeActivated.emit(node)

    def currentNode(self):
        return self._current

    def setCurrentNode(self, node):
        if self._scene is None:
            self._requested = node
            return
        if isinstance(node, str):
            node = self._scene.GetNodeByID(node) if node else None
        if node is not None and node not in self._ids_nodes():
            node = None
        self._select(node)

    def _ids_nodes(self):
        if any(node_id(node) not in self._ids for node in self._nodes()):
            self._refresh()
        return self._nodes()

    def _get_currentNodeID(self):
        return node_id(self._current)

    def setCurrentNodeID(self, identifier):
        self.setCurrentNode(identifier or None)

    _set_currentNodeID = _set_currentNodeId = setCurrentNodeID
    _get_currentNodeId = _get_currentNodeID

    def setCurrentNodeIndex(self, index):
        self.setCurrentNode(self.nodeFromIndex(index))

    def nodeCount(self):
        return len(self._nodes())

    def nodeFromIndex(self, index):
        nodes = self._nodes()
        return nodes[index] if 0 <= index < len(nodes) else None

    def _keep(self, name, value):
        self.__dict__.setdefault("_values", {})[name] = value
        self._refresh()

    def _set_nodeTypes(self, kinds):
        self._keep("nodeTypes", list(kinds))

    def _set_hideChildNodeTypes(self, kinds):
        self._keep("hideChildNodeTypes", list(kinds))

    def _set_noneEnabled(self, enabled):
        self._keep("noneEnabled", bool(enabled))

    def _set_noneDisplay(self, text):
        self._keep("noneDisplay", text)

    def _set_showHidden(self, shown):
        self._keep("showHidden", bool(shown))

    def _set_showChildNodeTypes(self, shown):
        self._keep("showChildNodeTypes", bool(shown))

    def addAttribute(self, kind, name, value=None):
        self._attributes.append((kind, name, value))
        self._refresh()

    def removeAttribute(self, kind, name):
        self._attributes = [entry for entry in self._attributes if entry[:2] != (kind, name)]
        self._refresh()

    def setNodeTypeLabel(self, label, kind):
        self._labels[kind] = label

    def nodeTypeLabel(self, kind):
        return self._labels.get(kind, "")

    def addNode(self, kind=None):
        kind = kind or (self.nodeTypes or [""])[0]
        name = self.baseName or self._labels.get(kind) or kind.replace("vtkMRML", "").replace("Node", "")
        node = self._scene.AddNewNodeByClass(kind, name)
        self._refresh()
        if self.selectNodeUponCreation:
            self._select(node)
        self.nodeAddedByUser.emit(node)
        return node

    def removeCurrentNode(self):
        if self._current is not None:
            self._scene.RemoveNode(self._current)


@models("qMRMLCheckableNodeComboBox")
class CheckableNodeComboBox:
    def _set_up(self):
        self._checked = set()

    def checkedNodes(self):
        return tuple(node for node in self._nodes() if node.GetID() in self._checked)

    def uncheckedNodes(self):
        return tuple(node for node in self._nodes() if node.GetID() not in self._checked)

    def setCheckState(self, node, state):
        if int(state):
            self._checked.add(node.GetID())
        else:
            self._checked.discard(node.GetID())
        self.checkedNodesChanged.emit()

    def check(self, node):
        self.setCheckState(node, 2)

    def uncheck(self, node):
        self.setCheckState(node, 0)

    def checkState(self, node):
        return QtCore.Qt.Checked if node.GetID() in self._checked else QtCore.Qt.Unchecked

    def allChecked(self):
        return not self.uncheckedNodes()

    def noneChecked(self):
        return not self.checkedNodes()
