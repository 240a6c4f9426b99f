"""Slabs on disk: each is given once, also those that come while training goes on."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from KidneySegLib.errors import KidneySegError
from KidneySegLib.training.samples import Sample
from KidneySegLib.training.two_stage.store import SampleStore, make_samples


def _source(seed: int) -> Iterator[Sample]:
    if seed == 13:
        raise ValueError("an unlucky seed")
    yield Sample(np.full((1, 2, 2), seed, np.int16), np.zeros((1, 1, 2, 2), np.uint8), seed)


def _given(store: SampleStore, limit: int | None = None) -> list[int]:
    return [sample.seed for sample in store.new(limit)]


def test_samples_are_given_once_in_the_order_of_their_seeds(tmp_path: Path) -> None:
    with SampleStore(_source, [5, 3, 4], tmp_path, 0) as store:
        assert _given(store, 2) == [3, 4]
        assert _given(store, 2) == [5]
        assert _given(store) == []


@pytest.mark.parametrize("age_seconds", [0, 3600])
def test_what_comes_later_is_given_too_and_other_seeds_never(tmp_path: Path, age_seconds: int) -> None:
    with SampleStore(_source, [1], tmp_path, 0) as made:
        assert _given(made) == [1]
    store = SampleStore(_source, [1, 2, 3], tmp_path, 0)
    time_ns = tmp_path.stat().st_mtime_ns - age_seconds * 1_000_000_000
    os.utime(tmp_path, ns=(time_ns, time_ns))
    assert _given(store) == [1]
    make_samples(_source, [2, 99], tmp_path)
    assert _given(store) == [2]
    before_ns = tmp_path.stat().st_mtime_ns
    make_samples(_source, [3], tmp_path)
    # As a file system with a coarse clock has it.
    os.utime(tmp_path, ns=(before_ns, before_ns))
    assert _given(store) == [3]


def test_one_that_fails_is_noted_and_none_at_all_is_an_error(tmp_path: Path) -> None:
    with SampleStore(_source, [12, 13], tmp_path / "some", 0) as store:
        assert _given(store) == [12]
        assert "an unlucky seed" in store.failures
    with SampleStore(_source, [13], tmp_path / "none", 0) as store, pytest.raises(KidneySegError, match="unlucky"):
        _given(store)


def test_a_file_cut_short_is_passed_over_and_made_again(tmp_path: Path) -> None:
    make_samples(_source, [1, 2], tmp_path)
    cut = tmp_path / "0000000001-000.npz"
    cut.write_bytes(cut.read_bytes()[:40])
    assert _given(SampleStore(_source, [1, 2], tmp_path, 0)) == [2]
    with SampleStore(_source, [1, 2], tmp_path, 0) as store:
        assert _given(store) == [1, 2]
