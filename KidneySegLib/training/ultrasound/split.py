"""Patients for training, validation and test."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from KidneySegLib.errors import InputError
from KidneySegLib.training.ultrasound.dataset import OutlinedImage


@dataclass(frozen=True)
class Split:
    """Pictures of three sets of patients that share nobody."""

    training: tuple[OutlinedImage, ...]
    validation: tuple[OutlinedImage, ...]
    test: tuple[OutlinedImage, ...]


def split_by_patient(images: Sequence[OutlinedImage], validation_share: float, test_share: float, seed: int) -> Split:
    """Draw patients for validation and test; the others train.

    Raises:
        InputError: too few patients for the sets that are wanted.
    """
    patients = sorted({image.patient for image in images})
    random.Random(seed).shuffle(patients)
    test = round(test_share * len(patients)) if test_share else 0
    validation = round(validation_share * len(patients)) if validation_share else 0
    wanted = [(test_share, test), (validation_share, validation)]
    if any(share > 0 and count == 0 for share, count in wanted) or test + validation >= len(patients):
        raise InputError(
            f"{len(patients)} patients are too few for shares of {validation_share:.2f} (validation) and "
            f"{test_share:.2f} (test). Give more pictures, or other shares in the recipe."
        )
    sets = (set(patients[test + validation :]), set(patients[test : test + validation]), set(patients[:test]))
    chosen = [tuple(image for image in images if image.patient in chosen) for chosen in sets]
    return Split(*chosen)
