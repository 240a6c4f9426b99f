"""Overlap from the joint table, against literal answers and against a plain slow count."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from KidneySegLib.evaluation.overlap import Overlap, joint_counts, overlap
from KidneySegLib.evaluation.targets import targets_of

IDS = st.integers(0, 15)
PAIRS = st.tuples(st.integers(1, 4), st.integers(1, 4), st.integers(1, 5)).flatmap(
    lambda shape: st.tuples(arrays(np.uint8, shape, elements=IDS), arrays(np.uint8, shape, elements=IDS))
)


def test_known_answer() -> None:
    reference = np.array([[[1, 1, 1, 0, 0]]], np.uint8)
    prediction = np.array([[[0, 1, 1, 1, 0]]], np.uint8)
    found = overlap(joint_counts(reference, prediction, voxels=10), [1])
    assert found == Overlap(tp=2, fp=1, fn=1, tn=6)
    assert found.dice == pytest.approx(2 / 3)
    assert found.jaccard == pytest.approx(1 / 2)
    assert found.precision == pytest.approx(2 / 3)
    assert found.recall == pytest.approx(2 / 3)
    assert found.accuracy == pytest.approx(8 / 10)


def test_an_inner_border_between_ids_of_one_structure_does_not_count() -> None:
    reference = np.array([[[1, 2, 1, 2]]], np.uint8)
    prediction = np.array([[[2, 1, 2, 1]]], np.uint8)
    counts = joint_counts(reference, prediction)
    assert overlap(counts, [1, 2]).dice == 1
    assert overlap(counts, [1]).dice == 0


@pytest.mark.parametrize(
    ("counts", "dice", "precision", "recall"),
    [
        (Overlap(0, 0, 0, 9), None, None, None),
        (Overlap(0, 4, 0, 5), 0.0, 0.0, None),
        (Overlap(0, 0, 4, 5), 0.0, None, 0.0),
    ],
)
def test_rule_for_empty_masks(
    counts: Overlap, dice: float | None, precision: float | None, recall: float | None
) -> None:
    assert (counts.dice, counts.jaccard) == (dice, dice)
    assert (counts.precision, counts.recall) == (precision, recall)


@settings(max_examples=60, deadline=None)
@given(PAIRS)
def test_joint_table_equals_counting_masks(pair: tuple[np.ndarray, np.ndarray]) -> None:
    reference, prediction = pair
    counts = joint_counts(reference, prediction)
    for target in targets_of("kidneyseg", "kidneyseg", hierarchical=True):
        a, b = (np.isin(values, target.ids) for values in pair)
        plain = Overlap(int((a & b).sum()), int((~a & b).sum()), int((a & ~b).sum()), int((~a & ~b).sum()))
        assert overlap(counts, target.ids) == plain


@settings(max_examples=60, deadline=None)
@given(PAIRS)
def test_dice_is_symmetric_and_tied_to_jaccard(pair: tuple[np.ndarray, np.ndarray]) -> None:
    counts = joint_counts(*pair)
    there, back = overlap(counts, [1, 2]), overlap(counts.T, [1, 2])
    assert there.dice == back.dice
    assert there.precision == back.recall
    if there.dice is not None and there.jaccard is not None:
        assert 0 <= there.dice <= 1
        assert there.jaccard == pytest.approx(there.dice / (2 - there.dice))


def test_refuses_what_is_no_pair_of_label_maps() -> None:
    with pytest.raises(ValueError, match="one shape"):
        joint_counts(np.zeros((1, 2, 3), np.uint8), np.zeros((1, 2, 4), np.uint8))
    with pytest.raises(ValueError, match="0 to 15"):
        joint_counts(np.full((1, 1, 1), 16, np.uint8), np.zeros((1, 1, 1), np.uint8))
