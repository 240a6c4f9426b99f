"""What a network with a margin sees and what it answers: a wide patch, and its centre."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor


def centre(volume: Tensor, size: Sequence[int]) -> Tensor:
    """The middle (N, channels, \\*size) of a volume (N, channels, z, y, x); as it is where it is no larger.

    Raises:
        ValueError: if the volume is smaller, or its margin is not equally wide on both sides.
    """
    spare = [n - s for n, s in zip(volume.shape[2:], size, strict=True)]
    if any(n < 0 or n % 2 for n in spare):
        raise ValueError(f"size must be {tuple(volume.shape[2:])} less an even margin, got {tuple(size)}")
    z, y, x = (slice(n // 2, n // 2 + s) for n, s in zip(spare, size, strict=True))
    return volume[:, :, z, y, x]
