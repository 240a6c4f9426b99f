"""The application core: files, geometry, subject hierarchy, pictures."""

from __future__ import annotations

import numpy as np
import pytest

OBLIQUE = np.array([[-0.86, 0.27, 0, 4], [-0.27, -0.86, 0, 5], [0, 0, 2.5, 6], [0, 0, 0, 1.0]])
ENTRY = (
    "Segmentation category and type - 3D Slicer General Anatomy list~"
    "SCT^91723000^Anatomical Structure~SCT^64033007^Kidney~SCT^24028007^Right~"
    "Anatomic codes - DICOM master list~^^~^^"
)


def kidney(slicer):
    """An oblique volume and a segmentation of one box in it."""
    labels = np.zeros((10, 12, 14), dtype=np.uint8)
    labels[3:7, 4:9, 5:11] = 1
    volume = slicer.util.addVolumeFromArray((labels * 180).astype(np.int16), ijkToRAS=OBLIQUE, name="CT")
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "Kidneys")
    node.CreateDefaultDisplayNodes()
    node.SetReferenceImageGeometryParameterFromVolumeNode(volume)
    node.GetSegmentation().AddEmptySegment("cortex", "Right cortex", (1, 0, 0))
    slicer.util.updateSegmentBinaryLabelmapFromArray(labels, node, "cortex", volume)
    node.GetSegmentation().GetSegment("cortex").SetTag("TerminologyEntry", ENTRY)
    return volume, node, labels


def test_oblique_segments_come_back_exactly_from_files(host, tmp_path):
    import slicer
    import vtk

    volume, node, labels = kidney(slicer)
    assert slicer.util.saveNode(node, str(tmp_path / "k.seg.nrrd"))
    assert slicer.util.saveNode(volume, str(tmp_path / "ct.nii.gz"))
    again, ct = (
        slicer.util.loadSegmentation(str(tmp_path / "k.seg.nrrd")),
        slicer.util.loadVolume(str(tmp_path / "ct.nii.gz")),
    )
    assert (slicer.util.arrayFromSegmentBinaryLabelmap(again, "cortex", ct) == labels).all()
    entry = vtk.reference("")
    again.GetSegmentation().GetSegment("cortex").GetTag("TerminologyEntry", entry)
    assert str(entry) == ENTRY


def test_data_nodes_get_hierarchy_items_and_lose_them(host):
    import slicer

    volume, node, _ = kidney(slicer)
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
    item = hierarchy.GetItemByDataNode(node)
    assert item
    assert hierarchy.GetItemByDataNode(volume)
    slicer.mrmlScene.RemoveNode(node)
    assert hierarchy.GetItemDataNode(item) is None


def test_layout_survives_closing_the_scene(host):
    import slicer

    manager = slicer.app.layoutManager()
    manager.setLayout(slicer.vtkMRMLLayoutNode.SlicerLayoutOneUpRedSliceView)
    host.clear_scene()
    assert manager.sliceViewNames() == ("Red", "Yellow", "Green")
    assert manager.sliceWidget("Red").sliceLogic().GetSliceNode().GetScene() is slicer.mrmlScene
    assert manager.threeDWidget(0).mrmlViewNode() is not None
    manager.setLayout(3)
    assert manager.layout == 3


def test_a_slice_view_shows_the_overlay(host):
    import slicer
    from slicer_host.views import NoRendering, SliceView

    volume, node, _ = kidney(slicer)
    view = SliceView("Red", (120, 120))
    try:
        view.show(volume, centre_ras=node.GetSegmentCenterRAS("cortex"))
        with_overlay = view.pixels().astype(int)
        node.GetDisplayNode().SetVisibility(False)
        without = view.pixels().astype(int)
    except NoRendering as missing:
        pytest.skip(str(missing))
    finally:
        view.close()
    redder = (with_overlay[..., 0] - with_overlay[..., 1]) - (without[..., 0] - without[..., 1])
    assert (redder > 40).sum() > 100
    assert (abs(without[..., 0] - without[..., 1]) > 40).sum() == 0
