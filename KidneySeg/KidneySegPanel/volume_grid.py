"""From a volume node to the grid that the engine sees, and back: the only place where RAS becomes LPS.

A volume whose axes are at right angles (whatever their directions), under no transform or a rigid one, is given as it
is. A sheared volume, or one under a scaling or warping transform (gantry tilt, uneven slices: Slicer's DICOM reader
makes such), is first resampled to an upright grid in the world, so that millilitres are true.
"""

import numpy as np
import slicer
import vtk
from vtk.util import numpy_support

RAS_TO_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
# Rounding of direction cosines in files.
ANGLE_TOLERANCE = 1e-3
AIR_HU = -1024
MAX_UPRIGHT_VOXELS = 700_000_000


class VolumeGrid:
    """The grid of one volume as the engine sees it.

    Attributes:
        upright: whether the volume is resampled on its way.
        spacing: (x, y, z) in mm.
        ijkToLps: 4x4, of the grid that the engine sees.
        size: (x, y, z) voxels of the grid that the engine sees.
    """

    def __init__(self, volumeNode):
        self._node = volumeNode
        self._ijkToRas = matrixFromVtk(_matrix(volumeNode.GetIJKToRASMatrix))
        self.ownSize = volumeNode.GetImageData().GetDimensions()
        self.upright = not (hasRightAngles(self._ijkToRas) and isRigid(volumeNode.GetParentTransformNode()))
        if self.upright:
            low, high = self._worldBounds()
            spacing = self._worldSpacing()
            self.size = tuple(int(n) for n in np.maximum(1, np.floor((high - low) / spacing + 1e-6) + 1))
            self.ijkToRas = np.diag([*spacing, 1.0])
            self.ijkToRas[:3, 3] = low
            # To LPS axes: x grows to the left and y to the back.
            flip = np.eye(4)
            flip[0, 0] = flip[1, 1] = -1
            flip[:2, 3] = [self.size[0] - 1, self.size[1] - 1]
            self.ijkToRas = self.ijkToRas @ flip
        else:
            self.size = self.ownSize
            self.ijkToRas = self._ijkToRas
        self.ijkToLps = RAS_TO_LPS @ self.ijkToRas
        self.spacing = tuple(np.linalg.norm(self.ijkToLps[:3, :3], axis=0))

    def describe(self):
        """Geometry as the engine's protocol has it (LPS, direction row by row)."""
        direction = self.ijkToLps[:3, :3] / np.array(self.spacing)
        return {
            "spacing_mm": [float(value) for value in self.spacing],
            "origin_mm": [float(value) for value in self.ijkToLps[:3, 3]],
            "direction": [float(value) for value in direction.ravel()],
        }

    def voxels(self):
        """HU as (z, y, x). A view of the node's own memory unless it has to be resampled."""
        if not self.upright:
            return slicer.util.arrayFromVolume(self._node)
        if np.prod(self.size, dtype=np.int64) > MAX_UPRIGHT_VOXELS:
            raise ValueError("the volume is too large to be resampled; crop it to the abdomen first")
        return self._reslice(self._node.GetImageData(), self._worldToOwnIjk(), self.ijkToRas, self.size, "linear")

    def labelsToOwn(self, labels, index):
        """Labels on a box of the engine's grid, as labels on a box of the volume's own grid.

        :param labels: (z, y, x) uint8. :param index: (x, y, z) of its first voxel.
        :return: labels and index on the volume's own grid.
        """
        if not self.upright:
            return labels, tuple(index)
        box = _imageData(labels)
        boxToRas = self.ijkToRas.copy()
        boxToRas[:3, 3] = (self.ijkToRas @ [*index, 1])[:3]
        chain = vtk.vtkGeneralTransform()
        chain.PostMultiply()
        chain.Concatenate(self._ownIjkToWorld())
        chain.Concatenate(vtkFromMatrix(np.linalg.inv(boxToRas)))
        own = self._reslice(box, chain, np.eye(4), self.ownSize, "nearest")
        return cropToLabels(own)

    def labelsFromOwn(self, labels, index):
        """The reverse of `labelsToOwn`."""
        if not self.upright:
            return labels, tuple(index)
        chain = vtk.vtkGeneralTransform()
        chain.PostMultiply()
        chain.Concatenate(self._worldToOwnIjk())
        shift = np.eye(4)
        shift[:3, 3] = -np.array(index, dtype=float)
        chain.Concatenate(vtkFromMatrix(shift))
        return cropToLabels(self._reslice(_imageData(labels), chain, self.ijkToRas, self.size, "nearest"))

    def _ownIjkToWorld(self):
        chain = vtk.vtkGeneralTransform()
        chain.PostMultiply()
        chain.Concatenate(vtkFromMatrix(self._ijkToRas))
        parent = self._node.GetParentTransformNode()
        if parent:
            toWorld = vtk.vtkGeneralTransform()
            parent.GetTransformToWorld(toWorld)
            chain.Concatenate(toWorld)
        return chain

    def _worldToOwnIjk(self):
        chain = vtk.vtkGeneralTransform()
        chain.PostMultiply()
        parent = self._node.GetParentTransformNode()
        if parent:
            fromWorld = vtk.vtkGeneralTransform()
            parent.GetTransformFromWorld(fromWorld)
            chain.Concatenate(fromWorld)
        chain.Concatenate(vtkFromMatrix(np.linalg.inv(self._ijkToRas)))
        return chain

    def _worldSpacing(self):
        """Size of a voxel in the middle of the volume along each axis of the world."""
        toWorld = self._ownIjkToWorld()
        middle = (np.array(self.ownSize) - 1) / 2
        origin = np.array(toWorld.TransformPoint(middle))
        steps = np.array([np.array(toWorld.TransformPoint(middle + step)) - origin for step in np.eye(3)])
        lengths = np.linalg.norm(steps, axis=1)
        # For each axis of the world, the voxel's edge that runs most nearly along it.
        return lengths[np.argmax(np.abs(steps) / lengths[:, None], axis=0)]

    def _worldBounds(self):
        toWorld = self._ownIjkToWorld()
        axes = [np.linspace(0, n - 1, min(n, 9)) for n in self.ownSize]
        points = np.array([toWorld.TransformPoint([x, y, z]) for x in axes[0] for y in axes[1] for z in axes[2]])
        return points.min(axis=0), points.max(axis=0)

    def _reslice(self, image, gridPointToImageIjk, gridToRas, size, interpolation):
        # Output coordinates are the grid's own ijk; the chain takes them to points, then to the image's ijk.
        chain = vtk.vtkGeneralTransform()
        chain.PostMultiply()
        chain.Concatenate(vtkFromMatrix(gridToRas))
        chain.Concatenate(gridPointToImageIjk)
        source = vtk.vtkImageData()
        source.ShallowCopy(image)
        source.SetOrigin(0, 0, 0)
        source.SetSpacing(1, 1, 1)
        reslice = vtk.vtkImageReslice()
        reslice.SetInputData(source)
        reslice.SetResliceTransform(chain)
        reslice.SetOutputOrigin(0, 0, 0)
        reslice.SetOutputSpacing(1, 1, 1)
        reslice.SetOutputExtent(0, size[0] - 1, 0, size[1] - 1, 0, size[2] - 1)
        reslice.SetAutoCropOutput(False)
        if interpolation == "linear":
            reslice.SetInterpolationModeToLinear()
            reslice.SetBackgroundLevel(AIR_HU)
        else:
            reslice.SetInterpolationModeToNearestNeighbor()
            reslice.SetBackgroundLevel(0)
        reslice.Update()
        output = reslice.GetOutput()
        return numpy_support.vtk_to_numpy(output.GetPointData().GetScalars()).reshape(size[::-1]).copy()


def hasRightAngles(ijkToRas):
    """Whether the axes of a 4x4 matrix are at right angles, whatever their lengths."""
    axes = ijkToRas[:3, :3] / np.linalg.norm(ijkToRas[:3, :3], axis=0)
    return bool(np.allclose(axes.T @ axes, np.eye(3), atol=ANGLE_TOLERANCE))


def isRigid(transformNode):
    """Whether a parent transform (or none) only turns and moves."""
    if transformNode is None:
        return True
    if not transformNode.IsTransformToWorldLinear():
        return False
    matrix = vtk.vtkMatrix4x4()
    transformNode.GetMatrixTransformToWorld(matrix)
    axes = matrixFromVtk(matrix)[:3, :3]
    return bool(np.allclose(axes.T @ axes, np.eye(3), atol=ANGLE_TOLERANCE))


def cropToLabels(labels):
    """The smallest box round all labels, and the (x, y, z) of its first voxel; one voxel if there are none."""
    found = np.nonzero(labels)
    if found[0].size == 0:
        return labels[:1, :1, :1].copy(), (0, 0, 0)
    slices = tuple(slice(int(axis.min()), int(axis.max()) + 1) for axis in found)
    return np.ascontiguousarray(labels[slices]), tuple(s.start for s in reversed(slices))


def matrixFromVtk(matrix):
    return np.array([[matrix.GetElement(row, column) for column in range(4)] for row in range(4)])


def vtkFromMatrix(array):
    """A vtkTransform of a 4x4 array."""
    matrix = vtk.vtkMatrix4x4()
    for row in range(4):
        for column in range(4):
            matrix.SetElement(row, column, float(array[row, column]))
    transform = vtk.vtkTransform()
    transform.SetMatrix(matrix)
    return transform


def _matrix(getter):
    matrix = vtk.vtkMatrix4x4()
    getter(matrix)
    return matrix


def _imageData(array):
    image = vtk.vtkImageData()
    image.SetDimensions(*array.shape[::-1])
    scalars = numpy_support.numpy_to_vtk(np.ascontiguousarray(array).ravel(), deep=True)
    image.GetPointData().SetScalars(scalars)
    return image
