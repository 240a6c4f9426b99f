"""What the panel's tests share. Runs in the test host and in a real Slicer alike."""

import importlib.util
import os
import shutil
import sys
import tempfile
import time
import unittest
from pathlib import Path

import numpy as np
import slicer

ROOT = Path(__file__).resolve().parents[2]
SCRIPTED_WORKER = ROOT / "Testing" / "worker" / "scripted_worker.py"


def loadFile(path):
    """A file of another test folder as a module, by its path."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class PanelTestCase(unittest.TestCase):
    """An empty scene and an open panel, with the scripted engine in its real process.

    Attributes: widget: KidneySegWidget. panel, ui, logic: its parts.
    """

    scripted = True

    def setUp(self):
        slicer.mrmlScene.Clear(0)
        for key in ("Reviewer", "ExportFolder"):
            slicer.app.settings().remove(f"KidneySeg/{key}")
        self.widget = openPanel()
        self.panel, self.ui, self.logic = self.widget.panel, self.widget.ui, self.widget.logic
        self.logic.engine.end(event="cancelled")
        self.logic.engine.command = scriptedCommand() if self.scripted else None
        self.widget.initializeParameterNode()
        self.parameters = self.widget._parameterNode

    def tearDown(self):
        self.panel.cancelRun()
        self.waitFor(lambda: not self.panel.running)
        slicer.mrmlScene.Clear(0)
        self.logic.engine.end(event="cancelled")
        self.logic.engine.command = None
        self.process()

    # Helpers

    def process(self, seconds=0.0):
        end = time.monotonic() + seconds
        while True:
            slicer.app.processEvents()
            if time.monotonic() >= end:
                return
            time.sleep(0.005)

    def waitFor(self, condition, seconds=120.0):
        end = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > end:
                self.fail(f"not in {seconds} s; the panel says: {self.ui.messageLabel.text!r}")
            slicer.app.processEvents()
            time.sleep(0.005)

    def choose(self, volumeNode):
        """Choose a volume as a user does, and wait for its checks."""
        self.ui.inputSelector.setCurrentNode(volumeNode)
        self.waitFor(lambda: self.panel.inputSection._phaseRequest is None)

    def start(self, **script):
        """Click Segment kidneys. :param script: faults of the scripted engine."""
        makeRun = type(self.logic).makeRun
        self.logic.makeRun = lambda *given, **named: makeRun(self.logic, *given, script=script, **named)
        self.addCleanup(self.logic.__dict__.pop, "makeRun", None)
        self.ui.segmentButton.click()

    def segment(self, **script):
        self.start(**script)
        self.waitFor(lambda: not self.panel.running)

    @property
    def result(self):
        return self.parameters.segmentation

    def nodeCount(self, className):
        return slicer.mrmlScene.GetNumberOfNodesByClass(className)


class RealEngineTestCase(PanelTestCase):
    """The same with the real engine, whose user has the models that `writeModels` makes."""

    scripted = False

    @classmethod
    def writeModels(cls, folder):
        """Make bundles in a folder. :param folder: of the user's models."""
        raise NotImplementedError

    @classmethod
    def setUpClass(cls):
        cls.home = Path(tempfile.mkdtemp(prefix="kidneyseg-home-"))
        (cls.home / "models").mkdir()
        cls.writeModels(cls.home / "models")

    @classmethod
    def tearDownClass(cls):
        shutil.rmtree(cls.home, ignore_errors=True)

    def setUp(self):
        super().setUp()
        from KidneySegPanel.engine_command import defaultEngineCommand

        command = defaultEngineCommand()
        command.environment.update(KIDNEYSEG_HOME=str(self.home), KIDNEYSEG_THREADS="1")
        self.logic.engine.command = command
        self.panel.refreshEngineFacts()
        self.waitFor(lambda: not self.logic.engine.busy)


def openPanel():
    """The module's widget, entered as when a user selects the module."""
    representation = slicer.modules.kidneyseg.widgetRepresentation()
    if slicer.util.mainWindow() is not None:
        slicer.util.selectModule("KidneySeg")
    elif not representation.isEntered:
        getattr(representation, "enter", representation.self().enter)()
    return representation.self()


def scriptedCommand():
    from KidneySegPanel.engine_command import EngineCommand, engineEnvironment, pythonExecutable

    executable = pythonExecutable()
    return EngineCommand(executable, [str(SCRIPTED_WORKER)], str(ROOT), engineEnvironment(dict(os.environ)))


def kidneyVolume(name="CT", ijkToRas=None):
    """A volume with two boxes: cortex of 200 HU round a medulla of 120 HU, in a body of 20 HU in air."""
    import vtk

    hu = np.full((12, 24, 40), -1000, np.int16)
    hu[:, 2:22, 2:38] = 20
    for first in (6, 26):
        hu[3:9, 6:16, first : first + 8] = 200
        hu[5:7, 8:14, first + 2 : first + 6] = 120
    matrix = vtk.vtkMatrix4x4()
    rows = ijkToRas if ijkToRas is not None else [[-5, 0, 0, 100], [0, -5, 0, 60], [0, 0, 15, -80], [0, 0, 0, 1]]
    for row in range(4):
        for column in range(4):
            matrix.SetElement(row, column, float(rows[row][column]))
    node = slicer.util.addVolumeFromArray(hu, ijkToRAS=matrix, name=name)
    return node


def labelsInVolume(resultNode, volumeNode):
    """Labels of a result as an array of the volume's whole grid."""
    from KidneySegPanel.label_segments import readLabels

    labels, (x, y, z), _grid = readLabels(resultNode)
    whole = np.zeros(slicer.util.arrayFromVolume(volumeNode).shape, np.uint8)
    whole[z : z + labels.shape[0], y : y + labels.shape[1], x : x + labels.shape[2]] = labels
    return whole


def importPath():
    """Make the tests' own modules importable."""
    if str(Path(__file__).parent) not in sys.path:
        sys.path.insert(0, str(Path(__file__).parent))
