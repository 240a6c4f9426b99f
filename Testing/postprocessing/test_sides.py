"""Sides of kidneys: by the spine and the world, on every grid, for usual and unusual anatomy."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk

from KidneySegLib.errors import InputError
from KidneySegLib.labels import OverviewLabel, Side
from KidneySegLib.postprocessing import Kidneys, assign_kidneys, assign_sides
from KidneySegLib.postprocessing.landmarks import _run_from_below
from Testing.postprocessing.patient import DIRECTIONS, LEFT, RIGHT, Blob, Patient, ids_at, result_of

SMALL = {(Side.RIGHT, "kidney_small"), (Side.LEFT, "kidney_small")}


def kidneys_of(patient: Patient, **scan: object) -> Kidneys:
    image, labels = patient.scan(**scan)  # type: ignore[arg-type]
    return assign_kidneys(result_of(labels), image)


@pytest.mark.parametrize("direction", DIRECTIONS.values(), ids=DIRECTIONS.keys())
def test_sides_are_those_of_the_world_on_every_grid(direction: np.ndarray) -> None:
    kidneys = kidneys_of(Patient(), direction=direction)
    assert ids_at(kidneys.labels, RIGHT.centre, LEFT.centre) == [2, 4]
    assert ids_at(kidneys.labels, (-62, 20, 48), (62, 20, 48)) == [1, 3]
    assert kidneys.flags == ()
    assert kidneys.midline == "bone"


def test_both_kidneys_in_one_half_of_the_picture() -> None:
    patient = Patient((Blob((40, 20, 0)), Blob((164, 20, 0))), spine_x=102)
    kidneys = kidneys_of(patient)
    assert ids_at(kidneys.labels, (40, 20, 0), (164, 20, 0)) == [2, 4]


def test_the_localisers_spine_decides_where_it_is_curved() -> None:
    # At its own height each kidney lies on its side; measured from the spine's mean both would be right.
    patient = Patient((Blob((30, 20, 70), (20, 20, 30)), Blob((-10, 20, -70), (20, 20, 30))), tilt=0.9, bone=False)
    image, labels = patient.scan()
    kidneys = assign_kidneys(result_of(labels, patient.overview()), image)
    assert kidneys.midline == "spine"
    assert ids_at(kidneys.labels, (30, 20, 70), (-10, 20, -70)) == [2, 4]


def test_the_outline_of_the_body_serves_where_no_bone_is_seen() -> None:
    kidneys = kidneys_of(
        Patient((Blob((2, 20, 0)), Blob((126, 20, 0))), spine_x=64, bone=False), extent=(480, 280, 320)
    )
    assert kidneys.midline == "body"
    assert ids_at(kidneys.labels, (2, 20, 0), (126, 20, 0)) == [2, 4]


def test_without_any_landmark_two_kidneys_are_right_and_left_of_each_other() -> None:
    image, labels = Patient(bone=False).scan(extent=(200, 90, 160))
    kidneys = assign_kidneys(result_of(labels), image)
    assert kidneys.midline is None
    assert ids_at(kidneys.labels, RIGHT.centre, LEFT.centre) == [2, 4]


def test_without_any_landmark_one_kidney_has_no_side() -> None:
    image, labels = Patient((LEFT,), bone=False).scan(centre=(62, 20, 0), extent=(90, 80, 150))
    kidneys = assign_kidneys(result_of(labels), image)
    assert ids_at(kidneys.labels, LEFT.centre) == [10]
    assert (Side.UNSIDED, "side_uncertain") in kidneys.flags


def test_mirroring_the_patient_swaps_the_sides() -> None:
    one = kidneys_of(Patient((Blob((-70, 20, 10)), Blob((55, 25, -20), (24, 24, 40)))))
    other = kidneys_of(Patient((Blob((70, 20, 10)), Blob((-55, 25, -20), (24, 24, 40)))))
    swap = np.array([0, 3, 4, 1, 2])
    a, b = (sitk.GetArrayFromImage(k.labels) for k in (one, other))
    np.testing.assert_array_equal(swap[a], b[:, :, ::-1])


def test_one_kidney() -> None:
    kidneys = kidneys_of(Patient((LEFT,)))
    assert ids_at(kidneys.labels, LEFT.centre) == [4]
    assert kidneys.flags == ((None, "one_kidney"),)


def test_no_kidney() -> None:
    image, labels = Patient(()).scan()
    kidneys = assign_kidneys(result_of(labels), image)
    assert kidneys.flags == ((None, "no_kidney"),)
    assert not sitk.GetArrayFromImage(kidneys.labels).any()
    assert kidneys.labels.GetSize() == labels.GetSize()


def test_a_horseshoe_has_no_side() -> None:
    isthmus = Blob((0, 5, -35), (55, 14, 16))
    kidneys = kidneys_of(Patient((RIGHT, LEFT, isthmus)))
    assert set(np.unique(sitk.GetArrayFromImage(kidneys.labels))) == {0, 9, 10}
    assert kidneys.flags == ((Side.UNSIDED, "fused_kidneys"),)


def test_a_thin_false_bridge_is_cut() -> None:
    vein = Blob((0, 20, 0), (45, 4, 4))
    kidneys = kidneys_of(Patient((RIGHT, LEFT, vein)), spacing=(3, 3, 3), extent=(380, 260, 130))
    assert ids_at(kidneys.labels, RIGHT.centre, LEFT.centre) == [2, 4]
    assert not any("fused" in key for _, key in kidneys.flags)
    assert any("bridge" in note for note in kidneys.notes)


def test_a_large_left_kidney_over_the_midline_beside_a_right_one_is_not_fused() -> None:
    kidneys = kidneys_of(Patient((Blob((-85, 20, 0)), Blob((45, -10, 0), (85, 50, 80)))))
    assert ids_at(kidneys.labels, (-85, 20, 0), (60, -10, 0)) == [2, 4]
    assert not any("fused" in key for _, key in kidneys.flags)
    assert (Side.LEFT, "kidney_large") in kidneys.flags


def test_crossed_ectopia_leaves_the_side_to_the_upper_kidney() -> None:
    low = Blob((55, 20, -88), (26, 24, 26))
    kidneys = kidneys_of(Patient((Blob((62, 20, 40)), low)), extent=(400, 280, 420))
    assert ids_at(kidneys.labels, (62, 20, 40), low.centre) == [4, 10]
    assert (None, "crossed_ectopia") in kidneys.flags
    assert (None, "more_than_two_kidneys") not in kidneys.flags


def test_a_pelvic_kidney_completes_a_pair() -> None:
    low = Blob((-50, 20, -170), (26, 26, 40))
    kidneys = kidneys_of(Patient((LEFT, low), pelvis_top=-110.0), extent=(400, 280, 480))
    assert ids_at(kidneys.labels, LEFT.centre, low.centre) == [4, 2]
    assert (Side.RIGHT, "pelvic_kidney") in kidneys.flags


def test_a_transplant_beside_two_shrunken_kidneys_has_no_side() -> None:
    shrunken = tuple(Blob((x, 20, 40), (15, 15, 26), 4.0) for x in (-58, 58))
    graft = Blob((-80, -30, -160), (32, 30, 52))
    kidneys = kidneys_of(Patient((*shrunken, graft), pelvis_top=-100.0), extent=(400, 280, 480))
    assert ids_at(kidneys.labels, *(b.centre for b in shrunken), graft.centre) == [2, 4, 10]
    assert {(Side.UNSIDED, "pelvic_kidney"), (None, "more_than_two_kidneys")} | SMALL == set(kidneys.flags)


def test_a_transplant_alone_has_no_side() -> None:
    graft = Blob((-80, -30, -160), (32, 30, 52))
    kidneys = kidneys_of(Patient((graft,), pelvis_top=-100.0), extent=(400, 280, 480))
    assert ids_at(kidneys.labels, graft.centre) == [10]
    assert (Side.UNSIDED, "pelvic_kidney") in kidneys.flags


def test_ribs_at_the_liver_s_height_are_no_pelvis_and_a_single_kidney_between_them_has_a_side() -> None:
    patient = Patient((LEFT,), pelvis_top=200.0)  # wide bone in every slice, as where the lower ribs hang far down
    liver = Blob((-70, -10, 60), (60, 50, 60))
    image, labels = patient.scan()
    ribs = assign_kidneys(result_of(labels, patient.overview(((liver, OverviewLabel.LIVER),))), image)
    assert ids_at(ribs.labels, LEFT.centre) == [4]
    assert not any(key == "pelvic_kidney" for _, key in ribs.flags)
    # Where nothing but the pelvis is in the scan, no organ says otherwise.
    pelvis = assign_kidneys(result_of(labels, patient.overview()), image)
    assert ids_at(pelvis.labels, LEFT.centre) == [10]


@pytest.mark.parametrize(("wide", "run"), [("", 0), ("..##", 0), ("#", 1), ("###..##", 3), ("#.##..", 4), (".##", 3)])
def test_the_pelvis_is_the_wide_bone_at_the_lower_end_of_the_scan(wide: str, run: int) -> None:
    assert _run_from_below(np.array([letter == "#" for letter in wide], dtype=bool)) == run


def test_a_single_kidney_that_the_scan_cuts_below_its_ribs_has_a_side() -> None:
    # The scan begins in the kidney; ribs above its middle are wide bone, but none is at the scan's lower end.
    image, labels = Patient((LEFT,), pelvis_top=200.0).scan(centre=(0, 0, 160))
    values = sitk.GetArrayFromImage(image)
    values[:8][values[:8] == 500] = 40
    cut = sitk.GetImageFromArray(values)
    cut.CopyInformation(image)
    kidneys = assign_kidneys(result_of(labels), cut)
    assert set(np.unique(sitk.GetArrayFromImage(kidneys.labels))) == {0, 3, 4}
    assert not any(key == "pelvic_kidney" for _, key in kidneys.flags)


def test_a_kidney_in_pieces_is_one_kidney() -> None:
    upper, lower = Blob((62, 20, 32), (26, 24, 24)), Blob((62, 20, -32), (26, 24, 24))
    fragment = Blob((62, -12, 0), (9, 6, 9), 0.5)
    kidneys = kidneys_of(Patient((RIGHT, upper, lower, fragment)))
    assert ids_at(kidneys.labels, upper.centre, lower.centre) == [4, 4]
    assert ids_at(kidneys.labels, fragment.centre)[0] in (3, 4)
    assert not {key for _, key in kidneys.flags} & {"crossed_ectopia", "more_than_two_kidneys"}


def test_undivided_parenchyma_gets_its_own_ids() -> None:
    image, labels = Patient().scan()
    whole = sitk.Cast(labels > 0, sitk.sitkUInt8)
    kidneys = assign_kidneys(result_of(whole, divided=False), image)
    assert set(np.unique(sitk.GetArrayFromImage(kidneys.labels))) == {0, 13, 14}
    assert kidneys.flags == ((Side.RIGHT, "undivided_parenchyma"), (Side.LEFT, "undivided_parenchyma"))


def test_a_part_of_the_grid_gives_the_same_answer() -> None:
    image, labels = Patient().scan(direction=DIRECTIONS["oblique"])
    whole = assign_kidneys(result_of(labels), image)
    part = assign_kidneys(result_of(labels[10:-8, 6:-4, 5:-3]), image)
    np.testing.assert_array_equal(
        sitk.GetArrayFromImage(part.labels), sitk.GetArrayFromImage(whole.labels[10:-8, 6:-4, 5:-3])
    )
    assert part.flags == whole.flags


def test_labels_on_another_grid_are_refused() -> None:
    image, labels = Patient().scan()
    labels.SetOrigin([mm + 1.5 for mm in labels.GetOrigin()])
    with pytest.raises(InputError, match="grid"):
        assign_kidneys(result_of(labels), image)


def test_drawn_labels_get_sides_and_lose_nothing() -> None:
    image, labels = Patient((RIGHT, LEFT, Blob((75, 60, 70), (5, 5, 5), 0.5))).scan()
    drawn = sitk.GetArrayFromImage(labels)
    unsided = sitk.GetImageFromArray(np.array([0, 10, 9], dtype=np.uint8)[drawn])
    unsided.CopyInformation(labels)
    kidneys = assign_sides(unsided, image)
    ids = sitk.GetArrayFromImage(kidneys.labels)
    assert ((ids > 0) == (drawn > 0)).all()
    assert ids_at(kidneys.labels, RIGHT.centre, LEFT.centre) == [2, 4]
    assert ids_at(kidneys.labels, (75, 60, 70))[0] in (3, 4)
    assert kidneys.flags == ()


def test_the_localisers_map_may_lie_on_any_grid() -> None:
    patient = Patient(bone=False)
    image, labels = patient.scan(direction=DIRECTIONS["feet first"])
    kidneys = assign_kidneys(result_of(labels, patient.overview(((LEFT, OverviewLabel.KIDNEY),))), image)
    assert kidneys.midline == "spine"
    assert ids_at(kidneys.labels, RIGHT.centre, LEFT.centre) == [2, 4]
