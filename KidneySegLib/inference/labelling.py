"""From logits to probabilities, and from probabilities to label maps."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from KidneySegLib.inference.tiling import Float32
from KidneySegLib.labels import ABNORMALITY_LABEL, OverviewLabel, TrainingLabel
from KidneySegLib.models.bundle import BundleSpec

#: Training label of each structure that a network may name. Parenchyma that is not cortex is medulla.
TRAINING_LABELS: Mapping[str, int] = {
    "background": TrainingLabel.BACKGROUND,
    "parenchyma": TrainingLabel.MEDULLA,
    "medulla": TrainingLabel.MEDULLA,
    "cortex": TrainingLabel.CORTEX,
    "cyst": TrainingLabel.CYST,
    "mass": TrainingLabel.MASS,
    "abnormality": ABNORMALITY_LABEL,
}

Decide = Callable[[NDArray[Any]], NDArray[np.uint8]]


def activate(logits: Float32, activation: str) -> Float32:
    """Probabilities (channels, z, y, x) of logits, in place.

    Args:
        logits: overwritten.
        activation: ``sigmoid`` or ``softmax`` (over the channels).
    """
    from scipy.special import expit

    if activation == "sigmoid":
        for channel in logits:
            expit(channel, out=channel)
        return logits
    logits -= logits.max(axis=0)
    np.exp(logits, out=logits)
    logits /= logits.sum(axis=0)
    return logits


def training_labels(spec: BundleSpec) -> Decide:
    """How a fine bundle's probabilities (outputs, ...) become training labels (`labels.TrainingLabel`).

    Sigmoid: parenchyma where its probability is above the threshold; cortex only inside it; a cyst, mass or abnormality
    where its own probability is above the threshold and above those of parenchyma and of what came before it.
    Softmax: the most probable structure.
    """
    if spec.activation == "softmax":
        table = np.array([TRAINING_LABELS[name] for name in spec.outputs], dtype=np.uint8)
        return lambda values: _most_probable(values, table)
    return lambda values: _nested_labels(values, spec)


def _most_probable(values: NDArray[Any], table: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Label of the most probable channel."""
    labels: NDArray[np.uint8] = table[np.argmax(values, axis=0)]
    return labels


def _nested_labels(values: NDArray[Any], spec: BundleSpec) -> NDArray[np.uint8]:
    channel = {name: values[index] for index, name in enumerate(spec.outputs)}
    best = channel["parenchyma"]
    inside = best > spec.threshold
    labels: NDArray[np.uint8] = inside.astype(np.uint8)  # TrainingLabel.MEDULLA is 1.
    if "cortex" in channel:
        labels[inside & (channel["cortex"] > spec.threshold)] = TrainingLabel.CORTEX
    for name in ("cyst", "mass", "abnormality"):
        if name in channel:
            wins = (channel[name] > spec.threshold) & (channel[name] > best)
            labels[wins] = TRAINING_LABELS[name]
            best = np.maximum(best, channel[name])
    return labels


def kidney_mask(values: NDArray[Any], spec: BundleSpec) -> NDArray[np.bool_]:
    """Where a fine bundle's probabilities (channels, ...) show any part of a kidney."""
    mask: NDArray[np.bool_] = training_labels(spec)(values) != TrainingLabel.BACKGROUND
    return mask


def overview_labels(spec: BundleSpec) -> Decide:
    """How a localiser's probabilities (channels, ...) become `labels.OverviewLabel`: the most probable one."""
    table = np.array([OverviewLabel[name.upper()] for name in spec.outputs], dtype=np.uint8)
    return lambda values: _most_probable(values, table)
