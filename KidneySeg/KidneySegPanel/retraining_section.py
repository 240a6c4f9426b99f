"""Re-training: reviewed cases go into a data set, come back for further editing, and leave as a training set."""

from pathlib import Path

import qt
import slicer
from slicer.i18n import tr as _

from KidneySegPanel import dataset_requests, result_node
from KidneySegPanel.input_checks import escape
from KidneySegPanel.label_segments import readLabels
from KidneySegPanel.loaded_case import showLoaded
from KidneySegPanel.section import Section

SETTING = "KidneySeg/DataSetFolder"
NNUNET_NAME = "Dataset601_KidneySeg"


class RetrainingSection(Section):
    """
    Attributes:
        cases: what the engine last listed, in the order of the table.
    """

    def __init__(self, panel):
        super().__init__(panel)
        self._offered = False
        self._busy = False
        self._next = []
        self.cases = []
        for text, value in (("nnU-Net", "nnunet"), ("MONAI", "monai")):
            self.ui.exportFormatComboBox.addItem(text, value)
        table = self.ui.casesTable
        table.setColumnCount(4)
        table.setHorizontalHeaderLabels([_("Case"), _("Part"), _("Readers"), _("Light")])
        table.connect("itemSelectionChanged()", self.onCaseSelected)
        self.ui.datasetLineEdit.text = slicer.app.settings().value(SETTING) or ""
        self.ui.datasetLineEdit.connect("editingFinished()", self.onFolder)
        self.ui.datasetBrowseButton.connect("clicked(bool)", self.onBrowse)
        self.ui.addToDatasetButton.connect("clicked(bool)", self.onAdd)
        self.ui.loadCaseButton.connect("clicked(bool)", self.onLoad)
        self.ui.nextCaseButton.connect("clicked(bool)", self.onNext)
        self.ui.exportDatasetButton.connect("clicked(bool)", self.onExport)
        self.showCapabilities({})

    def showCapabilities(self, capabilities):
        """Capabilities as the engine greeted with."""
        wasOffered, self._offered = self._offered, bool(capabilities.get("retraining"))
        self.ui.retrainingCollapsibleButton.setVisible(self._offered)
        if self._offered and not wasOffered and self.folder and (Path(self.folder) / "dataset.json").is_file():
            self.refresh()
        self.update()

    @property
    def folder(self):
        return self.ui.datasetLineEdit.text.strip()

    def update(self):
        node = self.parameters.segmentation if self.parameters else None
        reviewed = result_node.isResult(node) and bool(node.GetAttribute(result_node.REVIEWER))
        ready = self._offered and not self._busy and bool(self.folder)
        self.ui.addToDatasetButton.enabled = ready and reviewed
        self.ui.loadCaseButton.enabled = ready and self.selectedCase is not None
        self.ui.nextCaseButton.enabled = ready and bool(self._next)
        self.ui.exportDatasetButton.enabled = ready and bool(self.cases)
        if not self.folder:
            text = _("Choose the folder of a data set; a new or empty folder starts one.")
        elif not reviewed:
            text = _("Accept or reject a result under Review to add it.")
        else:
            text = ""
        self.ui.retrainingLabel.text = escape(text)
        self.ui.retrainingLabel.setVisible(bool(text))

    # The data set

    def onBrowse(self, _checked=None):
        folder = qt.QFileDialog.getExistingDirectory(slicer.util.mainWindow(), _("Folder of the data set"), self.folder)
        if folder:
            self.ui.datasetLineEdit.text = folder
            self.onFolder()

    def onFolder(self):
        slicer.app.settings().setValue(SETTING, self.folder)
        self._show([], [])
        if self.folder and (Path(self.folder) / "dataset.json").is_file():
            self.refresh()
        self.update()

    def refresh(self, then=None):
        """Ask for the cases anew: others may have added some."""
        self._ask(
            lambda failed: dataset_requests.listDataset(
                self.logic, self.folder, self._done(self._onListed, then), failed
            )
        )

    def _onListed(self, reply):
        waiting = reply["next"]
        order = {caseId: number for number, caseId in enumerate(waiting)}
        self._show(sorted(reply["cases"], key=lambda case: order.get(case["case_id"], len(order))), waiting)

    def _show(self, cases, waiting):
        chosen = self.selectedCase["case_id"] if self.selectedCase else None
        self.cases, self._next = list(cases), list(waiting)
        table = self.ui.casesTable
        table.setRowCount(len(self.cases))
        for row, case in enumerate(self.cases):
            for column, text in enumerate(_cells(case)):
                table.setItem(row, column, qt.QTableWidgetItem(text))
        table.resizeColumnsToContents()
        rows = [row for row, case in enumerate(self.cases) if case["case_id"] == chosen]
        if rows:
            table.selectRow(rows[0])
        self.onCaseSelected()

    @property
    def selectedCase(self):
        row = self.ui.casesTable.currentRow()
        return self.cases[row] if 0 <= row < len(self.cases) else None

    def onCaseSelected(self):
        box = self.ui.revisionComboBox
        box.clear()
        case = self.selectedCase
        for revision in reversed(case["revisions"] if case else []):
            box.addItem(revisionText(revision), revision["number"])
        self.update()

    # Asking the engine: one thing at a time

    def _ask(self, send):
        if self._busy or not self.panel.ensurePackages():
            return
        self._busy = True
        self.update()
        send(self._onFailed)

    def _done(self, take, then=None):
        def done(reply):
            self._busy = False
            take(reply)
            self.update()
            if then:
                then()

        return done

    def _onFailed(self, message):
        self._busy = False
        self.panel.showProblem(message["message"], message.get("advice", ""))
        self.panel.log(message["message"])
        self.update()

    def sceneClosed(self):
        self._busy = False

    # Adding

    def onAdd(self, _checked=None):
        node = self.parameters.segmentation if self.parameters else None
        volumeNode = result_node.volumeOf(node) if result_node.isResult(node) else None
        if volumeNode is None:
            self.panel.showProblem(_("The CT of this result is not in the scene any more."), _("Load it again."))
            return
        labels, index, _grid = readLabels(node)
        if result_node.labelsHash(labels, index) != node.GetAttribute(result_node.REVIEWED_LABELS):
            self.panel.showProblem(
                _("The result was changed after it was reviewed."), _("Accept or reject it again, then add it.")
            )
            return
        self._ask(
            lambda failed: dataset_requests.addToDataset(
                self.logic,
                node,
                volumeNode,
                self.folder,
                self._done(lambda reply: self._onAdded(node, volumeNode, reply), self.refresh),
                failed,
            )
        )

    def _onAdded(self, node, volumeNode, reply):
        caseId = reply["case"]["case_id"]
        if slicer.mrmlScene.GetNodeByID(node.GetID() or "") is node:
            node.SetAttribute(result_node.DATASET_CASE, caseId)
            node.SetAttribute(result_node.DATASET_REVISION, str(reply["revision"]))
            volumeNode.SetAttribute(result_node.DATASET_CASE, caseId)
        text = _("Added as {case}, revision {number}.").format(case=caseId, number=reply["revision"])
        self.panel.showMessage(f"{text} {reply['notice']}")
        self.panel.log(text)

    # Loading

    def onLoad(self, _checked=None):
        case = self.selectedCase
        if case is not None:
            self._load(case["case_id"], self.ui.revisionComboBox.currentData)

    def onNext(self, _checked=None):
        """Load the case that should be reviewed next, after looking whether others have done so meanwhile."""
        self.refresh(then=lambda: self._load(self._next[0], None) if self._next else self._saysAllReviewed())

    def _saysAllReviewed(self):
        self.panel.showMessage(_("Every case of the data set was reviewed."))

    def _load(self, caseId, revision):
        self._ask(
            lambda failed: dataset_requests.loadFromDataset(
                self.logic, self.folder, caseId, revision, self._done(self._onLoaded), failed
            )
        )

    def _onLoaded(self, reply):
        try:
            volumeNode, node = showLoaded(self.logic.engine.workspace, reply)
        except (OSError, RuntimeError) as error:
            self.panel.showProblem(_("The case could not be loaded: {reason}").format(reason=error))
            return
        self.panel.caseLoaded(volumeNode, node, reply["table"])
        said = revisionText(reply["revision"])
        self.panel.showMessage(_("Loaded {case}, {labels}.").format(case=reply["case"]["case_id"], labels=said))

    # Exporting

    def onExport(self, _checked=None):
        kind = self.ui.exportFormatComboBox.currentData
        folder = Path(self.folder)
        output = folder.parent / f"{folder.name}-{kind}"
        output = output / NNUNET_NAME if kind == "nnunet" else output
        self._ask(
            lambda failed: dataset_requests.exportDataset(
                self.logic, folder, output, kind, self._done(self._onExported), failed
            )
        )

    def _onExported(self, reply):
        text = _("Training set with {train} cases and {test} held out: {folder}").format(**reply)
        left = [f"{caseId}: {why}" for caseId, why in reply["left_out"].items()]
        self.panel.showMessage(text, left)
        self.panel.log(text)


def revisionText(revision):
    """``2 · Dr. A · accepted · 2026-11-21``, in words that need no explanation."""
    statuses = {"accepted": _("accepted"), "rejected": _("rejected"), "unreviewed": _("not reviewed")}
    parts = [str(revision["number"]), revision["reader"], statuses[revision["status"]], revision["created"][:10]]
    return " · ".join(part for part in parts if part)


def _cells(case):
    readers = list(dict.fromkeys(one["reader"] for one in case["revisions"] if one["reader"]))
    part = _("held out") if case["split"] == "test" else _("training")
    return case["case_id"], part, ", ".join(readers) or _("not reviewed"), case["traffic_light"]
