"""What the heap keeps of freed arrays, given back to the system."""

from __future__ import annotations

import ctypes
import sys
from functools import cache
from typing import Any


def give_back_freed() -> None:
    """Let the system have the memory of what was freed. Where the C library has no such call, nothing happens.

    glibc keeps freed blocks for later ones of their size. Beside a network's maps, which are larger than any of them,
    they only add to what a run needs at most.
    """
    trim = _malloc_trim()
    if trim is not None:
        trim(0)


@cache
def _malloc_trim() -> Any:
    if sys.platform != "linux":
        return None
    return getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc's own; musl has none.
