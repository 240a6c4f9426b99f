"""Two batches never write into one folder, and a dead one never blocks it."""

from __future__ import annotations

import errno
import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from KidneySegLib.cohort import lock
from KidneySegLib.cohort.lock import LOCK_NAME, only_batch
from KidneySegLib.errors import OutputError
from Testing.cli.conftest import TOP

_HOLD = """
import sys
from pathlib import Path
from KidneySegLib.cohort.lock import only_batch
with only_batch(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


@contextmanager
def held_elsewhere(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the folder's lock."""
    command = [sys.executable, "-c", _HOLD, str(folder)]
    with subprocess.Popen(command, cwd=TOP, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        try:
            yield process
        finally:
            process.kill()


def test_a_second_batch_is_refused_and_told_by_whom(tmp_path: Path) -> None:
    with held_elsewhere(tmp_path) as process:
        with (
            pytest.raises(OutputError, match=rf"process {process.pid} on {socket.gethostname()}"),
            only_batch(tmp_path),
        ):
            pass
        assert process.stdin is not None
        process.stdin.close()
        process.wait(30)
    with only_batch(tmp_path):
        pass


def test_a_killed_batch_leaves_nothing_that_blocks(tmp_path: Path) -> None:
    with held_elsewhere(tmp_path) as process:
        process.kill()
        process.wait(30)
    assert (tmp_path / LOCK_NAME).read_text() != ""
    with only_batch(tmp_path):
        pass


class TestWithoutLocksOfTheDisk:
    @pytest.fixture(autouse=True)
    def _no_locks(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def refuse(_handle: int) -> None:
            raise OSError(errno.ENOLCK, "No locks available")

        monkeypatch.setattr(lock, "_lock", refuse)

    def owner(self, folder: Path, **facts: object) -> None:
        (folder / LOCK_NAME).write_text(json.dumps(facts))

    def test_one_that_runs_here_is_respected(self, tmp_path: Path) -> None:
        self.owner(tmp_path, host=socket.gethostname(), pid=os.getppid())
        with pytest.raises(OutputError, match="Another kidneyseg batch"), only_batch(tmp_path):
            pass

    def test_one_of_another_computer_is_respected(self, tmp_path: Path) -> None:
        self.owner(tmp_path, host="node-7", pid=1)
        with pytest.raises(OutputError, match="on node-7"), only_batch(tmp_path):
            pass

    def test_a_dead_one_is_passed_over(self, tmp_path: Path) -> None:
        ended = subprocess.Popen([sys.executable, "-c", ""])
        ended.wait(30)
        self.owner(tmp_path, host=socket.gethostname(), pid=ended.pid)
        with only_batch(tmp_path):
            pass

    def test_it_is_free_again_afterwards(self, tmp_path: Path) -> None:
        with only_batch(tmp_path):
            pass
        with only_batch(tmp_path):
            pass


def test_a_folder_whose_mark_is_just_being_written_is_a_batchs(tmp_path: Path) -> None:
    from KidneySegLib.cohort.batch import MARK, _make_folder
    from KidneySegLib.files import write_json

    folder = tmp_path / "cohort"
    folder.mkdir()
    (folder / LOCK_NAME).touch()
    seen: list[list[str]] = []

    def fsync(_handle: int) -> None:
        # Between the file's first byte and its own name: what another batch sees then.
        seen.append(sorted(path.name for path in folder.iterdir()))
        _make_folder(folder)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", fsync)
        write_json(folder / MARK, {})
    assert len(seen) == 1
    assert len(seen[0]) == 2
    (folder / "holiday.jpg").touch()
    (folder / MARK).unlink()
    with pytest.raises(OutputError, match="not empty"):
        _make_folder(folder)
