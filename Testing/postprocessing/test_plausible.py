"""What is no kidney is removed, and said; what is kidney stays."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk

from KidneySegLib.labels import OverviewLabel, TrainingLabel
from KidneySegLib.postprocessing import assign_kidneys
from KidneySegLib.postprocessing.agreement import least_agreement
from Testing.postprocessing.patient import (
    DIRECTIONS,
    LEFT,
    RIGHT,
    Blob,
    Patient,
    evidence_on,
    filled,
    ids_at,
    result_of,
)

SPLEEN = Blob((115, 20, 60), (25, 30, 30))
BLADDER = Blob((0, -20, -170), (32, 28, 28), 0.5, hu=8)


def removed(false: Blob, **scan: object) -> tuple[list[int], str]:
    """Ids at two kidneys and at a false one, and all notes."""
    patient = Patient((RIGHT, LEFT, false))
    image, labels = patient.scan(**scan)  # type: ignore[arg-type]
    kidneys = assign_kidneys(result_of(labels), image)
    return ids_at(kidneys.labels, RIGHT.centre, LEFT.centre, false.centre), " ".join(kidneys.notes)


@pytest.mark.parametrize(("organ", "name"), [(OverviewLabel.SPLEEN, "spleen"), (OverviewLabel.LIVER, "liver")])
def test_a_piece_in_another_organ_of_the_localisers_map(organ: OverviewLabel, name: str) -> None:
    side = 1 if organ is OverviewLabel.SPLEEN else -1
    false = Blob((115 * side, 20, 75), (25, 30, 24))
    image, labels = Patient((RIGHT, LEFT, false)).scan()
    overview = Patient().overview(((Blob(false.centre, (32, 36, 30)), organ),))
    kidneys = assign_kidneys(result_of(labels, overview), image)
    assert ids_at(kidneys.labels, RIGHT.centre, LEFT.centre, false.centre) == [2, 4, 0]
    assert name in " ".join(kidneys.notes)


def test_a_kidney_that_touches_the_spleen_in_the_coarse_map_stays() -> None:
    image, labels = Patient().scan()
    overview = Patient().overview(((Blob((85, 20, 20), (30, 30, 40)), OverviewLabel.SPLEEN),))
    kidneys = assign_kidneys(result_of(labels, overview), image)
    assert ids_at(kidneys.labels, RIGHT.centre, LEFT.centre) == [2, 4]


def test_fluid_is_no_kidney() -> None:
    ids, notes = removed(BLADDER, extent=(400, 280, 440))
    assert ids == [2, 4, 0]
    assert "fluid" in notes


def test_fat_is_no_kidney() -> None:
    ids, notes = removed(Blob((60, -40, 90), (20, 20, 20), 0.5, hu=-90))
    assert "mL at L 60, A 40, S 90 mm was removed: it is f" in notes
    assert ids == [2, 4, 0]
    assert "fat" in notes


def test_bone_is_no_kidney() -> None:
    ids, notes = removed(Blob((90, 70, -100), (22, 20, 20), 0.5, hu=700))
    assert ids == [2, 4, 0]
    assert "bone" in notes


def test_bowel_with_gas_is_no_kidney() -> None:
    bowel = Blob((70, -60, -90), (24, 24, 24), 0.5, hu=60)
    image, labels = Patient((RIGHT, LEFT, bowel), extra_hu=((Blob((70, -66, -90), (12, 10, 12)), -800),)).scan()
    kidneys = assign_kidneys(result_of(labels), image)
    assert ids_at(kidneys.labels, RIGHT.centre, LEFT.centre, bowel.centre) == [2, 4, 0]
    assert "gas" in " ".join(kidneys.notes)


@pytest.mark.parametrize("hu", [22, 380])
def test_the_bladder_with_urine_or_contrast_is_no_kidney(hu: int) -> None:
    bladder = Blob((0, -20, -170), (32, 28, 28), 0.5, hu=hu)
    image, labels = Patient((RIGHT, LEFT, bladder), pelvis_top=-110.0).scan(extent=(400, 280, 480))
    kidneys = assign_kidneys(result_of(labels), image)
    assert ids_at(kidneys.labels, RIGHT.centre, LEFT.centre, bladder.centre) == [2, 4, 0]
    assert "bladder" in " ".join(kidneys.notes)


def test_something_beside_the_patient_is_no_kidney() -> None:
    ids, notes = removed(Blob((185, 60, 0), (12, 30, 30), 0.5), extent=(460, 280, 320))
    assert ids == [2, 4, 0]
    assert "from the midline" in notes


def test_islands_are_removed_but_a_small_kidney_alone_stays() -> None:
    ids, notes = removed(Blob((-60, -45, 80), (12, 12, 12), 0.5))
    assert ids == [2, 4, 0]
    assert "too small" in notes
    shrunken = Blob((-58, 20, 0), (13, 13, 20), 3.0)
    image, labels = Patient((LEFT, shrunken)).scan()
    kidneys = assign_kidneys(result_of(labels), image)
    assert ids_at(kidneys.labels, LEFT.centre, shrunken.centre) == [4, 2]


def test_a_cyst_goes_with_its_kidney_and_no_cyst_is_a_kidney() -> None:
    own, far = Blob((100, 20, 0), (15, 15, 15), 0.1), Blob((-60, -60, 100), (20, 20, 20), 0.1)
    image, labels = with_cysts(Patient(), own, far)
    kidneys = assign_kidneys(result_of(labels), image)
    assert ids_at(kidneys.labels, (102, 20, 0), (-60, -60, 100)) == [6, 0]


def test_nothing_is_invented() -> None:
    """Apart from filled holes every voxel of the answer was kidney before."""
    rng = np.random.default_rng(5)
    image, labels = Patient().scan()
    values = sitk.GetArrayFromImage(labels)
    noise = rng.random(values.shape)
    values[(noise < 0.01) & (values == 0)] = 2
    values[noise > 0.995] = 0
    noisy = sitk.GetImageFromArray(values)
    noisy.CopyInformation(labels)
    kidneys = assign_kidneys(result_of(noisy), image)
    ids = sitk.GetArrayFromImage(kidneys.labels)
    clean = sitk.GetArrayFromImage(labels)
    invented = (ids > 0) & (values == 0)
    assert (clean[invented] > 0).all()
    assert np.count_nonzero((ids > 0) & (clean == 0)) < 0.02 * np.count_nonzero(clean)
    assert np.count_nonzero(ids) > 0.995 * np.count_nonzero(clean)


def test_a_piece_that_the_localiser_does_not_see_goes_only_beside_two_that_it_sees() -> None:
    # A bowel loop beside two kidneys, large enough for a kidney; the overview shows nothing there.
    loop = Blob((60, -70, -20), (26, 22, 30))
    image, labels = Patient((RIGHT, LEFT, loop)).scan()
    seen = assign_kidneys(result_of(labels, Patient().overview()), image)
    assert ids_at(seen.labels, RIGHT.centre, LEFT.centre, loop.centre) == [2, 4, 0]
    assert "is not where the overview shows a kidney" in " ".join(seen.notes)
    # A kidney that the overview missed stays: it sees one other only.
    one = assign_kidneys(result_of(Patient((RIGHT, LEFT)).scan()[1], Patient((LEFT,)).overview()), image)
    assert ids_at(one.labels, RIGHT.centre, LEFT.centre) == [2, 4]
    # Unless it is small: a bowel loop beside a single kidney.
    small = Blob((60, -70, -20), (18, 16, 20))
    image_one, labels_one = Patient((RIGHT, small)).scan()
    single = assign_kidneys(result_of(labels_one, Patient((RIGHT,)).overview()), image_one)
    assert ids_at(single.labels, RIGHT.centre, small.centre) == [2, 0]
    # An overview without any kidney speaks against all of them alike, and is not believed.
    blind = Patient(()).overview()
    unseen = assign_kidneys(result_of(labels, blind), image)
    assert ids_at(unseen.labels, RIGHT.centre, LEFT.centre) == [2, 4]
    # Half seen, as transplants are, is seen.
    half = Patient().overview(((Blob((60, -70, -4), (26, 22, 14)), OverviewLabel.KIDNEY),))
    assert ids_at(assign_kidneys(result_of(labels, half), image).labels, loop.centre)[0] != 0


def test_a_graft_that_the_localiser_misses_stays_if_all_passes_agree_and_is_flagged_if_not() -> None:
    graft = Blob((60, -60, -150), (26, 24, 45))
    scan: dict[str, Any] = {"extent": (480, 380, 560), "direction": DIRECTIONS["oblique"], "spacing": (3, 4, 5)}
    image, labels = Patient((RIGHT, LEFT, graft)).scan(**scan)
    both = Patient().overview()
    agreed = result_of(labels, both, evidence=(evidence_on(image, (RIGHT, LEFT, graft)),))
    kidneys = assign_kidneys(agreed, image)
    assert ids_at(kidneys.labels, RIGHT.centre, LEFT.centre, graft.centre) == [2, 4, 10]
    assert (None, "kidney_not_counted") not in kidneys.flags
    doubtful = result_of(labels, both, evidence=(evidence_on(image, (RIGHT, LEFT, graft), missed=(graft,)),))
    kidneys = assign_kidneys(doubtful, image)
    assert ids_at(kidneys.labels, RIGHT.centre, LEFT.centre, graft.centre) == [2, 4, 0]
    assert (None, "kidney_not_counted") in kidneys.flags
    # A small piece is bowel, whatever the passes say.
    loop = Blob((60, -60, -150), (16, 16, 20))
    image, labels = Patient((RIGHT, LEFT, loop)).scan(**scan)
    small = assign_kidneys(result_of(labels, both, evidence=(evidence_on(image, (RIGHT, LEFT, loop)),)), image)
    assert ids_at(small.labels, RIGHT.centre, LEFT.centre, loop.centre) == [2, 4, 0]
    assert (None, "kidney_not_counted") not in small.flags


def replaced_left(lesion: TrainingLabel) -> tuple[sitk.Image, sitk.Image]:
    """A patient in whose left kidney all but a tenth, at its top, is a lesion."""
    image, labels = Patient((RIGHT, LEFT)).scan()
    array = sitk.GetArrayFromImage(labels)
    left = np.argwhere(array > 0)
    left = left[[labels.TransformIndexToPhysicalPoint(tuple(map(int, index[::-1])))[0] > 0 for index in left]]
    lower = left[left[:, 0] < np.quantile(left[:, 0], 0.9)]
    array[tuple(lower.T)] = lesion
    return image, filled(array, labels)


@pytest.mark.parametrize(("lesion", "flagged"), [(TrainingLabel.MASS, True), (TrainingLabel.CYST, False)])
def test_a_kidney_that_a_mass_has_replaced_is_not_left_out_silently(lesion: TrainingLabel, flagged: bool) -> None:
    image, replaced = replaced_left(lesion)
    kidneys = assign_kidneys(result_of(replaced, Patient((RIGHT,)).overview()), image)
    assert ids_at(kidneys.labels, RIGHT.centre, LEFT.centre) == [2, 0]
    assert ((None, "kidney_not_counted") in kidneys.flags) == flagged


@pytest.mark.parametrize(("lesion", "label"), [(TrainingLabel.MASS, 8), (TrainingLabel.CYST, 6)])
def test_a_kidney_that_a_lesion_has_replaced_counts_if_both_stages_find_it(lesion: TrainingLabel, label: int) -> None:
    image, replaced = replaced_left(lesion)
    overview = Patient((RIGHT,)).overview()
    twice = evidence_on(image, (RIGHT, LEFT))
    kidneys = assign_kidneys(result_of(replaced, overview, kidney=twice), image)
    assert ids_at(kidneys.labels, RIGHT.centre, LEFT.centre) == [2, label]
    assert (None, "kidney_not_counted") not in kidneys.flags
    # Where a look misses half of it, it is bowel until a person has seen it.
    half = Blob(LEFT.centre, (22, 20, 36))
    doubted = assign_kidneys(result_of(replaced, overview, kidney=evidence_on(image, (RIGHT, LEFT), (half,))), image)
    assert ids_at(doubted.labels, RIGHT.centre, LEFT.centre) == [2, 0]


def test_what_both_stages_find_beside_a_kidney_of_the_same_side_is_no_second_one() -> None:
    loop = Blob((70, -70, -20), (26, 22, 30))
    image, labels = Patient((RIGHT, LEFT, loop)).scan()
    array = sitk.GetArrayFromImage(labels)
    at_loop = sitk.GetArrayFromImage(Patient((loop,)).scan()[1]) > 0
    array[at_loop] = TrainingLabel.MASS
    twice = evidence_on(image, (RIGHT, LEFT, loop))
    kidneys = assign_kidneys(result_of(filled(array, labels), Patient().overview(), kidney=twice), image)
    assert ids_at(kidneys.labels, RIGHT.centre, LEFT.centre, loop.centre) == [2, 4, 0]


@pytest.mark.parametrize("agreed", [True, False])
def test_a_third_piece_that_the_localiser_half_sees_goes_if_the_passes_disagree(agreed: bool) -> None:
    loop = Blob((60, -70, -20), (26, 22, 30))
    image, labels = Patient((RIGHT, LEFT, loop)).scan()
    half = Patient().overview(((Blob((60, -70, -4), (26, 22, 8)), OverviewLabel.KIDNEY),))
    evidence = evidence_on(image, (RIGHT, LEFT, loop), missed=() if agreed else (Blob(loop.centre, (20, 16, 24)),))
    kidneys = assign_kidneys(result_of(labels, half, evidence=(evidence,)), image)
    assert (ids_at(kidneys.labels, loop.centre)[0] > 0) == agreed
    assert ((None, "kidney_not_counted") in kidneys.flags) == (not agreed)
    # Beside a single kidney that the overview sees, one that is as large stays: people have two.
    image, labels = Patient((RIGHT, loop)).scan()
    half = Patient((RIGHT,)).overview(((Blob((60, -70, -4), (26, 22, 8)), OverviewLabel.KIDNEY),))
    assert ids_at(assign_kidneys(result_of(labels, half, evidence=(evidence,)), image).labels, loop.centre)[0] > 0


def test_agreement_is_that_of_the_pass_which_finds_least_and_unknown_without_evidence() -> None:
    image, _ = Patient().scan()
    half = Blob((RIGHT.centre[0], RIGHT.centre[1], RIGHT.centre[2] + 100), (60, 60, 100))  # the part above its middle
    evidence = evidence_on(image, (RIGHT,), missed=(half,))
    inside = np.array(RIGHT.centre) + np.random.default_rng(0).uniform(-8, 8, (400, 3))
    assert least_agreement(inside, (evidence_on(image, (RIGHT,)),)) == 1.0
    assert least_agreement(inside, (evidence,)) == pytest.approx(np.mean(inside[:, 2] < RIGHT.centre[2]), abs=0.1)
    assert least_agreement(inside, ()) is None
    assert least_agreement(inside + 5000, (evidence,)) is None


def with_cysts(patient: Patient, *cysts: Blob) -> tuple[sitk.Image, sitk.Image]:
    """The scan and label map of a patient; what of the cysts is no kidney is cyst (3)."""
    image, labels = patient.scan()
    values = sitk.GetArrayFromImage(labels)
    values[(sitk.GetArrayFromImage(Patient(cysts).scan()[1]) > 0) & (values == 0)] = 3
    drawn = sitk.GetImageFromArray(values)
    drawn.CopyInformation(labels)
    return image, drawn


def test_a_large_cyst_that_the_localiser_calls_liver_does_not_hide_its_kidney() -> None:
    cyst = Blob((-75, -55, 0), (45, 55, 65), 0.1)
    image, labels = with_cysts(Patient(), cyst)
    overview = Patient().overview(((Blob((-75, -60, 0), (45, 50, 65)), OverviewLabel.LIVER),))
    kidneys = assign_kidneys(result_of(labels, overview), image)
    assert ids_at(kidneys.labels, RIGHT.centre, LEFT.centre, cyst.centre) == [2, 4, 5]


def test_a_bladder_taken_for_a_cyst_is_no_kidney_for_its_size() -> None:
    rim, urine = Blob((60, -70, 8), (14, 14, 14)), Blob((60, -70, -20), (26, 22, 30), 0.1)
    image, labels = with_cysts(Patient((RIGHT, rim)), urine)
    kidneys = assign_kidneys(result_of(labels, Patient((RIGHT,)).overview()), image)
    assert ids_at(kidneys.labels, RIGHT.centre, rim.centre, urine.centre) == [2, 0, 0]
    assert "is not where the overview shows a kidney" in " ".join(kidneys.notes)


@pytest.mark.parametrize("share", [0.0, 0.3])
@pytest.mark.parametrize(("hu", "stays"), [(40, False), (160, True)])
def test_a_hardly_seen_piece_far_darker_than_the_kidney_that_is_seen_is_muscle(
    hu: int, stays: bool, share: float
) -> None:
    # As large as a kidney, so that its size does not speak against it.
    muscle = Blob((60, -10, -150), (24, 24, 50), 0.5, hu=hu)
    image, labels = Patient((RIGHT, muscle)).scan(extent=(400, 280, 480))
    # The middle of it, a share of its volume, looks like kidney from afar.
    middle = Blob(muscle.centre, (24, 24, 50 * share), hu=hu)
    overview = Patient((RIGHT, middle) if share else (RIGHT,)).overview()
    kidneys = assign_kidneys(result_of(labels, overview), image)
    found = ids_at(kidneys.labels, RIGHT.centre, muscle.centre)
    assert found[0] > 0
    assert (found[1] > 0) == stays
    assert ("far darker" in " ".join(kidneys.notes)) == (not stays)


def test_a_kidney_that_the_localiser_sees_stays_though_half_of_it_is_fat() -> None:
    shrunken = Blob((-58, 20, 0), (16, 16, 26), 3.0, hu=4)
    image, labels = Patient((LEFT, shrunken)).scan()
    for overview, stays in ((Patient((LEFT, shrunken)).overview(), True), (Patient((LEFT,)).overview(), False)):
        kidneys = assign_kidneys(result_of(labels, overview), image)
        assert (ids_at(kidneys.labels, shrunken.centre)[0] > 0) == stays
