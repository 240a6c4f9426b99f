import logging
import sys
import time
from pathlib import Path

import slicer
import vtk
from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.ScriptedLoadableModule import *  # noqa: F403  (the way of Slicer's module template)
from slicer.ScriptedLoadableModule import (
    ScriptedLoadableModule,
    ScriptedLoadableModuleLogic,
    ScriptedLoadableModuleTest,
    ScriptedLoadableModuleWidget,
)
from slicer.util import VTKObservationMixin

try:
    import KidneySegLib  # noqa: F401
except ImportError:
    # KidneySeg/ was added to Slicer's additional module paths: the engine lies beside that folder.
    sys.path.append(str(Path(__file__).resolve().parent.parent))

from KidneySegPanel.case_request import caseId, patientFields
from KidneySegPanel.engine_process import EngineProcess
from KidneySegPanel.label_segments import readLabels
from KidneySegPanel.parameter_node import KidneySegParameterNode
from KidneySegPanel.result_node import isCorrected, modelFacts, modelName, reviewFacts
from KidneySegPanel.sample_data import loadSample, registerSampleData
from KidneySegPanel.segmentation_run import SegmentationRun
from KidneySegPanel.terminology import loadTerminology
from KidneySegPanel.ultrasound import UltrasoundRun, isUltrasound
from KidneySegPanel.volume_sender import VolumeSender

#
# KidneySeg
#


class KidneySeg(ScriptedLoadableModule):
    """Uses ScriptedLoadableModule base class, available at:
    https://github.com/Slicer/Slicer/blob/main/Base/Python/slicer/ScriptedLoadableModule.py
    """

    def __init__(self, parent):
        ScriptedLoadableModule.__init__(self, parent)
        self.parent.title = _("KidneySeg")
        self.parent.categories = [translate("qSlicerAbstractCoreModule", "Segmentation")]
        self.parent.dependencies = ["Segmentations", "SegmentEditor", "Terminologies", "SubjectHierarchy", "Tables"]
        self.parent.contributors = ["KidneySeg contributors"]
        self.parent.helpText = _(
            "Measures kidneys on arterial-phase CT: finds both kidneys, separates renal cortex from medulla, and puts "
            "volumes in a table that follows every correction. Choose a CT and click Segment kidneys. "
            'See the <a href="https://github.com/KidneySeg/SlicerKidneySeg#readme">documentation and tutorial</a>. '
            "Research use only: not a medical device."
        )
        self.parent.acknowledgementText = _(
            "The method follows Luo and Li, Chongqing Medicine 2025;54(3):630 (3D U-Net, cortex and medulla of the "
            "kidney on arterial-phase CT). The embedded model was trained on synthetic CT only."
        )
        slicer.app.connect("startupCompleted()", onStartupCompleted)


def onStartupCompleted():
    """Make the sample case and the terminology known; loads nothing heavy."""
    registerSampleData()
    loadTerminology()


#
# KidneySegWidget
#


class KidneySegWidget(ScriptedLoadableModuleWidget, VTKObservationMixin):
    """Uses ScriptedLoadableModuleWidget base class, available at:
    https://github.com/Slicer/Slicer/blob/main/Base/Python/slicer/ScriptedLoadableModule.py
    """

    def __init__(self, parent=None):
        """Called when the user opens the module the first time and the widget is initialized."""
        ScriptedLoadableModuleWidget.__init__(self, parent)
        VTKObservationMixin.__init__(self)  # needed for parameter node observation
        self.logic = None
        self.panel = None
        self._parameterNode = None
        self._parameterNodeGuiTag = None

    def setup(self):
        """Called when the user opens the module the first time and the widget is initialized."""
        from KidneySegPanel.panel import Panel

        ScriptedLoadableModuleWidget.setup(self)

        # Load widget from .ui file (created by Qt Designer).
        uiWidget = slicer.util.loadUI(self.resourcePath("UI/KidneySeg.ui"))
        self.layout.addWidget(uiWidget)
        self.ui = slicer.util.childWidgetVariables(uiWidget)

        # Set scene in MRML widgets. In the .ui file the top-level qMRMLWidget's "mrmlSceneChanged(vtkMRMLScene*)"
        # signal is connected to each MRML widget's "setMRMLScene(vtkMRMLScene*)" slot.
        uiWidget.setMRMLScene(slicer.mrmlScene)

        self.logic = KidneySegLogic()
        self.panel = Panel(self.ui, self.logic)

        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.StartCloseEvent, self.onSceneStartClose)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.EndCloseEvent, self.onSceneEndClose)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.EndImportEvent, self.onSceneEndImport)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.NodeRemovedEvent, self.onNodeRemoved)
        slicer.app.connect("aboutToQuit()", self.onAboutToQuit)

        # Make sure parameter node is initialized (needed for module reload)
        self.initializeParameterNode()

    def cleanup(self):
        """Called when the application closes and the module widget is destroyed."""
        slicer.app.disconnect("aboutToQuit()", self.onAboutToQuit)
        if self.panel:
            self.setParameterNode(None)
            self.panel.cleanup()
        self.removeObservers()
        self.panel = None

    def enter(self):
        """Called each time the user opens this module."""
        # Make sure parameter node exists and observed
        self.initializeParameterNode()
        self.panel.enter()

    def exit(self):
        """Called each time the user opens a different module."""
        self.panel.exit()

    def onSceneStartClose(self, caller, event):
        """Called just before the scene is closed."""
        # Parameter node will be reset, do not use it anymore
        self.panel.sceneClosed()
        self.setParameterNode(None)

    def onSceneEndClose(self, caller, event):
        """Called just after the scene is closed."""
        # If this module is shown while the scene is closed then recreate a new parameter node immediately
        if self.parent.isEntered:
            self.initializeParameterNode()

    def onSceneEndImport(self, caller, event):
        """Called just after a scene was loaded: it may have brought a parameter node and results."""
        if self.parent.isEntered or self._parameterNode:
            self.initializeParameterNode()

    def onNodeRemoved(self, caller, event):
        """Called after any node was removed: a run whose volume went away has nowhere to go."""
        run = self.panel.segmentSection.run if self.panel else None
        if run and slicer.mrmlScene.GetNodeByID(run.volumeNode.GetID() or "") is not run.volumeNode:
            self.panel.cancelRun(_("The volume was removed while its kidneys were being segmented."))

    def onAboutToQuit(self):
        """Called when the application is about to end: the engine's process must not outlive it."""
        self.logic.engine.end(event="cancelled")

    def initializeParameterNode(self):
        """Ensure parameter node exists and observed."""
        # Parameter node stores all user choices in parameter values, node selections, etc.
        # so that when the scene is saved and reloaded, these settings are restored.
        self.setParameterNode(self.logic.getParameterNode())

        # Select default input nodes if nothing is selected yet to save a few clicks for the user
        if not self._parameterNode.inputVolume:
            firstVolumeNode = slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLScalarVolumeNode")
            if firstVolumeNode and not firstVolumeNode.IsA("vtkMRMLLabelMapVolumeNode"):
                self._parameterNode.inputVolume = firstVolumeNode
        if not self._parameterNode.reviewer:
            self._parameterNode.reviewer = slicer.app.settings().value("KidneySeg/Reviewer") or ""

    def setParameterNode(self, inputParameterNode):
        """
        Set and observe parameter node.
        Observation is needed because when the parameter node is changed then the GUI must be updated immediately.
        """
        if self._parameterNode:
            self._parameterNode.disconnectGui(self._parameterNodeGuiTag)
            self.removeObserver(self._parameterNode, vtk.vtkCommand.ModifiedEvent, self.onParametersModified)
        self._parameterNode = inputParameterNode
        self.panel.parameterNode = inputParameterNode
        if self._parameterNode:
            # Note: in the .ui file, a Qt dynamic property called "SlicerParameterName" is set on each
            # ui element that needs connection.
            self._parameterNodeGuiTag = self._parameterNode.connectGui(self.ui)
            self.addObserver(self._parameterNode, vtk.vtkCommand.ModifiedEvent, self.onParametersModified)
        self.onParametersModified()

    def onParametersModified(self, caller=None, event=None):
        """Called whenever a choice of the user changed."""
        self.panel.update()


#
# KidneySegLogic
#


class KidneySegLogic(ScriptedLoadableModuleLogic):
    """Computation without a graphical user interface: talks to the engine, which runs in a process of its own.

    From a script::

        logic = KidneySegLogic()
        resultNode, tableNode = logic.process(volumeNode)
        logic.engine.end()

    Uses ScriptedLoadableModuleLogic base class, available at:
    https://github.com/Slicer/Slicer/blob/main/Base/Python/slicer/ScriptedLoadableModule.py
    """

    def __init__(self, engine=None):
        """
        :param engine: an EngineProcess; None makes one that starts when it is first needed.
        """
        ScriptedLoadableModuleLogic.__init__(self)
        self._log = None
        self.engine = engine or EngineProcess(log=self._logLine)
        self.sender = VolumeSender(self.engine)

    def getParameterNode(self):
        return KidneySegParameterNode(super().getParameterNode())

    def setLog(self, log):
        """Send lines worth keeping to ``log`` as well as to Slicer's own log."""
        self._log = log

    def _logLine(self, line):
        logging.info("KidneySeg: %s", line)
        if self._log:
            self._log(line)

    @property
    def capabilities(self):
        """What the engine offers; empty until it answered."""
        return (self.engine.greeting or {}).get("capabilities", {})

    def makeRun(self, parameters, callbacks, findLesions=False, **extra):
        """
        A SegmentationRun of the chosen volume (an UltrasoundRun of a picture), not started yet.
        :param findLesions: ask the model to show cysts and masses too; it must find them.
        """
        ultrasound = isUltrasound(parameters.inputVolume)
        return (UltrasoundRun if ultrasound else SegmentationRun)(
            self.engine,
            self.sender,
            parameters.inputVolume,
            model=parameters.ultrasoundModel if ultrasound else parameters.model,
            device=parameters.device,
            caseId=caseId(parameters, parameters.inputVolume),
            patient=patientFields(parameters),
            callbacks=callbacks,
            findLesions=findLesions,
            extra=extra,
        )

    def process(
        self, inputVolume, model="kidneyseg-arterial", device="auto", caseName="", patient=None, findLesions=False
    ):
        """
        Segment and measure the kidneys of a volume, and wait for it.
        Can be used without GUI widget.
        :param inputVolume: CT volume.
        :param model: name of a model bundle.
        :param device: "auto", "cpu", "cuda", "mps", "intel-gpu" or "intel-npu".
        :param caseName: name of the case in the table; the volume's name if empty.
        :param patient: sex, age_years, height_cm, weight_kg.
        :param findLesions: ask the model to show cysts and masses too; it must find them.
        :return: segmentation node (None if there is no kidney) and table node.
        """
        if not inputVolume or inputVolume.GetImageData() is None:
            raise ValueError("inputVolume must be a volume with voxels")
        outcome = _Outcome()
        run = SegmentationRun(
            self.engine,
            self.sender,
            inputVolume,
            model=model,
            device=device,
            caseId=caseName or inputVolume.GetName(),
            patient=patient or {},
            findLesions=findLesions,
            callbacks=outcome,
        )
        run.start()
        self.wait(lambda: run.over)
        if outcome.problem:
            raise RuntimeError(outcome.problem)
        return run.resultNode, run.tableNode

    def wait(self, condition, seconds=3600):
        """Let the application live until a condition holds."""
        end = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > end:
                raise RuntimeError("the engine did not answer in time")
            slicer.app.processEvents()
            time.sleep(0.01)

    def checkVolume(self, volumeNode, model, device, done, failed):
        """Ask for the contrast phase before anything is segmented. Returns the EngineRequest, None if not sent."""
        try:
            description, _grid = self.sender.send(volumeNode)
        except (OSError, ValueError, MemoryError) as error:
            failed({"message": str(error), "advice": ""})
            return None
        return self.engine.request("check", done=done, failed=failed, volume=description, model=model, device=device)

    def measure(self, resultNode, volumeNode, parameters, done, failed, cancelled):
        """Measure a result as it is now. Returns the EngineRequest, None if not sent."""
        try:
            description, grid = self.sender.send(volumeNode)
            labels, index, _ijkToRas = readLabels(resultNode)
            labels, index = grid.labelsFromOwn(labels, index)
            sent = self.sender.sendLabels(labels, index, grid)
        except (OSError, ValueError, MemoryError) as error:
            failed({"message": str(error), "advice": _("Free some disk space.")})
            return None
        return self.engine.request(
            "measure",
            done=done,
            failed=failed,
            cancelled=cancelled,
            volume=description,
            labels=sent,
            case_id=caseId(parameters, volumeNode),
            patient=patientFields(parameters),
            source="corrected" if isCorrected(resultNode) else "automatic",
            model=modelName(resultNode),
            model_facts=modelFacts(resultNode),
            review=reviewFacts(resultNode),
        )

    def makeSample(self, done, failed):
        """Make the synthetic sample case and load it. :param done: called with the volume node."""
        self.engine.request("sample", done=lambda reply: done(loadSample(reply["ct"])), failed=failed)

    def askFacts(self, done, failed):
        """Ask for models and devices; ``done`` is called for each answer."""
        self.engine.request("models", done=done, failed=failed)
        self.engine.request("devices", done=done)

    def importModel(self, path, done, failed):
        source = Path(path)
        source = source.parent if source.name == "model.json" else source
        self.engine.request("import_model", done=done, failed=failed, source=str(source))

    def verifyModel(self, name, done, failed):
        self.engine.request("verify_model", done=done, failed=failed, model=name)

    def removeModel(self, name, done, failed):
        self.engine.request("remove_model", done=done, failed=failed, model=name)

    def voxelMl(self, resultNode, ijkToRas):
        """Millilitres of one voxel of a result, its parent transform included where that is linear."""
        import numpy as np
        from KidneySegPanel.volume_grid import matrixFromVtk

        volume = abs(np.linalg.det(ijkToRas[:3, :3]))
        parent = resultNode.GetParentTransformNode()
        if parent is not None and parent.IsTransformToWorldLinear():
            matrix = vtk.vtkMatrix4x4()
            parent.GetMatrixTransformToWorld(matrix)
            volume *= abs(np.linalg.det(matrixFromVtk(matrix)[:3, :3]))
        return volume / 1000


class _Outcome:
    """Callbacks of a run that a script waits for."""

    problem = ""

    def progress(self, message):
        pass

    def finished(self, run):
        pass

    def failed(self, run, message, advice):
        self.problem = f"{message} {advice}".strip()

    def cancelled(self, run, reason):
        self.problem = reason or "cancelled"


#
# KidneySegTest
#


class KidneySegTest(ScriptedLoadableModuleTest):
    """
    The module's own short test: labels to segments and back. The panel's tests are in Testing/panel.
    Uses ScriptedLoadableModuleTest base class, available at:
    https://github.com/Slicer/Slicer/blob/main/Base/Python/slicer/ScriptedLoadableModule.py
    """

    def setUp(self):
        """Do whatever is needed to reset the state - typically a scene clear will be enough."""
        slicer.mrmlScene.Clear()

    def runTest(self):
        """Run as few or as many tests as needed here."""
        self.setUp()
        self.test_LabelsSurviveSegments()

    def test_LabelsSurviveSegments(self):
        import numpy as np
        from KidneySegPanel.result_node import createResult

        self.delayDisplay("Starting the test")
        volumeNode = slicer.util.addVolumeFromArray(np.zeros((6, 8, 10), np.int16), name="CT")
        labels = np.zeros((2, 3, 4), np.uint8)
        labels[0, 0, 0], labels[1, 2, 3] = 1, 4
        node = createResult(volumeNode, labels, (5, 4, 3), {"table": {"columns": [], "rows": []}})
        read, index, _ijkToRas = readLabels(node)
        assert index == (5, 4, 3)
        np.testing.assert_array_equal(read, labels)
        self.delayDisplay("Test passed")
