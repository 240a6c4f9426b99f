"""The loop in the panel: review, add to the data set, load back (also somebody else's), next to review, export."""

import json
import shutil
import tempfile
import time
import unittest
from pathlib import Path

import numpy as np
import slicer
from KidneySegPanel import result_node
from panel_case import PanelTestCase, kidneyVolume, labelsInVolume

from KidneySegLib.export.dataset import DataSet, Origin, Split, Status
from KidneySegLib.export.dataset.splits import split_of_new


class TestRetraining(PanelTestCase):
    def setUp(self):
        super().setUp()
        self.home = Path(tempfile.mkdtemp(prefix="kidneyseg-set-"))
        self.addCleanup(shutil.rmtree, self.home, True)
        self.folder = self.home / "our kidneys"
        self.section = self.panel.retrainingSection
        self.panel.refreshEngineFacts()
        self.waitFor(lambda: not self.logic.engine.busy)
        self.ui.datasetLineEdit.text = str(self.folder)
        self.section.onFolder()

    def tearDown(self):
        self.ui.datasetLineEdit.text = ""
        self.section.onFolder()
        super().tearDown()

    def settled(self):
        self.waitFor(lambda: not self.section._busy and self.panel.measurementsSection._request is None)

    def reviewedCase(self, name="CT", reviewer="Dr. A", reject=False, correct=True):
        volume = kidneyVolume(name)
        if name != "CT":
            voxels = slicer.util.arrayFromVolume(volume)
            voxels[0, 0, 0] = sum(map(ord, name))
            slicer.util.arrayFromVolumeModified(volume)
        self.choose(volume)
        self.segment()
        if correct:
            self.ui.aidLowSpinBox.value, self.ui.aidHighSpinBox.value = 100, 150
            self.ui.growCortexButton.click()
        self.ui.reviewerLineEdit.setText(reviewer)
        self.ui.commentLineEdit.text = "by hand"
        (self.ui.rejectButton if reject else self.ui.acceptButton).click()
        self.settled()
        return volume

    def add(self):
        self.ui.addToDatasetButton.click()
        self.settled()

    def test_a_reviewed_case_is_in_the_data_set_exactly(self):
        volume = self.reviewedCase()
        labels = labelsInVolume(self.result, volume)
        self.add()
        assert "Added as case_" in self.ui.messageLabel.text
        assert "burnt" in self.ui.messageLabel.text
        (case,) = DataSet.open(self.folder).cases()
        revision = case.best
        import SimpleITK as sitk

        np.testing.assert_array_equal(sitk.GetArrayFromImage(case.image()), slicer.util.arrayFromVolume(volume))
        np.testing.assert_array_equal(sitk.GetArrayFromImage(revision.labels()), labels)
        assert (revision.reader, revision.comment, revision.origin) == ("Dr. A", "by hand", Origin.CORRECTED)
        assert revision.model == {"name": "scripted"}
        assert revision.changed_voxels == result_node.changedVoxels(self.result) > 0
        assert set(revision.changes) == {"right_cortex", "right_medulla", "left_cortex", "left_medulla"}
        assert self.ui.casesTable.item(0, 2).text() == "Dr. A"

    def test_a_second_reader_loads_and_adds_his_own(self):
        volume = self.reviewedCase()
        first = labelsInVolume(self.result, volume)
        self.add()
        slicer.mrmlScene.Clear(0)
        self.waitFor(lambda: self.widget._parameterNode is not None)
        self.parameters = self.widget._parameterNode
        self.section.refresh()
        self.settled()
        self.ui.casesTable.selectRow(0)
        self.ui.loadCaseButton.click()
        self.settled()
        loaded = self.parameters.inputVolume
        assert loaded.GetName().startswith("case_")
        np.testing.assert_array_equal(labelsInVolume(self.result, loaded), first)
        assert "Corrected by hand" in self.ui.reviewStatusLabel.text
        assert not self.ui.addToDatasetButton.enabled
        # Live volumes show the change against the automatic labels, not against those that were loaded.
        texts = [self.ui.volumesTable.item(1, column).text() for column in range(self.ui.volumesTable.columnCount)]
        assert all("(+" in text for text in texts), texts
        self.ui.aidLowSpinBox.value, self.ui.aidHighSpinBox.value = 150, 250
        self.ui.removeRangeButton.click()
        self.ui.reviewerLineEdit.setText("B")
        self.ui.acceptButton.click()
        self.settled()
        self.add()
        (case,) = DataSet.open(self.folder).cases()
        assert [one.reader for one in case.accepted()] == ["Dr. A", "B"]
        assert case.latest.based_on == 1
        assert "2 · B" in self.ui.revisionComboBox.itemText(0)

    def test_the_most_uncertain_case_comes_next(self):
        from KidneySegLib.ct import read_ct
        from KidneySegLib.export.dataset import Addition

        volume = self.reviewedCase()
        self.add()
        data_set = DataSet.open(self.folder)
        (case,) = data_set.cases()
        scan = read_ct(case.image_path)
        labels = case.best.labels()
        import dataclasses

        for number, light in enumerate(("green", "red", "yellow"), start=1):
            image = scan.image + number
            other = dataclasses.replace(scan, image=image, sha256=f"{number:064d}")
            told = Addition("", status=Status.UNREVIEWED, uncertainty={"traffic_light": light}, model={"name": "m"})
            data_set.add(other, labels, told, automatic=labels)
        del volume
        self.section.refresh()
        self.settled()
        lights = [self.ui.casesTable.item(row, 3).text() for row in range(3)]
        assert lights == ["red", "yellow", "green"]
        self.ui.nextCaseButton.click()
        self.settled()
        expected = next(one for one in data_set.cases() if one.latest.uncertainty.get("traffic_light") == "red")
        assert self.parameters.inputVolume.GetName() == expected.case_id
        assert "Automatic, not corrected" in self.ui.reviewStatusLabel.text
        self.ui.acceptButton.click()
        self.settled()
        self.add()
        assert DataSet.open(self.folder).case(expected.case_id).reviewed
        assert DataSet.open(self.folder).case(expected.case_id).best.origin is Origin.AUTOMATIC

    def test_one_click_exports(self):
        # The lot may hold the first case out; then there would be nothing to train on.
        while split_of_new(DataSet.create(self.folder).data_set_id, "new", ()) is Split.TEST:
            shutil.rmtree(self.folder)
        self.reviewedCase()
        self.add()
        # The list of cases is read anew first; until then the click would go nowhere.
        self.waitFor(lambda: self.ui.exportDatasetButton.enabled)
        self.ui.exportDatasetButton.click()
        self.settled()
        out = self.home / "our kidneys-nnunet" / "Dataset601_KidneySeg"
        # The engine writes the set in its own time: the panel says where it lies when it is whole.
        deadline = time.monotonic() + 180
        while str(out) not in self.ui.messageLabel.text and time.monotonic() < deadline:
            self.settled()
            time.sleep(0.05)
        assert str(out) in self.ui.messageLabel.text, self.ui.messageLabel.text
        facts = json.loads((out / "dataset.json").read_text(encoding="utf-8"))
        assert facts["numTraining"] == 1

    def test_what_was_changed_after_its_review_is_not_added(self):
        self.reviewedCase()
        self.ui.aidLowSpinBox.value, self.ui.aidHighSpinBox.value = 150, 250
        self.ui.removeRangeButton.click()
        self.settled()
        self.ui.addToDatasetButton.click()
        assert "changed after it was reviewed" in self.ui.messageLabel.text
        assert not self.folder.exists()

    def test_a_rejected_case_trains_nothing(self):
        self.reviewedCase(reject=True, correct=False)
        self.add()
        (case,) = DataSet.open(self.folder).cases()
        assert case.best is None
        assert case.latest.status is Status.REJECTED
        self.ui.exportDatasetButton.click()
        self.settled()
        assert "no case to train on" in self.ui.messageLabel.text

    def test_a_folder_of_others_is_refused_in_words(self):
        self.folder.mkdir()
        (self.folder / "thesis.docx").write_text("years of work")
        self.reviewedCase(correct=False)
        self.add()
        assert "holds thesis.docx" in self.ui.messageLabel.text
        assert [path.name for path in self.folder.iterdir()] == ["thesis.docx"]

    def test_the_report_says_who_corrected(self):
        asked = {}
        request = self.logic.engine.request

        def listen(command, **fields):
            asked[command] = fields
            return request(command, **fields)

        self.logic.engine.request = listen
        self.addCleanup(self.logic.engine.__dict__.pop, "request", None)
        self.reviewedCase()
        review = asked["measure"]["review"]
        assert (review["reader"], review["status"], review["comment"]) == ("Dr. A", "accepted", "by hand")
        assert review["changed_voxels"] > 0
        assert asked["measure"]["source"] == "corrected"
        assert asked["measure"]["model_facts"] == {"name": "scripted"}
        # Whoever changes it afterwards is not the one who accepted it.
        self.ui.aidLowSpinBox.value, self.ui.aidHighSpinBox.value = 150, 250
        self.ui.removeRangeButton.click()
        self.panel.measurementsSection.measure()
        self.settled()
        assert asked["measure"]["review"] is None

    def test_without_a_folder_nothing_is_offered(self):
        self.reviewedCase(correct=False)
        self.ui.datasetLineEdit.text = ""
        self.section.onFolder()
        for button in ("addToDataset", "loadCase", "nextCase", "exportDataset"):
            assert not getattr(self.ui, f"{button}Button").enabled
        assert "Choose the folder" in self.ui.retrainingLabel.text


if __name__ == "__main__":
    unittest.main()
