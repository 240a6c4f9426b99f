"""The panel as a whole: its sections, and what they ask of each other."""

import qt
import slicer
from slicer.i18n import tr as _

from KidneySegPanel.input_section import InputSection
from KidneySegPanel.measurement_table import showTable
from KidneySegPanel.measurements_section import MeasurementsSection
from KidneySegPanel.packages import InstallationProblem, installPackages, missingPackages
from KidneySegPanel.result_node import volumeOf
from KidneySegPanel.retraining_section import RetrainingSection
from KidneySegPanel.review_section import ReviewSection
from KidneySegPanel.segment_section import SegmentSection
from KidneySegPanel.setup_section import SetupSection

# How long after the last edit the whole table is measured anew (volumes are counted at once).
MEASURE_AFTER_EDIT_MS = 3000


class Panel:
    """Attributes: ui: widgets by name. logic: KidneySegLogic. parameterNode: None while the scene is closed."""

    def __init__(self, ui, logic):
        self.ui = ui
        self.logic = logic
        self.parameterNode = None
        self._factsAsked = False
        self._measureTimer = qt.QTimer()
        self._measureTimer.setSingleShot(True)
        self._measureTimer.setInterval(MEASURE_AFTER_EDIT_MS)
        self._measureTimer.connect("timeout()", self._onMeasureTimer)
        self.segmentSection = None
        self.inputSection = InputSection(self)
        self.segmentSection = SegmentSection(self)
        self.reviewSection = ReviewSection(self)
        self.measurementsSection = MeasurementsSection(self)
        self.retrainingSection = RetrainingSection(self)
        self.setupSection = SetupSection(self)
        self.sections = (
            self.inputSection,
            self.segmentSection,
            self.reviewSection,
            self.measurementsSection,
            self.retrainingSection,
            self.setupSection,
        )
        logic.setLog(self.log)

    def update(self):
        """Make all sections agree with the parameter node."""
        for section in self.sections:
            section.update()

    def enter(self):
        for section in self.sections:
            section.enter()
        if not self._factsAsked and not missingPackages():
            self.refreshEngineFacts()

    def exit(self):
        for section in self.sections:
            section.exit()

    def sceneClosed(self):
        """The scene is about to be closed: nothing that runs may write into the next one."""
        self._measureTimer.stop()
        self.cancelRun(_("The scene was closed; the run was stopped."))
        for section in self.sections:
            section.sceneClosed()

    def cleanup(self):
        self._measureTimer.stop()
        for section in self.sections:
            section.cleanup()
        self.logic.setLog(None)
        self.logic.engine.end(event="cancelled")

    # What sections ask of the whole

    @property
    def running(self):
        return self.segmentSection is not None and self.segmentSection.run is not None

    def cancelRun(self, reason=""):
        self.segmentSection.cancelRun(reason)

    def updateSegmentButton(self):
        if self.segmentSection is not None:
            self.segmentSection.updateButton()

    def showMessage(self, text, warnings=()):
        self.segmentSection.showMessage(text, warnings)

    def showProblem(self, message, advice=""):
        self.segmentSection.showProblem(message, advice)

    def log(self, line):
        if self.segmentSection is not None:
            self.segmentSection.log(line)

    def ensurePackages(self, again=False):
        """Whether the engine's packages are there; asks and installs if not.

        :param again: repair: also end the engine, so that it loads what was installed.
        """
        if not again and not missingPackages():
            return True
        try:
            ready = installPackages()
        except InstallationProblem as problem:
            self.showProblem(str(problem))
            return False
        if not ready:
            self.showMessage(_("KidneySeg cannot segment until its packages are installed."))
            return False
        self.logic.engine.end()
        self.refreshEngineFacts()
        return True

    def refreshEngineFacts(self):
        """Ask the engine what it offers: models, devices, capabilities."""
        self._factsAsked = True
        self.logic.askFacts(self._onFacts, self._onFactsFailed)

    def _onFacts(self, facts):
        if "models" in facts:
            self.segmentSection.showModels(facts["models"])
            self.setupSection.showModels(facts["models"])
        if "devices" in facts:
            self.segmentSection.showDevices(facts["devices"])
        self.retrainingSection.showCapabilities(self.logic.capabilities)

    def _onFactsFailed(self, message):
        self._factsAsked = False
        self.log(message["message"])
        self.showProblem(message["message"], message.get("advice", ""))

    def resultReady(self, run):
        """A run ended well: show its result everywhere."""
        parameters = self.parameterNode
        previous = parameters.segmentation
        if run.resultNode is not None:
            if previous is not None and volumeOf(previous) is run.volumeNode and previous.GetDisplayNode():
                # Two results of one scan on top of each other cannot be told apart.
                previous.GetDisplayNode().SetVisibility(False)
            parameters.segmentation = run.resultNode
        elif run.isUltrasound:
            # What is in the table is the picture's; a CT result must not be measured anew into it.
            parameters.segmentation = None
        parameters.measurements = run.tableNode
        self.measurementsSection.segmented(run.reply)
        self.ui.reviewCollapsibleButton.collapsed = run.resultNode is None
        self.ui.measurementsCollapsibleButton.collapsed = False
        self.showVolume(run.volumeNode)
        self.update()

    def caseLoaded(self, volumeNode, resultNode, table):
        """A case of the data set is in the scene: review it."""
        parameters = self.parameterNode
        previous = parameters.segmentation
        if previous is not None and previous is not resultNode and previous.GetDisplayNode():
            previous.GetDisplayNode().SetVisibility(False)
        parameters.inputVolume = volumeNode
        parameters.segmentation = resultNode
        parameters.measurements = showTable(resultNode, volumeNode, table)
        self.ui.reviewCollapsibleButton.collapsed = False
        self.showVolume(volumeNode)
        self.update()
        # The table is that of the automatic labels; what is shown may be corrected.
        self.measurementsSection.resultEdited()
        self._measureTimer.start()

    def resultEdited(self):
        """Labels were corrected: volumes are counted already, the rest follows when the hand rests."""
        self.measurementsSection.resultEdited()
        self._measureTimer.start()

    def resultAccepted(self):
        self._measureTimer.stop()
        self.measurementsSection.measure()
        self.retrainingSection.update()

    def reviewChanged(self):
        """An acceptance was undone or done again."""
        self.retrainingSection.update()

    def _onMeasureTimer(self):
        if self.parameterNode and not self.running and not missingPackages():
            self.measurementsSection.measure()

    # The application

    def showVolume(self, volumeNode):
        """Put a volume into the slice views."""
        if slicer.app.layoutManager() is not None:
            slicer.util.setSliceViewerLayers(background=volumeNode, fit=True)

    def frame3DViews(self):
        """Put what is shown in 3D into the middle of the views."""
        layoutManager = slicer.app.layoutManager()
        if layoutManager is None:
            return
        for number in range(layoutManager.threeDViewCount):
            view = layoutManager.threeDWidget(number).threeDView()
            view.resetFocalPoint()
            view.resetCamera()

    def askSavePath(self, title, name, kinds):
        """Where to save. Empty if the user thought better of it."""
        folder = slicer.app.settings().value("KidneySeg/ExportFolder") or ""
        path = _first(qt.QFileDialog.getSaveFileName(slicer.util.mainWindow(), title, f"{folder}/{name}", kinds))
        if path:
            slicer.app.settings().setValue("KidneySeg/ExportFolder", path.rpartition("/")[0])
        return path

    def askOpenPath(self, title, kinds):
        """What to open. Empty if the user thought better of it."""
        return _first(qt.QFileDialog.getOpenFileName(slicer.util.mainWindow(), title, "", kinds))


def _first(answer):
    # PythonQt gives the path, other bindings the path and the filter.
    return answer[0] if isinstance(answer, tuple) else answer
