"""The DICOM SEG button: from a CT of the DICOM database to an object that refers to its series."""

import tempfile
import unittest
from pathlib import Path
from unittest import mock

import numpy as np
import slicer
from panel_case import PanelTestCase, kidneyVolume, labelsInVolume

from KidneySegLib.export.dicom_seg_read import read_dicom_seg
from Testing.ct.dicom_series import SeriesSpec, write_series


class Database:
    """What the panel asks Slicer's DICOM database: where a file is, and what an attribute says."""

    isOpen = True

    def __init__(self, files):
        self.files = files

    def fileForInstance(self, uid):
        return self.files.get(uid, "")

    def instanceValue(self, uid, _tag):
        return ""


class TestDicomSegButton(PanelTestCase):
    def setUp(self):
        super().setUp()
        import SimpleITK as sitk
        from pydicom import dcmread

        from KidneySegLib.ct import read_ct

        self.folder = Path(tempfile.mkdtemp(prefix="kidneyseg-seg-"))
        self.spec = SeriesSpec(tags={"FrameOfReferenceUID": "1.2.826.0.1.3680043.8.498.7"})
        files = write_series(self.folder / "dicom", self.spec)
        self.files = {str(dcmread(path, stop_before_pixels=True).SOPInstanceUID): str(path) for path in files}
        image = read_ct(self.folder / "dicom").image
        matrix = np.eye(4)
        matrix[:3, :3] = np.array(image.GetDirection()).reshape(3, 3) * image.GetSpacing()
        matrix[:3, 3] = image.GetOrigin()
        self.volume = kidneyVolume("DICOM CT", np.diag([-1.0, -1, 1, 1]) @ matrix)
        slicer.util.updateVolumeFromArray(self.volume, sitk.GetArrayFromImage(image))
        self.volume.SetAttribute("DICOM.instanceUIDs", " ".join(self.files))
        database = mock.patch.object(slicer, "dicomDatabase", Database(self.files), create=True)
        database.start()
        self.addCleanup(database.stop)
        self.panel.askSavePath = lambda title, name, kinds: str(self.folder / name)
        self.addCleanup(self.panel.__dict__.pop, "askSavePath", None)
        self.choose(self.volume)
        self.segment()

    def test_the_file_holds_the_labels_and_says_who_accepted_them(self):
        self.ui.reviewerLineEdit.setText("Dr. A")
        self.ui.acceptButton.click()
        self.waitFor(lambda: self.panel.measurementsSection._request is None)
        assert self.ui.dicomSegButton.enabled
        self.ui.dicomSegButton.click()
        path = self.folder / "segmentation.dcm"
        self.waitFor(lambda: path.is_file() and "Saved" in self.ui.messageLabel.text)
        import SimpleITK as sitk

        labels, info = read_dicom_seg(path)
        voxels = sitk.GetArrayFromImage(labels)
        shown = labelsInVolume(self.result, self.volume)
        planes = np.flatnonzero((shown > 0).any(axis=(1, 2)))
        np.testing.assert_array_equal(voxels, shown[planes[0] : planes[-1] + 1])
        assert (info.source, info.reader, info.model) == ("automatic", "Dr. A", "scripted")
        assert info.series_uid == self.spec.series_uid

    def test_files_that_left_the_database_are_said(self):
        self.files.clear()
        self.ui.dicomSegButton.click()
        assert "not in Slicer's DICOM database" in self.ui.messageLabel.text

    def test_a_volume_that_is_not_from_dicom_has_no_button(self):
        self.choose(kidneyVolume("plain"))
        self.segment()
        assert not self.ui.dicomSegButton.enabled


if __name__ == "__main__":
    unittest.main()
