"""In which numbers a network learns."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import torch

from KidneySegLib.inference.timing import seconds_in_turn

_TURNS = 3


def autocast(device: torch.device, *, bfloat16: bool = True) -> contextlib.AbstractContextManager[object]:
    """bfloat16 on graphics cards and processors, float32 elsewhere.

    Args:
        device: of the network.
        bfloat16: False for float32 everywhere.
    """
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=bfloat16 and device.type in ("cuda", "cpu"))


def faster_in_bfloat16(device: torch.device, step: Callable[[bool], object]) -> bool:
    """Whether a step takes less time in bfloat16 than in float32: tried out on a processor, taken as known elsewhere.

    No list of a processor's features tells: with AVX-512's bfloat16 and no AMX a step of the two-stage networks took
    1.3 times as long as in float32 on a Xeon, and 0.6 times on an EPYC.

    Args:
        device: of the network.
        step: what is to be fast, told whether in bfloat16.
    """
    if device.type != "cpu":
        return device.type == "cuda"
    float32_seconds, bfloat16_seconds = seconds_in_turn([lambda: step(False), lambda: step(True)], _TURNS)
    return bfloat16_seconds < float32_seconds
