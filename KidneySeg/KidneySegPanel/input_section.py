"""Input: choose or load a CT, and see at once whether it suits."""

import slicer
from slicer.i18n import tr as _

from KidneySegPanel.dicom_facts import dicomFacts
from KidneySegPanel.input_checks import Check, checksHtml, geometryChecks, intensityCheck, phaseCheck
from KidneySegPanel.packages import missingPackages
from KidneySegPanel.section import Section
from KidneySegPanel.segmentation_run import sentences
from KidneySegPanel.ultrasound import isUltrasound, ultrasoundChecks
from KidneySegPanel.volume_grid import matrixFromVtk


class InputSection(Section):
    """Attributes: checks: rows shown for the chosen volume."""

    def __init__(self, panel):
        super().__init__(panel)
        self.checks = ()
        self._checkedKey = None
        self._phaseRequest = None
        self.ui.dicomButton.connect("clicked(bool)", self.onDicom)
        self.ui.sampleButton.connect("clicked(bool)", self.onSample)

    def update(self):
        volumeNode = self.parameters.inputVolume if self.parameters else None
        key = self._contentKey(volumeNode)
        if key == self._checkedKey:
            return
        self._checkedKey = key
        self.stopPhaseCheck()
        self.checks = self._geometryChecks(volumeNode)
        if key is not None and not self.panel.running:
            self._askForPhase(volumeNode)
        self._show()

    def sceneClosed(self):
        self.stopPhaseCheck()
        self._checkedKey, self.checks = None, ()
        self._show()

    def stopPhaseCheck(self):
        """Leave the engine free for what the user asks."""
        request, self._phaseRequest = self._phaseRequest, None
        if request is not None:
            self.logic.engine.cancel(request)
            self.checks = tuple(check for check in self.checks if check.level)
            self._show()

    def onDicom(self):
        slicer.util.selectModule("DICOM")

    def onSample(self):
        if not self.panel.ensurePackages():
            return
        self.ui.sampleButton.enabled = False
        self.panel.showMessage(_("Making the sample case…"))
        self.logic.makeSample(self._onSampleMade, self._onSampleFailed)

    def _onSampleMade(self, volumeNode):
        self.ui.sampleButton.enabled = True
        self.panel.showMessage(_("The sample case is loaded. Click Segment kidneys."))
        if self.parameters:
            self.parameters.inputVolume = volumeNode
        self.panel.showVolume(volumeNode)

    def _onSampleFailed(self, message):
        self.ui.sampleButton.enabled = True
        self.panel.showProblem(message["message"], message.get("advice", ""))

    def _contentKey(self, volumeNode):
        if volumeNode is None or volumeNode.GetImageData() is None:
            return None
        transform = volumeNode.GetParentTransformNode()
        ijkToRas = _ijkToRas(volumeNode)
        return (
            volumeNode.GetID(),
            volumeNode.GetImageData().GetMTime(),
            tuple(ijkToRas.ravel()),
            transform.GetTransformToWorldMTime() if transform else 0,
        )

    def _geometryChecks(self, volumeNode):
        if volumeNode is None:
            return ()
        image = volumeNode.GetImageData()
        if image is None or 0 in image.GetDimensions():
            return (Check("problem", _("Volume"), _("It has no voxels.")),)
        if isUltrasound(volumeNode):
            return ultrasoundChecks(volumeNode)
        facts = dicomFacts(volumeNode)
        low, high = image.GetScalarRange()
        return (
            intensityCheck(low, high, image.GetNumberOfScalarComponents(), facts.get("modality")),
            *geometryChecks(
                _ijkToRas(volumeNode),
                image.GetDimensions(),
                volumeNode.GetParentTransformNode(),
                facts.get("sliceThicknessMm"),
            ),
        )

    @property
    def suitable(self):
        """Whether the volume can be segmented at all."""
        return bool(self.checks) and not any(check.level == "problem" for check in self.checks)

    def _askForPhase(self, volumeNode):
        if not self.suitable or isUltrasound(volumeNode):
            return
        title = _("Contrast phase")
        if missingPackages():
            self.checks += (Check("", title, _("known after the packages are installed (Models and set-up).")),)
            return
        self.checks += (Check("", title, _("looking…")),)
        self._phaseRequest = self.logic.checkVolume(
            volumeNode, self.parameters.model, self.parameters.device, self._onPhase, self._onPhaseFailed
        )

    def _onPhase(self, reply):
        self._phaseRequest = None
        rows = tuple(check for check in self.checks if check.level)
        flags = reply.get("flags", [])
        if reply.get("phase"):
            phaseKeys = [key for key in flags if key.startswith("phase_") or key == "low_corticomedullary_contrast"]
            rows += (phaseCheck(reply["phase"], [text for _level, text in sentences(phaseKeys)]),)
        self.checks = rows
        self._show()

    def _onPhaseFailed(self, message):
        self._phaseRequest = None
        rows = tuple(check for check in self.checks if check.level)
        self.checks = (*rows, Check("warning", _("Contrast phase"), _("not known: ") + message["message"]))
        self._show()

    def _show(self):
        self.ui.checksLabel.text = checksHtml(self.checks)
        self.panel.updateSegmentButton()


def _ijkToRas(volumeNode):
    import vtk

    matrix = vtk.vtkMatrix4x4()
    volumeNode.GetIJKToRASMatrix(matrix)
    return matrixFromVtk(matrix)
