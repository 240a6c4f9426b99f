"""What went wrong, in words that help: the ``error`` message for any exception."""

from __future__ import annotations

import errno
import traceback
from typing import Any

from KidneySegLib.errors import KidneySegError
from KidneySegLib.worker_parts.protocol import ProtocolError

#: A write failed because there is no room: disk, quota, or the largest file allowed.
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG) if hasattr(errno, "EDQUOT") else (errno.ENOSPC, errno.EFBIG)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an exception, or one that caused it, says that memory ran out (Python's own, or a native library's)."""
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        if isinstance(current, MemoryError):
            return True
        text = str(current).lower()
        if isinstance(current, RuntimeError) and any(
            words in text for words in ("bad_alloc", "out of memory", "failed to allocate", "can't allocate memory")
        ):
            return True
        current = current.__cause__ or current.__context__
    return False


def describe_failure(error: BaseException) -> dict[str, Any]:
    """``kind``, ``message`` (what happened), ``advice`` (what to try) and, for a bug only, ``traceback``."""
    if isinstance(error, ProtocolError):
        return {"kind": "ProtocolError", "message": str(error), "advice": "Restart 3D Slicer."}
    if is_out_of_memory(error):
        return {
            "kind": "OutOfMemory",
            "message": "The computer ran out of memory while the engine was working.",
            "advice": "Close other programs and other scans, crop the volume to the abdomen, "
            "or choose the CPU as device.",
        }
    if isinstance(error, OSError) and error.errno in _NO_ROOM:
        return {
            "kind": "DiskFull",
            "message": f"The disk is full: {error.strerror}"
            + (f" ({error.filename})." if isinstance(error.filename, str) else "."),
            "advice": "Free some disk space, or choose another temporary folder in Edit > Application Settings.",
        }
    if isinstance(error, KidneySegError):
        return {"kind": type(error).__name__, "message": str(error), "advice": ""}
    if isinstance(error, ImportError):
        return {
            "kind": "DependencyError",
            "message": f"A Python package that the engine needs is missing or damaged: {error}.",
            "advice": "Open Models and set-up and click Install or repair packages.",
        }
    return {
        "kind": "Bug",
        "message": f"{type(error).__name__}: {error}",
        "advice": "This is a fault in KidneySeg. Please report it with the log (Copy log).",
        "traceback": "".join(traceback.format_exception(type(error), error, error.__traceback__)),
    }
