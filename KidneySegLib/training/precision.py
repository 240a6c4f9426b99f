"""In which numbers a network learns."""

from __future__ import annotations

import contextlib

import torch


def autocast(device: torch.device, *, needs_amx: bool = False) -> contextlib.AbstractContextManager[object]:
    """bfloat16 on graphics cards and processors, float32 elsewhere.

    Args:
        device: of the network.
        needs_amx: on a processor without AMX float32: with AVX-512's bfloat16 alone a step of the two-stage networks
            took 1.3 times as long as in float32, while one of the fine network took a fifth.
    """
    fast = device.type == "cuda"
    if device.type == "cpu":
        fast = not needs_amx or (
            hasattr(torch.cpu, "get_capabilities") and bool(torch.cpu.get_capabilities().get("amx_bf16"))
        )
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=fast)
