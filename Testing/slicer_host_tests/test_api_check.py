"""The check of a module's sources against the API finds wrong names and leaves right ones alone; our module
passes it.
"""

from __future__ import annotations

from pathlib import Path

import pytest

WIDGETS = {"selector": "qMRMLNodeComboBox", "button": "QPushButton"}


@pytest.mark.parametrize(
    "line",
    [
        "slicer.getNode('x')",
        "slicer.app.noSuch()",
        "slicer.util.noSuch()",
        "slicer.packaging.pip_list()",
        "slicer.qMRMLNoSuch()",
        "slicer.vtkMRMLNoSuchNode()",
        "slicer.vtkMRMLScene.NoSuchEvent",
        "qt.QTextCodec",
        "qt.Qt.NoSuch",
        "ctk.ctkNoSuch",
        "self.ui.selector.nodes()",
        "self.ui.noSuch.text",
        "self.ui.button.colour = 1",
        "self.ui.selector.connect('nodeChanged()', f)",
        "b = qt.QPushButton()\nb.connect('clickd()', f)",
        "self.b = ctk.ctkPathLineEdit()\nself.b.setPath('x')",
    ],
)
def test_wrong_names_are_found(slicer_host, line):
    from slicer_host.api_check import check_source

    assert check_source(line, WIDGETS)


@pytest.mark.parametrize(
    "line",
    [
        "slicer.util.getNode('x')",
        "slicer.app.processEvents()",
        "slicer.app.testingEnabled()",
        "slicer.app.connect('aboutToQuit()', f)",
        "slicer.mrmlScene.AddNode(n)",
        "slicer.packaging.pip_ensure(r)",
        "slicer.modules.kidneyseg.path",
        "qt.Qt.Checked",
        "self.ui.selector.currentNode()",
        "self.ui.selector.enabled = True",
        "self.ui.selector.connect('currentNodeChanged(vtkMRMLNode*)', f)",
        "self.ui.button.connect('clicked(bool)', f)",
        "self.ui.button.clicked.connect(f)",
        "b = ctk.ctkPathLineEdit()\nb.currentPath = 'x'",
    ],
)
def test_right_names_pass(slicer_host, line):
    from slicer_host.api_check import check_source

    assert [str(problem) for problem in check_source(line, WIDGETS)] == []


def test_our_module_uses_only_what_slicer_has(slicer_host):
    from slicer_host.api_check import check_folder

    module = Path(__file__).resolve().parents[2] / "KidneySeg"
    if not module.is_dir():
        pytest.skip("this checkout has no KidneySeg/")
    assert [str(problem) for problem in check_folder(module)] == []
