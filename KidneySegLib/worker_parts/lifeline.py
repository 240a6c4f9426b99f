"""The child process ends when its parent does, with everything it started, and leaves no patient data behind."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from KidneySegLib.worker_parts.protocol import EXIT_ABANDONED, WORKSPACE_MARKER

#: How often the parent is looked for. Its closed pipe is usually noticed first.
WATCH_INTERVAL_S = 1.0
#: How long a running stage may take to notice that it was abandoned before the process ends itself.
GRACE_S = 1.0


def lead_own_group() -> None:
    """Make this process the leader of a group (a job on Windows), so that it can be killed with all it starts."""
    if sys.platform == "win32":
        _join_windows_job()
        return
    # A process that already leads a session cannot make another one, and need not.
    with contextlib.suppress(PermissionError):
        os.setsid()


def is_alive(pid: int) -> bool:
    """Whether a process of this id exists (a zombie that nobody has waited for counts as dead on Linux)."""
    if sys.platform == "win32":
        return _is_alive_on_windows(pid)
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    try:
        state = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()[0]
    except (OSError, IndexError):
        return True
    return state not in ("Z", "X")


def watch_parent(pid: int, abandon: Callable[[], None]) -> None:
    """Call ``abandon`` from a background thread once the process ``pid`` is gone."""

    def watch() -> None:
        while is_alive(pid):
            time.sleep(WATCH_INTERVAL_S)
        abandon()

    threading.Thread(target=watch, name="parent watch", daemon=True).start()


def remove_workspace(workspace: Path) -> None:
    """Delete the private folder of this session, if it is one."""
    if (workspace / WORKSPACE_MARKER).is_file():
        shutil.rmtree(workspace, ignore_errors=True)


def end_now(workspace: Path) -> None:
    """Abandoned: delete the workspace and end this process with all that it started.

    This process itself must already survive SIGTERM (`worker.main` catches it), to end with its own status.
    """
    remove_workspace(workspace)
    if sys.platform != "win32" and os.getpgrp() == os.getpid():
        os.killpg(os.getpgrp(), signal.SIGTERM)
    os._exit(EXIT_ABANDONED)


def _is_alive_on_windows(pid: int) -> bool:
    import ctypes

    kernel = ctypes.windll.kernel32  # type: ignore[attr-defined,unused-ignore]
    synchronize, timed_out = 0x00100000, 0x00000102
    handle = kernel.OpenProcess(synchronize, False, pid)
    if not handle:
        return False
    try:
        return bool(kernel.WaitForSingleObject(handle, 0) == timed_out)
    finally:
        kernel.CloseHandle(handle)


def _join_windows_job() -> None:
    """A job whose last handle is ours kills all its processes when we end (JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE)."""
    import ctypes
    from ctypes import wintypes

    class BasicLimits(ctypes.Structure):
        _fields_ = (
            ("PerProcessUserTimeLimit", ctypes.c_int64),
            ("PerJobUserTimeLimit", ctypes.c_int64),
            ("LimitFlags", wintypes.DWORD),
            ("MinimumWorkingSetSize", ctypes.c_size_t),
            ("MaximumWorkingSetSize", ctypes.c_size_t),
            ("ActiveProcessLimit", wintypes.DWORD),
            ("Affinity", ctypes.c_size_t),
            ("PriorityClass", wintypes.DWORD),
            ("SchedulingClass", wintypes.DWORD),
        )

    class ExtendedLimits(ctypes.Structure):
        _fields_ = (
            ("BasicLimitInformation", BasicLimits),
            ("IoInfo", ctypes.c_uint64 * 6),
            ("ProcessMemoryLimit", ctypes.c_size_t),
            ("JobMemoryLimit", ctypes.c_size_t),
            ("PeakProcessMemoryUsed", ctypes.c_size_t),
            ("PeakJobMemoryUsed", ctypes.c_size_t),
        )

    kill_on_close, extended_information = 0x2000, 9
    kernel = ctypes.windll.kernel32  # type: ignore[attr-defined,unused-ignore]
    kernel.CreateJobObjectW.restype = wintypes.HANDLE
    kernel.GetCurrentProcess.restype = wintypes.HANDLE
    kernel.AssignProcessToJobObject.argtypes = (wintypes.HANDLE, wintypes.HANDLE)
    kernel.SetInformationJobObject.argtypes = (wintypes.HANDLE, ctypes.c_int, ctypes.c_void_p, wintypes.DWORD)
    job = kernel.CreateJobObjectW(None, None)
    limits = ExtendedLimits()
    limits.BasicLimitInformation.LimitFlags = kill_on_close
    kernel.SetInformationJobObject(job, extended_information, ctypes.byref(limits), ctypes.sizeof(limits))
    kernel.AssignProcessToJobObject(job, kernel.GetCurrentProcess())
