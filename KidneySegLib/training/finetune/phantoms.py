"""Phantoms that a model is reminded of while it learns from patients, and those on which it must not get worse."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from KidneySegLib.progress import Progress
from KidneySegLib.training.config import NetworkConfig
from KidneySegLib.training.kept_samples import KeptSamples
from KidneySegLib.training.samples import Sample, SampleSource
from KidneySegLib.training.seeds import TRAINING_SEEDS, VALIDATION_SEEDS

#: Seeds far from those that the shipped weights began with.
_FIRST_TRAINING, FIRST_JUDGED, FIRST_CHOOSING = 900_000_000, 450_000, 460_000


def phantom_samples(
    config: NetworkConfig, count: int, folder: Path, progress: Progress, source: SampleSource | None = None
) -> Iterator[Sample]:
    """Boxes of phantoms; what was rendered once is kept in a folder and read from there.

    Args:
        count: patients.
        source: in place of the phantom, for tests.
    """
    from KidneySegLib.training.network_run import sample_source

    kept = KeptSamples(source or sample_source(config), folder)
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        progress.report("phantoms", number / count, f"phantom {number + 1} of {count}")
        seed = TRAINING_SEEDS.seed(_FIRST_TRAINING + number)
        for sample in kept(seed):
            # The shipped model learnt the cortex of all phantoms, visible or not; so it goes on.
            yield replace(sample, cortex_weight=1.0)


def original_cases(count: int, folder: Path, progress: Progress, first: int = FIRST_JUDGED) -> tuple[Path, ...]:
    """Whole scans of phantoms, as the shipped model was made for, from validation seeds: never trained on.

    Args:
        first: number of the first one, so that what a choice was made on is not what it is judged by.
    """
    from KidneySegLib.phantom.output import TRUTH_NAME, write_case

    found = []
    for number in range(count):
        progress.report("phantoms", number / max(count, 1), f"test phantom {number + 1} of {count}")
        case = folder / f"original_{number + 1:04d}"
        if not (case / TRUTH_NAME).exists():
            write_case(case, VALIDATION_SEEDS.seed(first + number), phase="arterial")
        found.append(case)
    return tuple(found)
