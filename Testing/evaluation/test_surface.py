"""Surface distances, against literal answers, MONAI, and a plain search of all pairs."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from KidneySegLib.evaluation.surface import border, surface_distances

Mask = NDArray[np.bool_]
SPACING = (5.0, 0.7, 0.7)
MASKS = arrays(np.bool_, (4, 5, 6))


def shifted_boxes() -> tuple[Mask, Mask]:
    """A box of 10 x 20 x 20 voxels and the same one slice further."""
    reference, prediction = np.zeros((2, 16, 30, 30), bool)
    reference[2:12, 5:25, 5:25] = True
    prediction[3:13, 5:25, 5:25] = True
    return reference, prediction


def plain_border(mask: Mask) -> list[tuple[int, int, int]]:
    found = []
    for z, y, x in np.argwhere(mask):
        for dz, dy, dx in ((1, 0, 0), (-1, 0, 0), (0, 1, 0), (0, -1, 0), (0, 0, 1), (0, 0, -1)):
            at = (z + dz, y + dy, x + dx)
            if any(i < 0 or i >= n for i, n in zip(at, mask.shape, strict=True)) or not mask[at]:
                found.append((z, y, x))
                break
    return found


def plain_distances(of: Mask, to: Mask) -> list[float]:
    points = [np.array(plain_border(mask)) * SPACING for mask in (of, to)]
    return [float(np.sqrt(((points[1] - point) ** 2).sum(axis=1)).min()) for point in points[0]]


def test_known_vector_of_a_box_moved_by_one_slice() -> None:
    found = surface_distances(*shifted_boxes(), SPACING)
    assert found is not None
    # What MONAI 1.4 to 1.6 give for these boxes (voxel borders, unweighted).
    assert found.assd_mm == pytest.approx(1.978, abs=5e-4)
    assert found.hd95_mm == pytest.approx(5.0)
    assert found.surface_dice(1.0) == pytest.approx(0.534, abs=5e-4)
    assert found.surface_dice(5.0) == 1.0


def test_two_single_voxels() -> None:
    a, b = np.zeros((2, 3, 3, 9), bool)
    a[1, 1, 1], b[1, 1, 7] = True, True
    found = surface_distances(a, b, (1.0, 1.0, 0.5))
    assert found is not None
    assert (found.hd95_mm, found.assd_mm) == (3.0, 3.0)
    assert (found.surface_dice(2.9), found.surface_dice(3.0)) == (0.0, 1.0)


def test_same_masks_and_empty_masks() -> None:
    a, _ = shifted_boxes()
    same = surface_distances(a, a, SPACING)
    assert same is not None
    assert (same.hd95_mm, same.assd_mm, same.surface_dice(0.0)) == (0.0, 0.0, 1.0)
    assert surface_distances(a, np.zeros_like(a), SPACING) is None
    assert surface_distances(np.zeros_like(a), np.zeros_like(a), SPACING) is None


def test_the_end_of_the_scan_is_a_border() -> None:
    assert border(np.ones((3, 3, 3), bool)).sum() == 26


@settings(max_examples=40, deadline=None)
@given(MASKS, MASKS)
def test_equals_a_search_of_all_pairs(a: Mask, b: Mask) -> None:
    found = surface_distances(a, b, SPACING)
    if not a.any() or not b.any():
        assert found is None
        return
    assert found is not None
    np.testing.assert_allclose(found.from_reference, plain_distances(a, b), atol=1e-9)
    np.testing.assert_allclose(found.from_prediction, plain_distances(b, a), atol=1e-9)


@pytest.mark.filterwarnings("ignore:monai.metrics.utils:FutureWarning")  # MONAI's own use of an old argument
def test_equals_monai() -> None:
    torch = pytest.importorskip("torch")
    metrics = pytest.importorskip("monai.metrics")
    rng = np.random.default_rng(7)
    pair = []
    for shift in (0, 2):
        zyx = np.indices((14, 24, 26)).astype(float)
        depth = ((zyx[0] - 7) / 5) ** 2 + ((zyx[1] - 12) / 8) ** 2 + ((zyx[2] - 11 - shift) / 8) ** 2
        pair.append(depth + rng.normal(0, 0.08, depth.shape) < 1)
    found = surface_distances(pair[0], pair[1], SPACING)
    assert found is not None
    reference, prediction = (torch.from_numpy(mask[None, None].astype(np.float32)) for mask in pair)
    assd = metrics.compute_average_surface_distance(prediction, reference, symmetric=True, spacing=SPACING)
    hd95 = metrics.compute_hausdorff_distance(prediction, reference, percentile=95, spacing=SPACING)
    nsd = metrics.compute_surface_dice(
        prediction, reference, class_thresholds=[1.0], include_background=True, spacing=SPACING
    )
    assert found.assd_mm == pytest.approx(float(assd), rel=1e-5)
    assert found.hd95_mm == pytest.approx(float(hd95), rel=1e-5)
    assert found.surface_dice(1.0) == pytest.approx(float(nsd), rel=1e-5)
