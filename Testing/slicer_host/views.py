"""Pictures of slice and 3D views, rendered headless through EGL by Slicer's real displayable managers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import slicer
import vtk
from vtk.util.numpy_support import vtk_to_numpy

SLICE_MANAGERS = (
    "vtkMRMLModelSliceDisplayableManager",
    "vtkMRMLCrosshairDisplayableManager",
    "vtkMRMLOrientationMarkerDisplayableManager",
    "vtkMRMLRulerDisplayableManager",
    "vtkMRMLSegmentationsDisplayableManager2D",
    "vtkMRMLMarkupsDisplayableManager",
)
THREE_D_MANAGERS = (
    "vtkMRMLCameraDisplayableManager",
    "vtkMRMLViewDisplayableManager",
    "vtkMRMLModelDisplayableManager",
    "vtkMRMLOrientationMarkerDisplayableManager",
    "vtkMRMLSegmentationsDisplayableManager3D",
    "vtkMRMLMarkupsDisplayableManager",
    "vtkMRMLVolumeRenderingDisplayableManager",
)


class NoRendering(RuntimeError):
    """This machine cannot render: it lacks libegl1, libegl-mesa0, libgl1 or libgl1-mesa-dri."""


class View:
    """One offscreen render window whose content real displayable managers keep up with the scene."""

    def __init__(self, factory: Any, managers: tuple[str, ...], size_px: tuple[int, int]) -> None:
        self.renderer = vtk.vtkRenderer()
        self.window = vtk.vtkRenderWindow()
        if "EGL" not in self.window.GetClassName() and not _has_display():
            self.window = vtk.vtkEGLRenderWindow()
        self.window.SetOffScreenRendering(1)
        self.window.SetSize(*size_px)
        self.window.SetMultiSamples(0)
        self.window.AddRenderer(self.renderer)
        self.interactor = vtk.vtkRenderWindowInteractor()
        self.interactor.SetRenderWindow(self.window)
        for name in managers:
            if not factory.IsDisplayableManagerRegistered(name):
                factory.RegisterDisplayableManager(name)
        self.group = slicer.vtkMRMLDisplayableManagerGroup()
        self.group.SetRenderer(self.renderer)
        self.group.Initialize(factory, self.renderer)

    def pixels(self) -> np.ndarray:
        """What the view shows now: uint8 (row from the top, column, RGB). Raises NoRendering."""
        self.window.Render()
        grabber = vtk.vtkWindowToImageFilter()
        grabber.SetInput(self.window)
        grabber.ReadFrontBufferOff()
        grabber.Update()
        image = grabber.GetOutput()
        columns, rows, _ = image.GetDimensions()
        if not columns or image.GetPointData().GetScalars() is None:
            raise NoRendering("no picture came back; see Testing/debian-packages.txt")
        return vtk_to_numpy(image.GetPointData().GetScalars()).reshape(rows, columns, -1)[::-1, :, :3].copy()

    def save(self, path: Path) -> None:
        from PIL import Image

        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(self.pixels()).save(path, optimize=True)

    def close(self) -> None:
        """Take the managers off the scene; the view is of no use afterwards."""
        self.group.SetMRMLDisplayableNode(None)
        self.window.Finalize()


def _has_display() -> bool:
    import os

    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY") or os.name == "nt")


class SliceView(View):
    """A picture of the Red, Yellow or Green slice view of ``slicer.app.layoutManager()``."""

    def __init__(self, name: str = "Red", size_px: tuple[int, int] = (500, 500)) -> None:
        super().__init__(slicer.vtkMRMLSliceViewDisplayableManagerFactory.GetInstance(), SLICE_MANAGERS, size_px)
        self.renderer.GetActiveCamera().ParallelProjectionOn()
        self.logic = slicer.app.layoutManager().sliceWidget(name).sliceLogic()
        self.group.SetMRMLDisplayableNode(self.logic.GetSliceNode())
        self.mapper = vtk.vtkImageMapper()
        self.mapper.SetColorWindow(255)
        self.mapper.SetColorLevel(127.5)
        actor = vtk.vtkActor2D()
        actor.SetMapper(self.mapper)
        actor.GetProperty().SetDisplayLocationToBackground()
        image_renderer = vtk.vtkRenderer()  # the volume below, segments and markups above, as in ctkVTKSliceView
        image_renderer.AddViewProp(actor)
        self.window.SetNumberOfLayers(2)
        self.window.AddRenderer(image_renderer)
        self.renderer.SetLayer(1)
        self.logic.ResizeSliceNode(*size_px)

    def show(
        self,
        volume: Any,
        offset_mm: float | None = None,
        field_of_view_mm: float | None = None,
        centre_ras: tuple[float, float, float] | None = None,
    ) -> None:
        """Put `volume` in the background; go to the slice at `offset_mm` or through `centre_ras`, zoomed so that
        `field_of_view_mm` fits the width."""
        self.logic.GetSliceCompositeNode().SetBackgroundVolumeID(volume.GetID())
        self.logic.FitSliceToBackground()
        node = self.logic.GetSliceNode()
        if field_of_view_mm is not None:
            columns, rows, depth = node.GetFieldOfView()
            node.SetFieldOfView(field_of_view_mm, field_of_view_mm * rows / columns, depth)
        if centre_ras is not None:
            node.JumpSliceByCentering(*centre_ras)
        if offset_mm is not None:
            self.logic.SetSliceOffset(offset_mm)

    def pixels(self) -> np.ndarray:
        connection = self.logic.GetImageDataConnection()
        if connection is not None:
            self.mapper.SetInputConnection(connection)
        return super().pixels()


class ThreeDView(View):
    """A picture of the 3D view of ``slicer.app.layoutManager()``."""

    def __init__(self, size_px: tuple[int, int] = (500, 500)) -> None:
        super().__init__(slicer.vtkMRMLThreeDViewDisplayableManagerFactory.GetInstance(), THREE_D_MANAGERS, size_px)
        self.node = slicer.app.layoutManager().threeDWidget(0).mrmlViewNode()
        self.group.SetMRMLDisplayableNode(self.node)
        self.node.SetBoxVisible(False)
        self.node.SetAxisLabelsVisible(False)

    def look_from_front(self, zoom: float = 1.0) -> None:
        """Look from anterior with the whole content in view."""
        camera = self.renderer.GetActiveCamera()
        camera.SetFocalPoint(0, 0, 0)
        camera.SetPosition(0, 1, 0)
        camera.SetViewUp(0, 0, 1)
        self.renderer.ResetCamera()
        camera.Zoom(zoom)
        self.renderer.ResetCameraClippingRange()
