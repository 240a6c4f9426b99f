"""A 2-D ultrasound picture as input: its checks, its models, the outline over it, length and area in the table."""

import unittest

import numpy as np
import slicer
from KidneySegPanel.measurement_table import readTable
from KidneySegPanel.ultrasound import isUltrasound, modelsFor, pixelMm
from panel_case import PanelTestCase, kidneyVolume

from KidneySegLib.resources import embedded_models_dir
from KidneySegLib.ultrasound.store import DEFAULT_MODEL
from KidneySegLib.ultrasound.synthetic import synthetic_image

CT_MODEL = {"name": "kidneyseg-arterial", "title": "CT", "task": "ct"}
US_MODEL = {"name": DEFAULT_MODEL, "title": "US", "task": "ultrasound"}


def pictureVolume(image, spacing_mm=1.0):
    node = slicer.util.addVolumeFromArray(image.pixels[None], name="US")
    node.SetSpacing(spacing_mm, spacing_mm, 1.0)
    return node


class TestUltrasound(PanelTestCase):
    scripted = False

    def offered(self):
        return [self.ui.modelComboBox.itemData(index) for index in range(self.ui.modelComboBox.count)]

    def test_a_picture_is_told_from_a_ct(self):
        assert isUltrasound(slicer.util.addVolumeFromArray(np.full((1, 40, 50), 90, np.uint8)))
        assert not isUltrasound(slicer.util.addVolumeFromArray(np.full((1, 40, 50), -90, np.int16)))
        assert not isUltrasound(slicer.util.addVolumeFromArray(np.full((4, 40, 50), 90, np.uint8)))
        assert not isUltrasound(kidneyVolume())
        assert not isUltrasound(None)
        assert modelsFor([CT_MODEL, US_MODEL], True) == [US_MODEL]
        assert modelsFor([CT_MODEL, US_MODEL], False) == [CT_MODEL]

    def test_calibration_is_the_volume_s_spacing_unless_it_is_a_picture_file_s_default(self):
        node = slicer.util.addVolumeFromArray(np.full((1, 40, 50), 90, np.uint8))
        assert pixelMm(node) is None
        node.SetSpacing(0.3, 0.25, 1)
        assert pixelMm(node) == (0.25, 0.3)

    def test_choosing_a_picture_offers_the_models_for_it(self):
        self.panel.segmentSection.showModels([CT_MODEL, US_MODEL])
        self.ui.inputSelector.setCurrentNode(pictureVolume(synthetic_image(3, height=96)))
        assert self.offered() == [DEFAULT_MODEL]
        assert "Not calibrated" in self.ui.checksLabel.text
        assert self.ui.segmentButton.enabled
        self.panel.inputSection.stopPhaseCheck()
        self.parameters.inputVolume = kidneyVolume()
        self.panel.inputSection.stopPhaseCheck()
        assert self.offered() == ["kidneyseg-arterial"]
        assert self.parameters.model == "kidneyseg-arterial"

    @unittest.skipUnless((embedded_models_dir() / DEFAULT_MODEL).is_dir(), "the demonstration bundle is not here")
    def test_the_outline_lies_over_the_kidney_and_the_table_holds_its_size(self):
        image = synthetic_image(3, kidney=True, overlay=False)
        volume = pictureVolume(image, image.pixel_mm)
        self.ui.inputSelector.setCurrentNode(volume)
        self.panel.segmentSection.onSegment()
        self.waitFor(lambda: not self.panel.running)
        (outline,) = slicer.util.getNodesByClass("vtkMRMLSegmentationNode")
        found = slicer.util.arrayFromSegmentBinaryLabelmap(outline, "kidney", volume)[0] > 0
        dice = 2 * (found & image.kidney).sum() / (found.sum() + image.kidney.sum())
        assert dice > 0.85
        assert outline.GetDisplayNode().GetOpacity2DFill() == 0
        table = readTable(self.parameters.measurements)
        row = dict(zip(table["columns"], table["rows"][0], strict=True))
        np.testing.assert_allclose(float(row["area_mm2"]), found.sum() * image.pixel_mm**2, rtol=0.01)
        assert float(row["length_mm"]) > 40
        assert "DEMONSTRATION" in self.ui.flagsLabel.text
        assert self.result is None


if __name__ == "__main__":
    unittest.main()
