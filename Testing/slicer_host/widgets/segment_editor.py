"""qMRMLSegmentEditorWidget: nodes, selectors, effect buttons and undo; no effect paints. See README, limits."""

# ruff: noqa: RUF012  (_defaults is read once, when the stand-in is built)
from __future__ import annotations

from PySide6 import QtWidgets

from ..errors import NotModelled
from ..standin import build, models
from . import segment_editor_parts as parts
from .observing import Observations

EFFECTS = (
    "Threshold",
    "Paint",
    "Draw",
    "Erase",
    "Level tracing",
    "Grow from seeds",
    "Fill between slices",
    "Margin",
    "Hollow",
    "Smoothing",
    "Scissors",
    "Islands",
    "Logical operators",
    "Mask volume",
)


@models("qMRMLSegmentEditorWidget")
class SegmentEditorWidget:
    _defaults = {
        "undoEnabled": True,
        "maximumNumberOfUndoStates": 10,
        "segmentationNodeSelectorVisible": True,
        "sourceVolumeNodeSelectorVisible": True,
        "maskingSectionVisible": True,
        "show3DButtonVisible": True,
        "addRemoveSegmentButtonsVisible": True,
        "switchToSegmentationsButtonVisible": True,
        "specifyGeometryButtonVisible": True,
        "effectColumnCount": 2,
    }

    def _set_up(self):
        import slicer

        self._scene = self._node = self._effect = None
        self._observations = Observations(self)
        self._history = slicer.vtkSegmentationHistory()
        self._history.SetMaximumNumberOfStates(10)
        self._order, self._unordered_visible, self._effect_objects, self._effect_buttons = list(EFFECTS), True, {}, {}
        layout = QtWidgets.QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        self._segmentation_selector = parts.selector(
            self, "SegmentationNodeComboBox", "vtkMRMLSegmentationNode", self.setSegmentationNode
        )
        self._volume_selector = parts.selector(
            self, "SourceVolumeNodeComboBox", "vtkMRMLScalarVolumeNode", self.setSourceVolumeNode
        )
        self._geometry_button = parts.button(self, QtWidgets.QToolButton, "SpecifyGeometryButton", "…", lambda: None)
        layout.addLayout(parts.row(self._segmentation_selector))
        layout.addLayout(parts.row(self._volume_selector, self._geometry_button))
        self._add_button = parts.button(self, QtWidgets.QPushButton, "AddSegmentButton", "Add", self._add_segment)
        self._remove_button = parts.button(
            self, QtWidgets.QPushButton, "RemoveSegmentButton", "Remove", self._remove_segment
        )
        self._show_3d_button = build("qMRMLSegmentationShow3DButton")(self)
        self._show_3d_button.setObjectName("Show3DButton")
        self._switch_button = parts.button(
            self, QtWidgets.QToolButton, "SwitchToSegmentationsButton", "→", lambda: None
        )
        layout.addLayout(parts.row(self._add_button, self._remove_button, self._show_3d_button, self._switch_button))
        self._table = build("qMRMLSegmentsTableView")(self)
        self._table.setObjectName("SegmentsTableView")
        self._table.setMinimumHeight(120)
        self._table.selectionMode = QtWidgets.QAbstractItemView.SingleSelection.value
        self._table.selectionChanged.connect(self._selected)
        layout.addWidget(self._table)
        self._effects_box = parts.frame(self, "EffectsGroupBox")
        QtWidgets.QGridLayout(self._effects_box).setContentsMargins(0, 0, 0, 0)
        undo_box = parts.frame(self, "UndoRedoGroupBox")
        undo_layout = QtWidgets.QHBoxLayout(undo_box)
        undo_layout.setContentsMargins(0, 0, 0, 0)
        undo_layout.addWidget(parts.button(undo_box, QtWidgets.QToolButton, "UndoButton", "Undo", self.undo))
        undo_layout.addWidget(parts.button(undo_box, QtWidgets.QToolButton, "RedoButton", "Redo", self.redo))
        undo_layout.addStretch()
        self._masking = parts.MaskingBox(self)
        for widget in (self._effects_box, undo_box, parts.options_box(self), self._masking.box):
            layout.addWidget(widget)
        self.updateEffectList()
        self.updateWidgetFromMRML()

    def _add_segment(self):
        import slicer

        segmentation = self.segmentationNode().GetSegmentation()
        identifier = segmentation.AddEmptySegment()
        if segmentation.GetSegment(identifier).GetName() == identifier:
            segmentation.GetSegment(identifier).SetName(slicer.mrmlScene.GenerateUniqueName("Segment"))
        self.setCurrentSegmentID(identifier)

    def _remove_segment(self):
        self.segmentationNode().GetSegmentation().RemoveSegment(self.currentSegmentID())

    def setMRMLScene(self, scene):
        if scene is self._scene:
            return
        self._scene = scene
        for part in (self._segmentation_selector, self._volume_selector, self._table):
            part.setMRMLScene(scene)
        self.mrmlSceneChanged.emit(scene)

    def setMRMLSegmentEditorNode(self, node):
        import vtk

        self._observations.clear()
        self._node = node
        if node is not None:
            self._observations.add(node, (vtk.vtkCommand.ModifiedEvent,), lambda widget: widget.updateWidgetFromMRML())
        self.updateWidgetFromMRML()

    def mrmlSegmentEditorNode(self):
        return self._node

    def updateWidgetFromMRML(self):
        segmentation_node = self.segmentationNode()
        segmentation = segmentation_node.GetSegmentation() if segmentation_node is not None else None
        if segmentation is not None and self._history.GetSegmentation() is not segmentation:
            self._history.SetSegmentation(segmentation)
        self._segmentation_selector.setCurrentNode(segmentation_node)
        self._volume_selector.setCurrentNode(self.sourceVolumeNode())
        self._table.setSegmentationNode(segmentation_node)
        if self.currentSegmentID():
            self._table.setSelectedSegmentIDs([self.currentSegmentID()])
        self._show_3d_button.setSegmentationNode(segmentation_node)
        for button in (self._add_button, self._remove_button):
            button.setEnabled(segmentation is not None and not self.readOnly)
        self._masking.show()
        active = self._node.GetActiveEffectName() if self._node is not None else ""
        for name, button in self._effect_buttons.items():
            button.setChecked(name == active)
            button.setEnabled(segmentation is not None)

    def _needs_node(self):
        if self._node is None:
            raise NotModelled(
                "give qMRMLSegmentEditorWidget its vtkMRMLSegmentEditorNode first: without one Slicer logs an error"
            )

    def setSegmentationNode(self, node):
        if node is self.segmentationNode():
            return
        self._needs_node()
        self._node.SetAndObserveSegmentationNode(node)
        if node is not None and node.GetSegmentation().GetNumberOfSegments() and not self.currentSegmentID():
            self.setCurrentSegmentID(node.GetSegmentation().GetNthSegmentID(0))
        self.segmentationNodeChanged.emit(node)

    def setSegmentationNodeID(self, identifier):
        self.setSegmentationNode(self._scene.GetNodeByID(identifier) if identifier else None)

    def segmentationNode(self):
        return self._node.GetSegmentationNode() if self._node is not None else None

    def segmentationNodeID(self):
        return self.segmentationNode().GetID() if self.segmentationNode() is not None else ""

    def setSourceVolumeNode(self, node):
        if node is self.sourceVolumeNode():
            return
        self._needs_node()
        self._node.SetAndObserveSourceVolumeNode(node)
        self.sourceVolumeNodeChanged.emit(node)

    def setSourceVolumeNodeID(self, identifier):
        self.setSourceVolumeNode(self._scene.GetNodeByID(identifier) if identifier else None)

    def sourceVolumeNode(self):
        return self._node.GetSourceVolumeNode() if self._node is not None else None

    def sourceVolumeNodeID(self):
        return self.sourceVolumeNode().GetID() if self.sourceVolumeNode() is not None else ""

    def setCurrentSegmentID(self, identifier):
        if identifier == self.currentSegmentID():
            return
        self._needs_node()
        self._node.SetSelectedSegmentID(identifier)
        self.currentSegmentIDChanged.emit(identifier or "")

    def currentSegmentID(self):
        return self._node.GetSelectedSegmentID() or "" if self._node is not None else ""

    def _selected(self):
        selected = self._table.selectedSegmentIDs()
        if selected and self._node is not None:
            self.setCurrentSegmentID(selected[0])

    def setEffectNameOrder(self, names):
        self._order = list(names)
        self.updateEffectList()

    def effectNameOrder(self):
        return tuple(self._order)

    def _set_unorderedEffectsVisible(self, visible):
        self._unordered_visible = visible
        self.updateEffectList()

    def _get_unorderedEffectsVisible(self):
        return self._unordered_visible

    def updateEffectList(self):
        layout = self._effects_box.layout()
        for button in self._effect_buttons.values():
            button.deleteLater()
        names = self._visible_effects()
        self._effect_buttons = {}
        for place, name in enumerate(names):
            button = QtWidgets.QToolButton(self._effects_box)
            button.setText(name)
            button.setObjectName(name)
            button.setCheckable(True)
            button.setSizePolicy(QtWidgets.QSizePolicy.Expanding, QtWidgets.QSizePolicy.Fixed)
            button.clicked.connect(lambda on, n=name: self.setActiveEffectByName(n if on else ""))
            layout.addWidget(button, place // max(1, self.effectColumnCount), place % max(1, self.effectColumnCount))
            self._effect_buttons[name] = button

    def _visible_effects(self):
        ordered = [name for name in self._order if name in EFFECTS]
        return ordered + [name for name in EFFECTS if name not in ordered] if self._unordered_visible else ordered

    def availableEffectNames(self):
        return EFFECTS

    def effectCount(self):
        return len(EFFECTS)

    def setActiveEffectByName(self, name):
        self._needs_node()
        self._node.SetActiveEffectName(name or "")

    def activeEffect(self):
        return self.effectByName(self._node.GetActiveEffectName()) if self._node is not None else None

    def setActiveEffect(self, effect):
        self.setActiveEffectByName(effect.name if effect is not None else "")

    def effectByName(self, name):
        if name not in EFFECTS:
            return None
        if name not in self._effect_objects:
            effect = build("qSlicerSegmentEditorAbstractEffect")()
            effect.__dict__.setdefault("_values", {})["name"] = name
            self._effect_objects[name] = effect
        return self._effect_objects[name]

    def saveStateForUndo(self):
        if self.undoEnabled:
            self._history.SaveState()

    def undo(self):
        self._history.RestorePreviousState()

    def redo(self):
        self._history.RestoreNextState()

    def _part_shown(self, name, widget, shown):
        self.__dict__.setdefault("_values", {})[name] = shown
        widget.setVisible(shown)

    def _set_segmentationNodeSelectorVisible(self, shown):
        self._part_shown("segmentationNodeSelectorVisible", self._segmentation_selector, shown)

    def _set_sourceVolumeNodeSelectorVisible(self, shown):
        self._part_shown("sourceVolumeNodeSelectorVisible", self._volume_selector, shown)

    def _set_maskingSectionVisible(self, shown):
        self._part_shown("maskingSectionVisible", self._masking.box, shown)

    def _set_show3DButtonVisible(self, shown):
        self._part_shown("show3DButtonVisible", self._show_3d_button, shown)

    def _set_switchToSegmentationsButtonVisible(self, shown):
        self._part_shown("switchToSegmentationsButtonVisible", self._switch_button, shown)

    def _set_specifyGeometryButtonVisible(self, shown):
        self._part_shown("specifyGeometryButtonVisible", self._geometry_button, shown)

    def _set_addRemoveSegmentButtonsVisible(self, shown):
        self._part_shown("addRemoveSegmentButtonsVisible", self._add_button, shown)
        self._remove_button.setVisible(shown)

    def _set_readOnly(self, read_only):
        self.__dict__.setdefault("_values", {})["readOnly"] = read_only
        self._table.readOnly = read_only
        self.updateWidgetFromMRML()

    def _set_effectColumnCount(self, count):
        self.__dict__.setdefault("_values", {})["effectColumnCount"] = count
        self.updateEffectList()

    def _set_maximumNumberOfUndoStates(self, count):
        self.__dict__.setdefault("_values", {})["maximumNumberOfUndoStates"] = count
        self._history.SetMaximumNumberOfStates(count)

    def setupViewObservations(self):
        pass

    def removeViewObservations(self):
        pass

    def installKeyboardShortcuts(self, parent=None):
        pass

    def uninstallKeyboardShortcuts(self):
        pass

    def rotateSliceViewsToSegmentation(self):
        pass

    def interactionNode(self):
        import slicer

        return slicer.app.applicationLogic().GetInteractionNode()
