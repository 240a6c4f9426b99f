"""Slicer's own Segment Editor inside the panel, with the effects that matter and masking set."""

import slicer

SINGLETON_TAG = "KidneySeg.SegmentEditor"
BORDER_EFFECTS = ("Paint", "Draw", "Erase", "Smoothing")
OUTLINE_EFFECTS = (*BORDER_EFFECTS, "Scissors", "Islands", "Margin", "Threshold")


class EmbeddedEditor:
    """A qMRMLSegmentEditorWidget in a frame.

    Attributes:
        widget: the qMRMLSegmentEditorWidget.
    """

    def __init__(self, frame):
        """
        :param frame: an empty widget with a layout.
        """
        self._borderOnly = True
        self._active = False
        self.widget = slicer.qMRMLSegmentEditorWidget()
        self.widget.setMaximumNumberOfUndoStates(20)
        # The node first, so that what setting the scene selects is stored in it.
        self._chooseNode()
        self.widget.setMRMLScene(slicer.mrmlScene)
        self.widget.segmentationNodeSelectorVisible = False
        self.widget.sourceVolumeNodeSelectorVisible = False
        self.widget.switchToSegmentationsButtonVisible = False
        self.widget.maskingSectionVisible = False
        self.widget.addRemoveSegmentButtonsVisible = False
        self.widget.specifyGeometryButtonVisible = False
        self.widget.show3DButtonVisible = False
        self.widget.unorderedEffectsVisible = False
        # The panel has a table of segments already.
        # So has it Undo and Redo, which also cover aids, acceptance and rejection; Ctrl+Z stays the editor's.
        for name in ("SegmentsTableView", "UndoRedoGroupBox"):
            for own in slicer.util.findChildren(self.widget, name=name):
                own.hide()
        frame.layout().addWidget(self.widget)

    @property
    def node(self):
        """The vtkMRMLSegmentEditorNode, apart from that of the Segment Editor module."""
        return self.widget.mrmlSegmentEditorNode()

    def _chooseNode(self):
        node = slicer.mrmlScene.GetSingletonNode(SINGLETON_TAG, "vtkMRMLSegmentEditorNode")
        if node is None:
            node = slicer.mrmlScene.CreateNodeByClass("vtkMRMLSegmentEditorNode")
            node.UnRegister(None)
            node.SetSingletonTag(SINGLETON_TAG)
            node = slicer.mrmlScene.AddNode(node)
        if self.widget.mrmlSegmentEditorNode() is not node:
            self.widget.setMRMLSegmentEditorNode(node)

    def edit(self, segmentationNode, volumeNode):
        """Show a result for editing, or nothing."""
        self._chooseNode()
        self.widget.setSegmentationNode(segmentationNode)
        if segmentationNode is not None and volumeNode is not None:
            self.widget.setSourceVolumeNode(volumeNode)
        self.setBorderOnly(self._borderOnly)

    def choose(self, segmentId):
        self.widget.setCurrentSegmentID(segmentId)

    def setBorderOnly(self, borderOnly):
        """Masking and effects of the edit mode.

        Border: editing is allowed inside segments only and overwrites other segments, so that painting cortex over
        medulla moves voxels from one to the other and cannot leave the kidney. Outline: editing is allowed anywhere.
        """
        self._borderOnly = borderOnly
        effects = BORDER_EFFECTS if borderOnly else OUTLINE_EFFECTS
        self.widget.setEffectNameOrder(list(effects))
        active = self.widget.activeEffect()
        if active is not None and active.name not in effects:
            self.widget.setActiveEffectByName("")
        node = self.node
        if node is None:
            return
        masking = slicer.vtkMRMLSegmentationNode
        node.SetMaskMode(masking.EditAllowedInsideAllSegments if borderOnly else masking.EditAllowedEverywhere)
        node.SetOverwriteMode(slicer.vtkMRMLSegmentEditorNode.OverwriteAllSegments)

    def enter(self):
        """The user can edit: shortcuts and views are ours."""
        if self._active:
            return
        self._active = True
        self._chooseNode()
        self.setBorderOnly(self._borderOnly)
        self.widget.setupViewObservations()
        self.widget.installKeyboardShortcuts()
        self.widget.updateWidgetFromMRML()

    def leave(self):
        """The user cannot edit any more: give mouse, keys and views back."""
        if not self._active:
            return
        self._active = False
        self.widget.setActiveEffect(None)
        self.widget.uninstallKeyboardShortcuts()
        self.widget.removeViewObservations()

    def sceneClosed(self):
        self.leave()
        self.widget.setSegmentationNode(None)

    def cleanup(self):
        self.leave()
        self.widget.setSegmentationNode(None)
