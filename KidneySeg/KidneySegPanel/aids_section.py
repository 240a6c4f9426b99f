"""The editing aids of the Review section: one button an aid, each one step of undo."""

import numpy as np
import slicer
from slicer.i18n import tr as _

from KidneySegLib.labels import LABEL_BY_KEY, Side
from KidneySegPanel import editing_aids, result_node
from KidneySegPanel.input_checks import escape
from KidneySegPanel.label_segments import LABEL_TAG
from KidneySegPanel.section import Section

# Voxels of background round the kidneys that smoothing and filling may use.
MARGIN_VOXELS = 6


class AidsSection(Section):
    """Works through the ReviewSection, which keeps the undo stack and counts volumes."""

    def __init__(self, panel, review):
        """
        :param review: the ReviewSection.
        """
        super().__init__(panel)
        self._review = review
        for text, value in ((_("both"), ""), (_("right"), "right"), (_("left"), "left"), (_("no side"), "unsided")):
            self.ui.aidKidneyComboBox.addItem(text, value)
        self.buttons = {
            self.ui.growCortexButton: self.onGrow,
            self.ui.shrinkCortexButton: self.onShrink,
            self.ui.removeRangeButton: self.onRemove,
            self.ui.smoothButton: self.onSmooth,
            self.ui.fillSlicesButton: self.onFill,
        }
        for button, slot in self.buttons.items():
            button.connect("clicked(bool)", slot)

    def update(self):
        node = self._review.node
        for button in self.buttons:
            button.enabled = node is not None and result_node.volumeOf(node) is not None

    @property
    def range(self):
        return self.ui.aidLowSpinBox.value, self.ui.aidHighSpinBox.value

    def onGrow(self, _checked=None):
        self._run(
            lambda labels, hu, side, _mm: editing_aids.growCortex(labels, hu, side, *self.range),
            _("No medulla beside cortex lies in this HU range."),
        )

    def onShrink(self, _checked=None):
        self._run(
            lambda labels, hu, side, _mm: editing_aids.shrinkCortex(labels, hu, side, *self.range),
            _("No cortex beside medulla lies in this HU range."),
        )

    def onRemove(self, _checked=None):
        self._run(
            lambda labels, hu, side, mm: editing_aids.removeByThreshold(labels, hu, side, *self.range, mm),
            _("No connected part of the kidney lies in this HU range."),
        )

    def onSmooth(self, _checked=None):
        self._run(
            lambda labels, _hu, side, mm: editing_aids.smooth(labels, side, mm), _("There was nothing to smooth.")
        )

    def onFill(self, _checked=None):
        label = self._selectedLabel()
        if label is None:
            self._say(_("Select one segment of the kidney in the table first."))
            return
        self._run(
            lambda labels, _hu, _side, mm: editing_aids.fillBetweenSlices(
                labels, label.side, label.structure, int(np.argmax(mm)), mm
            ),
            _("No slice is missing between those in which the segment is drawn."),
            sides=[label.side],
        )

    def _selectedLabel(self):
        import vtk

        chosen = list(self.ui.segmentsTable.selectedSegmentIDs())
        if self._review.node is None or len(chosen) != 1:
            return None
        segment = self._review.node.GetSegmentation().GetSegment(chosen[0])
        tagged = vtk.mutable("")
        key = str(tagged) if segment.GetTag(LABEL_TAG, tagged) else chosen[0]
        return LABEL_BY_KEY.get(key)

    def _run(self, aid, nothing, sides=None):
        """Apply an aid to the chosen kidneys as one step of undo, and say what it did."""
        read = self._review.settledLabels()
        if read is None:
            return
        labels, index, grid = read
        around = self._withScan(labels, index, grid)
        if around is None:
            self._say(_("The result does not lie on the grid of the CT, so its HU are not known here."))
            return
        labels, index, hu = around
        spacing = np.linalg.norm(grid[:3, :3], axis=0)[::-1]
        wanted = self.ui.aidKidneyComboBox.currentData
        for side in sides or ([Side(wanted)] if wanted else editing_aids.sidesOf(labels)):
            labels = aid(labels, hu, side, spacing)
        changed = self._review.replaceLabels(labels, index, grid)
        self._say(_("{count} voxels changed.").format(count=changed) if changed else nothing)

    def _withScan(self, labels, index, grid):
        """Labels with a margin, and the CT's HU of the same box; None if they lie on different grids."""
        import vtk

        from KidneySegPanel.volume_grid import matrixFromVtk

        volumeNode = result_node.volumeOf(self._review.node)
        if volumeNode is None or volumeNode.GetImageData() is None:
            return None
        ijkToRas = vtk.vtkMatrix4x4()
        volumeNode.GetIJKToRASMatrix(ijkToRas)
        if labels.any() and abs(matrixFromVtk(ijkToRas) - grid).max() > 1e-3:
            return None
        hu = slicer.util.arrayFromVolume(volumeNode)
        first = np.array(index)[::-1]
        low = np.maximum(first - MARGIN_VOXELS, 0)
        high = np.minimum(first + labels.shape + MARGIN_VOXELS, hu.shape)
        inner = first - low
        if (first < 0).any() or (first + labels.shape > hu.shape).any():
            return None
        whole = np.zeros(tuple(high - low), np.uint8)
        whole[tuple(slice(a, a + n) for a, n in zip(inner, labels.shape, strict=True))] = labels
        box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
        return whole, tuple(int(value) for value in low[::-1]), hu[box]

    def _say(self, text):
        self.ui.aidMessageLabel.text = escape(text)
