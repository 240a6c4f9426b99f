"""Review: correct the result with Segment Editor and aids, see the volumes follow, accept or reject, undo all of it."""

import time

import qt
import slicer
import vtk
from slicer.i18n import tr as _

from KidneySegPanel import result_node
from KidneySegPanel.aids_section import AidsSection
from KidneySegPanel.embedded_editor import EmbeddedEditor
from KidneySegPanel.input_checks import escape
from KidneySegPanel.label_segments import readLabels, volumesMl, writeLabels
from KidneySegPanel.measurement_table import millilitres
from KidneySegPanel.parenchyma_keeper import keepParenchyma, onCommonBox
from KidneySegPanel.section import Section, fitHeight
from KidneySegPanel.undo_stack import State, UndoStack

# How long after the last change of a stroke the volumes are counted anew.
SETTLE_MS = 150
COLUMNS = ("parenchyma_ml", "cortex_ml", "medulla_ml", "cyst_ml", "mass_ml")
SIDES = ("right", "left", "unsided", "both")
# A pause longer than this between two edits is no work on the case.
LONGEST_PAUSE_S = 60.0
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
        self._stacks = {}
        self._worked = time.monotonic()
        self.aids = AidsSection(panel, self)
        self.ui.reviewCollapsibleButton.connect("contentsCollapsed(bool)", self.onCollapsed)
        self.ui.segmentsTable.connect("selectionChanged(QItemSelection,QItemSelection)", self.onSegmentSelected)
        self.ui.editBorderRadioButton.connect("toggled(bool)", self.onEditMode)
        self.ui.reviewerLineEdit.connect("textChanged(QString)", self.onReviewer)
        self.ui.acceptButton.connect("clicked(bool)", self.onAccept)
        self.ui.rejectButton.connect("clicked(bool)", self.onReject)
        self.ui.undoButton.connect("clicked(bool)", self.onUndo)
        self.ui.redoButton.connect("clicked(bool)", self.onRedo)

    def update(self):
        node = self.parameters.segmentation if self.parameters else None
        if node is not None and not result_node.isResult(node):
            node = None
        if node is not self._node:
            self._follow(node)
        self._updateButtons()
        self.aids.update()

    @property
    def node(self):
        """The result under review, or None."""
        return self._node

    def exit(self):
        if self.editor:
            self.editor.leave()

    def enter(self):
        if self.editor and not self.ui.reviewCollapsibleButton.collapsed:
            self.editor.enter()

    def sceneClosed(self):
        self._follow(None)
        self._stacks = {}
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
            self.ui.commentLineEdit.text = node.GetAttribute(result_node.REVIEW_COMMENT) or ""
        self._worked = time.monotonic()
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
        before, was = self._labelsHash(), self._baseline
        self._baseline = readLabels(self._node)
        if self._labelsHash() != before:
            if was is not None:
                self._stack.push(State.of(self._node, was))
            self._edited()

    def _edited(self):
        self._countWork()
        self.recount()
        self._updateButtons()
        self.panel.resultEdited()

    def _countWork(self):
        now = time.monotonic()
        spent = float(self._node.GetAttribute(result_node.SECONDS_SPENT) or 0) + min(
            now - self._worked, LONGEST_PAUSE_S
        )
        self._worked = now
        self._node.SetAttribute(result_node.SECONDS_SPENT, f"{spent:.1f}")

    # Editing aids, undo and redo

    def settledLabels(self):
        """Labels, index and grid after the last edit; None if there is nothing to edit."""
        self.settle()
        return self._baseline if self._node is not None else None

    def replaceLabels(self, labels, index, grid):
        """Put labels in place of the result's, as one step of undo.

        :return: how many voxels changed.
        """
        before = self._baseline
        old, new, _index = onCommonBox(before[0], before[1], labels, index)
        changed = int((old != new).sum())
        if changed:
            if self.editor:
                self.editor.widget.saveStateForUndo()
            self._stack.push(State.of(self._node, before))
            self._write(labels, index, grid)
            self._edited()
        return changed

    def _write(self, labels, index, grid):
        self._repairing = True
        try:
            writeLabels(self._node.GetSegmentation(), labels, index, _vtkMatrix(grid), result_node.segmentNames())
        finally:
            self._repairing = False
        self._baseline = readLabels(self._node)

    @property
    def _stack(self):
        return self._stacks.setdefault(self._node.GetID(), UndoStack())

    def onUndo(self, _checked=None):
        self._goTo(lambda present: self._stack.undo(present))

    def onRedo(self, _checked=None):
        self._goTo(lambda present: self._stack.redo(present))

    def _goTo(self, choose):
        read = self.settledLabels()
        if read is None:
            return
        state = choose(State.of(self._node, read))
        if state is None:
            return
        self._write(state.labels, state.index, state.grid)
        state.restoreAttributes(self._node)
        self.ui.commentLineEdit.text = self._node.GetAttribute(result_node.REVIEW_COMMENT) or ""
        self._edited()
        self.panel.reviewChanged()

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

    # Accepting and rejecting

    def onReviewer(self, text):
        slicer.app.settings().setValue("KidneySeg/Reviewer", text)
        self._updateButtons()

    def onAccept(self, _checked=None):
        self._decide("accepted")

    def onReject(self, _checked=None):
        self._decide("rejected")

    def _decide(self, status):
        reviewer = self.ui.reviewerLineEdit.text.strip()
        if self._node is None or not reviewer:
            return
        self.settle()
        if self._baseline is None:
            return
        self._stack.push(State.of(self._node, self._baseline))
        when = time.strftime("%Y-%m-%dT%H:%M:%S%z")
        result_node.review(self._node, reviewer, when, status, self.ui.commentLineEdit.text.strip())
        self._showStatus()
        self._updateButtons()
        self.panel.resultAccepted()

    def _updateButtons(self):
        stack = self._stack if self._node is not None else UndoStack()
        self.ui.undoButton.enabled, self.ui.redoButton.enabled = stack.canUndo, stack.canRedo
        if self._node is None:
            enabled, why = False, _("There is no result to accept yet.")
        elif not self.ui.reviewerLineEdit.text.strip():
            enabled, why = False, _("Give the reviewer's name first.")
        else:
            enabled, why = True, ""
        self.ui.acceptButton.enabled = self.ui.rejectButton.enabled = enabled
        self.ui.acceptButton.toolTip = why or _("Store that you reviewed this result, and measure it anew.")
        self.ui.rejectButton.toolTip = why or _("Store that this result must not be used.")

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
        rejected = node.GetAttribute(result_node.REVIEW_STATUS) == "rejected"
        said = _("Rejected by {reviewer}, {time}.") if rejected else _("Accepted by {reviewer}, {time}.")
        when = (node.GetAttribute(result_node.REVIEWED_AT) or "")[:16].replace("T", " ")
        accepted = said.format(reviewer=reviewer, time=when)
        comment = node.GetAttribute(result_node.REVIEW_COMMENT)
        accepted += f" “{comment}”" if comment else ""
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
