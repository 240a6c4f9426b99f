"""Choosing a volume, segmenting it, and what goes wrong on the way."""

import unittest

import numpy as np
import slicer
import vtk
from panel_case import PanelTestCase, kidneyVolume, labelsInVolume

from KidneySegLib.labels import LABEL_BY_KEY
from KidneySegLib.progress import STAGES


class TestSegmenting(PanelTestCase):
    def test_nothing_can_be_segmented_before_a_volume_is_chosen(self):
        assert not self.ui.segmentButton.enabled
        assert "Choose a CT volume" in self.ui.segmentButton.toolTip

    def test_checks_are_shown_at_once_and_the_phase_follows(self):
        self.ui.inputSelector.setCurrentNode(kidneyVolume())
        for words in ("Slice thickness", "15.0 mm", "Orientation", "axial", "180 mm", "Contrast phase"):
            assert words in self.ui.checksLabel.text
        self.waitFor(lambda: "arterial" in self.ui.checksLabel.text)
        assert self.ui.segmentButton.enabled

    def test_a_picture_is_refused_in_plain_words(self):
        picture = slicer.util.addVolumeFromArray(np.full((4, 5, 6), 90, np.uint8), name="picture")
        self.ui.inputSelector.setCurrentNode(picture)
        assert "cannot be HU" in self.ui.checksLabel.text
        assert not self.ui.segmentButton.enabled

    def test_one_click_gives_named_coloured_coded_segments_in_the_volumes_geometry(self):
        volume = kidneyVolume()
        self.choose(volume)
        self.segment()
        hu = slicer.util.arrayFromVolume(volume)
        labels = labelsInVolume(self.result, volume)
        np.testing.assert_array_equal(np.isin(labels, (1, 3)), hu == 200)
        np.testing.assert_array_equal(np.isin(labels, (2, 4)), hu == 120)
        # RAS x falls along a row from +100 mm, so the first box is on the patient's right.
        assert set(np.unique(labels[:, :, :20])) == {0, 1, 2}
        assert set(np.unique(labels[:, :, 20:])) == {0, 3, 4}
        segmentation = self.result.GetSegmentation()
        assert list(segmentation.GetSegmentIDs()) == ["right_cortex", "right_medulla", "left_cortex", "left_medulla"]
        for key in segmentation.GetSegmentIDs():
            segment, label = segmentation.GetSegment(key), LABEL_BY_KEY[key]
            assert segment.GetName() == label.name
            np.testing.assert_allclose(np.array(segment.GetColor()) * 255, label.colour, atol=1)
            tag = vtk.mutable("")
            assert segment.GetTag(slicer.vtkSegment.GetTerminologyEntryTagName(), tag)
            assert label.type.value in str(tag)
        role = slicer.vtkMRMLSegmentationNode.GetReferenceImageGeometryReferenceRole()
        assert self.result.GetNodeReference(role) is volume

    def test_progress_is_shown_and_the_window_lives(self):
        self.choose(kidneyVolume())
        self.start(seconds_per_stage=0.1)
        seen = set()
        while self.panel.running:
            self.process(0.01)
            seen.add(self.ui.stageLabel.text.split(",")[0])
            assert self.ui.segmentButton.enabled == (not self.panel.running)
        assert "Looking for the kidneys" in seen
        assert "Outlining cortex and medulla" in seen
        assert self.ui.segmentButton.enabled

    def test_two_clicks_make_one_run(self):
        self.choose(kidneyVolume())
        self.start(seconds_per_stage=0.02)
        self.ui.segmentButton.click()
        self.panel.segmentSection.onSegment()
        self.waitFor(lambda: not self.panel.running)
        self.process(0.3)
        assert self.nodeCount("vtkMRMLSegmentationNode") == 1

    def test_cancel_at_each_stage_leaves_the_scene_as_it_was(self):
        self.choose(kidneyVolume())
        self.start(seconds_per_stage=0.01)
        self.waitFor(lambda: not self.panel.running)
        before = self.nodeIds()
        pid = self.logic.engine.greeting["pid"]
        for stage in STAGES:
            with self.subTest(stage=stage):
                self.start(seconds_per_stage=0.1)
                self.waitForStage(stage)
                self.ui.cancelButton.click()
                self.waitFor(lambda: not self.panel.running)
                assert self.nodeIds() == before
                assert "Cancelled" in self.ui.messageLabel.text
        assert self.logic.engine.greeting["pid"] == pid, "the engine was not kept warm"
        self.segment()
        assert len(self.nodeIds()) > len(before)

    def waitForStage(self, stage):
        from KidneySegPanel.segment_section import stageText

        self.waitFor(lambda: self.ui.stageLabel.text.startswith(stageText(stage)) or not self.panel.running)
        assert self.panel.running

    def nodeIds(self):
        scene = slicer.mrmlScene
        return sorted(scene.GetNthNode(number).GetID() for number in range(scene.GetNumberOfNodes()))

    def test_an_engine_that_does_not_listen_is_ended(self):
        self.choose(kidneyVolume())
        self.start(fault="deaf", at="network")
        self.waitForStage("network")
        pid = self.logic.engine.greeting["pid"]
        self.ui.cancelButton.click()
        self.waitFor(lambda: not self.panel.running)
        assert not isAlive(pid)
        self.segment()
        assert self.result is not None

    def test_a_killed_engine_is_explained_at_each_stage_and_starts_again(self):
        self.choose(kidneyVolume())
        before = self.nodeIds()
        for stage in STAGES:
            with self.subTest(stage=stage):
                self.segment(fault="killed", at=stage)
                assert "memory" in self.ui.messageLabel.text
                assert "Close other programs" in self.ui.messageLabel.text
                assert self.nodeIds() == before
                assert self.ui.segmentButton.enabled
        self.segment(seconds_per_stage=0)
        assert self.result is not None

    def test_faults_are_said_with_what_to_try(self):
        self.choose(kidneyVolume())
        before = self.nodeIds()
        for fault, words in (
            ("memory", ("ran out of memory", "Close other programs")),
            ("disk", ("disk is full", "Free some disk space")),
            ("input", ("The scan is not good.",)),
            ("bug", ("KeyError", "report it")),
        ):
            with self.subTest(fault=fault):
                self.segment(fault=fault, at="network")
                for word in words:
                    assert word in self.ui.messageLabel.text
                assert self.nodeIds() == before
                self.logic.engine.end()

    def test_a_volume_deleted_while_running_stops_the_run(self):
        volume = kidneyVolume()
        self.choose(volume)
        self.start(seconds_per_stage=0.3)
        self.waitForStage("localise")
        slicer.mrmlScene.RemoveNode(volume)
        self.waitFor(lambda: not self.panel.running)
        assert "volume was removed" in self.ui.messageLabel.text
        assert self.nodeCount("vtkMRMLSegmentationNode") == 0
        assert not self.ui.segmentButton.enabled

    def test_a_scene_closed_while_running_stops_the_run(self):
        self.choose(kidneyVolume())
        self.start(seconds_per_stage=0.3)
        self.waitForStage("localise")
        slicer.mrmlScene.Clear(0)
        self.waitFor(lambda: not self.panel.running)
        self.process(0.3)
        assert self.nodeCount("vtkMRMLSegmentationNode") == 0
        assert self.nodeCount("vtkMRMLTableNode") == 0
        self.widget.initializeParameterNode()
        self.parameters = self.widget._parameterNode
        self.choose(kidneyVolume())
        self.segment()
        assert self.result is not None

    def test_no_kidney_is_a_message_and_a_flag_not_an_empty_segmentation(self):
        empty = slicer.util.addVolumeFromArray(np.full((12, 20, 20), -500, np.int16), name="empty")
        slicer.util.arrayFromVolume(empty)[:, 5:9, 5:9] = 90
        slicer.util.arrayFromVolume(empty)[0, 0, 0] = 3000
        slicer.util.arrayFromVolume(empty)[0, 0, 0] = -500
        slicer.util.arrayFromVolume(empty)[:, 5:9, 5:9] = 100
        slicer.util.arrayFromVolumeModified(empty)
        self.choose(empty)
        self.segment()
        assert "No kidney was found" in self.ui.messageLabel.text
        assert self.nodeCount("vtkMRMLSegmentationNode") == 0
        assert "No kidney" in self.ui.flagsLabel.text

    def test_nothing_else_in_the_scene_is_touched(self):
        volume = kidneyVolume()
        other = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "other")
        other.GetSegmentation().AddEmptySegment("right_cortex", "mine")
        times = {node.GetID(): node.GetMTime() for node in (volume, other)}
        hu = slicer.util.arrayFromVolume(volume).copy()
        self.choose(volume)
        self.segment()
        assert times == {node.GetID(): node.GetMTime() for node in (volume, other)}
        assert other.GetSegmentation().GetNumberOfSegments() == 1
        np.testing.assert_array_equal(slicer.util.arrayFromVolume(volume), hu)

    def test_one_undo_takes_the_whole_result_back(self):
        scene = slicer.mrmlScene
        scene.SetUndoOn()
        self.addCleanup(scene.SetUndoOff)
        self.choose(kidneyVolume())
        scene.ClearUndoStack()
        self.segment()
        assert scene.GetNumberOfUndoLevels() == 1
        scene.Undo()
        assert self.nodeCount("vtkMRMLSegmentationNode") == 0
        assert self.nodeCount("vtkMRMLTableNode") == 0

    def test_3d_comes_and_goes_with_one_click(self):
        self.choose(kidneyVolume())
        self.segment()
        self.ui.show3DButton.click()
        name = slicer.vtkSegmentationConverter.GetSegmentationClosedSurfaceRepresentationName()
        assert self.result.GetSegmentation().ContainsRepresentation(name)
        assert self.result.GetDisplayNode().GetVisibility3D()
        self.ui.show3DButton.click()
        assert not self.result.GetDisplayNode().GetVisibility3D()

    def test_the_log_can_be_copied(self):
        import qt

        self.choose(kidneyVolume())
        self.segment()
        self.ui.logGroupBox.collapsed = False
        self.ui.copyLogButton.click()
        assert "Done in" in qt.QApplication.clipboard().text()

    def test_the_engine_does_not_get_slicers_environment(self):
        from KidneySegPanel.engine_command import defaultEngineCommand, engineEnvironment

        environment = engineEnvironment({"PYTHONPATH": "x", "QT_PLUGIN_PATH": "x", "HOME": "/h", "PYTHONHOME": "x"})
        assert environment["HOME"] == "/h"
        for name in ("PYTHONPATH", "QT_PLUGIN_PATH", "PYTHONHOME"):
            assert name not in environment
        command = defaultEngineCommand()
        assert "PythonSlicer" in command.program
        assert command.arguments == ["-m", "KidneySegLib.worker"]


def isAlive(pid):
    from KidneySegLib.worker_parts.lifeline import is_alive

    return is_alive(pid)


if __name__ == "__main__":
    unittest.main()
