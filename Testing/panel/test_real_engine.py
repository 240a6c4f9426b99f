"""The panel with the real engine and a network whose answers are known: from the click to the CSV."""

import tempfile
import unittest
from pathlib import Path

import numpy as np
import slicer
from panel_case import ROOT, RealEngineTestCase, labelsInVolume, loadFile

try:
    import torch
except ImportError:
    torch = None


@unittest.skipIf(torch is None, "bundles are made with torch")
class TestRealEngine(RealEngineTestCase):
    @classmethod
    def writeModels(cls, folder):
        bundles = loadFile(ROOT / "Testing" / "inference" / "analytic_bundles.py")
        bundles.write_localiser(folder / "analytic-localiser")
        bundles.write_fine(folder / "analytic", localiser="analytic-localiser", spacing_mm=(3.0, 2.0, 2.0))

    def test_from_click_to_csv(self):
        volume, truth = twoKidneys()
        self.parameters.model = "analytic"
        self.choose(volume)
        assert "Contrast phase" in self.ui.checksLabel.text
        self.segment()
        assert self.result is not None, self.ui.messageLabel.text
        labels = labelsInVolume(self.result, volume)
        found = labels > 0
        assert 2 * (found & (truth > 0)).sum() / (found.sum() + (truth > 0).sum()) > 0.95
        # LPS x grows to the left along a row: low columns are the right kidney.
        assert set(np.unique(labels[:, :, :60])) == {0, 1, 2}

        # The table that the panel saves is the engine's own file, byte for byte.
        reply = Path(self.panel.measurementsSection.reportFile).parent
        target = Path(tempfile.mkdtemp()) / "volumes.csv"
        self.panel.measurementsSection.saveTable(target)
        assert target.read_bytes() == (reply / "volumes.csv").read_bytes()
        shown = self.panel.reviewSection.volumes["both"]["parenchyma_ml"]
        assert abs(shown - found.sum() * 2 * 2 * 3 / 1000) < 0.01

        # Correct a little, accept, and the engine measures what the panel counted.
        voxels = (labels == 2).astype(np.uint8)
        voxels[20] = 0
        slicer.util.updateSegmentBinaryLabelmapFromArray(voxels, self.result, "right_medulla", volume)
        self.waitFor(lambda: not self.panel.reviewSection._settling)
        self.ui.reviewerLineEdit.setText("A.B.")
        self.ui.acceptButton.click()
        self.waitFor(lambda: self.panel.measurementsSection._request is None)
        from KidneySegPanel.measurement_table import millilitres, readTable

        measured = millilitres(readTable(self.parameters.measurements))
        for column in ("cortex_ml", "medulla_ml"):
            assert abs(measured["right"][column] - self.panel.reviewSection.volumes["right"][column]) < 0.01
        assert "<html" in self.panel.measurementsSection.reportFile.read_text(encoding="utf-8").lower()

    def test_logic_works_without_the_panel(self):
        volume, _truth = twoKidneys()
        result, table = self.logic.process(volume, model="analytic", caseName="script")
        assert result.GetSegmentation().GetNumberOfSegments() == 4
        assert table.GetNumberOfRows() == 3
        with self.assertRaisesRegex(RuntimeError, "no-such-model"):  # noqa: PT027 (there is no pytest in Slicer)
            self.logic.process(volume, model="no-such-model")


def twoKidneys():
    """A volume node with two ellipsoid kidneys, and truth."""
    import vtk

    z, y, x = np.indices((40, 80, 120), dtype=np.float32)
    hu = np.full(z.shape, -1000, np.int16)
    hu[((x - 59.5) / 56) ** 2 + ((y - 39.5) / 37) ** 2 < 1] = 40
    truth = np.zeros(z.shape, np.uint8)
    for centre in (32, 87):
        radius = np.sqrt(((x - centre) / 13) ** 2 + ((y - 50) / 12) ** 2 + ((z - 20) / 15) ** 2)
        truth[radius < 1] = 2
        truth[radius < 0.7] = 1
    hu[truth == 2], hu[truth == 1] = 250, 150
    matrix = vtk.vtkMatrix4x4()
    for axis, (step, origin) in enumerate(((-2, 119), (-2, 79), (3, 0))):
        matrix.SetElement(axis, axis, step)
        matrix.SetElement(axis, 3, origin)
    return slicer.util.addVolumeFromArray(hu, ijkToRAS=matrix, name="two kidneys"), truth


if __name__ == "__main__":
    unittest.main()
