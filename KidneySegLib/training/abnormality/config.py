"""The recipe of ``kidneyseg train abnormality``: a JSON file that says for each choice whose it is."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from KidneySegLib.errors import InputError
from KidneySegLib.training.augment_lesions import LesionSettings
from KidneySegLib.training.config import NetworkConfig
from KidneySegLib.training.recipe_file import filled, read_recipe

DEFAULT_RECIPE = Path(__file__).with_name("abnormality.json")
#: The same on coarse voxels, for the ablation on a processor.
ABLATION_RECIPE = Path(__file__).with_name("ablation.json")
#: The paper's four additions to its plain 3-D U-Net.
ADDITIONS = ("multi_resolution", "task_augmentation", "top_k", "spatial_dropout")
#: Keys of the file that a person reads and the program does not.
_FOR_READERS = ("recipe", "source", "reading", "choices")


@dataclass(frozen=True)
class AbnormalityRecipe:
    """What the recipe file says.

    Attributes:
        seed: of weights, draws and augmentation.
        training: sizes, budget and optimiser; its outputs follow from ``separate_cyst_and_mass``.
        additions: which of `ADDITIONS` are on.
        separate_cyst_and_mass: outputs for cyst and mass in place of one for abnormality (phantoms only).
        top_k_share: share of voxels that count in the cross-entropy, with the addition ``top_k``.
        class_weights: how much each class counts in the cross-entropy, by output.
        context_weight: of the context path's own loss.
        lesions: ranges of the task-specific augmentation.
        start_from: bundle whose weights the fine path begins with, where they fit; None: fresh weights.
        localiser: bundle that finds the kidneys, written into the model.
    """

    seed: int
    training: NetworkConfig
    additions: Mapping[str, bool]
    separate_cyst_and_mass: bool = False
    top_k_share: float = 0.1
    class_weights: Mapping[str, float] = field(default_factory=dict)
    context_weight: float = 0.3
    lesions: LesionSettings = field(default_factory=LesionSettings)
    start_from: str | None = None
    localiser: str | None = None

    @property
    def structures(self) -> tuple[str, ...]:
        """Channels of the targets."""
        return ("parenchyma", "cyst", "mass") if self.separate_cyst_and_mass else ("parenchyma", "abnormality")

    @property
    def margin(self) -> tuple[int, int, int]:
        """How far the network sees beyond its answer, in voxels."""
        return self.network.margin

    @property
    def network(self) -> NetworkConfig:
        """The network's configuration with the switches applied."""
        arguments = {**self.training.arguments, "out_channels": 1 + len(self.structures)}
        if not self.additions["multi_resolution"]:
            arguments.update(context_features=[], margin=0)
        if not self.additions["spatial_dropout"]:
            arguments["dropout"] = 0.0
        arguments["deep_supervision"] = self.additions["multi_resolution"]
        return dataclasses.replace(
            self.training,
            network="MultiResUNet3D",
            source="abnormality",
            outputs=("background", *self.structures),
            activation="softmax",
            arguments=arguments,
        )

    def switched(self, **additions: bool) -> AbnormalityRecipe:
        """The recipe with some additions on or off.

        Raises:
            InputError: for a name that is none of `ADDITIONS`.
        """
        unknown = sorted(set(additions) - set(ADDITIONS))
        if unknown:
            raise InputError(f"Additions are {', '.join(ADDITIONS)}, got {', '.join(unknown)}. Choose among them.")
        return dataclasses.replace(self, additions={**self.additions, **additions})


def load_recipe(path: Path | None = None) -> AbnormalityRecipe:
    """Read a recipe; ``None``: the program's own.

    Raises:
        InputError: if the file cannot be read or says something that the recipe does not know.
    """
    path = path or DEFAULT_RECIPE
    given: dict[str, Any] = {name: value for name, value in read_recipe(path).items() if name not in _FOR_READERS}
    training = given.get("training")
    if isinstance(training, dict):
        # What the switches decide is not the file's to say, but the fields are required.
        given["training"] = {"source": "abnormality", "outputs": [], "activation": "softmax", **training}
    recipe = filled(AbnormalityRecipe, given, path.name)
    if set(recipe.additions) != set(ADDITIONS):
        raise InputError(f"{path}: additions must be true or false for each of {', '.join(ADDITIONS)}. Mend the file.")
    missing = [name for name in recipe.network.outputs if name not in recipe.class_weights]
    if missing:
        raise InputError(f"{path}: class_weights must hold {', '.join(missing)}. Mend the file.")
    return recipe
