"""A scripted module from load to unload, on the host's own ScriptedLoadableModule and parameterNodeWrapper."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

MODULE = """
import pathlib
from typing import Annotated
import qt, slicer, vtk
from slicer import vtkMRMLScalarVolumeNode
from slicer.i18n import tr as _
from slicer.parameterNodeWrapper import Choice, WithinRange, parameterNodeWrapper
from slicer.ScriptedLoadableModule import *
from slicer.util import VTKObservationMixin

class HostProbe(ScriptedLoadableModule):
    def __init__(self, parent):
        ScriptedLoadableModule.__init__(self, parent)
        self.parent.title = _("Host probe")

@parameterNodeWrapper
class HostProbeParameterNode:
    volume: vtkMRMLScalarVolumeNode
    threshold: Annotated[float, WithinRange(-100, 500)] = 120.5
    fast: bool = False
    style: Annotated[str, Choice(["a", "b"])] = "b"
    folder: pathlib.Path
    age: int | None = None
    notes: list[str]

class HostProbeWidget(ScriptedLoadableModuleWidget, VTKObservationMixin):
    def __init__(self, parent=None):
        ScriptedLoadableModuleWidget.__init__(self, parent)
        VTKObservationMixin.__init__(self)
        self.calls = []
    def setup(self):
        ScriptedLoadableModuleWidget.setup(self)
        self.box = qt.QCheckBox("Fast")
        self.box.setProperty("SlicerParameterName", "fast")
        self.layout.addWidget(self.box)
        self.parameters = HostProbeParameterNode(HostProbeLogic().getParameterNode())
        self.tag = self.parameters.connectGui(self.parent)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.StartCloseEvent, lambda *_: self.calls.append("close"))
    def enter(self): self.calls.append("enter")
    def exit(self): self.calls.append("exit")
    def cleanup(self):
        self.calls.append("cleanup")
        self.parameters.disconnectGui(self.tag)
        self.removeObservers()

class HostProbeLogic(ScriptedLoadableModuleLogic):
    pass
"""


@pytest.fixture
def module(host, tmp_path: Path):
    sys.modules.pop("HostProbe", None)
    file = tmp_path / "HostProbe.py"
    file.write_text(MODULE)
    yield host.load_module(file)
    sys.path.remove(str(tmp_path))


def test_a_module_lives_and_dies(host, module):
    import slicer

    panel = host.open_panel("HostProbe")
    assert (module.title, slicer.modules.hostprobe, slicer.modules.HostProbeWidget) == ("Host probe", module, panel)
    host.clear_scene()
    host.leave_panel("HostProbe")
    host.unload_module("HostProbe")
    assert panel.calls == ["enter", "close", "exit", "cleanup"]


def test_parameters_and_widgets_follow_each_other(host, module):
    panel = host.open_panel("HostProbe")
    panel.box.click()
    assert panel.parameters.fast is True
    panel.parameters.fast = False
    assert panel.box.checked is False
    panel.parameters.disconnectGui(panel.tag)
    panel.box.click()
    assert panel.parameters.fast is False
    host.unload_module("HostProbe")


def test_parameters_survive_saving_the_scene(host, module, tmp_path):
    import HostProbe
    import slicer

    parameters = HostProbe.HostProbeParameterNode(HostProbe.HostProbeLogic().getParameterNode())
    assert (parameters.threshold, parameters.style, parameters.age, parameters.notes) == (120.5, "b", None, [])
    parameters.volume = slicer.util.addVolumeFromArray(np.zeros((2, 3, 4), dtype=np.int16), name="CT")
    parameters.threshold, parameters.age, parameters.notes, parameters.folder = 7.25, 54, ["one", "two"], tmp_path
    with pytest.raises(ValueError, match="within range"):
        parameters.threshold = 900.0
    assert slicer.util.saveScene(str(tmp_path / "scene.mrb"))
    host.clear_scene()
    slicer.util.loadScene(str(tmp_path / "scene.mrb"))
    again = HostProbe.HostProbeParameterNode(HostProbe.HostProbeLogic().getParameterNode())
    assert (again.volume.GetName(), again.threshold, again.age, again.notes, again.folder) == (
        "CT",
        7.25,
        54,
        ["one", "two"],
        tmp_path,
    )


def test_packages_are_checked_for_real_and_never_installed(host):
    import slicer.packaging

    assert slicer.packaging.pip_check("numpy>=1.20")
    assert not slicer.packaging.pip_check("no-such-package-here>=1")
    slicer.packaging.pip_install(["no-such-package-here"], requester="Test")
    assert slicer.packaging._requests.pop()[:2] == ("pip_install", ["no-such-package-here"])


def test_an_older_slicer_has_no_packaging(host):
    import slicer

    with host.older_slicer():
        assert (slicer.app.majorVersion, slicer.app.minorVersion, hasattr(slicer, "packaging")) == (5, 10, False)
        with pytest.raises(ImportError):
            import slicer.packaging
    assert slicer.app.minorVersion == 12
    import slicer.packaging
