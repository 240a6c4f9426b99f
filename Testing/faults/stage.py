"""What faults are tried on, and how it is seen that nothing was harmed."""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from KidneySegLib.cohort.record import CASES, read_result
from KidneySegLib.cohort.table import BATCH_COLUMNS

TOP = Path(__file__).resolve().parents[2]
FILES = {
    "segmentation.nii.gz",
    "segmentation.seg.nrrd",
    "volumes.csv",
    "report.html",
    "overlay.png",
    "provenance.json",
}
#: One thread each: what is tested is the order of writes, and a forked process has no pool of threads.
ENVIRONMENT = {"OMP_NUM_THREADS": "1", "KIDNEYSEG_THREADS": "1", "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS": "1"}


class Harm(AssertionError):  # noqa: N818
    """Something was lost, doubled or half-written."""


@dataclass(frozen=True)
class Stage:
    """A cohort with a model whose answer on it is known.

    Attributes:
        folder: where everything lies.
        model: bundle folder.
        cohort: cases ``a``, ``b`` ... with one scan each.
        names: of the cases.
        labels: a label map of the first scan.
    """

    folder: Path
    model: Path
    cohort: Path
    names: tuple[str, ...]
    labels: Path

    @property
    def scan(self) -> Path:
        return self.cohort / self.names[0] / "ct.nii.gz"


def build_stage(folder: Path, cases: int = 3) -> Stage:
    """Make the model (which needs torch) and the scans."""
    from Testing.inference import analytic_bundles

    folder.mkdir(parents=True, exist_ok=True)
    analytic_bundles.write_localiser(folder / "models" / "coarse")
    analytic_bundles.write_fine(
        folder / "models" / "fine", localiser="coarse", spacing_mm=(4.0, 4.0, 4.0), patch_size=(32, 32, 32)
    )
    names = tuple("abcdefghijklmnopqrstuvwxyz"[:cases])
    hu, labels = _two_kidneys()
    for index, name in enumerate(names):
        (folder / "cohort" / name).mkdir(parents=True)
        image = sitk.GetImageFromArray(hu + np.int16(index))
        _place(image)
        sitk.WriteImage(image, str(folder / "cohort" / name / "ct.nii.gz"))
    image = sitk.GetImageFromArray(labels)
    _place(image)
    sitk.WriteImage(image, str(folder / "labels.nii.gz"))
    return Stage(folder, folder / "models" / "fine", folder / "cohort", names, folder / "labels.nii.gz")


def _two_kidneys() -> tuple[np.ndarray, np.ndarray]:
    """48 x 40 x 20 voxels of 6 x 6 x 8 mm: boxes with a cortex of one voxel, far apart, in muscle and air."""
    hu = np.full((20, 40, 48), -1000, dtype=np.int16)
    hu[:, 5:35, 4:44] = 50
    labels = np.zeros(hu.shape, dtype=np.uint8)
    for x, cortex, medulla in ((11, 1, 2), (30, 3, 4)):
        hu[4:16, 20:30, x - 1 : x + 9] = -80
        hu[5:15, 21:29, x : x + 8], labels[5:15, 21:29, x : x + 8] = 260, cortex
        hu[6:14, 22:28, x + 1 : x + 7], labels[6:14, 22:28, x + 1 : x + 7] = 150, medulla
    return hu, labels


def _place(image: sitk.Image) -> None:
    image.SetSpacing((6.0, 6.0, 8.0))
    image.SetOrigin((-140.0, -120.0, -80.0))


def start(*arguments: str | Path, **environment: str) -> subprocess.Popen[str]:
    """``kidneyseg ...`` as the leader of a group of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "KidneySegLib", *map(str, arguments)],
        cwd=TOP,
        env={**os.environ, **ENVIRONMENT, **environment},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=os.name != "nt",
    )


def run(*arguments: str | Path, **environment: str) -> tuple[int, str]:
    """Exit status and standard error of a command."""
    with start(*arguments, **environment) as process:
        _, errors = process.communicate(timeout=600)
    return process.returncode, errors


def check_results_folder(folder: Path) -> None:
    """Whole, or `Harm`."""
    names = {path.name for path in folder.iterdir()}
    if names != FILES:
        raise Harm(f"{folder} holds {sorted(names)}")
    if read_result(folder, folder.name) is None:
        raise Harm(f"{folder} cannot be read back")
    json.loads((folder / "provenance.json").read_text(encoding="utf-8"))
    if not (folder / "report.html").read_text(encoding="utf-8").rstrip().endswith("</html>"):
        raise Harm(f"{folder}/report.html is cut")
    if not (folder / "overlay.png").read_bytes().endswith(b"IEND\xaeB`\x82"):
        raise Harm(f"{folder}/overlay.png is cut")
    for name in ("segmentation.nii.gz", "segmentation.seg.nrrd"):
        sitk.ReadImage(str(folder / name))


def check_absent_or_whole(folder: Path) -> bool:
    """Whether a results folder is there; then it is whole. Beside it nothing visible is left."""
    if not folder.exists():
        return False
    check_results_folder(folder)
    return True


def rows_of(output: Path) -> list[dict[str, str]]:
    """Rows of a batch's table, each with all cells; none before the table is first written."""
    path = output / "volumes.csv"
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        if tuple(row) != BATCH_COLUMNS or None in row.values():
            raise Harm(f"{path} has a row that is cut: {row}")
    return rows


def check_batch(output: Path, before: list[dict[str, str]]) -> list[dict[str, str]]:
    """The table is whole, holds no row twice and all that it held, and each of its cases is there, whole.

    Args:
        output: the batch's folder.
        before: the rows when it was looked at last.

    Returns:
        The rows now.
    """
    rows = rows_of(output)
    keys = [(row["case_id"], row["side"]) for row in rows]
    if len(set(keys)) != len(keys):
        raise Harm(f"{output} has doubled rows: {keys}")
    lost = {row["case_id"] for row in before} - {row["case_id"] for row in rows}
    if lost:
        raise Harm(f"{output} lost rows of {sorted(lost)}")
    folders = set()
    if (output / CASES).is_dir():
        for folder in (output / CASES).iterdir():
            if not folder.name.startswith("."):
                check_results_folder(folder)
                folders.add(folder.name)
    missing = {row["case_id"] for row in rows if row["status"] == "done"} - folders - _set_aside(output)
    if missing:
        raise Harm(f"{output} has rows without results: {sorted(missing)}")
    return rows


def _set_aside(output: Path) -> set[str]:
    """Cases whose older result was moved aside by a killed run; the next one puts it back."""
    return {path.parent.name[1:].rsplit(".", 2)[0] for path in (output / CASES).glob(".*.old/results")}


def check_finished(output: Path, stage: Stage) -> None:
    """Every case of the stage has its three rows, and nothing else is there."""
    rows = check_batch(output, [])
    found = [(row["case_id"], row["side"], row["status"]) for row in rows]
    wanted = [(name, side, "done") for name in stage.names for side in ("right", "left", "both")]
    if found != wanted:
        raise Harm(f"{output} has the rows {found}")
    left = [path.name for path in (*output.iterdir(), *(output / CASES).iterdir()) if path.name.startswith(".")]
    if left != [".batch.lock"]:
        raise Harm(f"{output} still holds {left}")


@contextmanager
def small_disk(place: Path, kibibytes: int) -> Iterator[Path]:
    """A tmpfs of that size.

    Raises:
        PermissionError: this process may not mount.
    """
    place.mkdir(parents=True)
    try:
        if not hasattr(os, "geteuid") or os.geteuid() != 0 or shutil.which("mount") is None:
            raise PermissionError("only root on Linux may mount")
        options = ["-o", f"size={kibibytes}k,mode=0777"]
        done = subprocess.run(
            ["mount", "-t", "tmpfs", *options, "tmpfs", str(place)], capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise PermissionError(f"this machine does not allow root to mount: {done.stderr.strip()}")
        try:
            yield place
        finally:
            subprocess.run(["umount", "-l", str(place)], check=True)
    finally:
        place.rmdir()


def resize(place: Path, kibibytes: int) -> None:
    """Give a `small_disk` more room."""
    subprocess.run(["mount", "-o", f"remount,size={kibibytes}k", str(place)], check=True)
