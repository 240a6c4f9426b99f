"""The configuration of the embedded model's recipe: a JSON file, or TOML on Python 3.11 and later."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from KidneySegLib.errors import InputError
from KidneySegLib.training.recipe_file import filled, read_recipe

Size3 = tuple[int, int, int]
#: The configuration that made the shipped weights.
DEFAULT_CONFIG = Path(__file__).with_name("embedded.json")


@dataclass(frozen=True)
class NetworkConfig:
    """How one network is trained. Sizes are in voxels (z, y, x).

    Attributes:
        bundle: name of the bundle that it becomes.
        source: ``kidney_boxes`` or ``whole_bodies``.
        source_arguments: of `phantom_samples.KidneyBoxes` or `WholeBodies`, beside shape and spacing.
        arguments: of the network.
        outputs: names of the output channels.
        activation: ``sigmoid`` (channels are fractions that may overlap) or ``softmax`` (classes, background first).
        spacing_mm: isotropic.
        box: size of a rendering.
        patch: size of what the network sees.
        normalisation: low, high, mean, sd in HU.
        augment: changed ranges, by part: ``pose``, ``contrast``, ``scanner``, and ``cut_probability``.
        batch_size: patches a step.
        learning_rate: at its peak (AdamW).
        weight_decay: of AdamW.
        warmup_steps: over which the rate rises.
        average_decay: of the averaged weights.
        gradient_norm: at which gradients are clipped.
        minutes: of wall-clock time, or ``None``.
        steps: of training, or ``None``; whichever is first ends the run.
        pool_capacity: renderings kept on the device.
        pool_start: renderings to wait for before the first step.
        validation_seeds: number of held-out phantoms.
        validation_minutes: between two validations.
        checkpoint_minutes: between two checkpoints.
        mirror_axes: of the bundle.
        least_lesion_mm: of the bundle, where a sigmoid output finds abnormality: least diameter of what it shows.
        network: name of the architecture, as `networks.build_network` knows it.
        context_weight: how much the loss of a context path's own answer counts (networks with a margin).
        hidden_cortex_weight: how much cortex counts in samples whose phase does not show it, 0 to 1 (1: as in others).
    """

    bundle: str
    source: str
    outputs: tuple[str, ...]
    activation: str
    spacing_mm: float
    box: Size3
    patch: Size3
    normalisation: dict[str, float]
    arguments: dict[str, Any]
    minutes: float | None = None
    source_arguments: dict[str, Any] = field(default_factory=dict)
    augment: dict[str, Any] = field(default_factory=dict)
    batch_size: int = 4
    learning_rate: float = 1e-3
    weight_decay: float = 0.01
    warmup_steps: int = 200
    average_decay: float = 0.999
    gradient_norm: float = 5.0
    steps: int | None = None
    pool_capacity: int = 2000
    pool_start: int = 24
    validation_seeds: int = 12
    validation_minutes: float = 2.0
    checkpoint_minutes: float = 3.0
    mirror_axes: tuple[int, ...] = ()
    least_lesion_mm: float = 15.0
    context_weight: float = 0.3
    hidden_cortex_weight: float = 1.0
    network: str = "UNet3D"

    @property
    def margin(self) -> Size3:
        """How many voxels the network sees beyond ``patch``, on each side."""
        given = self.arguments.get("margin", 0)
        z, y, x = (given,) * 3 if isinstance(given, int) else tuple(given)
        return z, y, x

    @property
    def seen(self) -> Size3:
        """Size of a patch with its margin."""
        z, y, x = (n + 2 * m for n, m in zip(self.patch, self.margin, strict=True))
        return z, y, x


@dataclass(frozen=True)
class EmbeddedConfig:
    """The whole recipe.

    Attributes:
        seed: of network weights, draws and augmentation. Phantom seeds are fixed ranges (``seeds.py``).
        networks: by name, trained in this order.
    """

    seed: int
    networks: dict[str, NetworkConfig]


def load_config(path: Path | None = None) -> EmbeddedConfig:
    """Read a recipe.

    Args:
        path: a ``.json`` or ``.toml`` file; ``None``: the recipe of the shipped weights.

    Raises:
        InputError: if the file cannot be read or says something that the recipe does not know.
    """
    path = path or DEFAULT_CONFIG
    values = read_recipe(path)
    networks = values.get("networks")
    if not isinstance(networks, dict) or not networks or not isinstance(values.get("seed"), int):
        raise InputError(f"{path}: expected a number `seed` and a table `networks`. Mend the file.")
    return EmbeddedConfig(
        seed=values["seed"],
        networks={
            name: filled(NetworkConfig, entry, f"{path.name}: networks.{name}") for name, entry in networks.items()
        },
    )
