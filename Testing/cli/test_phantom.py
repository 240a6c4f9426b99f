"""``kidneyseg phantom`` writes cases that ``kidneyseg segment`` reads."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from KidneySegLib.phantom.protocol import Protocol
from Testing.cli.conftest import Finished


@pytest.fixture
def small_scans(monkeypatch: pytest.MonkeyPatch) -> None:
    """Scans of a few coarse voxels, since this is about files and not about pictures."""
    small = Protocol(pixel_mm=6.0, matrix=64, slice_thickness_mm=8.0, slice_spacing_mm=8.0)
    monkeypatch.setattr(Protocol, "sample", lambda *_, **__: small)


@pytest.mark.usefixtures("small_scans")
def test_cases_are_numbered_and_follow_the_seed(kidneyseg: Callable[..., Finished], tmp_path: Path) -> None:
    done = kidneyseg("phantom", "-o", tmp_path / "two", "--cases", "2", "--seed", "5", "--variant", "normal")
    assert done.status == 0, done.err
    assert [path.name for path in sorted((tmp_path / "two").iterdir())] == ["case_0001", "case_0002"]
    assert kidneyseg("phantom", "-o", tmp_path / "one", "--seed", "6", "--variant", "normal", "--dicom").status == 0
    one, two = tmp_path / "one" / "case_0001", tmp_path / "two" / "case_0002"
    assert (one / "labels.nii.gz").read_bytes() == (two / "labels.nii.gz").read_bytes()
    assert json.loads((one / "truth.json").read_text())["seed"] == 6
    assert {path.name for path in two.iterdir()} == {"ct.nii.gz", "labels.nii.gz", "truth.json"}
    assert len(list((one / "dicom").iterdir())) > 10


def test_a_kind_of_patient_that_does_not_exist(kidneyseg: Callable[..., Finished], tmp_path: Path) -> None:
    done = kidneyseg("phantom", "-o", tmp_path / "out", "--variant", "unicorn")
    assert done.status == 2
    assert "normal" in done.err
    assert not (tmp_path / "out").exists()
