"""Editing aids on arrays with known answers, and each as one step of undo in the panel."""

import unittest

import numpy as np
import slicer
from KidneySegPanel import editing_aids, result_node
from KidneySegPanel.label_segments import ourSegments
from panel_case import PanelTestCase, kidneyVolume, labelsInVolume

from KidneySegLib.labels import Side, Structure

RIGHT = Side.RIGHT
MM = (1.0, 1.0, 1.0)


class TestAids(unittest.TestCase):
    """A bar along x: 0 outside, 1 right cortex, 2 right medulla, 3 left cortex."""

    def test_growing_cortex_takes_one_voxel_of_medulla_in_the_range(self):
        labels = np.array([[[0, 1, 2, 2, 2, 3]]], np.uint8)
        hu = np.array([[[200, 200, 200, 90, 200, 200]]], np.int16)
        grown = editing_aids.growCortex(labels, hu, RIGHT, 150, 600)
        np.testing.assert_array_equal(grown, [[[0, 1, 1, 2, 2, 3]]])
        # 90 HU stops it, and the other kidney's cortex does not spread into this medulla.
        np.testing.assert_array_equal(editing_aids.growCortex(grown, hu, RIGHT, 150, 600), grown)
        np.testing.assert_array_equal(editing_aids.growCortex(grown, hu, RIGHT, 50, 600)[0, 0], [0, 1, 1, 1, 2, 3])

    def test_shrinking_is_the_other_way_round_and_keeps_the_outline(self):
        labels = np.array([[[0, 1, 1, 1, 2, 0]]], np.uint8)
        hu = np.array([[[0, 220, 220, 120, 120, 0]]], np.int16)
        shrunk = editing_aids.shrinkCortex(labels, hu, RIGHT, 0, 150)
        np.testing.assert_array_equal(shrunk, [[[0, 1, 1, 2, 2, 0]]])
        np.testing.assert_array_equal(editing_aids.shrinkCortex(shrunk, hu, RIGHT, 0, 150), shrunk)

    def test_a_vessel_is_removed_and_noise_is_not(self):
        labels = np.full((4, 6, 8), 2, np.uint8)
        labels[:, :, 4:] = 4
        hu = np.full(labels.shape, 120, np.int16)
        hu[1:3, 1:3, 1:3] = 400
        hu[0, 5, 0] = 400
        hu[1:3, 1:3, 5:7] = 400
        out = editing_aids.removeByThreshold(labels, hu, RIGHT, 300, 1000, MM, leastMl=0.005)
        assert (out[1:3, 1:3, 1:3] == 0).all()
        assert out[0, 5, 0] == 2
        np.testing.assert_array_equal(out[:, :, 4:], labels[:, :, 4:])
        assert (labels == out).sum() == labels.size - 8

    def test_slices_between_drawn_ones_are_filled(self):
        labels = np.zeros((7, 9, 9), np.uint8)
        labels[1, 2:7, 2:7] = 1
        labels[5, 2:7, 2:7] = 1
        labels[3, 4, 4] = 5  # a cyst in the way stays
        out = editing_aids.fillBetweenSlices(labels, RIGHT, Structure.CORTEX, 0, (5.0, 1.0, 1.0))
        for plane in (2, 4):
            np.testing.assert_array_equal(out[plane] == 1, labels[1] == 1)
        assert out[3, 4, 4] == 5
        assert (out[3] == 1).sum() == 24
        assert (out[[0, 6]] == 0).all()

    def test_a_slice_between_two_sizes_has_a_size_between(self):
        labels = np.zeros((3, 15, 15), np.uint8)
        labels[0, 2:13, 2:13] = 2
        labels[2, 6:9, 6:9] = 2
        out = editing_aids.fillBetweenSlices(labels, RIGHT, Structure.MEDULLA, 0, MM)
        # Half-widths 5 and 1 give 3 along the axes; corners are rounder, as distances are.
        assert (out[1, 7] == 2).tolist() == [4 <= x <= 10 for x in range(15)]
        assert (out[1, :, 7] == 2).tolist() == [4 <= y <= 10 for y in range(15)]
        assert 9 < (out[1] == 2).sum() < 49

    def test_smoothing_keeps_both_volumes_to_the_voxel_and_makes_the_outline_smoother(self):
        zz, yy, xx = np.indices((24, 30, 30)) - np.array([12, 15, 15])[:, None, None, None]
        radius = np.sqrt(zz**2 + yy**2 + xx**2)
        rng = np.random.default_rng(3)
        labels = np.zeros(radius.shape, np.uint8)
        labels[radius + rng.normal(0, 0.7, radius.shape) < 9] = 1
        labels[radius + rng.normal(0, 0.7, radius.shape) < 5] = 2
        labels[12, 15, 27:29] = 3
        out = editing_aids.smooth(labels, RIGHT, MM)
        for value in (1, 2, 3):
            assert (out == value).sum() == (labels == value).sum()
        np.testing.assert_array_equal(out == 3, labels == 3)

        def surface(mask):
            return sum(int((np.diff(mask.astype(np.int8), axis=axis) != 0).sum()) for axis in range(3))

        assert surface(out > 0) < 0.8 * surface(labels > 0)
        assert surface(out == 2) < 0.8 * surface(labels == 2)
        ball, clean = radius < 9, np.isin(out, (1, 2))
        assert (clean != ball).sum() < (np.isin(labels, (1, 2)) != ball).sum()

    def test_nothing_to_do_changes_nothing(self):
        labels = np.zeros((3, 4, 5), np.uint8)
        labels[1, 1, 1] = 3
        hu = np.zeros(labels.shape, np.int16)
        for out in (
            editing_aids.growCortex(labels, hu, RIGHT, -1000, 1000),
            editing_aids.removeByThreshold(labels, hu, RIGHT, -1000, 1000, MM),
            editing_aids.fillBetweenSlices(labels, RIGHT, Structure.CORTEX, 0, MM),
            editing_aids.smooth(labels, RIGHT, MM),
        ):
            np.testing.assert_array_equal(out, labels)


class TestAidsInThePanel(PanelTestCase):
    def setUp(self):
        super().setUp()
        self.volume = kidneyVolume()
        self.choose(self.volume)
        self.segment()
        self.review = self.panel.reviewSection
        self.before = labelsInVolume(self.result, self.volume)

    def kidney(self, side):
        self.ui.aidKidneyComboBox.setCurrentIndex(self.ui.aidKidneyComboBox.findData(side))

    def range(self, low, high):
        self.ui.aidLowSpinBox.value, self.ui.aidHighSpinBox.value = low, high

    def test_each_aid_is_undone_and_done_again(self):
        self.kidney("right")
        self.range(100, 150)
        self.ui.growCortexButton.click()
        grown = labelsInVolume(self.result, self.volume)
        assert (grown == 1).sum() > (self.before == 1).sum()
        np.testing.assert_array_equal(grown > 0, self.before > 0)
        np.testing.assert_array_equal(np.isin(grown, (3, 4)), np.isin(self.before, (3, 4)))
        assert "voxels changed" in self.ui.aidMessageLabel.text
        self.range(150, 250)
        self.ui.removeRangeButton.click()
        removed = labelsInVolume(self.result, self.volume)
        assert (removed == 1).sum() < (grown == 1).sum()
        self.ui.undoButton.click()
        np.testing.assert_array_equal(labelsInVolume(self.result, self.volume), grown)
        self.ui.undoButton.click()
        np.testing.assert_array_equal(labelsInVolume(self.result, self.volume), self.before)
        assert not self.ui.undoButton.enabled
        self.ui.redoButton.click()
        np.testing.assert_array_equal(labelsInVolume(self.result, self.volume), grown)

    def test_undo_covers_painting_accepting_and_rejecting(self):
        cortex = {label.key: segmentId for label, segmentId in ourSegments(self.result.GetSegmentation()).items()}
        voxels = np.isin(self.before, (1, 2)).astype(np.uint8)
        slicer.util.updateSegmentBinaryLabelmapFromArray(voxels, self.result, cortex["right_cortex"], self.volume)
        self.waitFor(lambda: not self.review._settling)
        painted = labelsInVolume(self.result, self.volume)
        self.ui.reviewerLineEdit.setText("A.B.")
        self.ui.commentLineEdit.text = "pole"
        self.ui.rejectButton.click()
        assert "Rejected by A.B." in self.ui.reviewStatusLabel.text
        assert "pole" in self.ui.reviewStatusLabel.text
        self.ui.acceptButton.click()
        assert "Accepted by A.B." in self.ui.reviewStatusLabel.text
        self.ui.undoButton.click()
        assert "Rejected by A.B." in self.ui.reviewStatusLabel.text
        self.ui.undoButton.click()
        assert "Not accepted yet" in self.ui.reviewStatusLabel.text
        assert self.result.GetAttribute(result_node.REVIEWER) is None
        np.testing.assert_array_equal(labelsInVolume(self.result, self.volume), painted)
        self.ui.undoButton.click()
        np.testing.assert_array_equal(labelsInVolume(self.result, self.volume), self.before)
        assert "Automatic, not corrected" in self.ui.reviewStatusLabel.text

    def test_filling_works_on_the_selected_segment(self):
        labels = self.before.copy()
        labels[4][labels[4] == 3] = 0
        self.review.settledLabels()
        ids = {label.key: segmentId for label, segmentId in ourSegments(self.result.GetSegmentation()).items()}
        self.ui.editOutlineRadioButton.click()
        slicer.util.updateSegmentBinaryLabelmapFromArray(
            (labels == 3).astype(np.uint8), self.result, ids["left_cortex"], self.volume
        )
        self.waitFor(lambda: not self.review._settling)
        self.ui.segmentsTable.setSelectedSegmentIDs([ids["left_cortex"]])
        self.ui.fillSlicesButton.click()
        np.testing.assert_array_equal(labelsInVolume(self.result, self.volume), self.before)
        self.ui.editBorderRadioButton.click()

    def test_time_spent_is_counted(self):
        self.kidney("")
        self.range(100, 150)
        self.review._worked -= 5
        self.ui.growCortexButton.click()
        assert 5 <= float(self.result.GetAttribute(result_node.SECONDS_SPENT)) < 60
        self.review._worked -= 3600  # lunch
        self.ui.shrinkCortexButton.click()
        self.ui.undoButton.click()
        assert float(self.result.GetAttribute(result_node.SECONDS_SPENT)) < 180


if __name__ == "__main__":
    unittest.main()
