"""A cohort on this computer: rows, resuming, failures, and processes that die."""

from __future__ import annotations

import csv
import os
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from KidneySegLib import pipeline
from KidneySegLib.cohort import BatchResult, BatchSettings, BatchState, run_batch
from KidneySegLib.cohort.local import Seat, seats
from KidneySegLib.errors import Cancelled, ModelError, OutputError
from KidneySegLib.measurement.table import COLUMNS
from KidneySegLib.progress import CancelToken, Progress
from Testing.cli.conftest import Finished, kidneyseg  # noqa: F401 (a fixture)
from Testing.cohort.conftest import batch_process, result_times, sides_of, table_of, write_scan

ROWS = [
    ("anna", "right", "done"),
    ("anna", "left", "done"),
    ("anna", "both", "done"),
    ("berta", "right", "done"),
    ("berta", "left", "done"),
    ("berta", "both", "done"),
    ("clara", "both", "failed"),
    ("dora", "both", "failed"),
]


@pytest.fixture
def copied(finished: BatchResult, tmp_path: Path) -> Path:
    """The finished batch's folder, for a test that goes on with it."""
    return Path(shutil.copytree(finished.output, tmp_path / "out", copy_function=shutil.copy2))


def test_every_case_has_its_rows_and_failures_their_reason(finished: BatchResult) -> None:
    assert sides_of(finished.output) == ROWS
    assert (finished.state.made, finished.state.failed, finished.state.skipped) == (2, 2, 0)
    errors = {row["case_id"]: row["error"] for row in table_of(finished.output) if row["status"] == "failed"}
    assert "damaged" in errors["clara"] or "incomplete" in errors["clara"]
    assert "empty" in errors["dora"]
    assert {key: text for key, text in finished.failures.items()} == errors
    assert sorted(path.name for path in finished.output.iterdir()) == [
        ".batch.lock",
        "batch.json",
        "cases",
        "failures",
        "summary.html",
        "volumes.csv",
    ]
    assert sorted(path.name for path in (finished.output / "cases").iterdir()) == ["anna", "berta"]


def test_rows_are_those_of_a_single_run(finished: BatchResult, scans: Path, model: Path, tmp_path: Path) -> None:
    case = pipeline.segment_case(scans / "berta", tmp_path / "berta", model=model)
    with (tmp_path / "berta" / "volumes.csv").open(newline="", encoding="utf-8") as file:
        single = list(csv.DictReader(file))
    batch = [row for row in table_of(finished.output) if row["case_id"] == "berta"]
    assert [{name: row[name] for name in COLUMNS} for row in batch] == single
    assert {row["input_sha256"] for row in batch} == {case.scan.sha256}
    assert {row["model_sha256"] for row in batch} == {case.provenance["model"]["sha256"]}


def test_what_is_done_is_skipped_and_what_failed_is_tried_again(
    copied: Path, scans: Path, model: Path, tmp_path: Path
) -> None:
    before = result_times(copied)
    again = run_batch(scans, copied, BatchSettings(model=str(model)))
    assert (again.state.made, again.state.skipped, again.state.failed) == (0, 2, 2)
    assert result_times(copied) == before
    assert sides_of(copied) == ROWS

    # Repaired scans are done; one that only moved to another file is read, known by its content, and kept.
    cohort = tmp_path / "repaired"
    write_scan(cohort / "anna" / "other_name.nii.gz")
    write_scan(cohort / "berta" / "ct.nii.gz", 20)
    write_scan(cohort / "clara" / "ct.nii.gz")
    shutil.copyfile(copied / "cases" / "anna" / "segmentation.nii.gz", tmp_path / "anna.nii.gz")
    repaired = run_batch(cohort, copied, BatchSettings(model=str(model)))
    assert (repaired.state.made, repaired.state.skipped, repaired.state.failed) == (2, 1, 0)
    rows = {(row["case_id"], row["side"]): row for row in table_of(copied)}
    assert float(rows["berta", "both"]["cortex_hu_mean"]) == pytest.approx(280.0, abs=0.1)
    assert rows["clara", "both"]["status"] == "done"
    # Cases that left the cohort keep their rows.
    assert rows["dora", "both"]["status"] == "failed"
    assert not (copied / "failures" / "clara.json").exists()

    # Nothing has to be read a third time.
    third = run_batch(cohort, copied, BatchSettings(model=str(model)))
    assert (third.state.made, third.state.skipped) == (0, 3)


def test_another_option_or_model_is_another_result(copied: Path, scans: Path, model: Path, tmp_path: Path) -> None:
    cohort = tmp_path / "cohort"
    shutil.copytree(scans / "anna", cohort / "anna", copy_function=shutil.copy2)
    other = tmp_path / "models" / "fine"
    shutil.copytree(model.parent, other.parent)
    text = (other / "model.json").read_text().replace('"version": "1.0"', '"version": "2.0"')
    (other / "model.json").write_text(text)
    changed = run_batch(cohort, copied, BatchSettings(model=str(other), raw=True))
    assert changed.state.made == 1
    assert (copied / "cases" / "anna" / "raw_labels.nii.gz").exists()
    digests = {row["case_id"]: row["model_sha256"] for row in table_of(copied) if row["status"] == "done"}
    assert digests["anna"] != digests["berta"]
    assert "Not all cases were made the same way" in (copied / "summary.html").read_text()


def test_patient_data_of_a_list_reach_the_table(scans: Path, model: Path, tmp_path: Path) -> None:
    path = tmp_path / "cohort.csv"
    path.write_text(
        "case_id,path,sex,age,height_cm,weight_kg,creatinine,creatinine_unit\n"
        f"one,{scans / 'anna' / 'ct.nii.gz'},f,60,160,64,1.0,mg/dL\n"
    )
    run_batch(path, tmp_path / "out", BatchSettings(model=str(model)))
    both = next(row for row in table_of(tmp_path / "out") if row["side"] == "both")
    # Mosteller: sqrt(160 * 64 / 3600).
    assert float(both["bsa_mosteller_m2"]) == pytest.approx(1.687, abs=1e-3)
    # CKD-EPI 2021, female, creatinine 1.0 mg/dL, 60 years: 142 (1/0.7)^-1.2 0.9938^60 1.012.
    assert float(both["egfr_ckd_epi_2021"]) == pytest.approx(64.5, abs=0.2)


def test_a_folder_that_is_no_batch_is_left_alone(scans: Path, model: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(OutputError, match="not empty"):
        run_batch(scans, tmp_path, BatchSettings(model=str(model)))
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_model_that_is_missing_is_said_before_anything_is_made(scans: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="No model is called"):
        run_batch(scans, tmp_path / "out", BatchSettings(model="nonesuch"))
    assert not (tmp_path / "out").exists()


def _children_of(pid: int) -> list[psutil.Process]:
    try:
        return [one for one in psutil.Process(pid).children() if "engine_process" in " ".join(one.cmdline())]
    except psutil.Error:
        return []


def _kill_engines(times: int, when: Callable[[], bool], stop: threading.Event) -> None:
    """Kill this process's engine processes, so many, each time that ``when`` says so."""
    killed: set[int] = set()
    while len(killed) < times and not stop.is_set():
        for child in _children_of(os.getpid()):
            if child.pid not in killed and when():
                killed.add(child.pid)
                child.kill()
        time.sleep(0.02)


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_a_process_that_is_killed_costs_no_case(scans: Path, model: Path, tmp_path: Path) -> None:
    """Its cases are tried again, each alone."""
    cohort, output = tmp_path / "cohort", tmp_path / "out"
    for name in ("a", "b", "c"):
        shutil.copytree(scans / "anna", cohort / name)
    stop = threading.Event()
    at_work = lambda: any((output / "cases").glob(".*.part"))  # noqa: E731
    killer = threading.Thread(target=_kill_engines, args=(1, at_work, stop), daemon=True)
    killer.start()
    try:
        result = run_batch(cohort, output, BatchSettings(model=str(model)))
    finally:
        stop.set()
        killer.join(30)
    assert (result.state.made, result.state.failed) == (3, 0)
    assert sides_of(output) == [(name, side, "done") for name in "abc" for side in ("right", "left", "both")]
    # What the killed process left half-written is gone after the next run at the latest.
    run_batch(cohort, output, BatchSettings(model=str(model)))
    assert sorted(path.name for path in (output / "cases").iterdir()) == ["a", "b", "c"]


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_a_case_that_takes_its_process_down_is_a_failure(scans: Path, model: Path, tmp_path: Path) -> None:
    """One case alone in the process: it has failed, the row says how, and the next run tries again."""
    cohort, output = tmp_path / "cohort", tmp_path / "out"
    shutil.copytree(scans / "anna", cohort / "anna")
    stop = threading.Event()
    at_work = lambda: any((output / "cases").glob(".*.part"))  # noqa: E731
    killer = threading.Thread(target=_kill_engines, args=(1, at_work, stop), daemon=True)
    killer.start()
    try:
        result = run_batch(cohort, output, BatchSettings(model=str(model)))
    finally:
        stop.set()
        killer.join(30)
    assert result.state.failed == 1
    assert "it was killed, as the operating system does when memory runs out" in result.failures["anna"]
    assert sides_of(output) == [("anna", "both", "failed")]
    assert run_batch(cohort, output, BatchSettings(model=str(model))).state.made == 1
    assert [side for _, side, _ in sides_of(output)] == ["right", "left", "both"]


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGKILL, -signal.SIGKILL)])
def test_stopped_in_mid_run_and_run_again(
    scans: Path, model: Path, tmp_path: Path, number: signal.Signals, status: int
) -> None:
    cohort, output = tmp_path / "cohort", tmp_path / "out"
    for name in ("a", "b", "c"):
        shutil.copytree(scans / "anna", cohort / name)
    with batch_process(cohort, "-o", output, "--model", model, "--quiet") as running:
        while not any((output / "cases").glob("*/provenance.json")):
            assert running.poll() is None
            time.sleep(0.02)
        children = _children_of(running.pid)
        running.send_signal(number)
        assert running.wait(60) == status, running.stderr and running.stderr.read()
    # Nothing of it lives on.
    assert len(children) == 1
    psutil.wait_procs(children, timeout=30)
    assert not any(child.is_running() and child.status() != psutil.STATUS_ZOMBIE for child in children)
    rows = sides_of(output)
    assert len(rows) == len(set(rows))
    before = result_times(output)
    result = run_batch(cohort, output, BatchSettings(model=str(model)))
    assert result.state.skipped >= 1
    assert result.state.skipped + result.state.made == 3
    after = result_times(output)
    assert all(after[name] == before[name] for name in before)
    assert sides_of(output) == [(name, side, "done") for name in "abc" for side in ("right", "left", "both")]
    assert not any(path.name.startswith(".") for path in (output / "cases").iterdir())


def test_cancelled_by_the_caller(scans: Path, model: Path, tmp_path: Path) -> None:
    token = CancelToken()
    states: list[BatchState] = []

    def stop_after_one(state: BatchState) -> None:
        states.append(state)
        if state.made + state.failed:
            token.cancel()

    with pytest.raises(Cancelled):
        run_batch(
            scans,
            tmp_path / "out",
            BatchSettings(model=str(model)),
            listener=stop_after_one,
            progress=Progress(None, token),
        )
    assert states[0].total == 4
    assert len(table_of(tmp_path / "out")) >= 1
    assert (tmp_path / "out" / "summary.html").exists()


def test_seats_share_the_processors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KIDNEYSEG_THREADS", "12")
    assert seats("cpu", 3) == (Seat("cpu", 4),) * 3
    assert seats("cpu", 24) == (Seat("cpu", 1),) * 24
    assert len(seats("cpu", None)) == 1


class TestCommand:
    def test_it_says_what_it_did(
        self,
        kidneyseg: Callable[..., Finished],  # noqa: F811
        copied: Path,
        scans: Path,
        model: Path,
    ) -> None:
        done = kidneyseg("batch", scans, "-o", copied, "--model", model)
        assert done.status == 0
        assert "4 cases: 0 segmented, 2 were done before, 2 failed" in done.out
        assert "failed: dora: The folder" in done.out
        assert "of 4 cases" in done.err

    def test_every_case_failing_is_an_error(
        self,
        kidneyseg: Callable[..., Finished],  # noqa: F811
        model: Path,
        tmp_path: Path,
    ) -> None:
        (tmp_path / "cohort" / "anna").mkdir(parents=True)
        done = kidneyseg("batch", tmp_path / "cohort", "-o", tmp_path / "out", "--model", model, "--quiet")
        assert done.status == 2
        assert done.err == f"kidneyseg: Every case failed. {tmp_path / 'out' / 'volumes.csv'} says why.\n"

    def test_jobs_and_scheduler_exclude_each_other(
        self,
        kidneyseg: Callable[..., Finished],  # noqa: F811
        tmp_path: Path,
    ) -> None:
        done = kidneyseg("batch", tmp_path, "-o", tmp_path / "out", "--jobs", 2, "--scheduler", "tcp://x:1")
        assert done.status == 2
        assert "--jobs is for this computer" in done.err
