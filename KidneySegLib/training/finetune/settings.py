"""The settings of fine-tuning: a JSON file beside this one, and what the command line changes."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import Any

from KidneySegLib.errors import InputError, ModelError
from KidneySegLib.models import Bundle
from KidneySegLib.training.config import NetworkConfig
from KidneySegLib.training.recipe_file import filled, read_recipe

#: The settings that are used unless a changed copy is given.
DEFAULT_RECIPE = Path(__file__).with_name("recipe.json")
#: Outputs for which labels of a data set, and the phantom, have a target.
TRAINABLE = ("parenchyma", "cortex", "cyst", "mass", "abnormality")
#: Networks whose trainer is the embedded recipe's.
NETWORKS = ("UNet3D", "MultiResUNet3D")


@dataclass(frozen=True)
class FinetuneSettings:
    """How a model goes on learning. All are choices of this project; no paper is followed.

    Attributes:
        seed: of draws and augmentation.
        steps: optimiser steps for each network of the bundle that is trained.
        batch_size: patches of cases a step, and as many of phantoms.
        learning_rate: at its peak; it falls along half a cosine.
        weight_decay, warmup_steps, average_decay, gradient_norm: as for `NetworkConfig`.
        checkpoint_minutes: between two checkpoints.
        margin_voxels: a box round a kidney is what the network sees and this much on each side.
        elsewhere_boxes: boxes of each case that lie anywhere, to learn what is no kidney.
        memory_weight: how much it counts to answer on phantoms as before; 0 forgets.
        phantoms: patients of the phantom that are rendered.
        phantom_arguments: of `phantom_samples.KidneyBoxes`.
        phantom_augment, case_augment: random changes of phantoms, which have no noise, and of scans, which do.
        shares: of the new weights, beside the old ones, that are tried for how much they forget.
        choosing_cases: phantoms on which a share is chosen; 0 takes all of the new weights.
        original_cases: phantoms on which the model must not get worse.
        original_loss_points: how many points of Dice (hundredths) it may lose there.
    """

    seed: int
    steps: int
    batch_size: int
    learning_rate: float
    weight_decay: float
    warmup_steps: int
    average_decay: float
    gradient_norm: float
    checkpoint_minutes: float
    margin_voxels: int
    elsewhere_boxes: int
    memory_weight: float
    phantoms: int
    shares: tuple[float, ...]
    choosing_cases: int
    original_cases: int
    original_loss_points: float
    phantom_arguments: dict[str, Any] = field(default_factory=dict)
    phantom_augment: dict[str, Any] = field(default_factory=dict)
    case_augment: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.memory_weight < 0:
            raise InputError(f"memory_weight must be at least 0, got {self.memory_weight}. Mend the recipe.")
        if not self.shares or not all(0 < share <= 1 for share in self.shares):
            raise InputError(f"shares must be above 0 and at most 1, got {self.shares}. Mend the recipe.")
        for name in ("steps", "batch_size", "learning_rate"):
            if getattr(self, name) <= 0:
                raise InputError(f"{name} must be positive, got {getattr(self, name)}. Mend the recipe.")
        if self.memory_weight > 0 and self.phantoms < 1:
            raise InputError("phantoms must be at least 1 where memory_weight is above 0. Mend the recipe.")


def load_settings(path: Path | None = None) -> FinetuneSettings:
    """Read settings; ``None``: the default ones.

    Raises:
        InputError: if the file cannot be read, or says something that is not known.
    """
    path = path or DEFAULT_RECIPE
    return filled(FinetuneSettings, read_recipe(path), path.name)


def network_config(bundle: Bundle, settings: FinetuneSettings) -> NetworkConfig:
    """What the trainer must know of a bundle's network: all of it is the bundle's own but for the pace.

    Raises:
        ModelError: for a bundle that cannot be trained here.
    """
    why = _why_not(bundle)
    if why:
        raise ModelError(f"The model {bundle.name} cannot be fine-tuned: {why}.")
    n = bundle.normalisation
    z, y, x = (p + 2 * (m + settings.margin_voxels) for p, m in zip(bundle.patch_size, bundle.margin, strict=True))
    return NetworkConfig(
        bundle=bundle.name,
        source="kidney_boxes",
        source_arguments=settings.phantom_arguments,
        outputs=bundle.outputs,
        activation=bundle.activation,
        spacing_mm=bundle.spacing_mm[0],
        box=(z, y, x),
        patch=bundle.patch_size,
        normalisation={"low": n.low_hu, "high": n.high_hu, "mean": n.mean_hu, "sd": n.standard_deviation_hu},
        network=bundle.network,
        arguments=dict(bundle.network_arguments),
        augment=settings.phantom_augment,
        batch_size=settings.batch_size,
        learning_rate=settings.learning_rate,
        weight_decay=settings.weight_decay,
        warmup_steps=settings.warmup_steps,
        average_decay=settings.average_decay,
        gradient_norm=settings.gradient_norm,
        steps=settings.steps,
        validation_seeds=0,
        validation_minutes=float("inf"),
        checkpoint_minutes=settings.checkpoint_minutes,
        mirror_axes=bundle.mirror_axes,
        hidden_cortex_weight=0.0,
    )


def _why_not(bundle: Bundle) -> str:
    if bundle.is_localiser:
        return "it is a localiser; give a model that measures kidneys, such as kidneyseg-arterial"
    if bundle.nnunet is not None:
        return "it came from nnU-Net; export the data set (kidneyseg dataset export --format nnunet) and train there"
    if bundle.network not in NETWORKS or bundle.activation != "sigmoid":
        can = " and ".join(NETWORKS)
        return f"only {can} with sigmoid outputs can, this is {bundle.network} with {bundle.activation}"
    unknown = [name for name in bundle.outputs if name not in TRAINABLE]
    if unknown or "parenchyma" not in bundle.outputs:
        return f"its outputs must be parenchyma and any of {', '.join(TRAINABLE[1:])}, got {', '.join(bundle.outputs)}"
    if max(bundle.spacing_mm) - min(bundle.spacing_mm) > 1e-6:
        return f"its voxels must be cubes, as phantoms are rendered, got {bundle.spacing_mm} mm"
    if any(size % multiple for size, multiple in zip(bundle.patch_size, bundle.size_multiple, strict=True)):
        return f"its patch {bundle.patch_size} is no multiple of {bundle.size_multiple}"
    return "" if prod(bundle.patch_size) else "its patch is empty"
