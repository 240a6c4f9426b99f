"""The parts that qMRMLSegmentEditorWidget is made of, under the object names that Slicer gives them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from PySide6 import QtWidgets

from ..standin import build


def selector(owner: QtWidgets.QWidget, name: str, kind: str, chosen: Callable[[Any], None]) -> Any:
    box = build("qMRMLNodeComboBox")(owner)
    box.setObjectName(name)
    box.nodeTypes = [kind]
    box.noneEnabled = True
    box.currentNodeChanged[object].connect(chosen)
    return box


def button(
    owner: QtWidgets.QWidget, kind: type, name: str, text: str, clicked: Callable[[], None]
) -> QtWidgets.QAbstractButton:
    made = kind(owner)
    made.setObjectName(name)
    made.setText(text)
    made.clicked.connect(lambda *_: clicked())
    return made


def row(*widgets: QtWidgets.QWidget) -> QtWidgets.QHBoxLayout:
    layout = QtWidgets.QHBoxLayout()
    layout.setSpacing(4)
    for widget in widgets:
        layout.addWidget(widget)
    return layout


def frame(owner: QtWidgets.QWidget, name: str) -> QtWidgets.QFrame:
    made = QtWidgets.QFrame(owner)
    made.setObjectName(name)
    return made


def options_box(owner: QtWidgets.QWidget) -> QtWidgets.QGroupBox:
    """Options of the active effect: the host's effects have none."""
    made = QtWidgets.QGroupBox("Options", owner)
    made.setObjectName("OptionsGroupBox")
    layout = QtWidgets.QVBoxLayout(made)
    help_text = build("ctkFittedTextBrowser")(made)
    help_text.setObjectName("EffectHelpBrowser")
    layout.addWidget(help_text)
    layout.addWidget(frame(made, "EffectsOptionsFrame"))
    made.setVisible(False)
    return made


class MaskingBox:
    """The masking section: editable area and which other segments painting may change."""

    def __init__(self, owner: QtWidgets.QWidget) -> None:
        from slicer import vtkMRMLSegmentationNode as Seg
        from slicer import vtkMRMLSegmentEditorNode as Editor

        self._owner = owner
        self.box = build("ctkCollapsibleGroupBox")(owner)
        self.box.setObjectName("MaskingGroupBox")
        self.box.setTitle("Masking")
        layout = QtWidgets.QFormLayout(self.box)
        self.mask_mode, self.overwrite_mode = QtWidgets.QComboBox(self.box), QtWidgets.QComboBox(self.box)
        self.mask_mode.setObjectName("MaskModeComboBox")
        self.overwrite_mode.setObjectName("OverwriteModeComboBox")
        for text, mode in (
            ("Everywhere", Seg.EditAllowedEverywhere),
            ("Inside all segments", Seg.EditAllowedInsideAllSegments),
            ("Inside all visible segments", Seg.EditAllowedInsideVisibleSegments),
            ("Outside all segments", Seg.EditAllowedOutsideAllSegments),
            ("Outside all visible segments", Seg.EditAllowedOutsideVisibleSegments),
        ):
            self.mask_mode.addItem(text, mode)
        for text, mode in (
            ("Overwrite all", Editor.OverwriteAllSegments),
            ("Overwrite visible", Editor.OverwriteVisibleSegments),
            ("Allow overlap", Editor.OverwriteNone),
        ):
            self.overwrite_mode.addItem(text, mode)
        self._fixed_modes = self.mask_mode.count
        layout.addRow("Editable area:", self.mask_mode)
        layout.addRow("Modify other segments:", self.overwrite_mode)
        self.mask_mode.activated.connect(self._mask_chosen)
        self.overwrite_mode.activated.connect(
            lambda index: self._node().SetOverwriteMode(self.overwrite_mode.itemData(index))
        )

    def _node(self) -> Any:
        return self._owner.mrmlSegmentEditorNode()

    def _mask_chosen(self, index: int) -> None:
        from slicer import vtkMRMLSegmentationNode

        data = self.mask_mode.itemData(index)
        if isinstance(data, str):
            self._node().SetMaskSegmentID(data)
            self._node().SetMaskMode(vtkMRMLSegmentationNode.EditAllowedInsideSingleSegment)
        else:
            self._node().SetMaskMode(data)

    def show(self) -> None:
        """Follow the editor node."""
        from slicer import vtkMRMLSegmentationNode

        node = self._node()
        self.box.setEnabled(node is not None)
        if node is None:
            return
        while self.mask_mode.count > self._fixed_modes:
            self.mask_mode.removeItem(self._fixed_modes)
        segmentation_node = node.GetSegmentationNode()
        segmentation = segmentation_node.GetSegmentation() if segmentation_node is not None else None
        for index in range(segmentation.GetNumberOfSegments() if segmentation is not None else 0):
            self.mask_mode.addItem(
                f"Inside {segmentation.GetNthSegment(index).GetName()}", segmentation.GetNthSegmentID(index)
            )
        single = node.GetMaskMode() == vtkMRMLSegmentationNode.EditAllowedInsideSingleSegment
        self.mask_mode.setCurrentIndex(
            self.mask_mode.findData(node.GetMaskSegmentID() if single else node.GetMaskMode())
        )
        self.overwrite_mode.setCurrentIndex(self.overwrite_mode.findData(node.GetOverwriteMode()))
