"""Bundles whose answers are known: U-Nets with weights set by hand, so that each logit is a line in HU."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
import torch

from KidneySegLib.models import Bundle, BundleSpec, Normalisation, write_bundle
from KidneySegLib.models.bundle import LesionsOnRequest
from KidneySegLib.models.nnunet_record import NnUnetRecord, Resampling
from KidneySegLib.networks import build_network

NORMALISATION = Normalisation(low_hu=-300.0, high_hu=500.0, mean_hu=100.0, standard_deviation_hu=100.0)
#: HU above which the fine network says parenchyma and cortex; the localiser says kidney above the first.
PARENCHYMA_HU = 100.0
CORTEX_HU = 200.0
#: Logits per normalised unit (100 HU): steep, so that probabilities are all but 0 or 1.
STEEP = 20.0
#: The same where probabilities are compared with each other.
GENTLE = 2.0
#: HU above which a network with lesions says abnormal.
LESION_HU = 400.0
LESION_OUTPUTS = ("parenchyma", "cortex", "abnormality")
OVERVIEW = ("background", "kidney", "spine", "aorta", "liver", "spleen")


def nnunet_record(labels: dict[int, str], structures: dict[int, str], channels: tuple[int, ...]) -> NnUnetRecord:
    """What an imported nnU-Net model says of itself, with nnU-Net's usual treatment of a CT."""
    return NnUnetRecord(
        orientation="stored",
        transpose=(0, 1, 2),
        normalisation="ct",
        inside_mask=False,
        data=Resampling(3),
        logits=Resampling(1),
        labels=labels,
        structures=structures,
        channels=channels,
    )


def spec(name: str = "fine", **changes: Any) -> BundleSpec:
    """A small fine bundle's spec: 1 mm, patch 48x32x32, parenchyma and cortex."""
    values: dict[str, Any] = {
        "name": name,
        "version": "1.0",
        "title": "Analytic test network",
        "licence": "Apache-2.0",
        "citation": "",
        "intended_use": "Tests",
        "network": "UNet3D",
        "network_arguments": {"in_channels": 1, "out_channels": 2, "features": [2, 2]},
        "spacing_mm": (1.0, 1.0, 1.0),
        "patch_size": (48, 32, 32),
        "size_multiple": (2, 2, 2),
        "normalisation": NORMALISATION,
        "outputs": ("parenchyma", "cortex"),
        "activation": "sigmoid",
    }
    values.update(changes)
    return BundleSpec(**values)


def localiser_spec(name: str = "coarse", **changes: Any) -> BundleSpec:
    """A small localiser's spec: 4 mm, softmax over the overview labels."""
    values: dict[str, Any] = {
        "network_arguments": {"in_channels": 1, "out_channels": 6, "features": [2, 2]},
        "spacing_mm": (4.0, 4.0, 4.0),
        "patch_size": (32, 32, 32),
        "outputs": OVERVIEW,
        "activation": "softmax",
    }
    values.update(changes)
    return spec(name, **values)


def pointwise_state(lines: list[tuple[float, float]], features: Sequence[int] = (2, 2)) -> dict[str, torch.Tensor]:
    """Weights of a plain U-Net whose logit c is slope_c * x + offset_c, x the normalised HU.

    The first stage splits x into its positive and negative part (two channels that a ReLU leaves alone); the decoder
    takes them from the skip connection, and the head puts them together again.
    """
    network = build_network("UNet3D", {"in_channels": 1, "out_channels": len(lines), "features": features})
    state = {key: torch.zeros_like(value) for key, value in network.state_dict().items()}
    centre = (1, 1, 1)
    state["encoder.0.0.weight"][(0, 0, *centre)] = 1.0
    state["encoder.0.0.weight"][(1, 0, *centre)] = -1.0
    state["encoder.0.2.weight"][(0, 0, *centre)] = 1.0
    state["encoder.0.2.weight"][(1, 1, *centre)] = 1.0
    # The last decoder stage's input is what comes up, then the skip connection.
    last, skip = len(features) - 2, features[0]
    state[f"decoder.{last}.0.weight"][(0, skip, *centre)] = 1.0
    state[f"decoder.{last}.0.weight"][(1, skip + 1, *centre)] = 1.0
    state[f"decoder.{last}.2.weight"][(0, 0, *centre)] = 1.0
    state[f"decoder.{last}.2.weight"][(1, 1, *centre)] = 1.0
    for channel, (slope, offset) in enumerate(lines):
        state["head.weight"][channel, 0] = slope
        state["head.weight"][channel, 1] = -slope
        state["head.bias"][channel] = offset
    return state


def threshold_line(hu: float, steepness: float = STEEP) -> tuple[float, float]:
    """Slope and offset of a logit that is 0 at a HU."""
    n = NORMALISATION
    return steepness, -steepness * (hu - n.mean_hu) / n.standard_deviation_hu


def write_fine(folder: Path, **changes: Any) -> Bundle:
    """Parenchyma is what is brighter than `PARENCHYMA_HU`, cortex what is brighter than `CORTEX_HU`."""
    made = spec(folder.name, **changes)
    return write_bundle(folder, made, pointwise_state([threshold_line(PARENCHYMA_HU), threshold_line(CORTEX_HU)]))


def write_fine_with_lesions(folder: Path, darker_hu: float = 0.0, **changes: Any) -> Bundle:
    """As `write_fine`, with an output that says abnormal from `LESION_HU` on and is shown on request.

    Args:
        darker_hu: by how much all limits lie lower.
    """
    # Twice as steep as the parenchyma's, it overtakes that at LESION_HU; gentle, so that neither probability becomes 1.
    lines = [
        threshold_line(PARENCHYMA_HU - darker_hu, GENTLE),
        threshold_line(CORTEX_HU - darker_hu, GENTLE),
        threshold_line((LESION_HU + PARENCHYMA_HU) / 2 - darker_hu, 2 * GENTLE),
    ]
    arguments = {"in_channels": 1, "out_channels": 3, "features": [2, 2]}
    values = {"network_arguments": arguments, "outputs": LESION_OUTPUTS, "lesions": LesionsOnRequest(), **changes}
    return write_bundle(folder, spec(folder.name, **values), pointwise_state(lines))


def write_localiser(folder: Path, kidney_hu: float = PARENCHYMA_HU) -> Bundle:
    """A bundle that calls kidney what is brighter than ``kidney_hu``, and the rest background."""
    lines = [(0.0, 0.0), threshold_line(kidney_hu)] + [(0.0, -50.0)] * 4
    return write_bundle(folder, localiser_spec(folder.name), pointwise_state(lines))


def image_of(array: np.ndarray, spacing_xyz: tuple[float, ...], direction: np.ndarray | None = None) -> sitk.Image:
    """An image whose centre lies at world (10, -20, 30), with a direction matrix (columns: image axes x, y, z)."""
    image = sitk.GetImageFromArray(array)
    image.SetSpacing(spacing_xyz)
    matrix = np.eye(3) if direction is None else direction
    image.SetDirection(matrix.ravel().tolist())
    half = (np.array(image.GetSize()) - 1) / 2 * np.array(spacing_xyz)
    image.SetOrigin((np.array([10.0, -20.0, 30.0]) - matrix @ half).tolist())
    return image


def world_of(image: sitk.Image) -> np.ndarray:
    """World LPS (x, y, z) of each voxel's centre, as an array (array axes 0, 1, 2, coordinate)."""
    size = image.GetSize()
    k, j, i = np.meshgrid(*(np.arange(n) for n in reversed(size)), indexing="ij")
    index = np.stack([i, j, k], axis=-1) * np.array(image.GetSpacing())
    return index @ np.array(image.GetDirection()).reshape(3, 3).T + np.array(image.GetOrigin())


def paint(image: sitk.Image, centre: tuple[float, ...], radii: tuple[float, ...], hu: float) -> sitk.Image:
    """A copy of an image with a world-aligned ellipsoid of a HU in it."""
    array = sitk.GetArrayFromImage(image)
    inside = (((world_of(image) - np.array(centre)) / np.array(radii)) ** 2).sum(axis=-1) <= 1.0
    array[inside] = hu
    painted = sitk.GetImageFromArray(array)
    painted.CopyInformation(image)
    return painted
