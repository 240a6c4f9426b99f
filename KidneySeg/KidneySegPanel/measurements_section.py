"""Measurements: the table, patient data for eGFR and indexing, and getting it all out."""

import shutil
from pathlib import Path

import qt
import slicer
from slicer.i18n import tr as _

from KidneySegPanel import result_node
from KidneySegPanel.case_request import patientFields
from KidneySegPanel.combo_box import chooseQuietly
from KidneySegPanel.dataset_requests import dicomFiles, saveDicomSeg
from KidneySegPanel.dicom_facts import dicomFacts
from KidneySegPanel.input_checks import escape
from KidneySegPanel.measurement_table import caseFlags, clipboardText, csvText, readTable, showTable
from KidneySegPanel.section import Section
from KidneySegPanel.segmentation_run import sentences

PATIENT_FIELDS = ("sex", "ageYears", "heightCm", "weightKg")
_MARKS = {"critical": ("✘", "#e05050"), "warning": ("!", "#d08a00"), "info": ("i", "#888888")}


class MeasurementsSection(Section):
    """
    Attributes:
        reportFile: HTML report of the table that is shown, None until it is asked for.
        stale: whether labels or patient data changed since the table was measured.
    """

    def __init__(self, panel):
        super().__init__(panel)
        self.reportFile = None
        self._request = None
        self._shownTable = None
        self._measuredWith = None
        self._edited = False
        for text, value in ((_("not given"), ""), (_("female"), "f"), (_("male"), "m")):
            self.ui.sexComboBox.addItem(text, value)
        for text, value in (("mg/dL", "mg/dL"), ("µmol/L", "umol/L")):
            self.ui.creatinineUnitComboBox.addItem(text, value)
        self.ui.sexComboBox.connect("currentIndexChanged(int)", self.onSex)
        self.ui.creatinineUnitComboBox.connect("currentIndexChanged(int)", self.onCreatinineUnit)
        self.ui.updateButton.connect("clicked(bool)", self.onUpdate)
        self.ui.copyTableButton.connect("clicked(bool)", self.onCopyTable)
        self.ui.saveCsvButton.connect("clicked(bool)", self.onSaveCsv)
        self.ui.saveReportButton.connect("clicked(bool)", self.onSaveReport)
        self.ui.dicomSegButton.connect("clicked(bool)", self.onDicomSeg)

    def update(self):
        if self.parameters:
            self._takePatientDataFromDicom()
            chooseQuietly(self.ui.sexComboBox, self.parameters.sex)
            chooseQuietly(self.ui.creatinineUnitComboBox, self.parameters.creatinineUnit)
        table = self._tableNode()
        if table is not self._shownTable:
            self._shownTable = table
            self.ui.measurementsTable.setMRMLTableNode(table)
            self._showFlags()
        node = self.parameters.segmentation if self.parameters else None
        measurable = result_node.isResult(node) and result_node.volumeOf(node) is not None
        self.ui.updateButton.enabled = measurable and self._request is None and not self.panel.running
        self.ui.saveReportButton.enabled = bool(self.reportFile) or self.ui.updateButton.enabled
        self.ui.dicomSegButton.enabled = measurable and bool(
            (result_node.volumeOf(node).GetAttribute("DICOM.instanceUIDs") or "").strip()
        )
        for button in (self.ui.copyTableButton, self.ui.saveCsvButton):
            button.enabled = table is not None

    @property
    def stale(self):
        return self._edited or (self._measuredWith is not None and self._measuredWith != self._patientKey())

    def _patientKey(self):
        parameters = self.parameters
        return (*patientFields(parameters).values(), parameters.caseId) if parameters else None

    def sceneClosed(self):
        self._shownTable = self.reportFile = self._measuredWith = None
        self._edited = False
        if self._request:
            self.logic.engine.cancel(self._request)
            self._request = None
        self.ui.measurementsTable.setMRMLTableNode(None)
        self.ui.flagsLabel.text = ""

    def _tableNode(self):
        return self.parameters.measurements if self.parameters else None

    def _takePatientDataFromDicom(self):
        volumeNode = self.parameters.inputVolume
        if volumeNode is None or self.parameters.patientOf == volumeNode.GetID():
            return
        first = not self.parameters.patientOf
        facts = dicomFacts(volumeNode)
        self.parameters.patientOf = volumeNode.GetID()
        if first and not facts:
            return  # Keep what the user may have typed before choosing a volume.
        # Another scan may be another patient: nothing of the one before may stay.
        for name in PATIENT_FIELDS:
            empty = "" if name == "sex" else 0.0
            setattr(self.parameters, name, facts.get(name, empty))
        if not first:
            self.parameters.creatinine = 0.0
            self.parameters.caseId = ""

    def onSex(self, _index=None):
        if self.parameters:
            self.parameters.sex = self.ui.sexComboBox.currentData or ""

    def onCreatinineUnit(self, _index=None):
        if self.parameters:
            self.parameters.creatinineUnit = self.ui.creatinineUnitComboBox.currentData or "mg/dL"

    # Measuring

    def onUpdate(self):
        self.measure()

    def measure(self, then=None):
        """Have the engine measure the result as it is now. :param then: called when the table is there."""
        node = self.parameters.segmentation if self.parameters else None
        volumeNode = result_node.volumeOf(node) if result_node.isResult(node) else None
        if volumeNode is None or self._request is not None:
            return
        if not self.panel.ensurePackages():
            return
        self.reportFile = None
        self._edited = False
        self._measuredWith = self._patientKey()
        self._request = self.logic.measure(
            node,
            volumeNode,
            self.parameters,
            lambda reply: self._onMeasured(node, volumeNode, reply, then),
            self._onFailed,
            self._onCancelled,
        )
        self.update()

    def _onMeasured(self, node, volumeNode, reply, then):
        self._request = None
        if slicer.mrmlScene.GetNodeByID(node.GetID() or "") is not node or not self.parameters:
            return
        self.takeReply(reply)
        self.parameters.measurements = showTable(node, volumeNode, reply["table"])
        self._showFlags()
        self.update()
        if then:
            then()

    def _onFailed(self, message):
        self._request = None
        self.panel.showProblem(message["message"], message.get("advice", ""))
        self.panel.log(_("Measuring failed: {message}").format(message=message["message"]))
        self.update()

    def _onCancelled(self):
        self._request = None
        self.update()

    def takeReply(self, reply):
        """Remember where the engine left the report of what is shown."""
        report = Path(reply["folder"]) / "report.html" if reply.get("folder") else None
        self.reportFile = report if report and report.is_file() else None

    def segmented(self, reply):
        """A run ended: its table and report are those of the parameters as they are."""
        self.takeReply(reply)
        self._edited = False
        self._measuredWith = self._patientKey()
        self._showFlags()

    def resultEdited(self):
        """The labels changed: table and report no longer tell the truth."""
        self._edited = True
        self.reportFile = None

    def _showFlags(self):
        table = self._tableNode()
        keys = caseFlags(readTable(table)) if table is not None and table.GetNumberOfColumns() else []
        rows = []
        for severity, sentence in sentences(keys):
            mark, colour = _MARKS[severity]
            rows.append(f'<span style="color:{colour}"><b>{mark}</b></span> {escape(sentence)}')
        self.ui.flagsLabel.text = "<br>".join(rows)
        self.ui.flagsLabel.setVisible(bool(rows))

    # Export

    def onCopyTable(self):
        self._whenUpToDate(lambda: qt.QApplication.clipboard().setText(clipboardText(readTable(self._tableNode()))))

    def onSaveCsv(self):
        path = self.panel.askSavePath(_("Save table"), "volumes.csv", _("Table (*.csv)"))
        if path:
            self._whenUpToDate(lambda: self._save(path, lambda: self.saveTable(path)))

    def _whenUpToDate(self, then):
        """Do something with the table, after measuring anew if labels or patient data changed since."""
        if self.stale and self.ui.updateButton.enabled:
            self.measure(then=then)
        else:
            then()

    def onSaveReport(self):
        path = self.panel.askSavePath(_("Save report"), "report.html", _("Report (*.html)"))
        if not path:
            return
        if self.reportFile and self.reportFile.is_file() and not self.stale:
            self._save(path, lambda: shutil.copyfile(self.reportFile, path))
        else:
            self.measure(then=lambda: self._save(path, lambda: shutil.copyfile(self.reportFile, path)))

    def onDicomSeg(self, _checked=None):
        node = self.parameters.segmentation
        volumeNode = result_node.volumeOf(node)
        if not dicomFiles(volumeNode):
            self.panel.showProblem(
                _("The DICOM files of this CT are not in Slicer's DICOM database any more."),
                _("Import the study into the DICOM database again."),
            )
            return
        path = self.panel.askSavePath(_("Save DICOM SEG"), "segmentation.dcm", _("DICOM (*.dcm)"))
        if path and self.panel.ensurePackages():
            saveDicomSeg(self.logic, node, volumeNode, path, self._onDicomSeg, self._onDicomSegFailed)

    def _onDicomSeg(self, reply):
        self.panel.showMessage(_("Saved {path}").format(path=reply["file"]), reply["notes"])
        self.panel.log(_("Saved {path}").format(path=reply["file"]))

    def _onDicomSegFailed(self, message):
        self.panel.showProblem(message["message"], message.get("advice", ""))

    def _save(self, path, write):
        try:
            write()
        except (OSError, TypeError) as error:
            self.panel.showProblem(
                _("{path} could not be written: {reason}").format(path=path, reason=error),
                _("Choose another folder, or close the program that has the file open."),
            )
            return
        self.panel.showMessage(_("Saved {path}").format(path=path))
        self.panel.log(_("Saved {path}").format(path=path))

    def saveTable(self, path):
        """Write volumes.csv as the engine writes it."""
        Path(path).write_bytes(csvText(readTable(self._tableNode())).encode("utf-8"))
