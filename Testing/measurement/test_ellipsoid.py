"""ADPKD: total kidney volume with cysts, by height, and the ellipsoid estimate beside it."""

from __future__ import annotations

import math

import numpy as np
import pytest

sitk = pytest.importorskip("SimpleITK")

from KidneySegLib.labels import Structure  # noqa: E402
from KidneySegLib.measurement import Patient, measure  # noqa: E402
from KidneySegLib.measurement.ellipsoid import diameters_mm, ellipsoid_ml  # noqa: E402
from KidneySegLib.postprocessing.grid import VoxelGrid  # noqa: E402

KNOWS = (Structure.CORTEX, Structure.MEDULLA, Structure.CYST)


def ellipsoid(half_mm: tuple[float, float, float], spacing_mm: tuple[float, float, float]) -> np.ndarray:
    """An ellipsoid (z, y, x) in the middle of its array."""
    shape = [2 * math.ceil(h / s) + 5 for h, s in zip(half_mm, spacing_mm, strict=True)]
    axes = np.meshgrid(
        *((np.arange(n) - (n - 1) / 2) * s for n, s in zip(shape, spacing_mm, strict=True)), indexing="ij"
    )
    return sum((a / h) ** 2 for a, h in zip(axes, half_mm, strict=True)) <= 1


def image_of(array: np.ndarray, spacing_mm_zyx: tuple[float, float, float]) -> sitk.Image:
    image = sitk.GetImageFromArray(array)
    image.SetSpacing(spacing_mm_zyx[::-1])
    return image


def test_formula() -> None:
    assert ellipsoid_ml(120.0, 60.0, 50.0) == pytest.approx(188.4956, abs=1e-4)


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (3.0, 0.8, 0.8)])
def test_an_ellipsoid_has_its_own_diameters_and_volume(spacing: tuple[float, float, float]) -> None:
    mask = ellipsoid((60.0, 30.0, 24.0), spacing)
    found = diameters_mm(mask, VoxelGrid.of(image_of(mask.astype(np.uint8), spacing)))
    assert found == pytest.approx((120.0, 60.0, 48.0), rel=0.05)
    assert ellipsoid_ml(*found) == pytest.approx(mask.sum() * math.prod(spacing) / 1000, rel=0.1)


def test_an_empty_mask_has_none() -> None:
    empty = np.zeros((3, 3, 3), np.uint8)
    assert diameters_mm(empty, VoxelGrid.of(image_of(empty, (1, 1, 1)))) is None


def test_one_voxel_has_its_edges() -> None:
    one = np.zeros((3, 3, 3), np.uint8)
    one[1, 1, 1] = 1
    assert diameters_mm(one, VoxelGrid.of(image_of(one, (4, 2, 1)))) == pytest.approx((4.0, 2.0, 1.0))


def labels_with_a_cyst() -> np.ndarray:
    """A right kidney of 6 mL undivided parenchyma with 2 mL of cyst; a left one of 3 mL with a mass of 1 mL."""
    labels = np.zeros((30, 30, 60), np.uint8)
    labels[5:25, 5:20, 5:25] = 13
    labels[5:25, 5:10, 5:25] = 5
    labels[5:25, 5:20, 40:50] = 14
    labels[5:15, 5:15, 40:50] = 8
    return labels


def test_total_kidney_volume_holds_cysts_and_no_masses() -> None:
    labels = labels_with_a_cyst()
    image = image_of(np.full(labels.shape, 100, np.int16), (1, 1, 1))
    table = measure(image_of(labels, (1, 1, 1)), image, patient=Patient(height_cm=160), structures=KNOWS)
    right, left, both = (table.row(side) for side in ("right", "left", "both"))
    assert right is not None
    assert left is not None
    assert both is not None
    assert (right.parenchyma_ml, right.cyst_ml, right.total_kidney_ml) == pytest.approx((4.0, 2.0, 6.0))
    assert (left.total_kidney_ml, left.mass_ml) == pytest.approx((2.0, 1.0))
    assert both.total_kidney_ml_per_m == pytest.approx(8.0 / 1.6)
    assert both.ellipsoid_ml == pytest.approx((right.ellipsoid_ml or 0) + (left.ellipsoid_ml or 0))


def test_cells_are_empty_where_cysts_cannot_be_told() -> None:
    labels = labels_with_a_cyst()
    labels[labels == 5] = 13
    image = image_of(np.full(labels.shape, 100, np.int16), (1, 1, 1))
    for row in measure(image_of(labels, (1, 1, 1)), image, patient=Patient(height_cm=160)):
        assert (row.total_kidney_ml, row.total_kidney_ml_per_m, row.ellipsoid_ml) == (None, None, None)
    knows = measure(image_of(labels, (1, 1, 1)), image, structures=KNOWS).row("right")
    assert knows is not None
    assert knows.total_kidney_ml == knows.parenchyma_ml
    assert knows.total_kidney_ml_per_m is None
