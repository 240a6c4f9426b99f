"""Segment kidneys: model, device, the button, progress, cancel, log."""

import time

import qt
import slicer
from slicer.i18n import tr as _

from KidneySegPanel.combo_box import chooseQuietly
from KidneySegPanel.section import Section
from KidneySegPanel.segmentation_run import sentences
from KidneySegPanel.ultrasound import isUltrasound, modelsFor

# First guess of a CPU's seconds for one case, before this computer was ever measured.
CPU_CORE_SECONDS = 50.0
MAX_LOG_LINES = 2000


class SegmentSection(Section):
    """Attributes: run: the SegmentationRun under way, or None."""

    def __init__(self, panel):
        super().__init__(panel)
        self.run = None
        self._devices = []
        self._models = []
        self._offered = False
        self.ui.progressBar.setRange(0, 100)
        self.ui.progressBar.hide()
        self.ui.cancelButton.hide()
        self.ui.stageLabel.hide()
        self.ui.messageLabel.hide()
        self.ui.logTextEdit.setMaximumBlockCount(MAX_LOG_LINES)
        self.ui.modelComboBox.connect("currentIndexChanged(int)", self.onModelChosen)
        self.ui.deviceComboBox.connect("currentIndexChanged(int)", self.onDeviceChosen)
        self.ui.lesionsCheckBox.connect("toggled(bool)", self.onLesionsWanted)
        self.ui.segmentButton.connect("clicked(bool)", self.onSegment)
        self.ui.cancelButton.connect("clicked(bool)", self.onCancel)
        self.ui.show3DButton.connect("clicked(bool)", self.onShow3D)
        self.ui.copyLogButton.connect("clicked(bool)", self.onCopyLog)
        self.showModels([])
        self.showDevices([])

    # Choices

    def showModels(self, models):
        """Models as the engine listed them."""
        self._models = models or [{"name": "kidneyseg-arterial", "title": _("Kidneys, arterial phase (embedded)")}]
        self._offerModels()

    def _offerModels(self):
        """Offer the models that know the chosen volume: of CT, or of ultrasound pictures."""
        self._offered = self._isUltrasound()
        items = [(model["title"] or model["name"], model["name"]) for model in modelsFor(self._models, self._offered)]
        _fill(self.ui.modelComboBox, items, self._chosenModel())
        self._offerLesions()

    def _offerLesions(self):
        self.ui.lesionsCheckBox.setVisible(self._knowsLesions())

    def _knowsLesions(self):
        """Whether the chosen model shows cysts and masses when it is asked to."""
        name = self._chosenModel()
        return any(model["name"] == name and model.get("lesions_on_request") for model in self._models)

    def _isUltrasound(self):
        return bool(self.parameters) and isUltrasound(self.parameters.inputVolume)

    def _chosenModel(self):
        if not self.parameters:
            return None
        return self.parameters.ultrasoundModel if self._offered else self.parameters.model

    def showDevices(self, devices):
        """Devices as the engine found them."""
        self._devices = devices
        # As the engine chooses: the first CUDA card, else the processor.
        chosen = next((device for device in devices if device["kind"] == "cuda"), devices[0] if devices else None)
        best = self._describeDevice(chosen) if chosen else ""
        automatic = _("Automatic: {device}").format(device=best) if best else _("Automatic")
        items = [
            (automatic, "auto"),
            *((self._describeDevice(device), device.get("id", device["kind"])) for device in devices),
        ]
        _fill(self.ui.deviceComboBox, items, self.parameters.device if self.parameters else None)
        self._showDeviceInfo()

    def _describeDevice(self, device):
        memory = device.get("memory_bytes")
        text = device["name"]
        if device["kind"] != "cpu" and memory:
            text = _("{name}, {memory:.0f} GB").format(name=text, memory=memory / 1e9)
        return _("{device}, about {seconds:.0f} s").format(device=text, seconds=self._expectedSeconds(device))

    def _expectedSeconds(self, device):
        measured = slicer.app.settings().value(self._settingsKey(device["kind"]))
        if measured:
            return float(measured)
        if device["kind"] == "cpu":
            import os

            return max(8.0, CPU_CORE_SECONDS / (os.cpu_count() or 1))
        return 10.0

    def _settingsKey(self, kind):
        model = self.parameters.model if self.parameters else "kidneyseg-arterial"
        return f"KidneySeg/Seconds/{model}/{kind}"

    def _showDeviceInfo(self):
        kinds = {device["kind"] for device in self._devices}
        if not kinds:
            text = ""
        elif kinds == {"cpu"}:
            text = _("No GPU that the engine can use was found; the processor does it.")
        else:
            text = ""
        self.ui.deviceInfoLabel.text = text
        self.ui.deviceInfoLabel.setVisible(bool(text))

    def onModelChosen(self, _index=None):
        name = self.ui.modelComboBox.currentData
        if self.parameters and name:
            setattr(self.parameters, "ultrasoundModel" if self._offered else "model", name)

    def onLesionsWanted(self, wanted):
        if self.parameters:
            self.parameters.findLesions = bool(wanted)

    def onDeviceChosen(self, _index=None):
        kind = self.ui.deviceComboBox.currentData
        if self.parameters and kind:
            self.parameters.device = kind

    def update(self):
        if self.parameters:
            if self._isUltrasound() != self._offered:
                self._offerModels()
            chooseQuietly(self.ui.modelComboBox, self._chosenModel())
            chooseQuietly(self.ui.deviceComboBox, self.parameters.device)
            self._offerLesions()
            if self.ui.lesionsCheckBox.checked != self.parameters.findLesions:
                self.ui.lesionsCheckBox.checked = self.parameters.findLesions
        node = self.parameters.segmentation if self.parameters else None
        self.ui.show3DButton.enabled = node is not None
        display = node.GetDisplayNode() if node else None
        shown = bool(display and display.GetVisibility3D() and _hasSurface(node))
        if self.ui.show3DButton.checked != shown:
            self.ui.show3DButton.checked = shown
        self.updateButton()

    def updateButton(self):
        """Enable the button when it would work, and say in its tooltip why not."""
        button = self.ui.segmentButton
        if self.run is not None:
            button.enabled, button.toolTip = False, _("A run is under way.")
        elif not self.parameters or not self.parameters.inputVolume:
            button.enabled, button.toolTip = False, _("Choose a CT volume first.")
        elif not self.panel.inputSection.suitable:
            button.enabled, button.toolTip = False, _("This volume cannot be segmented: see the checks under Input.")
        else:
            button.enabled = True
            button.toolTip = _("Find both kidneys and divide them into cortex and medulla.")

    # The run

    def onSegment(self):
        if self.run is not None or not self.parameters or not self.parameters.inputVolume:
            return
        if not self.panel.ensurePackages():
            return
        self.panel.inputSection.stopPhaseCheck()
        self.showMessage("")
        self._showRunning(True)
        model, device = self._chosenModel(), self.parameters.device
        self.log(_("Segmenting with {model} on {device}").format(model=model, device=device))
        findLesions = self.parameters.findLesions and self._knowsLesions()
        self.run = self.logic.makeRun(self.parameters, self, findLesions=findLesions)
        self.updateButton()
        self.run.start()

    def onCancel(self):
        self.cancelRun()

    def cancelRun(self, reason=""):
        """Stop the run, if there is one. :param reason: said to the user where it was not their wish."""
        if self.run is not None:
            self.ui.cancelButton.enabled = False
            self.ui.stageLabel.text = _("Stopping…")
            self.run.cancel(reason)

    # Callbacks of the run

    def progress(self, message):
        self.ui.progressBar.value = round(100 * message["overall"])
        remaining = message.get("remaining_s")
        text = stageText(message["stage"])
        if remaining is not None:
            text = _("{stage}, about {seconds} left").format(stage=text, seconds=durationText(remaining))
        self.ui.stageLabel.text = text

    def finished(self, run):
        self._end()
        kind = str((run.reply.get("provenance") or {}).get("device") or "cpu").partition(":")[0]
        slicer.app.settings().setValue(self._settingsKey(kind), round(run.seconds, 1))
        self.log(_("Done in {seconds:.1f} s on {device}").format(seconds=run.seconds, device=kind))
        flags = sentences(run.reply.get("flags", []))
        if not run.foundKidney:
            advice = _("Check that the scan covers the kidneys and is a CT in HU. Another model may know other scans.")
            if run.isUltrasound:
                advice = _("Check that the picture shows a kidney. Another model may know other pictures.")
            self.showProblem(_("No kidney was found in this volume."), advice)
        else:
            self.showMessage(
                _("Done in {seconds:.0f} s.").format(seconds=run.seconds), [text for _level, text in flags]
            )
        self.panel.resultReady(run)

    def failed(self, run, message, advice):
        self._end()
        self.log(_("Failed: {message}").format(message=message))
        self.showProblem(message, advice)

    def cancelled(self, run, reason):
        self._end()
        self.log(_("Cancelled."))
        self.showMessage(reason or _("Cancelled. Nothing was changed."))

    def _end(self):
        self.run = None
        self._showRunning(False)
        self.updateButton()

    def _showRunning(self, running):
        self.ui.progressBar.value = 0
        self.ui.stageLabel.text = _("Starting…") if running else ""
        self.ui.cancelButton.enabled = running
        for widget in (self.ui.progressBar, self.ui.stageLabel, self.ui.cancelButton):
            widget.setVisible(running)
        for widget in (self.ui.modelComboBox, self.ui.deviceComboBox, self.ui.lesionsCheckBox):
            widget.enabled = not running

    # Messages and log

    def showMessage(self, text, warnings=()):
        """A plain sentence, with warnings below it."""
        from KidneySegPanel.input_checks import escape

        rows = [escape(text), *(f'<span style="color:#d08a00"><b>!</b></span> {escape(line)}' for line in warnings)]
        self.ui.messageLabel.text = "<br>".join(row for row in rows if row)
        self.ui.messageLabel.setVisible(bool(text or warnings))

    def showProblem(self, message, advice=""):
        """What happened, and what to try."""
        from KidneySegPanel.input_checks import escape

        self.ui.messageLabel.text = f'<span style="color:#e05050"><b>{escape(message)}</b></span>' + (
            f"<br>{escape(advice)}" if advice else ""
        )
        self.ui.messageLabel.show()

    def log(self, line):
        self.ui.logTextEdit.appendPlainText(f"{time.strftime('%H:%M:%S')}  {line}")

    def onCopyLog(self):
        qt.QApplication.clipboard().setText(self.ui.logTextEdit.plainText)

    def onShow3D(self, checked):
        node = self.parameters.segmentation if self.parameters else None
        if node is None:
            return
        if checked:
            node.CreateClosedSurfaceRepresentation()
        node.GetDisplayNode().SetVisibility3D(bool(checked))
        if checked:
            self.panel.frame3DViews()


def stageText(stage):
    """A stage of `KidneySegLib.progress.STAGES` in the user's words."""
    return {
        "read": _("Reading the volume"),
        "check": _("Checking it"),
        "localise": _("Looking for the kidneys"),
        "preprocess": _("Preparing"),
        "network": _("Outlining cortex and medulla"),
        "resample": _("Back to the scan's own grid"),
        "postprocess": _("Telling right from left"),
        "measure": _("Measuring"),
        "write": _("Writing the report"),
        "load": _("Loading the model"),
    }.get(stage, stage)


def durationText(seconds):
    """Seconds as people say them."""
    if seconds < 90:
        return _("{count:.0f} s").format(count=max(1, seconds))
    return _("{count:.0f} min").format(count=seconds / 60)


def _fill(comboBox, items, chosen):
    wasBlocked = comboBox.blockSignals(True)
    comboBox.clear()
    for text, value in items:
        comboBox.addItem(text, value)
    comboBox.blockSignals(wasBlocked)
    if chosen:
        chooseQuietly(comboBox, chosen)


def _hasSurface(node):
    name = slicer.vtkSegmentationConverter.GetSegmentationClosedSurfaceRepresentationName()
    return node.GetSegmentation().ContainsRepresentation(name)
