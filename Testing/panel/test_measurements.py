"""The measurement table: in the panel, on the clipboard, in files, and after the scene was saved and loaded."""

import csv
import io
import tempfile
import unittest
from pathlib import Path

import numpy as np
import slicer
from KidneySegPanel.measurement_table import caseFlags, csvText, readTable
from panel_case import PanelTestCase, kidneyVolume, labelsInVolume


class TestMeasurements(PanelTestCase):
    def setUp(self):
        super().setUp()
        self.folder = Path(tempfile.mkdtemp(prefix="kidneyseg-panel-"))
        self.volume = kidneyVolume()
        self.choose(self.volume)
        self.segment()
        self.saveTo = {}
        self.panel.askSavePath = lambda title, name, kinds: str(self.folder / name)
        self.addCleanup(self.panel.__dict__.pop, "askSavePath", None)

    def test_the_table_node_has_the_engines_columns_and_cells(self):
        table = readTable(self.parameters.measurements)
        assert table["columns"][:5] == ["case_id", "side", "parenchyma_ml", "cortex_ml", "medulla_ml"]
        assert [row[1] for row in table["rows"]] == ["right", "left", "both"]
        assert table["rows"][0][2:5] == ["180.00", "162.00", "18.00"]
        assert table["rows"][0][0] == "CT"

    def test_the_csv_is_the_engines_own(self):
        self.ui.saveCsvButton.click()
        written = (self.folder / "volumes.csv").read_bytes()
        assert not written.startswith(b"\xef\xbb\xbf")
        rows = list(csv.DictReader(io.StringIO(written.decode("utf-8"))))
        assert rows[2]["parenchyma_ml"] == "360.00"
        assert written.decode("utf-8") == csvText(readTable(self.parameters.measurements))
        assert "Saved" in self.ui.messageLabel.text

    def test_the_table_can_be_copied(self):
        import qt

        self.ui.copyTableButton.click()
        lines = qt.QApplication.clipboard().text().splitlines()
        assert lines[0].split("\t")[:2] == ["case_id", "side"]
        assert lines[1].split("\t")[1:3] == ["right", "180.00"]

    def test_the_report_is_saved(self):
        self.ui.saveReportButton.click()
        assert "scripted report" in (self.folder / "report.html").read_text(encoding="utf-8")

    def test_a_place_that_cannot_be_written_is_said(self):
        (self.folder / "volumes.csv").mkdir()
        self.ui.saveCsvButton.click()
        assert "could not be written" in self.ui.messageLabel.text

    def test_an_edit_is_measured_before_it_is_saved(self):
        voxels = (labelsInVolume(self.result, self.volume) == 2).astype(np.uint8)
        voxels[5] = 0
        slicer.util.updateSegmentBinaryLabelmapFromArray(voxels, self.result, "right_medulla", self.volume)
        self.waitFor(lambda: not self.panel.reviewSection._settling)
        self.ui.saveCsvButton.click()
        self.waitFor(lambda: (self.folder / "volumes.csv").exists())
        rows = list(csv.DictReader(io.StringIO((self.folder / "volumes.csv").read_text(encoding="utf-8"))))
        assert (rows[0]["medulla_ml"], rows[0]["source"]) == ("9.00", "corrected")
        assert rows[0]["parenchyma_ml"] == "180.00"

    def test_patient_data_reach_the_engine(self):
        seen = []
        measure = self.logic.engine.request
        self.logic.engine.request = lambda command, **fields: seen.append(fields) or measure(command, **fields)
        self.addCleanup(self.logic.engine.__dict__.pop, "request", None)
        self.ui.ageSpinBox.value = 55
        self.ui.sexComboBox.setCurrentIndex(1)
        self.ui.creatinineSpinBox.value = 79.6
        self.ui.creatinineUnitComboBox.setCurrentIndex(1)
        self.ui.caseIdLineEdit.setText("study-4")
        self.ui.updateButton.click()
        self.waitFor(lambda: self.panel.measurementsSection._request is None)
        patient = seen[-1]["patient"]
        assert (patient["sex"], patient["age_years"], patient["height_cm"]) == ("f", 55, None)
        assert (patient["creatinine"], patient["creatinine_unit"]) == (79.6, "umol/L")
        assert readTable(self.parameters.measurements)["rows"][0][0] == "study-4"

    def test_another_scan_forgets_the_patient_before(self):
        self.ui.ageSpinBox.value = 55
        self.ui.creatinineSpinBox.value = 1.5
        self.ui.caseIdLineEdit.setText("study-4")
        self.choose(kidneyVolume("another"))
        assert self.parameters.ageYears == 0
        assert self.parameters.creatinine == 0
        assert self.parameters.caseId == ""

    def test_a_saved_scene_can_be_reviewed_after_loading(self):
        self.ui.reviewerLineEdit.setText("A.B.")
        self.ui.acceptButton.click()
        self.waitFor(lambda: self.panel.measurementsSection._request is None)
        labels = labelsInVolume(self.result, self.volume)
        table = readTable(self.parameters.measurements)
        path = str(self.folder / "scene.mrb")
        assert slicer.util.saveScene(path)
        slicer.mrmlScene.Clear(0)
        assert self.widget._parameterNode is None or not self.widget._parameterNode.inputVolume
        slicer.util.loadScene(path)
        self.widget.initializeParameterNode()
        self.parameters = self.widget._parameterNode
        assert self.parameters.inputVolume.GetName() == "CT"
        np.testing.assert_array_equal(labelsInVolume(self.result, self.parameters.inputVolume), labels)
        assert readTable(self.parameters.measurements) == table
        assert "Accepted by A.B." in self.ui.reviewStatusLabel.text
        self.waitFor(lambda: self.panel.inputSection._phaseRequest is None)
        # And work goes on: an edit is counted against the automatic result of before.
        volume = self.parameters.inputVolume
        voxels = (labelsInVolume(self.result, volume) == 2).astype(np.uint8)
        voxels[5] = 0
        slicer.util.updateSegmentBinaryLabelmapFromArray(voxels, self.result, "right_medulla", volume)
        self.waitFor(lambda: not self.panel.reviewSection._settling)
        assert "(-9.0)" in self.ui.volumesTable.item(2, 0).text()
        self.segment()
        assert self.nodeCount("vtkMRMLSegmentationNode") == 2

    def test_flags_of_all_rows_are_each_said_once(self):
        table = {"columns": ["side", "flags"], "rows": [["right", "a;b"], ["left", "b"], ["both", "c"]]}
        assert caseFlags(table) == ["a", "b", "c"]


if __name__ == "__main__":
    unittest.main()
