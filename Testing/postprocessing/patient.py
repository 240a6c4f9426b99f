"""A patient of simple shapes, described in the world (LPS mm) and scanned on any grid."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from KidneySegLib.inference.engine import EngineResult
from KidneySegLib.inference.evidence import Evidence
from KidneySegLib.inference.grid import frame_of, grid_of
from KidneySegLib.labels import OverviewLabel
from KidneySegLib.postprocessing.grid import VoxelGrid

Array = NDArray[Any]

#: Directions of the grid's axes: every way in which scans come.
DIRECTIONS: dict[str, Array] = {
    "head first, supine": np.eye(3),
    "feet first": np.diag([-1.0, 1.0, -1.0]),
    "prone": np.diag([-1.0, -1.0, 1.0]),
    "flipped left to right (left-handed)": np.diag([-1.0, 1.0, 1.0]),
    "slices downwards (left-handed)": np.diag([1.0, 1.0, -1.0]),
    "coronal": np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]]),
    "sagittal": np.array([[0.0, 0, 1], [1, 0, 0], [0, 1, 0]]),
}


def rotation(degrees: tuple[float, float, float]) -> Array:
    """Rotation about world x, then y, then z."""
    a, b, c = np.radians(degrees)
    about_x = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    about_y = np.array([[np.cos(b), 0, np.sin(b)], [0, 1, 0], [-np.sin(b), 0, np.cos(b)]])
    about_z = np.array([[np.cos(c), -np.sin(c), 0], [np.sin(c), np.cos(c), 0], [0, 0, 1]])
    return about_z @ about_y @ about_x


DIRECTIONS["oblique"] = rotation((12, -9, 20))


@dataclass(frozen=True)
class Blob:
    """An ellipsoid of kidney, with medulla inside `cortex_mm` of cortex."""

    centre: tuple[float, float, float]
    half: tuple[float, float, float] = (28, 26, 52)
    cortex_mm: float = 8.0
    hu: int = 180


RIGHT = Blob((-62, 20, 0))
LEFT = Blob((62, 20, 0))


@dataclass(frozen=True)
class Patient:
    """Kidneys, and where the patient's spine runs: world x as a line over world z.

    Attributes:
        blobs: what the network called kidney.
        spine_x: world x of the spine at z = 0; everything else keeps its place in the world.
        tilt: change of the spine's x per mm of height (scoliosis).
        bone: whether the scan shows bone.
        pelvis_top: world z of the iliac crests, None for a scan that ends above.
    """

    blobs: tuple[Blob, ...] = (RIGHT, LEFT)
    spine_x: float = 0.0
    tilt: float = 0.0
    bone: bool = True
    pelvis_top: float | None = None
    extra_hu: tuple[tuple[Blob, int], ...] = field(default=())

    def scan(
        self,
        direction: Array | None = None,
        spacing: tuple[float, float, float] = (4, 4, 5),
        centre: tuple[float, float, float] = (0, 0, 0),
        extent: tuple[float, float, float] = (400, 280, 320),
    ) -> tuple[sitk.Image, sitk.Image]:
        """The CT and the training label map, both on one grid whose middle lies at a place of the world."""
        image = empty_image(direction, spacing, centre, extent)
        grid = VoxelGrid.of(image)
        index = np.indices(grid.size[::-1]).reshape(3, -1).T
        world = grid.world(index)
        x, y, z = world.T
        spine = self.spine_x + self.tilt * z
        hu = np.full(len(world), -1000, dtype=np.int16)
        body = ((x - self.spine_x) / 170) ** 2 + (y / 115) ** 2 < 1
        hu[body] = -90
        hu[body & (((x - self.spine_x) / 155) ** 2 + (y / 100) ** 2 < 1)] = 40
        if self.bone:
            hu[np.hypot(x - spine, y - 62) < 20] = 450
            if self.pelvis_top is not None:
                wing = (np.abs(np.abs(x - spine) - 90) < 30) & (np.abs(y - 40) < 10) & (z < self.pelvis_top)
                hu[wing] = 500
        labels = np.zeros(len(world), dtype=np.uint8)
        for blob in self.blobs:
            inside, medulla = _inside(world, blob, 0), _inside(world, blob, blob.cortex_mm)
            labels[inside], labels[medulla] = 2, 1
            hu[inside], hu[medulla] = blob.hu, blob.hu - 70 if blob.hu > 100 else blob.hu
        for blob, value in self.extra_hu:
            hu[_inside(world, blob, 0)] = value
        return filled(hu, image), filled(labels, image)

    def overview(self, marks: tuple[tuple[Blob, OverviewLabel], ...] = ()) -> sitk.Image:
        """The localiser's map at 6 mm: spine, kidneys, and marks over them."""
        image = empty_image(None, (6, 6, 6), (0, 0, 0), (400, 280, 400))
        grid = VoxelGrid.of(image)
        world = grid.world(np.indices(grid.size[::-1]).reshape(3, -1).T)
        ids = np.zeros(len(world), dtype=np.uint8)
        ids[np.hypot(world[:, 0] - self.spine_x - self.tilt * world[:, 2], world[:, 1] - 62) < 20] = OverviewLabel.SPINE
        for blob in self.blobs:
            ids[_inside(world, blob, 0)] = OverviewLabel.KIDNEY
        for blob, label in marks:
            ids[_inside(world, blob, 0)] = label
        return filled(ids, image)


def empty_image(
    direction: Array | None,
    spacing: tuple[float, float, float],
    centre: tuple[float, float, float],
    extent: tuple[float, float, float],
) -> sitk.Image:
    """A grid around a place of the world; its extent is given along world axes and turned with the direction."""
    direction = np.eye(3) if direction is None else direction
    along = np.abs(direction.T @ np.array(extent))
    size = [int(np.ceil(a / s)) for a, s in zip(along, spacing, strict=True)]
    image = sitk.Image(size, sitk.sitkInt16)
    image.SetSpacing(spacing)
    image.SetDirection(direction.ravel().tolist())
    middle = direction @ ((np.array(size) - 1) / 2 * spacing)
    image.SetOrigin((np.array(centre) - middle).tolist())
    return image


def filled(values: Array, image: sitk.Image) -> sitk.Image:
    """Flat values as an image on another image's grid."""
    out = sitk.GetImageFromArray(values.reshape(image.GetSize()[::-1]))
    out.CopyInformation(image)
    return out


def result_of(
    labels: sitk.Image,
    overview: sitk.Image | None = None,
    divided: bool = True,
    evidence: tuple[Evidence, ...] = (),
    kidney: Evidence | None = None,
) -> EngineResult:
    """What the engine would hand over."""
    return EngineResult(
        labels=labels,
        index=(0, 0, 0),
        divided=divided,
        raw=labels,
        raw_names={},
        overview=overview,
        device="cpu",
        precision="float32",
        backend="openvino",
        seconds={},
        evidence=evidence,
        kidney=kidney,
    )


def evidence_on(image: sitk.Image, blobs: tuple[Blob, ...], missed: tuple[Blob, ...] = ()) -> Evidence:
    """Two passes on a grid of 3 mm: the first finds all blobs, the second nothing of the ``missed`` ones."""
    grid = grid_of(frame_of(image), (3.0, 3.0, 3.0))
    region = sitk.Image([int(n) for n in reversed(grid.whole.shape)], sitk.sitkUInt8)
    grid.place(region, grid.whole)
    world = VoxelGrid.of(region).world(np.indices(grid.whole.shape).reshape(3, -1).T)
    plain = np.zeros(len(world), np.uint8)
    for blob in blobs:
        plain[_inside(world, blob, 0)] = 255
    mirrored = plain.copy()
    for blob in missed:
        mirrored[_inside(world, blob, 0)] = 0
    return Evidence(grid, grid.whole, np.stack([plain, mirrored]).reshape(2, 1, *grid.whole.shape))


def ids_at(labels: sitk.Image, *world: tuple[float, float, float]) -> list[int]:
    """Values of a label map at places of the world."""
    grid = VoxelGrid.of(labels)
    index = np.rint(grid.index(np.array(world, dtype=float))).astype(int)
    return [int(v) for v in sitk.GetArrayFromImage(labels)[tuple(index.T)]]


def _inside(world: Array, blob: Blob, shell_mm: float) -> Array:
    half = np.array(blob.half) - shell_mm
    if (half <= 0).any():
        return np.zeros(len(world), dtype=bool)
    return (((world - blob.centre) / half) ** 2).sum(axis=1) < 1
