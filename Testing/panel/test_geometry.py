"""Volumes that lie askew: oblique, mirrored, sheared, under transforms. Millilitres and places must stay true."""

import unittest

import numpy as np
import slicer
import vtk
from KidneySegPanel.volume_grid import VolumeGrid, cropToLabels
from panel_case import PanelTestCase, kidneyVolume, labelsInVolume

BOX_ML = 2 * 480 * 0.375


def rotation(axis, degrees):
    transform = vtk.vtkTransform()
    transform.RotateWXYZ(degrees, *axis)
    return np.array([[transform.GetMatrix().GetElement(row, column) for column in range(4)] for row in range(4)])


STRAIGHT = np.array([[-5, 0, 0, 100], [0, -5, 0, 60], [0, 0, 15, -80], [0, 0, 0, 1]], float)


class TestGeometry(PanelTestCase):
    def segmentVolume(self, volume):
        self.choose(volume)
        self.segment()
        assert self.result is not None, self.ui.messageLabel.text
        hu = slicer.util.arrayFromVolume(volume)
        return labelsInVolume(self.result, volume), hu

    def bothMl(self):
        return sum(row["parenchyma_ml"] for side, row in self.panel.reviewSection.volumes.items() if side == "both")

    def test_an_oblique_volume_is_exact(self):
        volume = kidneyVolume(ijkToRas=rotation((1, 2, 3), 25) @ STRAIGHT)
        labels, hu = self.segmentVolume(volume)
        np.testing.assert_array_equal(labels > 0, hu > 100)
        assert abs(self.bothMl() - BOX_ML) < 0.01

    def test_a_mirrored_volume_keeps_the_patients_sides(self):
        mirrored = STRAIGHT.copy()
        mirrored[0] *= -1
        labels, _hu = self.segmentVolume(kidneyVolume(ijkToRas=mirrored))
        assert set(np.unique(labels[:, :, :20])) == {0, 3, 4}

    def test_a_rigid_parent_transform_changes_nothing_but_the_place(self):
        volume = kidneyVolume()
        parent = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "couch")
        parent.SetMatrixTransformToParent(vtkMatrix(rotation((0, 0, 1), 30)))
        volume.SetAndObserveTransformNodeID(parent.GetID())
        labels, hu = self.segmentVolume(volume)
        np.testing.assert_array_equal(labels > 0, hu > 100)
        assert self.result.GetTransformNodeID() == parent.GetID()
        assert abs(self.bothMl() - BOX_ML) < 0.01

    def test_a_sheared_volume_is_measured_straightened(self):
        sheared = STRAIGHT.copy()
        sheared[1, 2] = 6.0  # a gantry tilted by about 22 degrees
        volume = kidneyVolume(ijkToRas=sheared)
        self.ui.inputSelector.setCurrentNode(volume)
        assert "Tilted gantry" in self.ui.checksLabel.text
        labels, hu = self.segmentVolume(volume)
        overlap = 2 * ((labels > 0) & (hu > 100)).sum() / ((labels > 0).sum() + (hu > 100).sum())
        assert overlap > 0.9
        # Shearing keeps volumes; the boxes' faces lose or gain part of a voxel.
        assert abs(self.bothMl() - BOX_ML) < 0.08 * BOX_ML

    def test_a_scaling_transform_counts_in_millilitres(self):
        volume = kidneyVolume()
        parent = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "scale")
        parent.SetMatrixTransformToParent(vtkMatrix(np.diag([1.0, 1.0, 0.5, 1.0])))
        volume.SetAndObserveTransformNodeID(parent.GetID())
        labels, hu = self.segmentVolume(volume)
        np.testing.assert_array_equal(labels > 0, hu > 100)
        from KidneySegPanel.measurement_table import millilitres, readTable

        measured = millilitres(readTable(self.parameters.measurements))["both"]["parenchyma_ml"]
        assert abs(measured - BOX_ML / 2) < 0.02 * BOX_ML
        assert abs(self.bothMl() - BOX_ML / 2) < 0.01

    def test_a_warping_transform_works_both_ways(self):
        volume = kidneyVolume()
        grid = vtk.vtkThinPlateSplineTransform()
        source, target = vtk.vtkPoints(), vtk.vtkPoints()
        for corner in np.indices((2, 2, 2)).reshape(3, -1).T:
            point = (corner - 0.5) * 300
            source.InsertNextPoint(point)
            target.InsertNextPoint(point[0], point[1] + 0.05 * point[2], point[2])
        grid.SetSourceLandmarks(source)
        grid.SetTargetLandmarks(target)
        grid.SetBasisToR()
        parent = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTransformNode", "warp")
        parent.SetAndObserveTransformToParent(grid)
        volume.SetAndObserveTransformNodeID(parent.GetID())
        labels, hu = self.segmentVolume(volume)
        overlap = 2 * ((labels > 0) & (hu > 100)).sum() / ((labels > 0).sum() + (hu > 100).sum())
        assert overlap > 0.9

    def test_labels_survive_the_way_there_and_back(self):
        sheared = STRAIGHT.copy()
        sheared[1, 2] = 6.0
        volume = kidneyVolume(ijkToRas=sheared)
        grid = VolumeGrid(volume)
        assert grid.upright
        direction = np.array(grid.describe()["direction"]).reshape(3, 3)
        np.testing.assert_allclose(direction, np.eye(3), atol=1e-12)
        labels = np.zeros(slicer.util.arrayFromVolume(volume).shape, np.uint8)
        labels[3:9, 6:16, 6:14] = 1
        there, index = grid.labelsFromOwn(*cropToLabels(labels))
        back, backIndex = grid.labelsToOwn(there, index)
        whole = np.zeros_like(labels)
        x, y, z = backIndex
        whole[z : z + back.shape[0], y : y + back.shape[1], x : x + back.shape[2]] = back
        assert 2 * ((whole > 0) & (labels > 0)).sum() / ((whole > 0).sum() + (labels > 0).sum()) > 0.9


def vtkMatrix(array):
    matrix = vtk.vtkMatrix4x4()
    for row in range(4):
        for column in range(4):
            matrix.SetElement(row, column, float(array[row, column]))
    return matrix


if __name__ == "__main__":
    unittest.main()
