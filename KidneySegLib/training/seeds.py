"""Which phantom seeds may be trained on: three ranges that cannot meet.

Small seeds, as people type them and as ``kidneyseg phantom`` uses by default, are test cases for ever.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class SeedRange:
    """Phantom seeds ``first`` to ``last``, both included."""

    name: str
    first: int
    last: int

    def seed(self, index: int) -> int:
        """The seed number ``index`` (from 0) of this range.

        Raises:
            ValueError: if the range has no such seed.
        """
        if not 0 <= index <= self.last - self.first:
            raise ValueError(f"index of a {self.name} seed must be 0 to {self.last - self.first}, got {index}")
        return self.first + index

    def __contains__(self, seed: object) -> bool:
        return isinstance(seed, int) and self.first <= seed <= self.last


TEST_SEEDS = SeedRange("test", 0, 499_999)
VALIDATION_SEEDS = SeedRange("validation", 500_000, 999_999)
TRAINING_SEEDS = SeedRange("training", 1_000_000, 2_000_000_000)
SEED_RANGES = (TEST_SEEDS, VALIDATION_SEEDS, TRAINING_SEEDS)


def seed_range_of(seed: int) -> SeedRange:
    """The range that a phantom seed belongs to.

    Raises:
        ValueError: for a seed outside all ranges.
    """
    for candidate in SEED_RANGES:
        if seed in candidate:
            return candidate
    raise ValueError(f"a phantom seed must be {TEST_SEEDS.first} to {TRAINING_SEEDS.last}, got {seed}")
