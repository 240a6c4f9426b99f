"""Re-training: shown only when the engine offers it."""

from slicer.i18n import tr as _

from KidneySegPanel import result_node
from KidneySegPanel.section import Section


class RetrainingSection(Section):
    def __init__(self, panel):
        super().__init__(panel)
        self._offered = False
        self.ui.addToDatasetButton.connect("clicked(bool)", self.onAdd)
        self.showCapabilities({})

    def showCapabilities(self, capabilities):
        """Capabilities as the engine greeted with."""
        self._offered = bool(capabilities.get("retraining"))
        self.ui.retrainingCollapsibleButton.setVisible(self._offered)
        self.update()

    def update(self):
        node = self.parameters.segmentation if self.parameters else None
        accepted = result_node.isResult(node) and bool(node.GetAttribute(result_node.REVIEWER))
        self.ui.addToDatasetButton.enabled = self._offered and accepted
        self.ui.retrainingLabel.text = "" if accepted else _("Accept a result under Review first.")

    def onAdd(self):
        self.logic.addToDataset(self.parameters, self.panel.showMessage, self.panel.showProblem)
