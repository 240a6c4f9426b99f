"""What becomes of the memory of freed arrays: the system's again at once, or kept for the next ones."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

#: Names of glibc's <malloc.h>, and what its own allocator comes to once large blocks were freed.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_MMAP_MAX = -1, -3, -4
_MMAP_THRESHOLD_BYTES, _MMAP_MAX = 32 << 20, 65536


def give_back_freed() -> None:
    """Let the system have the memory of what was freed. Where the C library has no such call, nothing happens.

    glibc keeps freed blocks for later ones of their size. Beside a network's maps, which are larger than any of them,
    they only add to what a run needs at most.
    """
    trim = _glibc("malloc_trim")
    if trim is not None:
        trim(0)


@contextmanager
def freed_memory_kept() -> Iterator[None]:
    """Keep meanwhile what is freed, and give it back at the end; a decorator too. Nothing happens without glibc.

    glibc has blocks of more than 32 MiB from the system and gives them back each time, and each time the system fills
    them with zeros, page by page. A network that learns wants the same large maps at every step: that was a quarter of
    the step's time.
    """
    option = _glibc("mallopt")
    if option is None:
        yield
        return
    option(_M_MMAP_MAX, 0)
    option(_M_TRIM_THRESHOLD, -1)
    try:
        yield
    finally:
        option(_M_MMAP_MAX, _MMAP_MAX)
        option(_M_MMAP_THRESHOLD, _MMAP_THRESHOLD_BYTES)
        option(_M_TRIM_THRESHOLD, 2 * _MMAP_THRESHOLD_BYTES)
        give_back_freed()


@cache
def _glibc(name: str) -> Any:
    """A function of the C library, if that is glibc."""
    if sys.platform != "linux":
        return None
    library = ctypes.CDLL(None)
    if not hasattr(library, "gnu_get_libc_version"):  # musl has a mallopt that does nothing, or none.
        return None
    return getattr(library, name)
