"""Behaviour of the modelled widgets on real MRML nodes."""

from __future__ import annotations

import numpy as np
import pytest


@pytest.fixture
def slicer(host):
    import slicer

    return slicer


def add_volume(slicer, name):
    return slicer.util.addVolumeFromArray(np.zeros((3, 4, 5), dtype=np.int16), name=name)


def node_box(slicer):
    box = slicer.qMRMLNodeComboBox()
    box.nodeTypes = ["vtkMRMLScalarVolumeNode"]
    box.setMRMLScene(slicer.mrmlScene)
    return box


def test_node_combo_box_never_selects_by_itself(slicer):
    box = node_box(slicer)
    add_volume(slicer, "CT")
    assert box.nodeCount() == 1
    assert box.currentNode() is None


def test_node_combo_box_follows_removal_and_scene_close(slicer, host):
    box, told = node_box(slicer), []
    first, second = add_volume(slicer, "a"), add_volume(slicer, "b")
    box.connect("currentNodeChanged(vtkMRMLNode*)", lambda node: told.append(node.GetName() if node else None))
    box.setCurrentNode(first)
    slicer.mrmlScene.RemoveNode(first)
    assert box.currentNode() is second
    host.clear_scene()
    assert box.currentNode() is None
    assert told == ["a", "b", None]


def test_node_combo_box_hides_child_types(slicer):
    box = node_box(slicer)
    box.hideChildNodeTypes = ["vtkMRMLLabelMapVolumeNode"]
    slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode")
    assert box.nodeCount() == 0


def test_a_collapsed_button_hides_its_children(slicer):
    import ctk
    import qt

    button = ctk.ctkCollapsibleButton("Advanced")
    label = qt.QLabel("inside")
    qt.QVBoxLayout(button).addWidget(label)
    button.show()
    button.collapsed = True
    assert (button.text, label.visible, button.isChecked()) == ("Advanced", False, False)
    button.collapsed = False
    assert label.visible


def test_slider_keeps_its_value_in_full_precision(slicer):
    import ctk

    slider, told = ctk.ctkSliderWidget(), []
    slider.minimum, slider.maximum, slider.decimals = -100.0, 500.0, 2
    slider.connect("valueChanged(double)", told.append)
    slider.value = 120.25
    slider.value = 900
    assert told == [120.25, 500.0]


def test_path_line_edit_remembers_existing_paths(slicer, tmp_path):
    import ctk

    edit = ctk.ctkPathLineEdit()
    edit.settingKey = "TestPath"
    edit.currentPath = str(tmp_path)
    edit.addCurrentPathToHistory()
    other = ctk.ctkPathLineEdit()
    other.settingKey = "TestPath"
    assert other.currentPath == str(tmp_path)


def segmentation(slicer):
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "Kidneys")
    node.CreateDefaultDisplayNodes()
    for name in ("Right cortex", "Right medulla"):
        node.GetSegmentation().AddEmptySegment(name, name)
    return node


def test_segments_table_follows_the_node(slicer):
    table, node = slicer.qMRMLSegmentsTableView(), segmentation(slicer)
    table.setSegmentationNode(node)
    assert table.displayedSegmentIDs() == ("Right cortex", "Right medulla")
    table.setSelectedSegmentIDs(["Right medulla"])
    assert table.selectedSegmentIDs() == ("Right medulla",)
    node.GetSegmentation().RemoveSegment("Right cortex")
    assert table.segmentCount == 1


def test_segment_editor_undoes_what_was_saved(slicer):
    editor, node = slicer.qMRMLSegmentEditorWidget(), segmentation(slicer)
    editor.setMRMLScene(slicer.mrmlScene)
    editor.setMRMLSegmentEditorNode(slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentEditorNode"))
    editor.setSegmentationNode(node)
    assert editor.currentSegmentID() == "Right cortex"
    editor.saveStateForUndo()
    node.GetSegmentation().RemoveSegment("Right medulla")
    editor.undo()
    assert node.GetSegmentation().GetSegmentIDs() == ("Right cortex", "Right medulla")
    editor.setActiveEffectByName("Paint")
    assert editor.activeEffect().name == "Paint"


def test_table_view_shows_the_table_node(slicer):
    table, view = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTableNode"), slicer.qMRMLTableView()
    view.setMRMLTableNode(table)
    slicer.util.updateTableFromArray(table, [np.array([1.5, 2.5])], ["volume_ml"])
    assert view.model().rowCount() == 2
    assert view.model().index(1, 0).data() == "2.5"


def test_a_modal_dialog_is_answered_and_an_unexpected_one_is_noted(host, slicer):
    import qt
    from slicer_host.dialogs import UnexpectedDialog, press

    box = qt.QMessageBox(qt.QMessageBox.Question, "Cancel?", "Cancel the run?", qt.QMessageBox.Yes | qt.QMessageBox.No)
    with host.dialogs.answered_by(press("Yes")) as shown:
        assert box.exec_() == int(qt.QMessageBox.Yes)
    assert shown[-1] == "Cancel the run?"
    qt.QMessageBox(qt.QMessageBox.Information, "", "surprise", qt.QMessageBox.Ok).exec_()
    assert [type(e) for e in host.errors.take()] == [UnexpectedDialog]
