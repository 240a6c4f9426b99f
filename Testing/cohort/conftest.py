"""A small cohort of scans whose answers are known, and a batch of it that tests only read."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from KidneySegLib.cohort import BatchResult, BatchSettings, run_batch
from Testing.cli.conftest import TOP, a_scan, model  # noqa: F401 (a fixture)


def write_scan(path: Path, brighter_hu: int = 0) -> Path:
    """The scan with two kidneys of `Testing.cli`; brighter kidneys make another scan with the same volumes."""
    image = a_scan()
    if brighter_hu:
        hu = sitk.GetArrayFromImage(image)
        hu[hu >= 150] += np.int16(brighter_hu)
        changed = sitk.GetImageFromArray(hu)
        changed.CopyInformation(image)
        image = changed
    path.parent.mkdir(parents=True, exist_ok=True)
    sitk.WriteImage(image, str(path))
    return path


def table_of(output: Path) -> list[dict[str, str]]:
    """Rows of a batch's table."""
    with (output / "volumes.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def sides_of(output: Path) -> list[tuple[str, str, str]]:
    """(case, side, status) of each row: what may never be lost or doubled."""
    return [(row["case_id"], row["side"], row["status"]) for row in table_of(output)]


def result_times(output: Path) -> Mapping[str, int]:
    """When each case's results folder was put in place (inode of its provenance)."""
    return {path.parent.name: path.stat().st_ino for path in (output / "cases").glob("*/provenance.json")}


def batch_process(*arguments: str | Path, **environment: str) -> subprocess.Popen[bytes]:
    """``kidneyseg batch`` in a process of its own."""
    command = [sys.executable, "-m", "KidneySegLib", "batch", *map(str, arguments)]
    return subprocess.Popen(
        command, cwd=TOP, stderr=subprocess.PIPE, stdout=subprocess.PIPE, env={**os.environ, **environment}
    )


@pytest.fixture(scope="session")
def scans(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cohort: two scans in folders, one damaged, one empty folder."""
    folder = tmp_path_factory.mktemp("scans")
    write_scan(folder / "anna" / "ct.nii.gz")
    write_scan(folder / "berta" / "any_name.nii.gz", 10)
    damaged = folder / "clara" / "ct.nii.gz"
    damaged.parent.mkdir()
    damaged.write_bytes((folder / "anna" / "ct.nii.gz").read_bytes()[:3000])
    (folder / "dora").mkdir()
    return folder


@pytest.fixture(scope="session")
def finished(scans: Path, model: Path, tmp_path_factory: pytest.TempPathFactory) -> BatchResult:  # noqa: F811
    """The cohort after one run; tests only read it."""
    return run_batch(scans, tmp_path_factory.mktemp("finished") / "out", BatchSettings(model=str(model)))
