"""Being killed, a full disk and others at the same moment never corrupt a data set."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from KidneySegLib.errors import Cancelled, InputError, OutputError
from KidneySegLib.export.dataset import Addition, DataSet, folders
from KidneySegLib.progress import CancelToken, Progress, ProgressEvent
from Testing.export.dataset_case import check_whole, corrected, labels, scan
from Testing.export.test_results_folder import mounted

A, B = Addition("A"), Addition("B")
ROOT = Path(__file__).parents[2]
needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="forking needs POSIX")


@pytest.fixture(autouse=True)
def no_power_cuts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only a power cut needs what is written to be on the disk, and waiting for that takes most of the time."""
    monkeypatch.setattr(os, "fsync", lambda _: None)


def python(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, *arguments], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


@needs_fork
def test_killed_at_every_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = python("-m", "Testing.export.kill_writer", str(tmp_path))
    out, errors = writer.communicate(timeout=120)
    assert writer.returncode == 0, errors
    last = int(out)
    # Two files of the data set, three revisions' worth of files, renames: far fewer steps would mean a blind hook.
    assert last > 40
    monkeypatch.setattr(folders, "ABANDONED_AFTER_S", -1.0)
    seen = set()
    for step in range(1, last + 1):
        folder = tmp_path / str(step)
        if (folder / "dataset.json").exists():
            numbers = [len(case.revisions) for case in check_whole(folder).cases()]
            seen.add(tuple(numbers))
            assert numbers in ([], [1], [2])
        else:
            seen.add(None)
            numbers = []
        # The next writer is not disturbed, and clears away what was left.
        made = DataSet.create(folder)
        made.add(scan(), corrected(), A)
        (case,) = check_whole(folder).cases()
        assert len(case.revisions) == sum(numbers) + 1
        assert list((folder / ".staging").iterdir()) == []
    assert seen == {None, (), (1,), (2,)}


def test_cancelled_at_any_moment_adds_nothing(tmp_path: Path) -> None:
    moments: list[ProgressEvent] = []
    made = DataSet.create(tmp_path / "set")
    DataSet.create(tmp_path / "other").add(scan(), labels(), A, progress=Progress(moments.append))
    for moment in range(len(moments) - 1):
        token = CancelToken()
        left = iter(range(moment + 1))

        def stop(_: ProgressEvent, left: object = left, token: CancelToken = token) -> None:
            if next(left, None) is None:  # type: ignore[call-overload]
                token.cancel()

        if moment == 0:
            token.cancel()
        with pytest.raises(Cancelled):
            made.add(scan(), labels(), A, progress=Progress(stop, token))
        assert made.cases() == ()
        assert not any((made.folder / ".staging").glob("*"))


def fill(folder: Path, seed: int) -> None:
    for _ in range(20):
        DataSet.create(folder).add(scan(seed), labels(), A, automatic=labels())


@pytest.mark.parametrize("kilobytes", [4, 8, 12, 16, 20, 24, 28, 32, 36, 40])
def test_a_full_disk(kilobytes: int, tmp_path: Path) -> None:
    with mounted(tmp_path / "disk", "-o", f"size={kilobytes}k") as disk:
        with pytest.raises(OutputError, match="disk is full"):
            fill(disk / "set", 0)
        if (disk / "set" / "dataset.json").exists():
            made = check_whole(disk / "set")
            assert not any((disk / "set" / ".staging").glob("*"))
            before = made.cases()
            with pytest.raises(OutputError, match="disk is full"):
                fill(made.folder, 1)
            assert check_whole(disk / "set").cases()[: len(before)] == before


WRITER = """
import sys
from pathlib import Path
from KidneySegLib.export.dataset import Addition, DataSet
from Testing.export.dataset_case import labels, scan
folder, name, go = Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3])
print("ready", flush=True)
sys.stdin.readline()
for seed in range(4):
    DataSet.create(folder).add(scan(seed), labels(), Addition(name))
"""


def test_several_at_the_same_moment(tmp_path: Path) -> None:
    """Four people make one data set at once and add the same four cases."""
    names = ["A", "B", "C", "D"]
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, str(tmp_path / "set"), name, ""],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for name in names
    ]
    for writer in writers:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "ready\n"
    for writer in writers:
        assert writer.stdin is not None
        writer.stdin.write("\n")
        writer.stdin.flush()
    for writer in writers:
        _, errors = writer.communicate(timeout=120)
        assert writer.returncode == 0, errors
    cases = check_whole(tmp_path / "set").cases()
    assert len(cases) == 4
    for case in cases:
        assert sorted(one.reader for one in case.accepted()) == names
        assert len({one.token for one in case.revisions}) == 4


def test_two_that_want_one_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody else's case appears between looking and renaming."""
    made = DataSet.create(tmp_path / "set")
    find = DataSet.find

    def find_nothing_then_add(self: DataSet, one: object) -> None:
        monkeypatch.setattr(DataSet, "find", find)
        assert self.add(scan(), labels(), B).is_new_case

    monkeypatch.setattr(DataSet, "find", find_nothing_then_add)
    added = made.add(scan(), corrected(), A)
    assert not added.is_new_case
    assert [one.reader for one in added.case.revisions] == ["B", "A"]
    check_whole(made.folder)


def test_a_network_drive_that_renamed_but_reports_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """NFS repeats a request whose answer was lost and then reports that the source is gone."""
    made = DataSet.create(tmp_path / "set")
    rename = os.rename

    def rename_and_complain(source: Path, target: Path) -> None:
        rename(source, target)
        if "cases" in str(target):
            raise FileNotFoundError(2, "No such file or directory")

    monkeypatch.setattr(folders.os, "rename", rename_and_complain)
    assert made.add(scan(), labels(), A).is_new_case
    assert made.add(scan(), labels(), B).revision.number == 2


def test_what_others_have_in_the_making_is_not_disturbed_until_it_is_a_day_old(tmp_path: Path) -> None:
    made = DataSet.create(tmp_path / "set")
    theirs, old = made.folder / ".staging" / "theirs", made.folder / ".staging" / "old"
    theirs.mkdir()
    old.mkdir()
    yesterday = time.time() - folders.ABANDONED_AFTER_S - 60
    os.utime(old, (yesterday, yesterday))
    made.add(scan(), labels(), A)
    assert list((made.folder / ".staging").iterdir()) == [theirs]


def test_one_who_was_killed_while_making_a_data_set_is_not_waited_for(tmp_path: Path) -> None:
    lock = tmp_path / "set" / folders.CREATING
    lock.mkdir(parents=True)
    old = time.time() - 3600
    os.utime(lock, (old, old))
    made = DataSet.create(tmp_path / "set")
    assert made.add(scan(), labels(), A).is_new_case
    assert not list(made.folder.glob(".creating*"))


def test_all_is_on_the_disk_before_it_gets_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = DataSet.create(tmp_path / "set")
    synced: set[int] = set()
    rename = os.rename

    def note(handle: int) -> None:
        synced.add(os.fstat(handle).st_ino)

    def check(source: Path, target: Path) -> None:
        if "cases" in str(target):
            assert {path.stat().st_ino for path in [Path(source), *Path(source).rglob("*")]} <= synced
        rename(source, target)

    monkeypatch.setattr(os, "fsync", note)
    monkeypatch.setattr(folders.os, "rename", check)
    assert made.add(scan(), labels(), A).is_new_case


@pytest.mark.parametrize("passing", [".staging", ".creating", ".creating-1f", ".clock-1f"])
def test_what_another_writer_has_for_a_moment_is_nothing_foreign(tmp_path: Path, passing: str) -> None:
    """Another one is just making the same data set, or looking how old a lock is."""
    (tmp_path / "set" / passing).mkdir(parents=True)
    if passing == ".creating":
        os.utime(tmp_path / "set" / passing, (0, 0))  # left by one who was killed
    assert DataSet.create(tmp_path / "set").cases() == ()


def test_a_folder_with_something_else_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "set" / "holiday.jpg").mkdir(parents=True)
    with pytest.raises(InputError, match=r"holds holiday\.jpg"):
        DataSet.create(tmp_path / "set")
