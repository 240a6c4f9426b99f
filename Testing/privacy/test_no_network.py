"""Nothing that measures a patient ever reaches for a network, in any of its processes."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from Testing.cli.conftest import TOP, model, scan  # noqa: F401 (fixtures)

WATCHER = Path(__file__).resolve().parent / "watcher"


def watched(log: Path, *arguments: str | Path, prefix: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    """``kidneyseg ...`` with every process watched."""
    environment = {**os.environ, "KIDNEYSEG_TEST_NETWORK_LOG": str(log), "PYTHONPATH": str(WATCHER)}
    command = [*prefix, sys.executable, "-m", "KidneySegLib", *map(str, arguments)]
    return subprocess.run(command, cwd=TOP, env=environment, capture_output=True, text=True, timeout=1800)


def test_the_watcher_sees_and_refuses(tmp_path: Path) -> None:
    log = tmp_path / "log"
    code = "import urllib.request\nurllib.request.urlopen('http://127.0.0.1:9/', timeout=1)"
    environment = {**os.environ, "KIDNEYSEG_TEST_NETWORK_LOG": str(log), "PYTHONPATH": str(WATCHER)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=60)
    assert "the network is watched" in done.stderr
    assert "urllib.Request" in log.read_text()


def test_segment_measure_and_batch_stay_off_the_network(scan: Path, model: Path, tmp_path: Path) -> None:  # noqa: F811
    log = tmp_path / "log"
    out = tmp_path / "out"
    done = watched(log, "segment", scan, "-o", out, "--model", model, "--quiet")
    assert done.returncode == 0, done.stderr
    labels = out / "segmentation.nii.gz"
    done = watched(log, "measure", labels, "--image", scan, "-o", tmp_path / "measured", "--quiet")
    assert done.returncode == 0, done.stderr
    (tmp_path / "cohort" / "anna").mkdir(parents=True)
    shutil.copyfile(scan, tmp_path / "cohort" / "anna" / "ct.nii.gz")
    done = watched(log, "batch", tmp_path / "cohort", "-o", tmp_path / "batch", "--model", model, "--quiet")
    assert done.returncode == 0, done.stderr
    assert not log.exists(), log.read_text()
    # What it wrote asks a browser for nothing from outside either.
    for page in (out / "report.html", tmp_path / "batch" / "summary.html"):
        text = page.read_text(encoding="utf-8")
        assert "http://" not in text
        assert "https://" not in text


@pytest.mark.skipif(shutil.which("unshare") is None or os.name == "nt", reason="namespaces are Linux's")
def test_segment_works_where_there_is_no_network_at_all(scan: Path, model: Path, tmp_path: Path) -> None:  # noqa: F811
    """In a network namespace of its own not even the loopback is up: nothing native can have got out either."""
    prefix = ("unshare", "--net")
    if subprocess.run([*prefix, "true"], capture_output=True, check=False).returncode:
        pytest.skip("only root may make network namespaces here")
    done = watched(
        tmp_path / "log", "segment", scan, "-o", tmp_path / "out", "--model", model, "--quiet", prefix=prefix
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out" / "volumes.csv").exists()


def test_openvinos_telemetry_is_never_loaded(model: Path) -> None:  # noqa: F811
    code = (
        "import sys\nfrom pathlib import Path\nfrom KidneySegLib.pipeline import load_engine\n"
        f"load_engine(Path({str(model)!r}))\n"
        "loaded = [name for name in sys.modules if 'telemetry' in name and sys.modules[name] is not None]\n"
        "assert not [name for name in loaded if name.startswith('openvino_telemetry')], loaded"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=TOP, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
