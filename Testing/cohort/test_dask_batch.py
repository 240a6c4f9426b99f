"""The same on a Dask cluster: a scheduler and workers as processes of their own, which are killed in mid-case."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from KidneySegLib.cohort import BatchSettings, run_batch
from KidneySegLib.errors import KidneySegError
from Testing.cli.conftest import TOP
from Testing.cohort.conftest import sides_of, table_of, write_scan

pytest.importorskip("distributed")
pytestmark = [
    pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX"),
    # Its own resources at the end of a process, and tornado's on newer Pythons.
    pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::DeprecationWarning", "ignore::UserWarning"),
]


@dataclass
class Cluster:
    """A scheduler and its workers."""

    address: str
    folder: Path
    environment: dict[str, str]
    workers: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def start_worker(self) -> subprocess.Popen[bytes]:
        name = f"worker-{len(self.workers)}"
        command = [sys.executable, "-m", "distributed.cli.dask_worker", self.address, "--no-nanny", "--no-dashboard"]
        command += ["--nthreads", "1", "--name", name, "--local-directory", str(self.folder / name)]
        with (self.folder / f"{name}.log").open("wb") as log:
            self.workers.append(subprocess.Popen(command, cwd=TOP, env=self.environment, stdout=log, stderr=log))
        return self.workers[-1]


@contextmanager
def cluster(folder: Path, workers: int, allowed_failures: int = 3) -> Iterator[Cluster]:
    """Start a scheduler on a free port, and workers."""
    environment = {
        **os.environ,
        "PYTHONPATH": str(TOP),
        "OMP_NUM_THREADS": "1",
        "DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": str(allowed_failures),
    }
    folder.mkdir()
    command = [sys.executable, "-m", "distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", "0"]
    scheduler = subprocess.Popen(
        [*command, "--no-dashboard"], cwd=TOP, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    assert scheduler.stdout is not None
    started = None
    try:
        for line in scheduler.stdout:
            found = re.search(rb"tcp://127\.0\.0\.1:\d+", line)
            if found:
                break
        else:
            pytest.fail("the scheduler did not start")
        drain = threading.Thread(target=scheduler.stdout.read, daemon=True)
        drain.start()
        started = Cluster(found[0].decode(), folder, environment)
        for _ in range(workers):
            started.start_worker()
        yield started
    finally:
        for process in (*(started.workers if started else ()), scheduler):
            process.kill()
            process.wait(30)


def cohort_of(folder: Path, scan: Path, count: int) -> list[str]:
    names = [f"case_{index}" for index in range(count)]
    for name in names:
        shutil.copytree(scan, folder / name)
    return names


def kill_when_at_work(started: Cluster, output: Path, victims: int, stop: threading.Event) -> None:
    """Kill workers, one at a time, each while a case is half-written."""
    for victim in started.workers[:victims]:
        while not any((output / "cases").glob(".*.part")):
            if stop.is_set():
                return
            time.sleep(0.01)
        victim.kill()
        time.sleep(0.3)


def test_workers_killed_in_mid_case_lose_and_double_no_row(scans: Path, model: Path, tmp_path: Path) -> None:
    names = cohort_of(tmp_path / "cohort", scans / "anna", 6)
    (tmp_path / "cohort" / "empty").mkdir()
    output = tmp_path / "out"
    stop = threading.Event()
    with cluster(tmp_path / "dask", workers=3) as started:
        killer = threading.Thread(target=kill_when_at_work, args=(started, output, 2, stop), daemon=True)
        killer.start()
        try:
            result = run_batch(tmp_path / "cohort", output, BatchSettings(model=str(model)), scheduler=started.address)
        finally:
            stop.set()
            killer.join(30)
        assert [worker.poll() is None for worker in started.workers] == [False, False, True]
        expected = [(name, side, "done") for name in names for side in ("right", "left", "both")]
        assert sides_of(output) == [*expected, ("empty", "both", "failed")]
        assert (result.state.made, result.state.failed) == (6, 1)
        assert result.state.cases_per_hour is not None

        # Everything is there: a second run has nothing to do but the failure, and clears what the killed ones left.
        write_scan(tmp_path / "cohort" / "empty" / "ct.nii.gz")
        again = run_batch(tmp_path / "cohort", output, BatchSettings(model=str(model)), scheduler=started.address)
        assert (again.state.made, again.state.skipped, again.state.failed) == (1, 6, 0)
    assert sorted(path.name for path in (output / "cases").iterdir()) == [*names, "empty"]


def test_a_case_that_kills_every_worker_is_a_failure_with_a_reason(scans: Path, model: Path, tmp_path: Path) -> None:
    cohort_of(tmp_path / "cohort", scans / "anna", 1)
    output = tmp_path / "out"
    stop = threading.Event()
    with cluster(tmp_path / "dask", workers=1, allowed_failures=0) as started:
        killer = threading.Thread(target=kill_when_at_work, args=(started, output, 1, stop), daemon=True)
        killer.start()
        try:
            result = run_batch(tmp_path / "cohort", output, BatchSettings(model=str(model)), scheduler=started.address)
        finally:
            stop.set()
            killer.join(30)
    assert result.state.failed == 1
    (row,) = table_of(output)
    assert (row["side"], row["status"]) == ("both", "failed")
    assert "Every worker that worked on this case died" in row["error"]
    assert row["model_sha256"] != ""


def test_no_scheduler_at_the_address(scans: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("KidneySegLib.cohort.on_dask.CONNECT_TIMEOUT_S", 1.0)
    with pytest.raises(KidneySegError, match="No Dask scheduler answers"):
        run_batch(scans, tmp_path / "out", BatchSettings(model=str(model)), scheduler="tcp://127.0.0.1:1")
