"""Correcting a result: volumes follow, kidneys keep their outline, and the result is accepted."""

import unittest

import numpy as np
import slicer
from KidneySegPanel.label_segments import ourSegments
from KidneySegPanel.parenchyma_keeper import keepParenchyma
from panel_case import PanelTestCase, kidneyVolume, labelsInVolume


class TestReview(PanelTestCase):
    def setUp(self):
        super().setUp()
        self.volume = kidneyVolume()
        self.choose(self.volume)
        self.segment()
        self.review = self.panel.reviewSection
        self.ui.editBorderRadioButton.click()

    def paint(self, change):
        """Edit labels of the whole volume with a function, as an effect of Segment Editor does: on the node."""
        before = labelsInVolume(self.result, self.volume)
        labels = before.copy()
        change(labels)
        for label, segmentId in ourSegments(self.result.GetSegmentation()).items():
            if ((labels == label.id) != (before == label.id)).any():
                voxels = (labels == label.id).astype(np.uint8)
                slicer.util.updateSegmentBinaryLabelmapFromArray(voxels, self.result, segmentId, self.volume)

    def paintAndSettle(self, change):
        self.paint(change)
        self.waitFor(lambda: not self.review._settling)

    def cell(self, row, column):
        table = self.ui.volumesTable
        rows = [table.verticalHeaderItem(n).text() for n in range(table.rowCount)]
        columns = [table.horizontalHeaderItem(n).text() for n in range(table.columnCount)]
        return table.item(rows.index(row), columns.index(column)).text()

    def test_volumes_are_voxel_counts(self):
        # 5 x 5 x 15 mm voxels: 0.375 mL. A box of 6 x 10 x 8 voxels, 2 x 6 x 4 of them medulla.
        assert self.cell("Parenchyma", "Right") == f"{480 * 0.375:.1f}"
        assert self.cell("Medulla", "Left") == f"{48 * 0.375:.1f}"
        assert self.cell("Cortex", "Both") == f"{2 * 432 * 0.375:.1f}"

    def test_painting_cortex_over_medulla_moves_voxels_and_the_table_follows(self):
        def paint(labels):
            labels[5, 8:10, 8:12][labels[5, 8:10, 8:12] == 2] = 1

        self.paintAndSettle(paint)
        assert self.cell("Cortex", "Right") == f"{440 * 0.375:.1f} (+{8 * 0.375:.1f})"
        assert self.cell("Medulla", "Right") == f"{40 * 0.375:.1f} (-{8 * 0.375:.1f})"
        assert self.cell("Parenchyma", "Right") == f"{480 * 0.375:.1f}"
        assert "Corrected by hand" in self.ui.reviewStatusLabel.text

    def test_a_border_edit_cannot_leave_the_kidney(self):
        before = labelsInVolume(self.result, self.volume)

        def spill(labels):
            labels[5, :, :] = 1  # paint right cortex over a whole slice: fat, both kidneys

        self.paintAndSettle(spill)
        after = labelsInVolume(self.result, self.volume)
        np.testing.assert_array_equal(after > 0, before > 0)
        np.testing.assert_array_equal(np.isin(after, (3, 4)), np.isin(before, (3, 4)))
        assert (after[5][np.isin(before[5], (1, 2))] == 1).all()

    def test_erasing_in_a_border_edit_gives_the_other_part(self):
        before = labelsInVolume(self.result, self.volume)

        def erase(labels):
            labels[4][labels[4] == 1] = 0

        self.paintAndSettle(erase)
        after = labelsInVolume(self.result, self.volume)
        assert (after[4][before[4] == 1] == 2).all()

    def test_an_outline_edit_may_leave_the_kidney(self):
        self.ui.editOutlineRadioButton.click()

        def grow(labels):
            labels[5, 16:18, 6:14] = 1

        self.paintAndSettle(grow)
        assert self.cell("Parenchyma", "Right") == f"{496 * 0.375:.1f} (+{16 * 0.375:.1f})"
        self.ui.editBorderRadioButton.click()

    def test_the_editor_is_masked_for_the_chosen_mode(self):
        node = self.review.editor.node
        masking = slicer.vtkMRMLSegmentationNode
        assert self.review.editor.widget.segmentationNode() is self.result
        assert self.review.editor.widget.sourceVolumeNode() is self.volume
        assert node.GetMaskMode() == masking.EditAllowedInsideAllSegments
        assert node.GetOverwriteMode() == slicer.vtkMRMLSegmentEditorNode.OverwriteAllSegments
        self.ui.editOutlineRadioButton.click()
        assert node.GetMaskMode() == masking.EditAllowedEverywhere
        self.ui.editBorderRadioButton.click()
        assert node.GetMaskMode() == masking.EditAllowedInsideAllSegments

    def test_a_repair_is_undone_with_its_edit(self):
        widget = self.review.editor.widget
        before = labelsInVolume(self.result, self.volume)
        widget.saveStateForUndo()
        self.paintAndSettle(lambda labels: labels[5].fill(1))
        widget.undo()
        self.waitFor(lambda: not self.review._settling)
        np.testing.assert_array_equal(labelsInVolume(self.result, self.volume), before)
        assert self.cell("Cortex", "Right") == f"{432 * 0.375:.1f}"

    def test_accepting_needs_a_name_and_is_stored(self):
        self.ui.reviewerLineEdit.setText("")
        assert not self.ui.acceptButton.enabled
        self.ui.reviewerLineEdit.setText("Dr. Who")
        self.ui.acceptButton.click()
        assert "Accepted by Dr. Who" in self.ui.reviewStatusLabel.text
        assert self.result.GetAttribute("KidneySeg.Reviewer") == "Dr. Who"

        def paint(labels):
            labels[5][labels[5] == 2] = 1

        self.paintAndSettle(paint)
        assert "accept again" in self.ui.reviewStatusLabel.text

    def test_accepting_measures_the_correction(self):
        def paint(labels):
            labels[5][labels[5] == 2] = 1

        self.paintAndSettle(paint)
        self.ui.reviewerLineEdit.setText("A.B.")
        self.ui.acceptButton.click()
        self.waitFor(lambda: self.panel.measurementsSection._request is None)
        from KidneySegPanel.measurement_table import millilitres, readTable

        table = readTable(self.parameters.measurements)
        assert millilitres(table)["right"]["medulla_ml"] == 24 * 0.375
        assert {row[table["columns"].index("source")] for row in table["rows"]} == {"corrected"}

    def test_segments_of_others_in_the_result_stay(self):
        segmentation = self.result.GetSegmentation()
        segmentation.AddEmptySegment("mine", "My marker")
        self.paintAndSettle(lambda labels: labels[5].fill(1))
        assert segmentation.GetSegment("mine").GetName() == "My marker"


class TestKeeper(unittest.TestCase):
    """The rule on single voxels: 0 outside, 1 2 right cortex and medulla, 3 4 left, 5 cyst, 13 undivided right."""

    def test_each_move(self):
        moves = {
            (1, 2): 2,  # border moves are free
            (2, 1): 1,
            (1, 0): 2,  # erasing gives the other part
            (4, 0): 3,
            (0, 1): 0,  # nothing is added
            (5, 1): 5,  # a cyst stays a cyst
            (1, 3): 1,  # sides do not mix
            (2, 5): 2,
            (13, 1): 13,
            (0, 0): 0,
            (5, 0): 5,
        }
        before = np.array([[list(key) for key in moves]], np.uint8)[..., 0]
        after = np.array([[list(key) for key in moves]], np.uint8)[..., 1]
        np.testing.assert_array_equal(keepParenchyma(before, after)[0], list(moves.values()))

    def test_nothing_to_repair_gives_the_same_array(self):
        before, after = np.array([[[1, 2]]], np.uint8), np.array([[[2, 2]]], np.uint8)
        assert keepParenchyma(before, after) is after


if __name__ == "__main__":
    unittest.main()
