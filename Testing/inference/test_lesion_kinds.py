"""A lesion is cyst or mass as a whole."""

from __future__ import annotations

import numpy as np

from KidneySegLib.inference.lesion_kinds import settle_lesion_kinds

BACKGROUND, KIDNEY, CYST, MASS = range(4)


def _values(rows: dict[int, list[float]], length: int) -> np.ndarray:
    """Probabilities (4, 1, 1, x): background, but for the voxels given."""
    values = np.zeros((4, 1, 1, length), np.float32)
    values[BACKGROUND] = 1
    for x, row in rows.items():
        values[:, 0, 0, x] = row
    return values


def test_a_lesion_becomes_what_most_of_it_is() -> None:
    lesion = {3: [0, 0.1, 0.2, 0.7], 4: [0, 0.1, 0.5, 0.4], 5: [0.1, 0, 0.1, 0.8]}
    other = {10: [0, 0, 0.6, 0.4], 11: [0, 0.2, 0.35, 0.45], 12: [0, 0, 0.9, 0.1]}
    values = _values({2: [0.3, 0.4, 0.2, 0.1], **lesion, **other}, 14)
    before = values.copy()
    settle_lesion_kinds(values, KIDNEY, CYST, MASS)
    best = values.argmax(axis=0)[0, 0]
    assert best.tolist() == [0, 0, KIDNEY, MASS, MASS, MASS, 0, 0, 0, 0, CYST, CYST, CYST, 0]
    assert np.allclose(values[:, 0, 0, 4], [0, 0.1, 0, 0.9])
    assert np.allclose(values[:, 0, 0, 2], [0.3, 0.4, 0, 0.3])  # Beside the mass its kind counts too.
    assert np.array_equal(values[:CYST], before[:CYST])
    assert np.allclose(values.sum(axis=0), 1)


def test_where_a_network_wavers_between_the_kinds_it_is_a_lesion_all_the_same() -> None:
    sure, wavering = [0, 0.3, 0.3, 0.4], [0.1, 0.4, 0.2, 0.3]
    values = _values({2: sure, 3: wavering, 4: [0.1, 0.5, 0.1, 0.3], 8: [0.45, 0.1, 0.22, 0.23]}, 10)
    settle_lesion_kinds(values, KIDNEY, CYST, MASS)
    assert values.argmax(axis=0)[0, 0].tolist() == [0, 0, MASS, MASS, KIDNEY, 0, 0, 0, 0, 0]


def test_a_lesion_that_is_sure_nowhere_is_kidney() -> None:
    doubted = {1: [0.1, 0.3, 0.3, 0.3], 2: [0.1, 0.25, 0.0, 0.65]}
    values = _values({**doubted, 6: [0, 0.3, 0.7, 0]}, 8)
    settle_lesion_kinds(values, KIDNEY, CYST, MASS)
    assert values.argmax(axis=0)[0, 0].tolist() == [0, KIDNEY, KIDNEY, 0, 0, 0, CYST, 0]
    assert np.allclose(values[:, 0, 0, 1], [0.1, 0.9, 0, 0])
    assert np.allclose(values.sum(axis=0), 1)
    alone = _values(doubted, 8)
    settle_lesion_kinds(alone, KIDNEY, CYST, MASS)
    assert alone.argmax(axis=0)[0, 0].tolist() == [0, KIDNEY, KIDNEY, 0, 0, 0, 0, 0]


def test_lesions_that_touch_at_a_corner_are_one() -> None:
    values = np.zeros((4, 2, 2, 2), np.float32)
    values[BACKGROUND] = 1
    values[:, 0, 0, 0], values[:, 1, 1, 1] = (0, 0, 0.1, 0.9), (0, 0, 0.6, 0.4)
    settle_lesion_kinds(values, KIDNEY, CYST, MASS)
    assert values.argmax(axis=0)[1, 1, 1] == MASS


def test_without_a_lesion_nothing_changes() -> None:
    values = _values({1: [0.2, 0.5, 0.1, 0.2]}, 3)
    before = values.copy()
    settle_lesion_kinds(values, KIDNEY, CYST, MASS)
    assert np.array_equal(values, before)
