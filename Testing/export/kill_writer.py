"""A writer that is killed before its n-th step, for every n: run by `test_dataset_faults`, not by pytest.

``python -m Testing.export.kill_writer OUT``: for n = 1, 2, ... forks a process that adds a case and a revision to the
data set ``OUT/n`` and sends itself SIGKILL just before its n-th operation on files (Python's audit events: open,
rename, mkdir, remove ...). Ends with the first n that the writer survives, and prints it.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
from pathlib import Path

import SimpleITK as sitk

from KidneySegLib.ct import read_ct
from KidneySegLib.export.dataset import Addition, DataSet
from Testing.export.dataset_case import corrected, labels, scan

EVENTS = ("open", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "shutil.rmtree", "os.link", "os.chmod")


def write(folder: Path) -> None:
    """All that a writer does: a new data set, a new case, a revision."""
    data_set = DataSet.create(folder)
    data_set.add(scan(), labels(), Addition("A"), automatic=labels())
    data_set.add(scan(), corrected(), Addition("B"), automatic=labels())


def die_before(step: int, folder: Path) -> None:
    """Install a hook that ends this process the hard way."""
    seen = 0
    watched = os.fsencode(folder)

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal seen
        if event not in EVENTS or not arguments or not isinstance(arguments[0], (str, bytes, os.PathLike)):
            return
        if os.fsencode(arguments[0]).startswith(watched):
            seen += 1
            if seen == step:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)


def main(out: Path) -> None:
    # A forked process has no thread of its parent's pool; the work is done by the calling thread then.
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    # What was written survives a killed process; only a power cut needs this, and it takes most of the time.
    os.fsync = lambda _: None  # type: ignore[assignment]
    # Everything is imported before the first fork, so that a step is a step of the writer.
    write(out / "rehearsal")
    read_ct(next((out / "rehearsal").rglob("image.nii.gz")))
    shutil.rmtree(out / "rehearsal")
    step = 0
    while True:
        step += 1
        folder = out / f"{step}"
        child = os.fork()
        if child == 0:
            die_before(step, folder)
            write(folder)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        if os.WIFEXITED(status):
            if os.WEXITSTATUS(status):
                raise SystemExit(f"the writer failed at step {step}")
            print(step)
            return


if __name__ == "__main__":
    main(Path(sys.argv[1]))
