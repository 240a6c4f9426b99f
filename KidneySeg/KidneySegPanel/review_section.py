"""Review: correct the result with Segment Editor, see the volumes follow, accept."""

import time

import qt
import slicer
import vtk
from slicer.i18n import tr as _

from KidneySegPanel import result_node
from KidneySegPanel.embedded_editor import EmbeddedEditor
from KidneySegPanel.input_checks import escape
from KidneySegPanel.label_segments import readLabels, volumesMl, writeLabels
from KidneySegPanel.measurement_table import millilitres
from KidneySegPanel.parenchyma_keeper import keepParenchyma, onCommonBox
from KidneySegPanel.section import Section, fitHeight

# How long after the last change of a stroke the volumes are counted anew.
SETTLE_MS = 150
COLUMNS = ("parenchyma_ml", "cortex_ml", "medulla_ml", "cyst_ml", "mass_ml")
SIDES = ("right", "left", "unsided", "both")
# A change below this is rounding, not an edit.
SHOWN_CHANGE_ML = 0.005


class ReviewSection(Section):
    """Attributes: editor: the EmbeddedEditor, made when the section is first opened."""

    def __init__(self, panel):
        super().__init__(panel)
        self.editor = None
        self.volumes = {}
        self._node = None
        self._observed = None
        self._baseline = None
        self._settling = False
        self._repairing = False
        self.ui.reviewCollapsibleButton.connect("contentsCollapsed(bool)", self.onCollapsed)
        self.ui.segmentsTable.connect("selectionChanged(QItemSelection,QItemSelection)", self.onSegmentSelected)
        self.ui.editBorderRadioButton.connect("toggled(bool)", self.onEditMode)
        self.ui.reviewerLineEdit.connect("textChanged(QString)", self.onReviewer)
        self.ui.acceptButton.connect("clicked(bool)", self.onAccept)

    def update(self):
        node = self.parameters.segmentation if self.parameters else None
        if node is not None and not result_node.isResult(node):
            node = None
        if node is not self._node:
            self._follow(node)
        self._updateAcceptButton()

    def exit(self):
        if self.editor:
            self.editor.leave()

    def enter(self):
        if self.editor and not self.ui.reviewCollapsibleButton.collapsed:
            self.editor.enter()

    def sceneClosed(self):
        self._follow(None)
        if self.editor:
            self.editor.sceneClosed()

    def cleanup(self):
        self._follow(None)
        if self.editor:
            self.editor.cleanup()

    # Following a result

    def _follow(self, node):
        if self._observed is not None:
            segmentation, tags = self._observed
            for tag in tags:
                segmentation.RemoveObserver(tag)
        self._observed, self._node, self._baseline = None, node, None
        if node is not None:
            segmentation = node.GetSegmentation()
            events = (
                slicer.vtkSegmentation.SourceRepresentationModified,
                slicer.vtkSegmentation.SegmentAdded,
                slicer.vtkSegmentation.SegmentRemoved,
                slicer.vtkSegmentation.SegmentModified,  # undo and redo put whole segments back
            )
            self._observed = (segmentation, [segmentation.AddObserver(event, self._onEdited) for event in events])
            self._baseline = readLabels(node)
        if self.editor:
            self.editor.edit(node, result_node.volumeOf(node) if node else None)
            self.editor.setBorderOnly(self.borderOnly)
        self.recount()

    def onCollapsed(self, collapsed):
        if collapsed:
            if self.editor:
                self.editor.leave()
            return
        if self.editor is None:
            self.editor = EmbeddedEditor(self.ui.editorFrame)
            self.editor.setBorderOnly(self.borderOnly)
            self.editor.edit(self._node, result_node.volumeOf(self._node) if self._node else None)
            self.editor.widget.connect("currentSegmentIDChanged(QString)", self.onEditorSegment)
        self.editor.enter()

    def onSegmentSelected(self, _selected=None, _deselected=None):
        chosen = self.ui.segmentsTable.selectedSegmentIDs()
        if self.editor and len(chosen) == 1:
            self.editor.choose(chosen[0])

    def onEditorSegment(self, segmentId):
        if segmentId and list(self.ui.segmentsTable.selectedSegmentIDs()) != [segmentId]:
            self.ui.segmentsTable.setSelectedSegmentIDs([segmentId])

    # Edits

    @property
    def borderOnly(self):
        return self.ui.editBorderRadioButton.checked

    def onEditMode(self, _checked=None):
        if self._node is not None:
            self._baseline = readLabels(self._node)
        if self.editor:
            self.editor.setBorderOnly(self.borderOnly)

    def _onEdited(self, _caller=None, _event=None):
        if self._repairing or self._settling:
            return
        self._settling = True
        qt.QTimer.singleShot(SETTLE_MS, self._onSettled)

    def _onSettled(self):
        self._settling = False
        self.settle()

    def settle(self):
        """Bring everything up to date with the last edit, now."""
        if self._node is None or slicer.mrmlScene.GetNodeByID(self._node.GetID() or "") is not self._node:
            return
        if self.borderOnly:
            self._repair()
        before = self._labelsHash()
        self._baseline = readLabels(self._node)
        if self._labelsHash() != before:
            self.recount()
            self.panel.resultEdited()

    def _repair(self):
        now = readLabels(self._node)
        if self._baseline is None or now is None or not _sameGrid(self._baseline[2], now[2]):
            return
        before, after, index = onCommonBox(self._baseline[0], self._baseline[1], now[0], now[1])
        kept = keepParenchyma(before, after)
        if kept is after:
            return
        self._repairing = True
        try:
            writeLabels(self._node.GetSegmentation(), kept, index, _vtkMatrix(now[2]))
        finally:
            self._repairing = False

    # Volumes

    def recount(self):
        """Count voxels and show mL with the change against the automatic result."""
        node = self._node
        read = self._baseline if node is not None else None
        self.volumes = volumesMl(read[0], self._voxelMl(read[2])) if read else {}
        automatic = millilitres(result_node.attribute(node, result_node.AUTOMATIC_TABLE)) if node is not None else {}
        self._showVolumes(automatic)
        self._showStatus()

    def _voxelMl(self, ijkToRas):
        return self.logic.voxelMl(self._node, ijkToRas)

    def _showVolumes(self, automatic):
        sides = [side for side in SIDES if side in self.volumes or side in automatic]
        columns = [
            column for column in COLUMNS if any(column in row for row in (*self.volumes.values(), *automatic.values()))
        ]
        table = self.ui.volumesTable
        table.setColumnCount(len(sides))
        table.setRowCount(len(columns))
        table.setHorizontalHeaderLabels([sideText(side) for side in sides])
        table.setVerticalHeaderLabels([columnText(column) for column in columns])
        for rowNumber, column in enumerate(columns):
            for columnNumber, side in enumerate(sides):
                now = self.volumes.get(side, {}).get(column)
                was = automatic.get(side, {}).get(column)
                item = qt.QTableWidgetItem(volumeText(now, was))
                item.setTextAlignment(qt.Qt.AlignRight | qt.Qt.AlignVCenter)
                table.setItem(rowNumber, columnNumber, item)
        table.resizeColumnsToContents()
        table.resizeRowsToContents()
        fitHeight(table)

    # Accepting

    def onReviewer(self, text):
        slicer.app.settings().setValue("KidneySeg/Reviewer", text)
        self._updateAcceptButton()

    def onAccept(self):
        if self._node is None or not self.ui.reviewerLineEdit.text.strip():
            return
        self.settle()
        result_node.accept(self._node, self.ui.reviewerLineEdit.text.strip(), time.strftime("%Y-%m-%dT%H:%M:%S%z"))
        self._showStatus()
        self.panel.resultAccepted()

    def _updateAcceptButton(self):
        button = self.ui.acceptButton
        if self._node is None:
            button.enabled, button.toolTip = False, _("There is no result to accept yet.")
        elif not self.ui.reviewerLineEdit.text.strip():
            button.enabled, button.toolTip = False, _("Give the reviewer's name first.")
        else:
            button.enabled, button.toolTip = True, _("Store that you reviewed this result, and measure it anew.")

    def _showStatus(self):
        self.ui.reviewStatusLabel.text = escape(self.statusText())

    def statusText(self):
        """Whether the result is automatic or corrected, accepted or not, in words."""
        node = self._node
        if node is None:
            return ""
        corrected = self.corrected
        text = _("Corrected by hand.") if corrected else _("Automatic, not corrected.")
        reviewer = node.GetAttribute(result_node.REVIEWER)
        if not reviewer:
            return text + " " + _("Not accepted yet.")
        accepted = _("Accepted by {reviewer}, {time}.").format(
            reviewer=reviewer, time=(node.GetAttribute(result_node.REVIEWED_AT) or "")[:16].replace("T", " ")
        )
        if self._labelsHash() != node.GetAttribute(result_node.REVIEWED_LABELS):
            accepted += " " + _("Changed since: accept again.")
        return text + " " + accepted

    @property
    def corrected(self):
        return self._node is not None and self._labelsHash() != self._node.GetAttribute(result_node.AUTOMATIC_LABELS)

    def _labelsHash(self):
        return result_node.labelsHash(self._baseline[0], self._baseline[1]) if self._baseline else None


def volumeText(now, was):
    """``152.3 (+1.2)``: mL now, and the change against the automatic result where there is one."""
    if now is None and was is None:
        return "–"
    change = (now or 0.0) - (was or 0.0)
    if abs(change) < SHOWN_CHANGE_ML:
        return f"{now or 0.0:.1f}"
    decimals = 1 if abs(change) >= 0.1 else 2
    return f"{now or 0.0:.1f} ({change:+.{decimals}f})"


def sideText(side):
    return {"right": _("Right"), "left": _("Left"), "unsided": _("Unsided"), "both": _("Both")}[side]


def columnText(column):
    return {
        "parenchyma_ml": _("Parenchyma"),
        "cortex_ml": _("Cortex"),
        "medulla_ml": _("Medulla"),
        "cyst_ml": _("Cysts"),
        "mass_ml": _("Masses"),
    }[column]


def _sameGrid(first, second):
    return abs(first - second).max() < 1e-4


def _vtkMatrix(array):
    matrix = vtk.vtkMatrix4x4()
    for row in range(4):
        for column in range(4):
            matrix.SetElement(row, column, float(array[row, column]))
    return matrix
