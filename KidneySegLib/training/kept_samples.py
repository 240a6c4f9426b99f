"""Samples that are made once and read again, for several trainings on the same ones. No torch: workers use it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from KidneySegLib.training.samples import Sample, SampleSource, read_sample, write_sample


@dataclass(frozen=True)
class KeptSamples:
    """A source that keeps its samples in a folder.

    Attributes:
        source: makes the samples of a seed.
        folder: of the files; what lies there is taken as this source's. It must be there.
    """

    source: SampleSource
    folder: Path

    def marker(self, seed: int) -> Path:
        """The file that says that nothing more is to be made of a seed."""
        return self.folder / f"{seed:010d}.done"

    def make(self, seed: int) -> None:
        """Write the samples of a seed, unless they are there."""
        if self.marker(seed).exists():
            return
        for number, sample in enumerate(self.source(seed)):
            write_sample(self.folder / f"{seed:010d}-{number:03d}.npz", sample)
        self.marker(seed).touch()

    def __call__(self, seed: int) -> Iterator[Sample]:
        self.make(seed)
        for path in sorted(self.folder.glob(f"{seed:010d}-*.npz")):
            yield read_sample(path)
