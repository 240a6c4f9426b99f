"""What a model bundle says about itself: the records behind ``model.json`` (`manifest` reads and checks it).

A bundle is a folder: ``model.json``, ``weights.safetensors`` and the OpenVINO graph made from it (``network.xml``,
``network.bin``). A fold ensemble has one such triple a fold (``weights_1.safetensors``, ``network_1.xml``, ...).
The file is JSON and is read with the strictness of a form: every key is known, every number is in range, and
anything else is a `ModelError` that names the file and the key.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from KidneySegLib.models.nnunet_record import NnUnetRecord
from KidneySegLib.models.two_stage import TwoStageRecord

FORMAT = "kidneyseg-model"
FORMAT_VERSION = 1
#: The format of the bundles of `KidneySegLib.ultrasound`, which lie in the same folders.
ULTRASOUND_FORMAT = "kidneyseg-ultrasound-model"
MANIFEST = "model.json"

#: A manifest is a page of text; anything longer is not one.
MAX_MANIFEST_BYTES = 4 * 1024 * 1024
#: Larger patches than this need more memory than any machine that we know gives one network pass.
MAX_PATCH_VOXELS = 512**3
MAX_PATCH_EDGE = 1024
MAX_FOLDS = 10

NAME_PATTERN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
FILE_PATTERN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
SHA256_PATTERN = re.compile(r"[0-9a-f]{64}")

ACTIVATIONS = ("sigmoid", "softmax")
#: Structures that a fine network may find, and ``background`` (softmax only).
#: ``abnormality`` is cyst or mass; which one, post-processing decides by HU.
FINE_OUTPUTS = ("background", "parenchyma", "medulla", "cortex", "cyst", "mass", "abnormality")
#: Those of them that are no healthy kidney.
LESION_OUTPUTS = frozenset({"cyst", "mass", "abnormality"})
#: Structures that a localiser may find: names of `labels.OverviewLabel` in lower case.
OVERVIEW_OUTPUTS = ("background", "kidney", "spine", "aorta", "liver", "spleen")

#: What ``model.json`` says of a partner; its files are listed with the others.
PARTNER_KEYS = (
    "name",
    "version",
    "title",
    "licence",
    "citation",
    "intended_use",
    "network",
    "input",
    "output",
    "folds",
    "training",
    "metrics",
    "nnunet",
    "origin",
)

Size = tuple[int, int, int]
SpacingMm = tuple[float, float, float]


@dataclass(frozen=True)
class Normalisation:
    """How HU become network input: clip to [low, high], subtract the mean, divide by the standard deviation.

    Where a tile reaches beyond the scan it is filled with ``low_hu`` (air), normalised like the rest.

    Attributes:
        low_hu, high_hu: clipping limits in HU.
        mean_hu: subtracted after clipping.
        standard_deviation_hu: divided by after that.
    """

    low_hu: float
    high_hu: float
    mean_hu: float
    standard_deviation_hu: float


@dataclass(frozen=True)
class LesionsOnRequest:
    """Cysts and masses that a model finds and shows only when it is asked to (see `inference.lesions`).

    Attributes:
        least_mm: one without room for a ball of this diameter is left out. Under 10 mm, CT cannot say what a renal
            lesion is (Herts et al. 2018, doi:10.1016/j.jacr.2017.04.028), and the network is often wrong.
        least_sure_mm: the same for one of which the network is sure; None: the same limit.
        sure_probability: it is, where its mean probability over the lesion is at least this.
    """

    least_mm: float = 10.0
    least_sure_mm: float | None = None
    sure_probability: float = 1.0


@dataclass(frozen=True)
class CortexBorder:
    """That cortex ends, within the parenchyma, where the scan's brightness says so (see `inference.cortex_border`).

    Attributes:
        least_contrast_hu: cortex must be brighter than medulla by this much; else the network's own answer stays.
        prior_shift: added to the logit of the network's probability of cortex before the brightness is heard: what
            takes the bias out of the cortex's volume on calibration phantoms.
    """

    least_contrast_hu: float = 15.0
    prior_shift: float = 0.0


@dataclass(frozen=True)
class FoldFiles:
    """File names, within the bundle, of one trained network.

    Attributes:
        weights: the torch parameters (safetensors).
        graph: the OpenVINO graph (.xml).
        graph_weights: its parameters (.bin).
    """

    weights: str
    graph: str
    graph_weights: str

    @staticmethod
    def for_fold(fold: int) -> FoldFiles:
        """The standard names of fold ``fold``, counted from 0."""
        suffix = f"_{fold}" if fold else ""
        return FoldFiles(f"weights{suffix}.safetensors", f"network{suffix}.xml", f"network{suffix}.bin")


@dataclass(frozen=True, kw_only=True)
class ModelDescription:
    """What the makers of every kind of bundle state, for CT or ultrasound.

    Attributes:
        name: folder name and the name that users type.
        version: the maker's version of the weights.
        title: one line for a list of models.
        licence: SPDX expression, or a sentence.
        citation: what to cite; may be empty.
        intended_use: what it is made for and what not.
        network: name that `networks.build_network` knows.
        network_arguments: arguments of that network.
        training: how it was trained, free form.
        metrics: what was measured, free form.
    """

    name: str
    version: str
    title: str
    licence: str
    citation: str
    intended_use: str
    network: str
    network_arguments: Mapping[str, Any]
    training: Mapping[str, Any] = field(default_factory=dict)
    metrics: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class BundleSpec(ModelDescription):
    """What a maker of a bundle states about it, beside `ModelDescription`. Triples are in the order (z, y, x).

    Attributes:
        spacing_mm: voxel size of the network's input.
        patch_size: voxels of the patch that it was trained on; also the budget of one tile.
        size_multiple: a tile's edges are multiples of this (the product of the network's strides).
        flexible_tiles: tiles may take another shape than ``patch_size`` to fit the region (within the same number
            of voxels). False where the exact tile matters, as for reproducing another program.
        margin: voxels on each side of a tile that the network sees beside it and gives no answer for.
        tile_step: distance of neighbouring tiles as a fraction of the tile, 0.5 as in nnU-Net.
        normalisation: see `Normalisation`.
        outputs: one name for each output channel, of `FINE_OUTPUTS` or `OVERVIEW_OUTPUTS`.
        activation: ``sigmoid`` (each channel on its own; cortex is nested in parenchyma) or ``softmax``.
        threshold: probability from which a sigmoid output counts.
        localiser: name of the bundle that finds the kidneys first, or None: the whole body is searched.
        lesions: where the last output, abnormality, is shown on request only: which of it; None: outputs are shown.
        cortex_border: how cortex is told from medulla by brightness; None: as the network's outputs have it.
        mirror_axes: axes (0 z, 1 y, 2 x) that may be mirrored.
        mirror: whether mirroring is on unless the user says otherwise.
        nnunet: of a bundle made from an nnU-Net model: how nnU-Net treats scan and result. ``outputs`` are then the
            structures that its labels mean here, and `channels` tells the network's outputs.
        origin: where a bundle of others comes from, free form.
        partner: a second network that looks at the same scan, from nnU-Net. Of a bundle made from an nnU-Net model it
            finds the cortex in the parenchyma that this one finds; of any other it finds the same as this one, and
            the probabilities of both are averaged (`is_ensemble`).
        two_stage: of a two-stage bundle: its first stage. ``network`` is the second.
    """

    spacing_mm: SpacingMm
    patch_size: Size
    normalisation: Normalisation
    outputs: tuple[str, ...]
    activation: str
    size_multiple: Size = (16, 16, 16)
    flexible_tiles: bool = True
    margin: Size = (0, 0, 0)
    tile_step: float = 0.5
    threshold: float = 0.5
    localiser: str | None = None
    lesions: LesionsOnRequest | None = None
    cortex_border: CortexBorder | None = None
    mirror_axes: tuple[int, ...] = ()
    mirror: bool = False
    nnunet: NnUnetRecord | None = None
    origin: Mapping[str, Any] = field(default_factory=dict)
    partner: BundleSpec | None = None
    two_stage: TwoStageRecord | None = None

    @property
    def channels(self) -> int:
        """Outputs of the network."""
        return len(self.outputs) if self.nnunet is None else len(self.nnunet.channels)

    @property
    def finds_lesions(self) -> bool:
        """Whether its own outputs name cysts, masses or abnormality."""
        return bool(LESION_OUTPUTS & set(self.outputs))

    @property
    def padding(self) -> float:
        """Network input where a tile reaches beyond the scan: air, or what nnU-Net takes, 0."""
        n = self.normalisation
        return 0.0 if self.nnunet is not None else (n.low_hu - n.mean_hu) / n.standard_deviation_hu

    def axes_mirrored(self, wanted: str) -> tuple[int, ...]:
        """Axes (0 z, 1 y, 2 x) to mirror where a user wants ``auto`` (as the bundle says), ``on`` or ``off``."""
        on = self.mirror if wanted == "auto" else wanted == "on"
        return self.mirror_axes if on else ()

    @property
    def is_localiser(self) -> bool:
        """Whether it finds kidneys and landmarks rather than measuring kidneys."""
        return "kidney" in self.outputs

    @property
    def finds_cortex_only(self) -> bool:
        """Whether it is only good beside a model that finds parenchyma (`partner`)."""
        return self.nnunet is not None and set(self.outputs) - {"background"} == {"cortex"}

    @property
    def divides_parenchyma(self) -> bool:
        """Whether it tells cortex from medulla; if not, its parenchyma is undivided."""
        return "cortex" in self.outputs or (self.partner is not None and not self.is_ensemble)

    @property
    def is_ensemble(self) -> bool:
        """Whether its probabilities are averaged with those of its partner (see `models.ensemble`)."""
        return self.partner is not None and self.nnunet is None


@dataclass(frozen=True, kw_only=True)
class Bundle(BundleSpec):
    """A bundle on disk.

    Attributes:
        path: its folder.
        folds: the files of each trained network; their logits are averaged.
        sha256: SHA-256 (lower-case hexadecimal) of each file but ``model.json``.
    """

    path: Path
    folds: tuple[FoldFiles, ...]
    sha256: Mapping[str, str]

    @property
    def digest(self) -> str:
        """SHA-256 that identifies the model whatever its name: of the manifest without its name."""
        return digest_of(manifest_of(self, self.folds, self.sha256))


def digest_of(manifest: Mapping[str, Any]) -> str:
    """SHA-256 that identifies the model of a manifest whatever its name."""
    content = {key: value for key, value in manifest.items() if key != "name"}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def description_of(spec: ModelDescription) -> dict[str, Any]:
    """What the ``model.json`` of every kind of bundle holds first."""
    return {
        "name": spec.name,
        "version": spec.version,
        "title": spec.title,
        "licence": spec.licence,
        "citation": spec.citation,
        "intended_use": spec.intended_use,
        "network": {"name": spec.network, "arguments": dict(spec.network_arguments)},
    }


def _changed(record: LesionsOnRequest | CortexBorder, always: str) -> dict[str, Any]:
    """What a record holds besides its defaults, and one key in any case."""
    defaults = asdict(type(record)())
    return {key: value for key, value in asdict(record).items() if key == always or value != defaults[key]}


def manifest_of(spec: BundleSpec, folds: Iterable[FoldFiles], sha256: Mapping[str, str]) -> dict[str, Any]:
    """The content of ``model.json``. What came to the format later stands in it only where it is used."""
    n = spec.normalisation
    later: dict[str, Any] = {}
    if spec.nnunet is not None:
        later["nnunet"] = spec.nnunet.content()
    if spec.lesions is not None:
        later["lesions"] = _changed(spec.lesions, always="least_mm")
    if spec.cortex_border is not None:
        later["cortex_border"] = _changed(spec.cortex_border, always="least_contrast_hu")
    if spec.two_stage is not None:
        later["two_stage"] = spec.two_stage.content()
    if spec.origin:
        later["origin"] = dict(spec.origin)
    if spec.partner is not None:
        partner = manifest_of(spec.partner, spec.partner.folds if isinstance(spec.partner, Bundle) else (), {})
        later["partner"] = {key: partner[key] for key in PARTNER_KEYS if key in partner}
    return {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        **description_of(spec),
        "input": {
            "spacing_mm": list(spec.spacing_mm),
            "patch_size": list(spec.patch_size),
            "size_multiple": list(spec.size_multiple),
            "flexible_tiles": spec.flexible_tiles,
            **({"margin": list(spec.margin)} if any(spec.margin) else {}),
            "tile_step": spec.tile_step,
            "normalisation": {
                "low_hu": n.low_hu,
                "high_hu": n.high_hu,
                "mean_hu": n.mean_hu,
                "standard_deviation_hu": n.standard_deviation_hu,
            },
            "mirror_axes": list(spec.mirror_axes),
            "mirror": spec.mirror,
        },
        "output": {"names": list(spec.outputs), "activation": spec.activation, "threshold": spec.threshold},
        "localiser": spec.localiser,
        "folds": [{"weights": f.weights, "graph": f.graph, "graph_weights": f.graph_weights} for f in folds],
        "training": dict(spec.training),
        "metrics": dict(spec.metrics),
        "files": dict(sorted(sha256.items())),
        **later,
    }
