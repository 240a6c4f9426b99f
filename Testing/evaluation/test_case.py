"""One case: which structures are scored, sides, grids."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st

from KidneySegLib.errors import InputError
from KidneySegLib.evaluation.case import Settings, score_case, score_maps
from KidneySegLib.evaluation.maps import pair_maps, read_map
from KidneySegLib.evaluation.pairing import CasePaths
from KidneySegLib.evaluation.targets import not_told, targets_of
from KidneySegLib.export.seg_nrrd import write_seg_nrrd
from Testing.evaluation.toy import SHAPE, Array, image, kidneys, write

OURS = Settings("kidneyseg", "kidneyseg", targets_of("kidneyseg", "kidneyseg"))
#: Ids of right structures to those of left ones and back.
SWAPPED = np.array([0, 3, 4, 1, 2, 6, 5, 8, 7, 9, 10, 11, 12, 14, 13, 15], np.uint8)
UNSIDED = np.array([0, 9, 10, 9, 10, 11, 11, 12, 12, 9, 10, 11, 12, 15, 15, 15], np.uint8)
UNDIVIDED = np.array([0, 13, 13, 14, 14, 5, 6, 7, 8, 15, 15, 11, 12, 13, 14, 15], np.uint8)


def scored(
    reference: Array, prediction: Array, how: Settings = OURS
) -> tuple[dict[str, float | None], dict[str, str], str]:
    scores, skipped, verdict = score_maps(pair_maps(image(reference), image(prediction)), how)
    return {score.structure: score.values["dice"] for score in scores}, skipped, verdict


def test_a_map_against_itself() -> None:
    dice, skipped, verdict = scored(kidneys(), kidneys())
    assert dice == {
        "parenchyma": 1, "cortex": 1, "medulla": 1, "cyst": None, "mass": None,
        "right_parenchyma": 1, "left_parenchyma": 1, "right_cortex": 1, "left_cortex": 1,
        "right_medulla": 1, "left_medulla": 1,
    }  # fmt: skip
    assert (skipped, verdict) == ({}, "right")


def test_volumes_and_distances_are_in_ml_and_mm() -> None:
    scores, _, _ = score_maps(pair_maps(image(kidneys()), image(kidneys(shift=1))), OURS)
    right = next(score for score in scores if score.structure == "right_parenchyma")
    # 4 x 8 x 6 voxels of 1 x 1 x 5 mm.
    assert right.values["reference_ml"] == pytest.approx(0.96)
    assert right.values["volume_error_ml"] == 0
    assert right.values["dice"] == pytest.approx(5 / 6)
    assert right.values["hd95_mm"] == pytest.approx(1.0)
    assert right.values["surface_dice_1mm"] == 1.0


def test_undivided_parenchyma_counts_as_parenchyma_and_its_cortex_is_not_scored() -> None:
    dice, skipped, _ = scored(kidneys(), UNDIVIDED[kidneys()])
    assert dice["parenchyma"] == dice["right_parenchyma"] == 1
    assert "cortex" not in dice
    assert skipped["cortex"] == "the prediction holds parenchyma that is not divided"
    one = kidneys()
    one[one == 3] = 14
    dice, skipped, _ = scored(kidneys(), one)
    assert "cortex" in skipped
    assert dice["right_cortex"] == 1
    assert "left_cortex" in skipped


def test_unsided_against_sided_is_scored_over_all_sides_together() -> None:
    dice, skipped, verdict = scored(kidneys(), UNSIDED[kidneys()])
    assert dice["parenchyma"] == dice["cortex"] == 1
    assert skipped["right_parenchyma"] == "the prediction holds parenchyma without a side"
    assert verdict == "not told"


def test_swapped_sides_are_wrong_though_the_parenchyma_is_perfect() -> None:
    dice, _, verdict = scored(kidneys(), SWAPPED[kidneys()])
    assert dice["parenchyma"] == 1
    assert dice["right_parenchyma"] == dice["left_cortex"] == 0
    assert verdict == "wrong"


def test_a_missed_kidney_counts_with_dice_0() -> None:
    only_right = kidneys()
    only_right[only_right > 2] = 0
    dice, _, verdict = scored(kidneys(), only_right)
    assert dice["left_parenchyma"] == 0
    assert dice["right_parenchyma"] == 1
    assert verdict == "right"
    dice, _, verdict = scored(kidneys(), np.zeros(SHAPE, np.uint8))
    assert dice["parenchyma"] == dice["cortex"] == 0
    assert verdict == "not found"
    assert scored(UNSIDED[kidneys()], UNSIDED[kidneys()])[2] == "no sides"


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_swapping_sides_in_both_maps_changes_nothing_but_names(seed: int) -> None:
    rng = np.random.default_rng(seed)
    reference, prediction = (
        np.where(rng.random(SHAPE) < 0.3, rng.integers(0, 16, SHAPE), kidneys()).astype(np.uint8) for _ in range(2)
    )
    quick = Settings("kidneyseg", "kidneyseg", OURS.targets, surfaces=False)
    one, _, verdict = scored(reference, prediction, quick)
    other, _, mirrored = scored(SWAPPED[reference], SWAPPED[prediction], quick)
    names = {"right": "left", "left": "right"}
    renamed = {"_".join(names.get(part, part) for part in key.split("_")): value for key, value in other.items()}
    assert one == renamed
    assert verdict == mirrored


def test_structures_of_schemes() -> None:
    def keys(*schemes: str) -> list[str]:
        return [target.key for target in targets_of(*schemes)]

    assert keys("kidneyseg", "sides") == ["parenchyma", "right_parenchyma", "left_parenchyma"]
    assert keys("kidneyseg", "training") == ["parenchyma", "cortex", "medulla", "cyst", "mass"]
    assert keys("kidneyseg", "kits") == ["parenchyma", "cyst", "mass"]
    assert keys("kidneyseg", "abnormality") == ["parenchyma", "abnormality"]
    assert set(not_told("kidneyseg", "kits")) == {"cortex", "medulla", "sides"}
    with pytest.raises(InputError, match="hierarchical"):
        targets_of("kidneyseg", "abnormality", hierarchical=True)


def test_hierarchical_classes_follow_kits() -> None:
    how = Settings("kits", "kits", targets_of("kits", "kits", hierarchical=True))
    reference = np.zeros(SHAPE, np.uint8)
    reference[1:3, 2:6, 2:6] = 15
    reference[1:3, 6:8, 2:6] = 11
    dice, _, _ = scored(reference, np.where(reference == 11, 12, reference), how)
    assert dice["kidney_and_masses"] == dice["masses"] == 1
    assert dice["tumor"] == 0
    scores, _, _ = score_maps(pair_maps(image(reference), image(reference)), how)
    tumour = next(score for score in scores if score.structure == "tumor")
    assert (tumour.values["dice"], tumour.values["surface_dice_kits"]) == (1.0, 1.0)


def test_grids_that_differ_say_how() -> None:
    moved = image(kidneys())
    moved.SetOrigin((0.0, 20.0, 30.0))
    with pytest.raises(InputError, match=r"first voxel 10\.0 mm away"):
        pair_maps(image(kidneys()), moved)
    with pytest.raises(InputError, match=r"voxels of 1 x 1 x 3 mm, not 1 x 1 x 5 mm"):
        pair_maps(image(kidneys()), image(kidneys(), (1.0, 1.0, 3.0)))
    with pytest.raises(
        InputError, match="24 x 12 x 6 voxels, not 20 x 12 x 6, voxels of 1 x 1 x 5 mm, not 2 x 1 x 5 mm"
    ):
        pair_maps(image(np.zeros((6, 12, 20)), (2.0, 1.0, 5.0)), image(kidneys()))


def test_a_part_of_the_grid_and_another_order_of_axes_are_the_same_grid() -> None:
    whole = image(kidneys())
    part = whole[2:22, 1:11, :]
    for prediction in (part, sitk.DICOMOrient(whole, "RAS"), sitk.DICOMOrient(whole, "SAL")):
        for pair in (pair_maps(whole, prediction), pair_maps(prediction, whole)):
            assert (pair.reference == pair.prediction).all()
            assert np.bincount(pair.reference.ravel())[1:].tolist() == np.bincount(kidneys().ravel())[1:].tolist()
            assert pair.voxels == 6 * 12 * 24


def test_a_segmentation_of_slicer_is_read_by_its_names(tmp_path: Path) -> None:
    write_seg_nrrd(image(kidneys()), image(kidneys()), tmp_path / "a.seg.nrrd")
    reference = write(tmp_path / "a.nii.gz", kidneys())
    found = score_case(CasePaths("a", tmp_path / "a.seg.nrrd", reference), OURS)
    assert found.value("cortex", "dice") == 1.0


def test_ids_outside_the_scheme_are_an_error_of_the_case_alone(tmp_path: Path) -> None:
    bad = write(tmp_path / "a.nii.gz", np.full(SHAPE, 77, np.uint8))
    found = score_case(CasePaths("a", bad, bad), OURS)
    assert "77" in found.error
    assert found.scores == ()
    (tmp_path / "b.nii.gz").write_bytes(b"no image")
    assert score_case(CasePaths("b", tmp_path / "b.nii.gz", bad), OURS).error


def test_training_labels_have_no_sides(tmp_path: Path) -> None:
    path = write(tmp_path / "a.nii.gz", np.array([0, 2, 1, 2, 1], np.uint8)[kidneys()])
    labels = sitk.GetArrayFromImage(read_map(path, "training"))
    assert (labels == UNSIDED[kidneys()]).all()
