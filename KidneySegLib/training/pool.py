"""The growing store of renderings on the training device, from which batches are drawn at random."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from KidneySegLib.training.samples import FULL_FRACTION, Sample

Size3 = tuple[int, int, int]


class SamplePool:
    """A ring of samples in compact form (int16 HU, uint8 targets); once full, new ones replace the oldest.

    Args:
        capacity: number of samples; memory is taken at once.
        shape: of a sample in voxels (z, y, x).
        channels: of the targets that `draw` gives.
        labels: whether samples hold one channel of label ids 0..channels (made one-hot, background dropped)
            instead of ``channels`` fractions.
        device: where the samples are kept.
    """

    def __init__(self, capacity: int, shape: Size3, channels: int, labels: bool, device: torch.device) -> None:
        if capacity < 1:
            raise ValueError(f"capacity of a pool must be at least 1, got {capacity}")
        self._labels = labels
        self._channels = channels
        self._hu = torch.empty((capacity, 1, *shape), dtype=torch.int16, device=device)
        stored = 1 if labels else channels
        self._targets = torch.empty((capacity, stored, *shape), dtype=torch.uint8, device=device)
        self._weights = torch.empty(capacity, dtype=torch.float32, device=device)
        self._added = 0
        self._stream: torch.cuda.Stream | None = None

    @property
    def capacity(self) -> int:
        return int(self._hu.shape[0])

    @property
    def added(self) -> int:
        """Samples ever added."""
        return self._added

    def __len__(self) -> int:
        """Samples that can be drawn."""
        return min(self._added, self.capacity)

    @property
    def size_bytes(self) -> int:
        return sum(t.numel() * t.element_size() for t in (self._hu, self._targets, self._weights))

    def add(self, sample: Sample) -> None:
        """Copy a sample to the device.

        Raises:
            ValueError: if its shape is not the pool's.
        """
        if sample.hu.shape != self._hu.shape[2:] or sample.targets.shape != self._targets.shape[1:]:
            raise ValueError(
                f"a sample must have HU {tuple(self._hu.shape[2:])} and targets {tuple(self._targets.shape[1:])}, "
                f"got {sample.hu.shape} and {sample.targets.shape}"
            )
        if self._hu.device.type == "cuda" and self._added < self.capacity:
            # A slot that nobody reads yet: beside the training stream, so that neither waits for the other.
            if self._stream is None:
                self._stream = torch.cuda.Stream(self._hu.device)  # type: ignore[no-untyped-call]
            with torch.cuda.stream(self._stream):
                self._store(sample)
            self._stream.synchronize()
        else:
            self._store(sample)
        self._added += 1

    def _store(self, sample: Sample) -> None:
        slot = self._added % self.capacity
        self._hu[slot, 0].copy_(torch.from_numpy(np.ascontiguousarray(sample.hu)))
        self._targets[slot].copy_(torch.from_numpy(np.ascontiguousarray(sample.targets)))
        self._weights[slot].fill_(sample.cortex_weight)

    def draw(self, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """Samples drawn at random, with replacement.

        Returns:
            HU float32 (count, 1, z, y, x); targets float32 (count, channels, z, y, x) in 0..1; cortex weights (count,).

        Raises:
            ValueError: if the pool is empty.
        """
        if len(self) == 0:
            raise ValueError("a pool must hold a sample before one can be drawn")
        uniform = torch.rand(count, generator=generator, device=generator.device)
        index = (uniform * len(self)).long().clamp_(max=len(self) - 1).to(self._hu.device)
        return self.take(index)

    def take(self, index: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The samples of given slots, as `draw` gives them."""
        hu = self._hu.index_select(0, index).float()
        stored = self._targets.index_select(0, index)
        if self._labels:
            ids = torch.arange(1, self._channels + 1, device=stored.device, dtype=torch.uint8).view(1, -1, 1, 1, 1)
            targets = (stored == ids).float()
        else:
            targets = stored.float() / FULL_FRACTION
        return hu, targets, self._weights.index_select(0, index)
