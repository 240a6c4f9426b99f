"""The settings of a two-stage run; the recipes say where each comes from."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from KidneySegLib.errors import InputError
from KidneySegLib.training.recipe_file import filled, read_recipe

Size3 = tuple[int, int, int]
#: The paper's own system, for KiTS and a graphics card; and what a CPU can learn from phantoms.
RECIPES = {name: Path(__file__).with_name(f"{name}.json") for name in ("kits", "phantom")}
CLASSES = (("kidney", "mass"), ("kidney", "cyst", "mass"))
#: What the second stage's mask may be made of in training.
MASKS = ("truth", "first")


@dataclass(frozen=True)
class StageConfig:
    """How one stage is trained.

    Attributes:
        arguments: of its network, beside channels.
        batch_size: slabs (first stage) or slices (second) a step.
        patch: size (z, y, x) that the network learns from, in its own voxels; the second stage's z is 1.
        learning_rate: of Adam.
        weight_decay: of Adam, on weights of convolutions.
        minutes, steps: budget; whichever is first ends the stage.
        decay: let the learning rate fall along half a cosine; else it is constant.
        warmup_steps: over which the rate rises.
        average_decay: of the averaged weights, which are kept; 0 keeps the last weights.
    """

    batch_size: int
    patch: Size3
    arguments: dict[str, Any] = field(default_factory=dict)
    learning_rate: float = 1e-3
    weight_decay: float = 0.0
    minutes: float | None = None
    steps: int | None = None
    decay: bool = False
    warmup_steps: int = 1
    average_decay: float = 0.0


@dataclass(frozen=True)
class Augmentation:
    """Random changes of the training slabs; all 0 or off: none.

    Attributes:
        rotation_degrees: greatest turn in the slice's plane.
        scale: least and greatest magnification in that plane.
        mirror_probability: of mirroring left and right.
        contrast_probability: of a random change of tissue brightness (`augment_contrast`).
        noise_hu: least and greatest standard deviation of noise; 0 and 0 for none.
        blur: greatest standard deviation of blur in the plane, in pixels.
    """

    rotation_degrees: float = 0.0
    scale: tuple[float, float] = (1.0, 1.0)
    mirror_probability: float = 0.0
    contrast_probability: float = 0.0
    noise_hu: tuple[float, float] = (0.0, 0.0)
    blur: float = 0.0


@dataclass(frozen=True)
class TwoStageConfig:
    """The whole run. Sizes are in voxels and spacings in mm, (z, y, x).

    Attributes:
        bundle: name of the model.
        seed: of weights, draws and augmentation.
        classes: what the second stage tells apart, beside background; one of `CLASSES`.
        spacing_mm: voxels of the slabs and of the second stage.
        first_pooling: pixels of a slab that make one of the first stage's, each way.
        slab: size of a training slab.
        normalisation: low, high, mean, sd in HU.
        dilation_mm: half axes of the ellipsoid by which the foreground grows to the second stage's mask.
        foreground_probability: of the first stage, from which a voxel belongs to the mask at inference, and
            in training where `mask_of` is ``first``.
        neighbours: slices above and as many below that the second stage sees beside its own (ours); 0 as in the paper.
        mask_of: what the second stage's mask is made of in training: the ``truth``, as in the paper, or what the
            ``first`` stage finds, as at inference.
        first_overlap: distance of neighbouring slabs at inference, as a share of a slab.
        samples: training phantoms of each stage (all training cases of a data set are used by both).
        validation: held-out phantoms, or share of a data set's cases.
        pool_start: slabs to wait for before the first step.
        pool_capacity: slabs kept in memory.
        source: arguments of `phantom_slabs.PhantomSlabs`, beside shape, spacing and classes.
        class_weights: how much background and each class count in the second stage's loss; empty: all alike.
        class_odds: by how much the model multiplies the odds of background and of each class (ours); empty: not at all.
            Dice is greatest where what is half as probable as the greatest Dice counts (Lipton et al. 2014, Optimal
            thresholding of classifiers to maximize F1 measure), so what is hard to tell needs more than even odds.
        excluded: names of a data set's cases that are not used.
        mirror_axes: (0 z, 1 y, 2 x) along which both stages look twice at inference (ours); none: one plain look.
        localiser: bundle whose overview says what of the result can be kidney, written into the model (ours).
        labels: class of each label id of a data set; an id that is not in it is background.
        first, second: the stages.
        augment: of both.
    """

    bundle: str
    seed: int
    spacing_mm: tuple[float, float, float]
    slab: Size3
    normalisation: dict[str, float]
    dilation_mm: tuple[float, float, float]
    first: StageConfig
    second: StageConfig
    classes: tuple[str, ...] = ("kidney", "mass")
    class_weights: tuple[float, ...] = ()
    class_odds: tuple[float, ...] = ()
    first_pooling: int = 1
    first_overlap: float = 0.5
    foreground_probability: float = 0.5
    neighbours: int = 0
    mask_of: str = "truth"
    samples: int = 400
    validation: float = 8
    pool_start: int = 24
    pool_capacity: int = 400
    source: dict[str, Any] = field(default_factory=dict)
    excluded: tuple[str, ...] = ()
    mirror_axes: tuple[int, ...] = ()
    localiser: str | None = None
    labels: dict[str, str] = field(default_factory=dict)
    augment: Augmentation = field(default_factory=Augmentation)

    def __post_init__(self) -> None:
        if self.classes not in CLASSES:
            raise InputError(f"classes must be one of {[list(c) for c in CLASSES]}, got {list(self.classes)}.")
        for name in ("class_weights", "class_odds"):
            factors: tuple[float, ...] = getattr(self, name)
            if factors and (len(factors) != 1 + len(self.classes) or min(factors) <= 0):
                raise InputError(
                    f"{name} must be a positive number for background and each of {list(self.classes)}, or empty; "
                    f"got {list(factors)}."
                )
        if len(set(self.mirror_axes)) != len(self.mirror_axes) or not set(self.mirror_axes) <= {0, 1, 2}:
            raise InputError(f"mirror_axes must be some of 0, 1 and 2, got {list(self.mirror_axes)}.")
        if not 0 <= self.neighbours <= 3 or 2 * self.neighbours >= self.slab[0]:
            raise InputError(
                f"neighbours must be 0 to 3 and leave a slice of the slab's {self.slab[0]}, got {self.neighbours}."
            )
        if self.mask_of not in MASKS:
            raise InputError(f"mask_of must be one of {list(MASKS)}, got {self.mask_of!r}.")
        if not 0.01 <= self.foreground_probability <= 0.99:
            raise InputError(f"foreground_probability must be 0.01 to 0.99, got {self.foreground_probability}.")
        factor = self.first_pooling
        if factor < 1 or any(a % factor for a in self.slab[1:]):
            raise InputError(f"first_pooling must divide the slab's plane, {self.slab[1:]}; got {factor}.")
        coarse = (self.slab[0], *(a // factor for a in self.slab[1:]))
        if any(p > c for p, c in zip(self.first.patch, coarse, strict=True)):
            raise InputError(
                f"first.patch must fit into the slab {self.slab}, its plane divided by first_pooling {factor}: into "
                f"{coarse}; got {self.first.patch}."
            )
        fits = zip(self.second.patch, (1, *self.slab[1:]), (1, 16, 16), strict=True)
        if any(p > s or p % m for p, s, m in fits):
            raise InputError(
                f"second.patch must be 1 slice that fits into the slab {self.slab}, with edges that are multiples of "
                f"16; got {self.second.patch}."
            )
        if any(p % m for p, m in zip(self.first.patch, (4, 16, 16), strict=True)):
            raise InputError(f"first.patch must be multiples of 4, 16 and 16, got {self.first.patch}.")
        for name, stage in (("first", self.first), ("second", self.second)):
            if stage.minutes is None and stage.steps is None:
                raise InputError(f"{name} needs minutes or steps, got neither.")

    @property
    def outputs(self) -> tuple[str, ...]:
        """The classes by the names that a bundle gives them, background first."""
        return ("background", *("parenchyma" if name == "kidney" else name for name in self.classes))

    @property
    def second_slices(self) -> int:
        """Slices that the second stage sees at a time, its own in the middle."""
        return 1 + 2 * self.neighbours

    @property
    def first_spacing_mm(self) -> tuple[float, float, float]:
        """Voxels of the first stage."""
        z, y, x = self.spacing_mm
        return z, y * self.first_pooling, x * self.first_pooling


def load_config(source: str | Path) -> TwoStageConfig:
    """A recipe of `RECIPES` by name, or a file with the same keys.

    Raises:
        InputError: if it cannot be read, or says what a run does not know.
    """
    path = RECIPES.get(str(source), Path(source))
    content = read_recipe(path)
    if not isinstance(content.get("settings"), dict):
        raise InputError(f"{path}: expected an object with the key settings. Mend the file.")
    return config_of(content["settings"], path.name)


def config_of(settings: Mapping[str, Any], where: str) -> TwoStageConfig:
    """A configuration from plain values.

    Raises:
        InputError: for an unknown or missing key, or values that contradict each other.
    """
    return filled(TwoStageConfig, settings, where)


def changed(config: TwoStageConfig, stage: str, **changes: Any) -> TwoStageConfig:
    """The configuration with some values of a stage (``first`` or ``second``) changed."""
    return dataclasses.replace(config, **{stage: dataclasses.replace(getattr(config, stage), **changes)})
