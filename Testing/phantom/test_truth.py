from __future__ import annotations

import numpy as np
import pytest

from KidneySegLib.phantom.truth import KidneyTruth, expected_flags, kidney_truths, majority_labels


def shares(**values: list[float]) -> dict[str, np.ndarray]:
    return {key: np.array(value, np.float32).reshape(1, 1, -1) for key, value in values.items()}


def test_majority_rule_voxel_by_voxel() -> None:
    fractions = shares(
        right_parenchyma=[1.0, 1.0, 0.49, 0.51, 0.3, 0.0, 0.0, 0.2],
        right_cortex=[1.0, 0.4, 0.49, 0.30, 0.3, 0.0, 0.0, 0.2],
        left_parenchyma=[0.0, 0.0, 0.0, 0.0, 0.4, 0.6, 0.0, 0.0],
        left_cortex=[0.0, 0.0, 0.0, 0.0, 0.1, 0.0, 0.0, 0.0],
        right_cyst=[0.0, 0.0, 0.0, 0.49, 0.0, 0.0, 0.0, 0.3],
        left_mass=[0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.9, 0.0],
    )
    expected = [1, 2, 0, 1, 4, 4, 8, 5]
    assert majority_labels(fractions, (1, 1, 8)).ravel().tolist() == expected


def test_unsided_structures_have_ids_9_to_12() -> None:
    fractions = shares(
        unsided_parenchyma=[1, 1, 0, 0],
        unsided_cortex=[1, 0, 0, 0],
        unsided_cyst=[0, 0, 1, 0],
        unsided_mass=[0, 0, 0, 1],
    )
    assert majority_labels(fractions, (1, 1, 4)).ravel().tolist() == [9, 10, 11, 12]


def test_nothing_gives_background_and_odd_keys_are_refused() -> None:
    assert not majority_labels({}, (2, 2, 2)).any()
    with pytest.raises(ValueError, match="keys"):
        majority_labels(shares(middle_cortex=[1.0]), (1, 1, 1))
    with pytest.raises(ValueError, match="shape"):
        majority_labels(shares(right_cyst=[1.0]), (1, 1, 2))


def test_volumes_by_side_and_the_cut() -> None:
    labels = np.zeros((3, 1, 4), np.uint8)
    labels[1] = [[1, 2, 2, 5]]
    labels[2, 0, 0] = 3
    right, left = kidney_truths({"right_parenchyma": 6.1, "right_cortex": 2.0, "left_parenchyma": 1.9}, labels, 2.0)
    assert (right.side, right.parenchyma_ml, right.medulla_ml, right.voxel_parenchyma_ml) == ("right", 6.1, 4.1, 6.0)
    assert (right.voxel_cortex_ml, right.cut_by_scan) == (2.0, False)
    assert (left.side, left.cut_by_scan) == ("left", True)
    assert kidney_truths({}, np.zeros((2, 2, 2), np.uint8), 1.0) == ()


@pytest.mark.parametrize(
    ("changes", "flags"),
    [
        ({}, ()),
        ({"phase": "nephrographic"}, ("phase_nephrographic",)),
        ({"contrast_hu": 20.0}, ("low_corticomedullary_contrast",)),
        ({"slice_thickness_mm": 8.0, "pixel_mm": 2.2}, ("slices_thick_for_cortex", "pixels_coarse_for_cortex")),
        ({"clipped": True, "scene_flags": ("fused_kidneys",)}, ("hu_clipped", "fused_kidneys")),
        ({"kidneys": ()}, ("no_kidney",)),
    ],
)
def test_flags_that_follow(changes: dict, flags: tuple[str, ...]) -> None:
    kidney = KidneyTruth("right", 150.0, 100.0, 0.0, 0.0, 150.0, 100.0, False)
    facts = {"phase": "arterial", "contrast_hu": 110.0, "slice_thickness_mm": 5.0, "pixel_mm": 0.7, "clipped": False}
    kidneys = (kidney, KidneyTruth("left", 150.0, 100.0, 0.0, 0.0, 150.0, 100.0, False))
    assert expected_flags(**{"kidneys": kidneys, **facts, **changes}) == flags
