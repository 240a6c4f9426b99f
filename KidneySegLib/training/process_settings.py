"""What makes a network learn faster on a processor and belongs to a whole process or thread: set while it learns."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from KidneySegLib.inference.heap import freed_memory_kept


@contextmanager
def settings_for_learning() -> Iterator[None]:
    """Meanwhile freed memory is kept, and the processor rounds numbers below 1e-38 to 0; a decorator too.

    Whatever else this thread computes must not see such rounding: scipy's k-d tree, for one, then never ends.
    """
    with freed_memory_kept():
        torch.set_flush_denormal(True)
        try:
            yield
        finally:
            torch.set_flush_denormal(False)
