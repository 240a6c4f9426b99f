"""kill -9 at random moments: a batch, its engine, or both; a single case; a data set."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

from Testing.faults.stage import TOP, Harm, Stage, check_absent_or_whole, check_batch, check_finished, run, start

#: After so many kills of one batch a run is left in peace, and must end with every case done.
_PEACE_EVERY = 10


@dataclass
class Killed:
    """Counts of a session of kills."""

    batch: int = 0
    engine: int = 0
    both: int = 0
    single: int = 0
    dataset: int = 0
    runs_finished: int = 0
    rows_lost: int = 0
    rows_doubled: int = 0
    harms: list[str] = field(default_factory=list)

    @property
    def total(self) -> int:
        return self.batch + self.engine + self.both + self.single + self.dataset


def kill_batches(stage: Stage, folder: Path, kills: int, rng: random.Random, counts: Killed) -> None:
    """Kill batches ``kills`` times, each run going on where the last one was killed."""
    output = folder / "out"
    rows: list[dict[str, str]] = []
    done = since_peace = 0
    redo = False
    longest_s = _peaceful_run(stage, output, redo=False)
    shutil.rmtree(output)
    while done < kills:
        arguments = ["batch", stage.cohort, "-o", output, "--model", stage.model, "--quiet"]
        process = start(*arguments, *(["--redo"] if redo else []))
        struck = False
        while process.poll() is None and done < kills:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(rng.uniform(0.0, longest_s))
                break
            target = rng.choice(("batch", "batch", "engine", "both"))
            if not _strike(process, target):
                continue
            done += 1
            since_peace += 1
            struck = True
            setattr(counts, target, getattr(counts, target) + 1)
            if done % 10 == 0:
                print(f"{done} of {kills} kills of batches, harms: {counts.harms}", flush=True)
            if target != "engine":
                break
        _end(process)
        try:
            rows = check_batch(output, rows) if output.exists() else rows
            if not struck or since_peace >= _PEACE_EVERY:
                since_peace = 0
                _peaceful_run(stage, output, redo=False)
                check_finished(output, stage)
                counts.runs_finished += 1
                # In turn: all over again in an empty folder, or over the results that are there.
                redo = not redo
                rows = [] if not redo else check_batch(output, rows)
                if not redo:
                    shutil.rmtree(output)
        except Harm as harm:
            counts.harms.append(str(harm))
            counts.rows_lost += "lost rows" in str(harm)
            counts.rows_doubled += "doubled" in str(harm)
            shutil.rmtree(output, ignore_errors=True)
            rows = []
    _peaceful_run(stage, output, redo=False)
    check_finished(output, stage)
    counts.runs_finished += 1


def _peaceful_run(stage: Stage, output: Path, *, redo: bool) -> float:
    """A run to the end. Returns its seconds."""
    begin_s = time.monotonic()
    for _ in range(2):  # the second tries again what a killed engine made fail
        status, errors = run("batch", stage.cohort, "-o", output, "--model", stage.model, "--quiet")
        if status != 0:
            raise Harm(f"a run after kills ended with {status}: {errors}")
    return (time.monotonic() - begin_s) / 1.5


def _strike(process: subprocess.Popen[str], target: str) -> bool:
    """Kill one of the processes. False if it was not there."""
    with contextlib.suppress(ProcessLookupError):
        if target == "batch":
            process.kill()
            return True
        if target == "both":
            os.killpg(process.pid, signal.SIGKILL)
            return True
        for child in _children(process.pid):
            os.kill(child, signal.SIGKILL)
            return True
    return False


def _children(pid: int) -> list[int]:
    import psutil

    try:
        return [child.pid for child in psutil.Process(pid).children()]
    except psutil.Error:
        return []


def _end(process: subprocess.Popen[str]) -> None:
    """Wait until the whole group is gone; an orphaned engine ends by itself."""
    process.wait(600)
    if process.stderr is not None:
        process.stderr.close()
    deadline_s = time.monotonic() + 120
    while time.monotonic() < deadline_s:
        try:
            os.killpg(process.pid, 0)
        except ProcessLookupError:
            return
        time.sleep(0.02)
    raise Harm("an engine outlived its batch by two minutes")


def kill_single_runs(stage: Stage, folder: Path, kills: int, rng: random.Random, counts: Killed) -> None:
    """Kill `kidneyseg measure` (and, now and then, `segment`); the result is there, whole, or not at all."""
    output = folder / "single"
    commands = (
        ["measure", stage.labels, "--image", stage.scan, "-o", output, "--quiet"],
        ["segment", stage.scan, "-o", output, "--model", stage.model, "--quiet"],
    )
    begin_s = time.monotonic()
    if run(*commands[1])[0] != 0:
        raise Harm("segment failed without any fault")
    longest_s = time.monotonic() - begin_s
    for index in range(kills):
        if index % 3 == 0:
            shutil.rmtree(output, ignore_errors=True)
        process = start(*commands[index % 2])
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(rng.uniform(0.3, 1.0) * longest_s)
        process.kill()
        _end(process)
        counts.single += 1
        try:
            check_absent_or_whole(output)
        except Harm as harm:
            counts.harms.append(str(harm))
            shutil.rmtree(output)
    status, errors = run(*commands[0])
    if status != 0 or not check_absent_or_whole(output):
        raise Harm(f"the run after kills ended with {status}: {errors}")


_ADD = """
import sys
from pathlib import Path
from KidneySegLib.export.dataset import Addition, DataSet
from Testing.export.dataset_case import corrected, labels, scan
folder = Path(sys.argv[1])
data_set = DataSet.open(folder) if (folder / "dataset.json").exists() else DataSet.create(folder)
print("ready", flush=True)
for seed in range(1000):
    data_set.add(scan(int(sys.argv[2]) * 1000 + seed), labels(), Addition("A"), automatic=labels())
    data_set.add(scan(int(sys.argv[2]) * 1000 + seed), corrected(), Addition("B"), automatic=labels())
"""


def kill_data_set_writers(folder: Path, kills: int, rng: random.Random, counts: Killed) -> None:
    """Kill a process that adds cases to a data set; it stays whole, and grows with the next one."""
    from Testing.export.dataset_case import check_whole

    target = folder / "data set"
    cases = 0
    for index in range(kills):
        process = subprocess.Popen(
            [sys.executable, "-c", _ADD, str(target), str(index)], cwd=TOP, stdout=subprocess.PIPE, text=True
        )
        with process:
            assert process.stdout is not None
            if process.stdout.readline() != "ready\n":
                raise Harm("a data set's writer did not start after a kill")
            time.sleep(rng.uniform(0.0, 1.0))
            process.kill()
        counts.dataset += 1
        try:
            now = len(check_whole(target).cases())
        except (AssertionError, ValueError) as error:
            counts.harms.append(f"data set: {error}")
            shutil.rmtree(target)
            now = 0
        if now < cases:
            counts.harms.append(f"data set: {cases} cases became {now}")
        cases = now
