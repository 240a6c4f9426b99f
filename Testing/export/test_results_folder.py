"""The results folder appears as a whole or not at all, whatever goes wrong."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from PIL import Image

from KidneySegLib.errors import Cancelled, OutputError
from KidneySegLib.export import check_results_folder, results, write_results
from KidneySegLib.export.results_folder import new_results_folder
from KidneySegLib.progress import CancelToken, Progress, ProgressEvent
from Testing.export.conftest import Case

FILES = {"segmentation.nii.gz", "segmentation.seg.nrrd", "volumes.csv", "overlay.png", "report.html", "provenance.json"}


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


@contextmanager
def mounted(place: Path, *options: str) -> Iterator[Path]:
    """A tmpfs at a place; skips where this process may not mount."""
    place.mkdir()
    if not hasattr(os, "geteuid") or os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("only root on Linux may mount")
    done = subprocess.run(["mount", "-t", "tmpfs", *options, "tmpfs", str(place)], capture_output=True, check=False)
    if done.returncode:
        pytest.skip("this machine does not allow to mount")
    try:
        yield place
    finally:
        subprocess.run(["umount", str(place)], check=True)


@pytest.fixture(autouse=True)
def small_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the picture shows is tested elsewhere."""
    monkeypatch.setattr(results, "draw_overlay", lambda *_, **__: Image.effect_noise((160, 160), 90).convert("RGB"))


def test_all_files_are_there_and_nothing_else(case: Case, tmp_path: Path) -> None:
    write_results(tmp_path / "deep" / "er" / "out", **case.arguments())
    assert names(tmp_path / "deep" / "er" / "out") == FILES
    assert names(tmp_path / "deep" / "er") == {"out"}


def test_raw_labels_when_asked(case: Case, tmp_path: Path) -> None:
    write_results(tmp_path / "out", **case.arguments(raw_labels=case.labels))
    assert names(tmp_path / "out") == FILES | {"raw_labels.nii.gz"}


def test_older_results_are_replaced_as_a_whole(case: Case, tmp_path: Path) -> None:
    out = tmp_path / "out"
    write_results(out, **case.arguments(raw_labels=case.labels))
    (out / "note.txt").write_text("left from before")
    write_results(out, **case.arguments(case_id="second"))
    assert names(out) == FILES
    assert json.loads((out / "provenance.json").read_text(encoding="utf-8"))["case_id"] == "second"
    assert names(tmp_path) == {"out"}


def test_an_empty_folder_and_a_link_to_one_are_filled(case: Case, tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    write_results(tmp_path / "link", **case.arguments())
    assert (tmp_path / "link").is_symlink()
    assert names(tmp_path / "real") == FILES


def test_a_folder_of_others_is_left_alone(case: Case, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "thesis.docx").write_text("years of work")
    for attempt in (lambda: check_results_folder(out), lambda: write_results(out, **case.arguments())):
        with pytest.raises(OutputError, match="holds no results of KidneySeg"):
            attempt()
    assert names(out) == {"thesis.docx"}
    assert names(tmp_path) == {"out"}


@pytest.mark.parametrize("place", ["file", "file/out", "file/deeper/out"])
def test_a_file_in_the_way(place: str, case: Case, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("a file")
    for attempt in (check_results_folder, lambda path: write_results(path, **case.arguments())):
        with pytest.raises(OutputError, match="file"):
            attempt(tmp_path / place)
    assert (tmp_path / "file").read_text() == "a file"
    assert names(tmp_path) == {"file"}


def test_checking_leaves_nothing_behind(tmp_path: Path) -> None:
    check_results_folder(tmp_path / "a" / "b")
    assert names(tmp_path) == set()


@pytest.mark.parametrize("step", ["write_image", "write_seg_nrrd", "write_overlay", "provenance_text"])
@pytest.mark.parametrize("older", [False, True])
def test_a_failing_step_leaves_everything_as_it_was(
    step: str, older: bool, case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "new" / "out"
    if older:
        write_results(out, **case.arguments())
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(results, step, full)
    with pytest.raises(OutputError, match="the disk is full"):
        write_results(out, **case.arguments(case_id="second"))
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
    assert older or names(tmp_path) == set()


def test_a_bug_is_no_output_error_and_leaves_nothing(tmp_path: Path) -> None:
    def half() -> None:
        with new_results_folder(tmp_path / "out") as place:
            (place / "half").write_text("half")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        half()
    assert names(tmp_path) == set()


def test_cancelled_at_any_moment_leaves_nothing(case: Case, tmp_path: Path) -> None:
    moments = 0

    def count(_: ProgressEvent) -> None:
        nonlocal moments
        moments += 1

    write_results(tmp_path / "whole", **case.arguments(progress=Progress(count)))
    shutil.rmtree(tmp_path / "whole")
    assert moments >= 4
    for moment in range(1, moments):
        token = CancelToken()
        seen = 0

        def stop(_: ProgressEvent, at: int = moment, token: CancelToken = token) -> None:
            nonlocal seen
            seen += 1
            if seen == at:
                token.cancel()

        with pytest.raises(Cancelled):
            write_results(tmp_path / "out", **case.arguments(progress=Progress(stop, token)))
        assert names(tmp_path) == set()


def test_a_failed_last_step_brings_the_older_results_back(
    case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    write_results(out, **case.arguments())
    rename = os.rename

    def refuse(source: Path, target: Path) -> None:
        if Path(source).suffix == ".part":
            raise PermissionError(errno.EACCES, "Permission denied")
        rename(source, target)

    monkeypatch.setattr(os, "rename", refuse)
    with pytest.raises(OutputError, match="may not write"):
        write_results(out, **case.arguments(case_id="second"))
    assert json.loads((out / "provenance.json").read_text(encoding="utf-8"))["case_id"] == "case_0001"
    assert names(tmp_path) == {"out"}


def test_a_read_only_disk(case: Case, tmp_path: Path) -> None:
    with mounted(tmp_path / "disk", "-o", "ro") as disk:
        for attempt in (check_results_folder, lambda path: write_results(path, **case.arguments())):
            with pytest.raises(OutputError, match="can only be read"):
                attempt(disk / "out")


@pytest.mark.parametrize("kilobytes", [4, 12, 24, 48, 80])
def test_a_full_disk(kilobytes: int, case: Case, tmp_path: Path) -> None:
    with mounted(tmp_path / "disk", "-o", f"size={kilobytes}k") as disk:
        with pytest.raises(OutputError, match="disk is full"):
            write_results(disk / "out", **case.arguments())
        assert names(disk) == set()


def test_a_mount_point_is_filled(case: Case, tmp_path: Path) -> None:
    with mounted(tmp_path / "out") as out:
        write_results(out, **case.arguments())
        assert names(out) == FILES
        write_results(out, **case.arguments(case_id="second"))
        assert names(out) == FILES
        assert json.loads((out / "provenance.json").read_text(encoding="utf-8"))["case_id"] == "second"
    assert names(tmp_path) == {"out"}
