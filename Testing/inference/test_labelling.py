"""Probabilities become labels by the bundle's rules."""

from __future__ import annotations

import numpy as np
import pytest
from analytic_bundles import localiser_spec, spec

from KidneySegLib.inference.labelling import activate, kidney_mask, overview_labels, training_labels


def column(*channels: list[float]) -> np.ndarray:
    return np.array(channels, np.float32)


def test_cortex_counts_only_inside_parenchyma() -> None:
    values = column([0.9, 0.9, 0.4, 0.5], [0.9, 0.5, 0.9, 0.9])
    assert training_labels(spec())(values).tolist() == [2, 1, 0, 0]


def test_undivided_parenchyma_is_label_one() -> None:
    assert training_labels(spec(outputs=("parenchyma",)))(column([0.9, 0.1])).tolist() == [1, 0]


def test_cyst_and_mass_win_where_they_are_likelier() -> None:
    values = column([0.9, 0.6, 0.2, 0.2, 0.2], [0.0] * 5, [0.6, 0.9, 0.8, 0.8, 0.4], [0.0, 0.0, 0.9, 0.7, 0.3])
    decide = training_labels(spec(outputs=("parenchyma", "cortex", "cyst", "mass")))
    assert decide(values).tolist() == [1, 3, 4, 3, 0]


def test_threshold_is_the_bundles() -> None:
    assert training_labels(spec(outputs=("parenchyma",), threshold=0.8))(column([0.75, 0.85])).tolist() == [0, 1]


def test_softmax_takes_the_most_probable_by_name() -> None:
    made = spec(outputs=("background", "cortex", "medulla"), activation="softmax")
    values = column([0.6, 0.2, 0.2], [0.2, 0.6, 0.2], [0.2, 0.2, 0.6])
    assert training_labels(made)(values).tolist() == [0, 2, 1]
    assert kidney_mask(values, made).tolist() == [False, True, True]
    undivided = spec(outputs=("background", "parenchyma"), activation="softmax")
    assert training_labels(undivided)(values[:2]).tolist() == [0, 1, 0]


def test_overview_goes_by_name_not_by_order() -> None:
    made = localiser_spec(outputs=("background", "spleen", "kidney"))
    assert overview_labels(made)(np.eye(3, dtype=np.float32)).tolist() == [0, 5, 1]


def test_activations_are_the_textbooks() -> None:
    logits = np.array([[-1000.0, 0.0, 2.0], [1.0, 0.0, 1000.0]], np.float32).reshape(2, 3, 1, 1)
    with np.errstate(all="raise", under="ignore"):
        sigmoid = activate(logits.copy(), "sigmoid")
        softmax = activate(logits.copy(), "softmax")
    assert sigmoid.ravel().tolist() == pytest.approx([0, 0.5, 0.880797, 0.731059, 0.5, 1], abs=1e-5)
    assert softmax[:, 1].ravel().tolist() == [0.5, 0.5]
    assert softmax[:, 2].ravel().tolist() == [0.0, 1.0]
