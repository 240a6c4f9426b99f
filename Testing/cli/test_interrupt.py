"""Ctrl-C in the middle of a run: status 130, one sentence, nothing half-written."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from KidneySegLib.cli.main import main
from KidneySegLib.progress import Progress, ProgressEvent
from Testing.cli.conftest import TOP, Finished


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize("words", ["Reading the scan", "Running the network", "Writing results"])
def test_stopped_in_mid_run(
    scan: Path, model: Path, tmp_path: Path, number: signal.Signals, status: int, words: str
) -> None:
    command = [sys.executable, "-m", "KidneySegLib", "segment", scan, "-o", tmp_path / "out", "--model", model]
    with subprocess.Popen(list(map(str, command)), cwd=TOP, stderr=subprocess.PIPE, stdout=subprocess.PIPE) as running:
        assert running.stderr is not None
        for line in running.stderr:
            if words in line.decode():
                running.send_signal(number)
                break
        rest = running.stderr.read().decode()
        assert running.wait(120) == status, rest
    assert "stopped; nothing half-written was left" in rest
    assert "Traceback" not in rest
    assert list(tmp_path.iterdir()) == []


def test_cancelled_before_the_results_are_in_place_keeps_the_old_ones(
    results: Path, scan: Path, tmp_path: Path
) -> None:
    from KidneySegLib import pipeline
    from KidneySegLib.errors import Cancelled
    from KidneySegLib.progress import CancelToken

    folder = tmp_path / "out"
    labels = results / "segmentation.nii.gz"
    pipeline.measure_case(labels, scan, folder, case_id="old")
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    token = CancelToken()

    def stop_late(event: ProgressEvent) -> None:
        if event.stage == "write" and event.fraction >= 0.8:
            token.cancel()

    with pytest.raises(Cancelled):
        pipeline.measure_case(labels, scan, folder, case_id="new", progress=Progress(stop_late, token))
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_keyboard_interrupt_from_anywhere_is_130(
    kidneyseg: Callable[..., Finished], monkeypatch: pytest.MonkeyPatch, scan: Path, tmp_path: Path
) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("KidneySegLib.pipeline.segment_case", interrupt)
    done = kidneyseg("segment", scan, "-o", tmp_path / "out", "--quiet")
    assert done.status == 130
    assert done.err.count("\n") == 1


def test_signal_handlers_are_put_back() -> None:
    before = signal.getsignal(signal.SIGINT)
    assert main(["models", "list"]) == 0
    assert signal.getsignal(signal.SIGINT) is before
