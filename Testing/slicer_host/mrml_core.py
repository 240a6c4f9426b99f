"""The MRML application core that a running Slicer has: scene, logics, default nodes, subject hierarchy items,
.mrb reading.
"""

from __future__ import annotations

import colorsys
import tempfile
from pathlib import Path
from typing import Any

import slicer
import vtk

LOGIC_CLASSES = {
    "Colors": "vtkSlicerColorLogic",
    "CropVolume": "vtkSlicerCropVolumeLogic",
    "Data": "vtkSlicerDataModuleLogic",
    "Markups": "vtkSlicerMarkupsLogic",
    "Models": "vtkSlicerModelsLogic",
    "Plots": "vtkSlicerPlotsLogic",
    "Segmentations": "vtkSlicerSegmentationsModuleLogic",
    "Sequences": "vtkSlicerSequencesLogic",
    "SubjectHierarchy": "vtkSlicerSubjectHierarchyModuleLogic",
    "Tables": "vtkSlicerTablesLogic",
    "Terminologies": "vtkSlicerTerminologiesModuleLogic",
    "Texts": "vtkSlicerTextsLogic",
    "Transforms": "vtkSlicerTransformLogic",
    "Units": "vtkSlicerUnitsLogic",
    "ViewControllers": "vtkSlicerViewControllersLogic",
    "VolumeRendering": "vtkSlicerVolumeRenderingLogic",
    "Volumes": "vtkSlicerVolumesLogic",
}
SLICE_VIEWS = {"Red": "Axial", "Yellow": "Sagittal", "Green": "Coronal"}
SLICE_COLOURS = {
    "Red": (0.952941, 0.290196, 0.2),
    "Yellow": (0.929412, 0.835294, 0.298039),
    "Green": (0.431373, 0.690196, 0.294118),
}
HIERARCHY_KINDS = (
    "vtkMRMLDisplayableNode",
    "vtkMRMLTableNode",
    "vtkMRMLTextNode",
    "vtkMRMLPlotChartNode",
    "vtkMRMLPlotSeriesNode",
    "vtkMRMLSequenceBrowserNode",
    "vtkMRMLSequenceNode",
    "vtkMRMLTransformNode",
)


class MrmlCore:
    """One scene with its logics. `share` holds resources that logics read: ``share/Terminologies`` for
    terminology files.
    """

    def __init__(self, temporary_folder: Path, share: Path) -> None:
        self.scene = slicer.vtkMRMLScene()
        self._add_singletons()
        self._add_default_label_colours()
        self.application_logic = self._application_logic()
        self.logics: dict[str, Any] = {
            name: self._logic(name, class_name, share)
            for name, class_name in LOGIC_CLASSES.items()
            if hasattr(slicer, class_name)
        }
        slicer.vtkMRMLSliceNode.AddDefaultSliceOrientationPresets(self.scene, True)
        self._remote_io, self._data_io = self._io_logics(temporary_folder)
        self.slice_logics = {name: self._slice_logic(name, orientation) for name, orientation in SLICE_VIEWS.items()}
        self.view_logic = self._view_logic()
        self.layout_logic = slicer.vtkMRMLLayoutLogic()
        self.layout_logic.SetMRMLApplicationLogic(self.application_logic)
        self.layout_logic.SetMRMLScene(self.scene)
        self._observe_hierarchy()

    def _add_singletons(self) -> None:
        crosshair = slicer.vtkMRMLCrosshairNode()
        crosshair.SetCrosshairName("default")
        for node in (crosshair, slicer.vtkMRMLSelectionNode(), slicer.vtkMRMLInteractionNode()):
            self.scene.AddNode(node)

    def _application_logic(self) -> Any:
        logic = slicer.vtkSlicerApplicationLogic()
        logic.SetMRMLScene(self.scene)
        logic.GetColorLogic().SetMRMLScene(self.scene)
        logic.GetColorLogic().AddDefaultColorNodes()
        logic.SetSliceLogics(vtk.vtkCollection())
        logic.SetViewLogics(vtk.vtkCollection())
        for factory in (
            slicer.vtkMRMLThreeDViewDisplayableManagerFactory,
            slicer.vtkMRMLSliceViewDisplayableManagerFactory,
        ):
            factory.GetInstance().SetMRMLApplicationLogic(logic)
        return logic

    def _add_default_label_colours(self) -> None:
        """The two colour tables that label maps point to by default; their files are not in the wheel, so the
        colours differ.
        """
        for file_name in ("GenericColors.txt", "GenericAnatomyColors.txt"):
            table = slicer.vtkMRMLColorTableNode()
            table.SetTypeToUser()
            table.SetNumberOfColors(256)
            for label in range(256):
                table.SetColor(label, str(label), *colorsys.hsv_to_rgb(label * 0.618 % 1.0, 0.6, 0.9), float(label > 0))
            table.SetSingletonTag(f"File{file_name}")
            table.SetName(file_name.removesuffix(".txt"))
            table.SetHideFromEditors(True)
            table.SaveWithSceneOff()
            self.scene.AddNode(table)

    def _logic(self, name: str, class_name: str, share: Path) -> Any:
        logic = getattr(slicer, class_name)()
        if hasattr(logic, "SetModuleShareDirectory"):
            logic.SetModuleShareDirectory(str(share / name))
        logic.SetMRMLApplicationLogic(self.application_logic)
        logic.SetMRMLScene(self.scene)
        self.application_logic.SetModuleLogic(name, logic)
        return logic

    def _io_logics(self, temporary_folder: Path) -> tuple[Any, Any]:
        """Without these a .mrb cannot be read."""
        remote = slicer.vtkMRMLRemoteIOLogic()
        remote.SetMRMLScene(self.scene)
        remote.SetMRMLApplicationLogic(self.application_logic)
        remote.GetCacheManager().SetRemoteCacheDirectory(tempfile.mkdtemp(dir=temporary_folder))
        data = slicer.vtkDataIOManagerLogic()
        data.SetMRMLScene(self.scene)
        data.SetMRMLApplicationLogic(self.application_logic)
        data.SetAndObserveDataIOManager(remote.GetDataIOManager())
        remote.AddDataIOToScene()
        return remote, data

    def _slice_logic(self, name: str, orientation: str) -> Any:
        logic = slicer.vtkMRMLSliceLogic()
        logic.SetMRMLApplicationLogic(self.application_logic)
        self.application_logic.GetSliceLogics().AddItem(logic)
        logic.SetMRMLScene(self.scene)
        node = logic.AddSliceNode(name)
        node.SetOrientation(orientation)
        node.SetLayoutLabel(name[0])
        node.SetLayoutColor(*SLICE_COLOURS[name])
        return logic

    def _view_logic(self) -> Any:
        logic = slicer.vtkMRMLViewLogic()
        logic.SetMRMLApplicationLogic(self.application_logic)
        self.application_logic.GetViewLogics().AddItem(logic)
        logic.SetMRMLScene(self.scene)
        logic.AddViewNode("1").SetLayoutLabel("1")
        return logic

    def _observe_hierarchy(self) -> None:
        """Slicer's subject hierarchy plugins give every visible data node an item; without Qt nobody does."""
        scene, events = self.scene, slicer.vtkMRMLScene
        scene.AddObserver(events.NodeAddedEvent, self._node_added)
        scene.AddObserver(events.NodeAboutToBeRemovedEvent, self._node_removed)
        scene.AddObserver(events.EndImportEvent, lambda *_: self._add_missing_items())
        scene.AddObserver(events.EndBatchProcessEvent, lambda *_: self._add_missing_items())

    def _node_added(self, _scene: Any, _event: Any, node: Any) -> None:
        if not self.scene.IsBatchProcessing():
            self._add_item(node)

    _node_added.CallDataType = vtk.VTK_OBJECT  # type: ignore[attr-defined]

    def _node_removed(self, _scene: Any, _event: Any, node: Any) -> None:
        if not self.scene.IsClosing() and node is not None and any(node.IsA(kind) for kind in HIERARCHY_KINDS):
            hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(self.scene)
            item = hierarchy.GetItemByDataNode(node) if hierarchy is not None else 0
            if item:
                hierarchy.RemoveItem(item, False, False)

    _node_removed.CallDataType = vtk.VTK_OBJECT  # type: ignore[attr-defined]

    def _add_item(self, node: Any) -> None:
        if node is None or node.GetHideFromEditors() or not any(node.IsA(kind) for kind in HIERARCHY_KINDS):
            return
        hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(self.scene)
        if hierarchy is not None and not hierarchy.GetItemByDataNode(node):
            hierarchy.CreateItem(hierarchy.GetSceneItemID(), node)

    def _add_missing_items(self) -> None:
        for index in range(self.scene.GetNumberOfNodes()):
            self._add_item(self.scene.GetNthNode(index))
