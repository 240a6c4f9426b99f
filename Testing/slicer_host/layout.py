"""qSlicerLayoutManager: the Red, Yellow and Green slice views and one 3D view, over their real MRML logics.

The view widgets are empty rectangles; `views` renders what they would show.
"""

from __future__ import annotations

import slicer

from .standin import build, models

FOUR_UP = 3  # vtkMRMLLayoutNode::SlicerLayoutFourUpView


@models("qMRMLSliceWidget")
class SliceWidget:
    def sliceLogic(self):
        return self._logic

    def logic(self):
        return self._logic

    def mrmlSliceNode(self):
        return self._logic.GetSliceNode()

    def mrmlAbstractViewNode(self):
        return self._logic.GetSliceNode()

    def mrmlSliceCompositeNode(self):
        return self._logic.GetSliceCompositeNode()

    def sliceController(self):
        return self._controller

    def sliceView(self):
        return self._view

    def fitSliceToBackground(self):
        self._logic.FitSliceToBackground()

    def _get_sliceViewName(self):
        return self._logic.GetSliceNode().GetName()

    def _get_sliceOrientation(self):
        return self._logic.GetSliceNode().GetOrientation()

    def setSliceOrientation(self, orientation):
        self._logic.GetSliceNode().SetOrientation(orientation)

    _set_sliceOrientation = setSliceOrientation


@models("qMRMLSliceControllerWidget")
class SliceController:
    def sliceLogic(self):
        return self._logic

    def mrmlSliceNode(self):
        return self._logic.GetSliceNode()

    def mrmlSliceCompositeNode(self):
        return self._logic.GetSliceCompositeNode()

    def fitSliceToBackground(self):
        self._logic.FitSliceToBackground()

    def setSliceVisible(self, visible):
        self._logic.GetSliceNode().SetSliceVisible(visible)

    def setSliceOffsetValue(self, offset):
        self._logic.SetSliceOffset(offset)


@models("qMRMLSliceView")
class SliceView:
    def mrmlSliceNode(self):
        return self._logic.GetSliceNode()


@models("ctkVTKAbstractView")
class AbstractView:
    def forceRender(self):
        pass

    scheduleRender = pauseRender = resumeRender = forceRender

    def setRenderPaused(self, _paused):
        pass


def _view_node(logic):
    """The 3D view's node; closing the scene takes it from its logic, which gets it back here."""
    if logic.GetViewNode() is None:
        logic.AddViewNode("1")
    return logic.GetViewNode()


@models("qMRMLThreeDWidget")
class ThreeDWidget:
    def viewLogic(self):
        return self._logic

    def logic(self):
        return self._logic

    def mrmlViewNode(self):
        return _view_node(self._logic)

    def threeDView(self):
        return self._view

    def threeDController(self):
        return self._controller


@models("qMRMLThreeDView")
class ThreeDView:
    def mrmlViewNode(self):
        return _view_node(self._logic)

    def resetFocalPoint(self):
        pass

    def resetCamera(self, *_):
        pass

    def rotateToViewAxis(self, _axis):
        pass

    def lookFromViewAxis(self, _axis):
        pass


@models("qMRMLThreeDViewControllerWidget")
class ThreeDController:
    def resetFocalPoint(self):
        pass

    def mrmlThreeDViewNode(self):
        return _view_node(self._logic)


@models("qMRMLLayoutManager")
class LayoutManager:
    def mrmlScene(self):
        return slicer.mrmlScene

    def _layout_node(self):
        return self._layout_logic.GetLayoutNode()

    def layoutLogic(self):
        return self._layout_logic

    def _get_layout(self):
        return self._layout_node().GetViewArrangement()

    def _set_layout(self, layout):
        if layout != self.layout:
            self._layout_node().SetViewArrangement(int(layout))
            self.layoutChanged.emit(int(layout))

    def setLayout(self, layout):
        self.layout = layout

    def _get_threeDViewCount(self):
        return 1

    def sliceViewNames(self):
        return tuple(self._slices)

    def sliceWidget(self, name):
        return self._slices.get(name)

    def threeDWidget(self, index_or_name):
        return self._three_d if index_or_name in (0, "1") else None

    def mrmlSliceLogics(self):
        return slicer.app.applicationLogic().GetSliceLogics()

    def mrmlViewLogics(self):
        return slicer.app.applicationLogic().GetViewLogics()

    def resetSliceViews(self):
        for widget in self._slices.values():
            widget.fitSliceToBackground()

    def resetThreeDViews(self):
        pass

    def setRenderPaused(self, _paused):
        pass

    def pauseRender(self):
        pass

    def resumeRender(self):
        pass

    def activeMRMLThreeDViewNode(self):
        return self._three_d.mrmlViewNode()

    def setMRMLScene(self, _scene):
        pass


def create(core):
    """The layout manager over the slice and view logics of `core` (a MrmlCore)."""
    manager = build("qSlicerLayoutManager")()
    manager._slices = {
        name: _widget("qMRMLSliceWidget", "qMRMLSliceControllerWidget", "qMRMLSliceView", logic)
        for name, logic in core.slice_logics.items()
    }
    manager._three_d = _widget(
        "qMRMLThreeDWidget", "qMRMLThreeDViewControllerWidget", "qMRMLThreeDView", core.view_logic
    )
    manager._layout_logic = core.layout_logic
    core.layout_logic.GetLayoutNode().SetViewArrangement(FOUR_UP)
    return manager


def _widget(kind, controller_kind, view_kind, logic):
    widget = build(kind)()
    widget._logic = logic
    widget._controller = build(controller_kind)(widget)
    widget._view = build(view_kind)(widget)
    widget._controller._logic = widget._view._logic = logic
    return widget
