"""From ids 1-15 to the labels that networks are trained on, which have no sides."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from KidneySegLib.labels import LABELS, PARENCHYMA, Structure, TrainingLabel

if TYPE_CHECKING:
    import SimpleITK as sitk

_TARGETS = {
    Structure.CORTEX: TrainingLabel.CORTEX,
    Structure.MEDULLA: TrainingLabel.MEDULLA,
    Structure.UNDIVIDED: TrainingLabel.MEDULLA,
    Structure.CYST: TrainingLabel.CYST,
    Structure.MASS: TrainingLabel.MASS,
}


def training_table(*, parenchyma_only: bool = False) -> NDArray[np.uint8]:
    """The training label of each id, as a table of 256 entries.

    Args:
        parenchyma_only: cortex and medulla become one label, ``TrainingLabel.MEDULLA``.
    """
    table = np.zeros(256, dtype=np.uint8)
    for label in LABELS:
        whole = parenchyma_only and label.structure in PARENCHYMA
        table[label.id] = TrainingLabel.MEDULLA if whole else _TARGETS[label.structure]
    return table


def training_labels(labels: sitk.Image, *, parenchyma_only: bool = False) -> sitk.Image:
    """A label map without sides: 1 medulla, 2 cortex, 3 cyst, 4 mass; geometry exactly the same.

    Args:
        labels: uint8 ids 1-15.
        parenchyma_only: 1 for all parenchyma, for a training set without cortex labels.
    """
    import SimpleITK as sitk

    table = training_table(parenchyma_only=parenchyma_only)
    out: sitk.Image = sitk.GetImageFromArray(table[sitk.GetArrayViewFromImage(labels)])
    out.CopyInformation(labels)
    return out
