"""The recipe ``ultrasound``: what the paper says, and our choices where it says nothing."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from KidneySegLib.errors import InputError
from KidneySegLib.training.recipe_file import filled, read_recipe

#: The paper's model and optimiser.
DEFAULT_CONFIG = Path(__file__).with_name("ultrasound.json")
#: What made the shipped demonstration.
DEMONSTRATION_CONFIG = Path(__file__).with_name("demonstration.json")

SCHEDULES = ("constant", "cosine")


@dataclass(frozen=True)
class Augmentation:
    """Ranges of random changes; each is drawn evenly. All of these are our choices.

    Attributes:
        rotation_degrees: either way.
        scale: least and largest factor of size.
        stretch: largest factor by which width may differ from height, either way.
        shift: either way, as a share of the picture.
        mirror: probability of left and right changing places.
        gamma: least and largest exponent of the grey levels.
        gain: largest change of brightness, share of white; from top to bottom it may differ as much.
        speckle: largest standard deviation of noise that multiplies.
        blur: probability of a slight blur.
    """

    rotation_degrees: float = 15.0
    scale: tuple[float, float] = (0.8, 1.3)
    stretch: float = 1.1
    shift: float = 0.08
    mirror: float = 0.5
    gamma: tuple[float, float] = (0.7, 1.5)
    gain: float = 0.15
    speckle: float = 0.15
    blur: float = 0.2


@dataclass(frozen=True)
class UltrasoundConfig:
    """How a model is trained.

    Attributes:
        bundle: its name.
        title: one line about it.
        network: a network's name, `TripleConcat` in the paper.
        arguments: of the network; channels in and out are added.
        in_channels: 3, with the grey picture in each, takes ImageNet weights as they are; 1 is lighter.
        size: of the network's input (y, x).
        epochs: 100 in the paper.
        minutes: of wall-clock time after which the run ends if the epochs have not; None: as long as they take.
        learning_rate: of Adam, 0.001 in the paper.
        schedule: ``constant``, or ``cosine`` down to a hundredth.
        batch_size: pictures a step.
        member_weight: weight of the three networks' own losses beside the fused one's.
        validation_share, test_share: of patients; 60 and 159 of 514 pictures in the paper.
        seed: of the split, the weights and the augmentation.
        augmentation: see `Augmentation`.
        demonstration: mark the bundle as one that has seen no patient.
    """

    bundle: str = "kidneyseg-ultrasound"
    title: str = "Kidney outline on 2-D ultrasound (triple concatenated model)"
    network: str = "TripleConcat"
    arguments: dict[str, Any] = field(default_factory=dict)
    in_channels: int = 3
    size: tuple[int, int] = (256, 256)
    epochs: int = 100
    minutes: float | None = None
    learning_rate: float = 1e-3
    schedule: str = "constant"
    batch_size: int = 8
    member_weight: float = 0.5
    validation_share: float = 60 / 514
    test_share: float = 159 / 514
    seed: int = 1
    augmentation: Augmentation = field(default_factory=Augmentation)
    demonstration: bool = False


def load_config(path: Path | None = None) -> UltrasoundConfig:
    """Read a recipe.

    Raises:
        InputError: no such file, unknown keys, or values that make no sense.
    """
    path = path or DEFAULT_CONFIG
    content = read_recipe(path)
    content.pop("comment", None)
    config = filled(UltrasoundConfig, content, path.name)
    try:
        _check(config)
    except (ValueError, TypeError) as error:
        raise InputError(f"{path}: a recipe for ultrasound (JSON) was expected, but {error}.") from error
    return config


def as_plain(config: UltrasoundConfig) -> dict[str, Any]:
    """The recipe as JSON knows it."""
    plain: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(config)))
    return plain


def _check(config: UltrasoundConfig) -> None:
    shares = (config.validation_share, config.test_share)
    if min(shares) < 0 or sum(shares) >= 1:
        raise ValueError(f"validation_share and test_share must leave something to train on, got {shares}")
    if config.schedule not in SCHEDULES:
        raise ValueError(f"schedule must be one of {SCHEDULES}, got {config.schedule!r}")
    if config.epochs < 1 or config.batch_size < 2 or config.learning_rate <= 0:
        raise ValueError(
            "epochs must be at least 1, batch_size at least 2 (batch normalisation) and learning_rate above 0, got "
            f"{config.epochs}, {config.batch_size} and {config.learning_rate}"
        )
    if len(config.size) != 2 or any(n < 32 or n % 32 for n in config.size):
        raise ValueError(f"size must be two multiples of 32, got {config.size}")
    if config.in_channels not in (1, 3):
        raise ValueError(f"in_channels must be 1 or 3, got {config.in_channels}")
