"""The panel with an abnormality model, here an ensemble with nnU-Net: cyst and mass as segments, and their columns."""

import unittest

import numpy as np
import slicer
from KidneySegPanel.measurement_table import readTable
from panel_case import ROOT, RealEngineTestCase, labelsInVolume, loadFile

try:
    import torch
except ImportError:
    torch = None

VOXEL_ML = 2 * 2 * 3 / 1000


@unittest.skipIf(torch is None, "bundles are made with torch")
class TestAbnormalKidneys(RealEngineTestCase):
    @classmethod
    def writeModels(cls, folder):
        writeEnsemble(folder)

    def test_cyst_and_mass_are_shown_and_measured_per_side(self):
        volume, truth = abnormalKidneys()
        self.parameters.model = "ensemble"
        self.choose(volume)
        self.parameters.heightCm = 170
        self.segment()
        assert self.result is not None, self.ui.messageLabel.text

        segmentation = self.result.GetSegmentation()
        names = {key: segmentation.GetSegment(key).GetName() for key in segmentation.GetSegmentIDs()}
        assert set(names) == {"right_undivided", "left_undivided", "right_cyst", "left_mass"}
        assert (names["right_cyst"], names["left_mass"]) == ("Right renal cyst", "Left renal mass")
        labels = labelsInVolume(self.result, volume)
        np.testing.assert_array_equal(labels == 5, truth == 5)
        np.testing.assert_array_equal(labels == 8, truth == 8)

        table = readTable(self.parameters.measurements)
        rows = {row[1]: dict(zip(table["columns"], row, strict=True)) for row in table["rows"]}
        cystMl, massMl = ((truth == label).sum() * VOXEL_ML for label in (5, 8))
        parenchymaMl = {side: (truth == label).sum() * VOXEL_ML for side, label in (("right", 13), ("left", 14))}
        assert float(rows["right"]["cyst_ml"]) == float(f"{cystMl:.3f}")
        assert float(rows["left"]["mass_ml"]) == float(f"{massMl:.3f}")
        assert float(rows["left"]["cyst_ml"]) == float(rows["right"]["mass_ml"]) == 0
        # Balls of 18 and 22 mm; their voxels' outer corners reach a little further.
        assert 18 < float(rows["right"]["cyst_largest_diameter_mm"]) < 23
        assert 22 < float(rows["left"]["mass_largest_diameter_mm"]) < 27
        assert (rows["right"]["cyst_hu_mean"], rows["left"]["mass_hu_mean"]) == ("5.0", "60.0")
        assert rows["left"]["cyst_largest_diameter_mm"] == rows["right"]["mass_hu_mean"] == ""
        assert rows["both"]["cyst_largest_diameter_mm"] == rows["right"]["cyst_largest_diameter_mm"]
        assert rows["both"]["cortex_ml"] == ""

        # As for polycystic kidneys: with cysts, without masses, by height, and pi/6 of the product of diameters.
        totalMl = parenchymaMl["right"] + cystMl
        assert abs(float(rows["right"]["total_kidney_ml"]) - totalMl) < 0.001
        assert abs(float(rows["right"]["total_kidney_ml_per_m"]) - totalMl / 1.7) < 0.001
        assert abs(float(rows["left"]["total_kidney_ml"]) - parenchymaMl["left"]) < 0.001
        assert 1.0 < float(rows["right"]["ellipsoid_ml"]) / totalMl < 1.25

        # What the panel says of it, and what it counts itself.
        assert "told apart by HU" in self.ui.flagsLabel.text
        counted = self.ui.volumesTable
        heads = [counted.verticalHeaderItem(number).text() for number in range(counted.rowCount)]
        assert heads[-2:] == ["Cysts", "Masses"]
        assert counted.item(len(heads) - 2, 0).text() == f"{cystMl:.1f}"
        assert counted.item(len(heads) - 1, 1).text() == f"{massMl:.1f}"

        # A corrected cyst is measured as it was corrected.
        self.ui.editOutlineRadioButton.click()
        self.addCleanup(self.ui.editBorderRadioButton.click)
        half = (truth == 5).astype(np.uint8)
        half[20:] = 0
        slicer.util.updateSegmentBinaryLabelmapFromArray(half, self.result, "right_cyst", volume)
        self.waitFor(lambda: not self.panel.reviewSection._settling)
        self.ui.updateButton.click()
        self.waitFor(lambda: self.panel.measurementsSection._request is None)
        table = readTable(self.parameters.measurements)
        right = dict(zip(table["columns"], table["rows"][0], strict=True))
        assert right["source"] == "corrected"
        assert float(right["cyst_ml"]) == float(f"{half.sum() * VOXEL_ML:.3f}")
        assert right["cyst_hu_mean"] == "5.0"


@unittest.skipIf(torch is None, "bundles are made with torch")
class TestLookingForLesions(RealEngineTestCase):
    @classmethod
    def writeModels(cls, folder):
        bundles = loadFile(ROOT / "Testing" / "inference" / "analytic_bundles.py")
        spacing = {"spacing_mm": (3.0, 2.0, 2.0)}
        bundles.write_localiser(folder / "analytic-localiser")
        fine = {"localiser": "analytic-localiser", **spacing}
        bundles.write_fine_with_lesions(folder / "fine", **fine)
        bundles.write_fine(folder / "plain", **fine)

    def test_the_switch_is_offered_where_a_model_shows_lesions_on_request(self):
        for model, offered in (("fine", True), ("plain", False), ("fine", True)):
            self.parameters.model = model
            self.waitFor(lambda offered=offered: self.ui.lesionsCheckBox.isHidden() != offered)

    def test_lesions_are_segments_when_they_are_asked_for(self):
        volume, truth = abnormalKidneys()
        hu = slicer.util.arrayFromVolume(volume)
        hu[(truth == 5) | (truth == 8)] = 480
        volume.Modified()
        self.parameters.model = "fine"
        self.choose(volume)
        self.ui.lesionsCheckBox.click()
        assert self.parameters.findLesions
        self.segment()
        assert self.result is not None, self.ui.messageLabel.text
        labels = labelsInVolume(self.result, volume)
        lesions = {"right": (5, 7), "left": (6, 8)}
        for side, own in (("right", 5), ("left", 8)):
            np.testing.assert_array_equal(np.isin(labels, lesions[side]), truth == own)

        # The wish stands in the scene, but a model that knows no lesions is not asked for them.
        self.parameters.model = "plain"
        self.segment()
        assert self.result is not None, self.ui.messageLabel.text
        assert not np.isin(labelsInVolume(self.result, volume), (5, 6, 7, 8)).any()

    def test_a_script_asks_for_lesions(self):
        volume, truth = abnormalKidneys()
        slicer.util.arrayFromVolume(volume)[truth == 5] = 480
        volume.Modified()
        result, _table = self.logic.process(volume, model="fine", findLesions=True)
        keys = set(result.GetSegmentation().GetSegmentIDs())
        assert keys & {"right_cyst", "right_mass"}
        with self.assertRaisesRegex(RuntimeError, "finds no cysts and masses"):  # noqa: PT027 (no pytest in Slicer)
            self.logic.process(volume, model="plain", findLesions=True)


def abnormalKidneys():
    """A volume node with two kidneys of 180 HU in fat, a cyst of 5 HU in the right one and a mass of 60 HU in the left.

    :return: the node and its truth: 13 and 14 parenchyma, 5 right cyst, 8 left mass.
    """
    import vtk

    z, y, x = np.indices((40, 80, 120), dtype=np.float32)
    hu = np.full(z.shape, -1000, np.int16)
    hu[((x - 59.5) / 56) ** 2 + ((y - 39.5) / 37) ** 2 < 1] = -100
    truth = np.zeros(z.shape, np.uint8)
    for centre, label in ((32, 13), (87, 14)):
        truth[((x - centre) / 13) ** 2 + ((y - 50) / 12) ** 2 + ((z - 20) / 15) ** 2 < 1] = label
    for centre, radiusMm, label in ((34, 9.0, 5), (85, 11.0, 8)):
        ball = (2 * (x - centre)) ** 2 + (2 * (y - 50)) ** 2 + (3 * (z - 20)) ** 2 < radiusMm**2
        assert (truth[ball] > 0).all()
        truth[ball] = label
    for label, value in ((13, 180), (14, 180), (5, 5), (8, 60)):
        hu[truth == label] = value
    matrix = vtk.vtkMatrix4x4()
    for axis, (step, origin) in enumerate(((-2, 119), (-2, 79), (3, 0))):
        matrix.SetElement(axis, axis, step)
        matrix.SetElement(axis, 3, origin)
    return slicer.util.addVolumeFromArray(hu, ijkToRAS=matrix, name="abnormal kidneys"), truth


def writeEnsemble(folder):
    """``ensemble`` and its localiser: fat is background, from -40 HU it is abnormality, from 120 HU parenchyma.

    The second model is one as nnU-Net leaves it but with weights that do the same, and other names of labels.
    """
    from KidneySegLib.models import write_bundle
    from KidneySegLib.models.nnunet_ensemble import ensemble_bundles

    bundles = loadFile(ROOT / "Testing" / "inference" / "analytic_bundles.py")
    bundles.write_localiser(folder / "analytic-localiser")
    fluid, contrast = bundles.threshold_line(-40.0), bundles.threshold_line(120.0)
    lines = [(0.0, 0.0), (fluid[0] + contrast[0], fluid[1] + contrast[1]), fluid]
    common = {
        "network_arguments": {"in_channels": 1, "out_channels": 3, "features": [2, 2]},
        "activation": "softmax",
        "spacing_mm": (3.0, 2.0, 2.0),
    }
    outputs = ("background", "parenchyma", "abnormality")
    first = bundles.spec("first", outputs=outputs, localiser="analytic-localiser", **common)
    record = bundles.nnunet_record(
        {0: "background", 1: "kidney", 2: "tumor"}, {0: "background", 1: "parenchyma", 2: "mass"}, (0, 1, 2)
    )
    outputs = ("background", "parenchyma", "mass")
    second = bundles.spec("second", outputs=outputs, nnunet=record, flexible_tiles=False, **common)
    made = [write_bundle(folder / spec.name, spec, bundles.pointwise_state(lines)) for spec in (first, second)]
    ensemble_bundles(made[0].path, made[1].path, folder=folder / "ensemble", name="ensemble")


if __name__ == "__main__":
    unittest.main()
