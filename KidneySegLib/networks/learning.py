"""Whether a layer learns, so that it may go another way than torch's own to the same answer."""

from __future__ import annotations

import torch
from torch import nn


def learns(layer: nn.Module) -> bool:
    """Whether gradients are wanted of a layer, step by step: in training mode, and not under a compiler."""
    return layer.training and torch.is_grad_enabled() and not torch.compiler.is_compiling()
