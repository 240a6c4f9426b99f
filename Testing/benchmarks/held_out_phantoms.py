"""Makes the phantoms that the embedded model is measured on, laid out for ``kidneyseg batch`` and ``evaluate``.

    python Testing/benchmarks/held_out_phantoms.py OUT                    100 arterial, 20 unenhanced, 20 nephrographic
    python Testing/benchmarks/held_out_phantoms.py OUT --set calibration  60 others, from which thresholds are set

Every kind of patient comes in turn; slices are 0.6 to 5 mm, in every fourth case up to 8 mm (and pixels up to 2.2 mm).
The test cases' seeds lie below 500 000, which no training and no validation uses; those for calibration are validation
seeds. Cases that are there already are kept, so several processes may share the work (``--part 0/2``, ``--part 1/2``).
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from KidneySegLib.phantom.output import write_case
from KidneySegLib.phantom.scene import VARIANTS
from KidneySegLib.training.seeds import TEST_SEEDS, VALIDATION_SEEDS


@dataclass(frozen=True)
class Group:
    """Cases of one contrast phase.

    Attributes:
        phase: contrast phase of all of them.
        first_seed: of the first; the next has one more.
        cases: how many.
    """

    phase: str
    first_seed: int
    cases: int


SETS = {
    "test": (Group("arterial", 1001, 100), Group("unenhanced", 2001, 20), Group("nephrographic", 2101, 20)),
    "calibration": (
        Group("arterial", 700_001, 45),
        Group("unenhanced", 702_001, 8),
        Group("nephrographic", 702_101, 7),
    ),
}
#: One case in so many is drawn from odd protocols too.
ROBUST_EVERY = 4


@dataclass(frozen=True)
class Case:
    name: str
    seed: int
    variant: str
    phase: str
    robust: bool


def cases_of(name: str) -> Iterator[Case]:
    """The cases of a set, in order."""
    for group in SETS[name]:
        for index in range(group.cases):
            seed = group.first_seed + index
            robust = index % ROBUST_EVERY == ROBUST_EVERY - 1
            yield Case(f"{group.phase}_{seed:06d}", seed, VARIANTS[index % len(VARIANTS)], group.phase, robust)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path)
    parser.add_argument("--set", choices=tuple(SETS), default="test")
    parser.add_argument("--part", default="0/1", metavar="I/N", help="every N-th case from the I-th")
    options = parser.parse_args(arguments)
    part, parts = (int(v) for v in options.part.split("/"))
    allowed = TEST_SEEDS if options.set == "test" else VALIDATION_SEEDS
    for number, case in enumerate(cases_of(options.set)):
        assert case.seed in allowed
        folder = options.output / case.name
        if number % parts != part or (folder / "truth.json").exists():
            continue
        truth = write_case(folder, case.seed, case.variant, phase=case.phase, robust=case.robust)
        size, spacing = truth["grid"]["size_xyz"], truth["grid"]["spacing_mm_xyz"]
        print(f"{case.name} {case.variant} {size} {spacing}", flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
