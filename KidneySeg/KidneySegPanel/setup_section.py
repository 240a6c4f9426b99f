"""Models and set-up: is this computer ready, which models are there, and how to mend both."""

import qt
import slicer
from slicer.i18n import tr as _

from KidneySegLib.resources import user_models_dir
from KidneySegPanel.input_checks import checksHtml, escape
from KidneySegPanel.packages import missingPackages
from KidneySegPanel.preflight import findNvidiaGpu, preflightChecks, torchState
from KidneySegPanel.section import Section, fitHeight


class SetupSection(Section):
    def __init__(self, panel):
        super().__init__(panel)
        self._models = []
        self._gpu = None
        self._looked = False
        self.ui.modelsTable.setColumnCount(3)
        self.ui.modelsTable.setHorizontalHeaderLabels([_("Model"), _("Version"), _("Licence")])
        self.ui.modelsTable.verticalHeader().hide()
        self.ui.modelsTable.horizontalHeader().setStretchLastSection(True)
        self.ui.modelInfoLabel.hide()
        self.ui.installTorchButton.hide()
        self.ui.setupCollapsibleButton.connect("contentsCollapsed(bool)", self.onCollapsed)
        self.ui.installButton.connect("clicked(bool)", self.onInstall)
        self.ui.installTorchButton.connect("clicked(bool)", self.onInstallTorch)
        self.ui.modelsTable.connect("itemSelectionChanged()", self.onModelSelected)
        self.ui.importModelButton.connect("clicked(bool)", self.onImportModel)
        self.ui.verifyModelButton.connect("clicked(bool)", self.onVerifyModel)
        self.ui.removeModelButton.connect("clicked(bool)", self.onRemoveModel)
        self.ui.modelsFolderButton.connect("clicked(bool)", self.onModelsFolder)
        self.ui.restartEngineButton.connect("clicked(bool)", self.onRestartEngine)

    def onCollapsed(self, collapsed):
        if not collapsed:
            self.look()

    def look(self):
        """Run the checks of this computer."""
        self._looked = True
        self._gpu = findNvidiaGpu()
        missing = missingPackages()
        self.ui.preflightLabel.text = checksHtml(preflightChecks(missing, self._gpu))
        self.ui.installTorchButton.setVisible(bool(self._gpu) and torchState() is None)

    def onInstall(self):
        if self.panel.ensurePackages(again=True):
            self.panel.showMessage(_("All packages are there."))
        self.look()

    def onInstallTorch(self):
        """Only with an NVIDIA GPU, and only through the PyTorch extension, which picks the build that fits."""
        try:
            import PyTorchUtils
        except ImportError:
            slicer.util.infoDisplay(
                _("Install the PyTorch extension with the Extensions Manager, restart 3D Slicer, and click again."),
                windowTitle="KidneySeg",
            )
            slicer.app.openExtensionsManagerDialog()
            return
        if PyTorchUtils.PyTorchUtilsLogic().installTorch(askConfirmation=True) is not None:
            self.logic.engine.end()
            self.panel.refreshEngineFacts()
        self.look()

    # Models

    def showModels(self, models):
        """Models as the engine listed them."""
        self._models = models
        table = self.ui.modelsTable
        table.setRowCount(len(models))
        for row, model in enumerate(models):
            for column, text in enumerate((model["title"] or model["name"], model["version"], model["licence"])):
                table.setItem(row, column, qt.QTableWidgetItem(str(text)))
        table.resizeColumnsToContents()
        fitHeight(table)
        self.onModelSelected()

    @property
    def selectedModel(self):
        row = self.ui.modelsTable.currentRow()
        return self._models[row] if 0 <= row < len(self._models) else None

    def onModelSelected(self):
        model = self.selectedModel
        self.ui.verifyModelButton.enabled = model is not None
        self.ui.removeModelButton.enabled = model is not None and not model.get("embedded")
        self.ui.modelInfoLabel.setVisible(model is not None)
        if model:
            lines = (model["intended_use"], model["citation"])
            self.ui.modelInfoLabel.text = "<br>".join(escape(line) for line in lines if line)

    def onImportModel(self):
        path = self.panel.askOpenPath(_("Import model"), _("Model (*.zip model.json)"))
        if path and self.panel.ensurePackages():
            self.logic.importModel(path, self._onImported, self._onFailed)

    def _onImported(self, reply):
        self.panel.showMessage(_("Imported {name}.").format(name=reply["model"]["name"]))
        self.panel.refreshEngineFacts()

    def onVerifyModel(self):
        model = self.selectedModel
        if model and self.panel.ensurePackages():
            self.logic.verifyModel(model["name"], self._onVerified, self._onFailed)

    def _onVerified(self, reply):
        self.panel.showMessage(_("{name} is whole and unchanged.").format(name=reply["model"]["name"]))

    def onRemoveModel(self):
        model = self.selectedModel
        question = _("Remove the model {name} from this computer?").format(name=model["name"]) if model else ""
        if model and slicer.util.confirmYesNoDisplay(question, windowTitle="KidneySeg"):
            self.logic.removeModel(model["name"], self._onRemoved, self._onFailed)

    def _onRemoved(self, reply):
        self.panel.showMessage(_("Removed {name}.").format(name=reply["name"]))
        self.panel.refreshEngineFacts()

    def _onFailed(self, message):
        self.panel.showProblem(message["message"], message.get("advice", ""))

    def onModelsFolder(self):
        try:
            folder = user_models_dir()
            folder.mkdir(parents=True, exist_ok=True)
        except (ImportError, OSError) as error:
            self.panel.showProblem(_("The folder cannot be opened: {reason}").format(reason=error))
            return
        qt.QDesktopServices.openUrl(qt.QUrl.fromLocalFile(str(folder)))

    def onRestartEngine(self):
        self.panel.cancelRun(_("The engine was restarted."))
        self.logic.engine.end()
        self.panel.refreshEngineFacts()
