"""A bounded part of ``make faults``."""

from __future__ import annotations

import random
import shutil
import sys
from pathlib import Path

import pytest

from Testing.faults import kills, others
from Testing.faults.stage import Stage, build_stage

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="forks and signals of POSIX")


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Stage:
    folder = tmp_path_factory.mktemp("stage")
    for parent in (folder, *folder.parents[:3]):  # so that another user may look in, under pytest-xdist too
        parent.chmod(parent.stat().st_mode | 0o055)
    return build_stage(folder / "stage")


@pytest.fixture
def place(stage: Stage, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = stage.folder / "place"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    return folder


def test_a_disk_that_is_full(stage: Stage, place: Path) -> None:
    try:
        facts = others.disk_full(stage, place, steps=3)
    except PermissionError as error:
        pytest.skip(str(error))
    assert facts["refused_with_a_message"] >= 1


def test_a_disk_that_fills_up_in_a_batch(stage: Stage, place: Path) -> None:
    try:
        facts = others.disk_full_in_a_batch(stage, place, sizes=1)
    except PermissionError as error:
        pytest.skip(str(error))
    assert facts["cases_after"] == 3


def test_permission_lost(stage: Stage, place: Path) -> None:
    assert others.permission_lost(stage, place) == {"refused_with_a_message": 2, "then_finished": 1}


def test_two_at_once(stage: Stage, place: Path) -> None:
    assert others.two_at_once(stage, place)["batch_exit_statuses"] in ([0, 0], [0, 2])


def test_kills(stage: Stage, place: Path) -> None:
    counts = kills.Killed()
    rng = random.Random(7)
    kills.kill_batches(stage, place, 3, rng, counts)
    kills.kill_single_runs(stage, place, 2, rng, counts)
    kills.kill_data_set_writers(place, 2, rng, counts)
    assert counts.total == 7
    assert counts.harms == []
    assert counts.runs_finished >= 1
