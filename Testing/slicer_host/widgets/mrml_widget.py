"""qMRMLWidget and its kin: widgets that hand a scene on."""

from __future__ import annotations

from ..standin import models


class _HasScene:
    """Shared body: setMRMLScene emits mrmlSceneChanged when the scene is another one."""

    def _set_up(self):
        self._scene = None

    def setMRMLScene(self, scene):
        if scene is not self._scene:
            self._scene = scene
            self.mrmlSceneChanged.emit(scene)

    def mrmlScene(self):
        return self._scene


@models("qMRMLWidget")
class Widget:
    _set_up, setMRMLScene, mrmlScene = _HasScene._set_up, _HasScene.setMRMLScene, _HasScene.mrmlScene


@models("qSlicerWidget")
class SlicerWidget:
    _set_up, setMRMLScene = _HasScene._set_up, _HasScene.setMRMLScene


@models("qMRMLCollapsibleButton")
class CollapsibleButton:
    _set_up, setMRMLScene = _HasScene._set_up, _HasScene.setMRMLScene
