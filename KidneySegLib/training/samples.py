"""Renderings as training keeps them: compact arrays, one file each while they travel between processes.

Imported by worker processes: numpy only.
"""

from __future__ import annotations

import os
import uuid
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

#: A fraction of 1 as a training target stores it.
FULL_FRACTION = 255


@dataclass(frozen=True)
class Sample:
    """One rendering of a phantom, with its truth.

    Attributes:
        hu: int16 (z, y, x), noise-free.
        targets: uint8 (channel, z, y, x): fractions of a voxel times 255, or one channel of label ids.
        seed: of the phantom.
        cortex_weight: 0 to 1, how much the scan shows of the border between cortex and medulla.
    """

    hu: npt.NDArray[np.int16]
    targets: npt.NDArray[np.uint8]
    seed: int
    cortex_weight: float = 1.0


class SampleSource(Protocol):
    """Makes the samples of one seed; the same ones every time. Must survive pickling."""

    def __call__(self, seed: int) -> Iterable[Sample]: ...


def as_hu(values: npt.NDArray[Any]) -> npt.NDArray[np.int16]:
    """HU rounded and clipped to what int16 images of scanners hold."""
    return np.asarray(np.clip(np.rint(values), -1024, 3071), dtype=np.int16)


def as_fraction(values: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    """Fractions 0..1 as 0..255."""
    return np.asarray(np.rint(np.clip(values, 0.0, 1.0) * FULL_FRACTION), dtype=np.uint8)


def write_sample(path: Path, sample: Sample) -> None:
    """Write a sample so that a reader sees either the whole file or none."""
    temporary = path.with_name(f".{uuid.uuid4().hex}.part")
    with open(temporary, "wb") as file:
        np.savez(
            file,
            hu=sample.hu,
            targets=sample.targets,
            seed=np.int64(sample.seed),
            cortex_weight=np.float32(sample.cortex_weight),
        )
    os.replace(temporary, path)


def read_sample(path: Path) -> Sample:
    """Read what `write_sample` wrote.

    Raises:
        ValueError: if the file is not a whole sample.
    """
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as arrays:
            return Sample(
                hu=arrays["hu"],
                targets=arrays["targets"],
                seed=int(arrays["seed"]),
                cortex_weight=float(arrays["cortex_weight"]),
            )
    except (OSError, KeyError, zipfile.BadZipFile, EOFError) as error:
        raise ValueError(f"{path} must be a whole training sample: {error}; delete it and resume") from error
