"""The smallest numbers as 0, which makes training on a processor much faster, and for nothing but training."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def denormals_as_zero() -> Iterator[None]:
    """Let the processor round numbers below 1e-38 to 0 meanwhile; a decorator too.

    Whatever else this thread computes must not see that: scipy's k-d tree, for one, then never ends.
    """
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(False)
