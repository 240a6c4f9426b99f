"""Disk full, permission lost, memory out, clock jumps, two at once. Each says what it tried and what it saw."""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from Testing.faults.stage import (
    ENVIRONMENT,
    TOP,
    Harm,
    Stage,
    check_absent_or_whole,
    check_batch,
    check_finished,
    resize,
    rows_of,
    run,
    small_disk,
    start,
)

Facts = dict[str, Any]
NOBODY = 65534


def in_fork(work: Callable[[], int]) -> int:
    """Exit status of a function in a forked process: warm imports, its own user and limits."""
    pid = os.fork()
    if pid == 0:
        status = 99
        with contextlib.suppress(BaseException):
            os.environ.update(ENVIRONMENT)
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, 1)
            os.dup2(null, 2)
            status = work()
        os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def measure(stage: Stage, output: Path) -> int:
    """``kidneyseg measure`` in this process."""
    from KidneySegLib.cli.main import main

    return main(["measure", str(stage.labels), "--image", str(stage.scan), "-o", str(output), "--quiet"])


def warm_up(stage: Stage, folder: Path) -> int:
    """Import all that measuring needs, and say how many KiB a result takes."""
    import SimpleITK as sitk

    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    with contextlib.redirect_stdout(io.StringIO()):
        status = measure(stage, folder / "warm")
    if status != 0:
        raise Harm("measure failed without any fault")
    size = sum((path.stat().st_size + 4095) // 4096 * 4 for path in (folder / "warm").iterdir())
    shutil.rmtree(folder / "warm")
    return size


def disk_full(stage: Stage, folder: Path, steps: int) -> Facts:
    """A disk that is full at the first write, a little later, ... at the last one."""
    needed = warm_up(stage, folder)
    refused = finished = 0
    for step in range(steps + 1):
        room = 4 + (needed + 32) * step // steps
        with small_disk(folder / "disk", room) as disk:
            status = in_fork(lambda out=disk / "out": measure(stage, out))
            whole = check_absent_or_whole(disk / "out")
            if (status, whole) not in ((0, True), (2, False)):
                raise Harm(f"a disk of {room} KiB: exit status {status}, result there: {whole}")
            left = [path.name for path in disk.iterdir() if path.name != "out"]
            if left:
                raise Harm(f"a disk of {room} KiB still holds {left}")
            refused, finished = refused + (status == 2), finished + (status == 0)
    if not refused or not finished:
        raise Harm(f"the sizes were badly chosen: {refused} refused, {finished} finished")
    return {"sizes": steps + 1, "refused_with_a_message": refused, "finished": finished}


def disk_full_in_a_batch(stage: Stage, folder: Path, sizes: int) -> Facts:
    """The disk fills up after the first case, or a little later; with room again, the next run goes on.

    Which write it is that finds no room, a case's or the table's, is for the machine to say: they go side by side.
    """
    needed = warm_up(stage, folder)
    before = []
    for size in range(sizes):
        room = needed * 7 // 4 + 60 + needed * size // sizes
        with small_disk(folder / "disk", room) as disk:
            output = disk / "out"
            arguments = ("batch", stage.cohort, "-o", output, "--model", stage.model, "--quiet")
            status, errors = run(*arguments)
            if status != 2 or "disk is full" not in errors:
                raise Harm(f"a disk of {room} KiB: exit status {status}: {errors}")
            rows = check_batch(output, [])
            resize(disk, needed * 20)
            status, errors = run(*arguments)
            if status != 0:
                raise Harm(f"{room} KiB, then with room again: exit status {status}: {errors}")
            check_batch(output, rows)
            check_finished(output, stage)
            before.append(len({row["case_id"] for row in rows}))
    return {"cases_before": before, "cases_after": len(stage.names)}


def permission_lost(stage: Stage, folder: Path) -> Facts:
    """A user who may not write, from the start or from the middle on."""
    warm_up(stage, folder)
    locked = folder / "locked"
    locked.mkdir(mode=0o555)
    open_folder = folder / "open"
    open_folder.mkdir()
    open_folder.chmod(0o777)

    def as_nobody(work: Callable[[], int]) -> int:
        if os.geteuid() != 0:
            return work()
        os.setgid(NOBODY)
        os.setuid(NOBODY)
        return work()

    if in_fork(lambda: as_nobody(lambda: measure(stage, locked / "out"))) != 2 or list(locked.iterdir()):
        raise Harm("a folder that may not be written was no error, or something was written")

    def lose_it_meanwhile() -> int:
        from KidneySegLib.cli.main import main
        from KidneySegLib.export import results

        written = results.write_seg_nrrd

        def then_lock(*arguments: Any) -> None:
            written(*arguments)
            for path in open_folder.glob(".out.*.part"):
                path.chmod(0o555)

        results.write_seg_nrrd = then_lock
        return main(["measure", str(stage.labels), "--image", str(stage.scan), "-o", str(open_folder / "out"), "-q"])

    if in_fork(lambda: as_nobody(lose_it_meanwhile)) != 2 or check_absent_or_whole(open_folder / "out"):
        raise Harm("permission lost in the middle was no error, or left half a result")
    for path in open_folder.iterdir():
        path.chmod(0o755)
    if in_fork(lambda: as_nobody(lambda: measure(stage, open_folder / "out"))) != 0:
        raise Harm("with permission again it did not go on")
    check_absent_or_whole(open_folder / "out")
    return {"refused_with_a_message": 2, "then_finished": 1}


def clock_jumps(stage: Stage, folder: Path) -> Facts:
    """The time of day leaps by up to ten years, both ways, at every look at it."""
    shim = folder / "clock"
    shim.mkdir()
    (shim / "sitecustomize.py").write_text(
        "import random, time\n"
        "_time, _rng = time.time, random.Random()\n"
        "time.time = lambda: _time() + _rng.uniform(-3e8, 3e8)\n"
    )
    output = folder / "clock out"
    arguments = ("batch", stage.cohort, "-o", output, "--model", stage.model, "--quiet")
    for _ in range(2):
        status, errors = run(*arguments, PYTHONPATH=str(shim))
        if status != 0:
            raise Harm(f"exit status {status}: {errors}")
        check_finished(output, stage)
    before = {path: path.stat().st_ino for path in output.glob("cases/*/segmentation.nii.gz")}
    # Files from the future and from the past hold the same scans; a changed one is seen although its time is set back.
    times = stage.scan.stat()
    copies = folder / "clock cohort"
    shutil.copytree(stage.cohort, copies)
    os.utime(copies / stage.names[0] / "ct.nii.gz", (4e9, 4e9))
    os.utime(copies / stage.names[1] / "ct.nii.gz", (0, 0))
    changed = copies / stage.names[2] / "ct.nii.gz"
    shutil.copyfile(stage.scan, changed)
    os.utime(changed, ns=(times.st_atime_ns, times.st_mtime_ns))
    status, errors = run("batch", copies, *arguments[2:])
    if status != 0:
        raise Harm(f"exit status {status}: {errors}")
    check_finished(output, stage)
    hashes = {row["case_id"]: row["input_sha256"] for row in rows_of(output)}
    if hashes[stage.names[0]] != hashes[stage.names[2]]:
        raise Harm("a scan that changed under the same time was taken for done")
    kept = sum(path.stat().st_ino == inode for path, inode in before.items())
    if kept != len(stage.names) - 1:
        raise Harm(f"{kept} of {len(stage.names) - 1} results of unchanged scans were kept")
    return {"runs": 3, "results_kept": kept}


def two_at_once(stage: Stage, folder: Path) -> Facts:
    """Two batches into one folder, then two single runs into one folder."""
    output = folder / "shared"
    arguments = ("batch", stage.cohort, "-o", output, "--model", stage.model, "--quiet")
    processes = [start(*arguments) for _ in range(2)]
    answers = [process.communicate(timeout=600)[1] for process in processes]
    codes = sorted(process.returncode for process in processes)
    if codes == [0, 2]:
        if not any("Another kidneyseg batch" in answer for answer in answers):
            raise Harm(f"the second batch said {answers}")
    elif codes != [0, 0]:  # both, one after the other
        raise Harm(f"exit statuses {codes}: {answers}")
    check_finished(output, stage)
    single = folder / "single"
    measuring = ("measure", stage.labels, "--image", stage.scan, "-o", single, "--quiet")
    processes = [start(*measuring) for _ in range(3)]
    for process in processes:
        process.communicate(timeout=600)
    if 0 not in [process.returncode for process in processes] or not check_absent_or_whole(single):
        raise Harm("of several runs into one folder none is there")
    return {"batch_exit_statuses": codes, "single_exit_statuses": [process.returncode for process in processes]}


_LIMITED = """
import resource, sys
resource.setrlimit(resource.RLIMIT_AS, (int(sys.argv[1]), int(sys.argv[1])))
from KidneySegLib.cli.main import main
sys.exit(main(sys.argv[2:]))
"""


def out_of_memory(stage: Stage, folder: Path, limit_bytes: int = 3 << 30) -> Facts:
    """A scan that does not fit into the memory that the engine may have; the others are not harmed."""
    import subprocess

    import numpy as np
    import SimpleITK as sitk

    cohort = folder / "cohort"
    shutil.copytree(stage.cohort / stage.names[0], cohort / "a_small")
    shutil.copytree(stage.cohort / stage.names[1], cohort / "z_small")
    (cohort / "m_huge").mkdir()
    # The first scan, tiled to 220 million voxels that are no whole numbers.
    small = sitk.GetArrayFromImage(sitk.ReadImage(str(stage.scan)))
    huge = np.tile(small.astype(np.float32) + np.float32(0.25), (25, 16, 14))
    image = sitk.GetImageFromArray(huge)
    image.SetSpacing((0.5, 0.5, 0.5))
    sitk.WriteImage(image, str(cohort / "m_huge" / "ct.nii.gz"), True, 1)
    del huge, image
    output = folder / "out"
    arguments = ["batch", str(cohort), "-o", str(output), "--model", str(stage.model), "--quiet"]
    begin_s = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", _LIMITED, str(limit_bytes), *arguments],
        cwd=TOP,
        env={**os.environ, **ENVIRONMENT},
        capture_output=True,
        text=True,
        timeout=900,
    )
    shutil.rmtree(cohort)
    if done.returncode != 0:
        raise Harm(f"exit status {done.returncode}: {done.stderr}")
    rows = {row["case_id"]: row for row in check_batch(output, [])}
    if [rows[name]["status"] for name in ("a_small", "m_huge", "z_small")] != ["done", "failed", "done"]:
        raise Harm(f"{ {name: (row['status'], row['error']) for name, row in rows.items()} }")
    error = rows["m_huge"]["error"]
    if "into memory" not in error and "out of memory" not in error and "memory runs out" not in error:
        raise Harm(f"the reason was: {error}")
    return {"limit_bytes": limit_bytes, "reason": error[:200], "seconds": round(time.monotonic() - begin_s, 1)}
