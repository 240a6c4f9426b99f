"""What a model bundle says about itself: the records behind ``model.json`` and their validation.

A bundle is a folder: ``model.json``, ``weights.safetensors`` and the OpenVINO graph made from it (``network.xml``,
``network.bin``). A fold ensemble has one such triple a fold (``weights_1.safetensors``, ``network_1.xml``, ...).
The file is JSON and is read with the strictness of a form: every key is known, every number is in range, and
anything else is a `ModelError` that names the file and the key.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from KidneySegLib.errors import ModelError
from KidneySegLib.models.form import Form

FORMAT = "kidneyseg-model"
FORMAT_VERSION = 1
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
FINE_OUTPUTS = ("background", "parenchyma", "medulla", "cortex", "cyst", "mass")
#: Structures that a localiser may find: names of `labels.OverviewLabel` in lower case.
OVERVIEW_OUTPUTS = ("background", "kidney", "spine", "aorta", "liver", "spleen")

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
class BundleSpec:
    """What a maker of a bundle states about it. Triples are in the order (z, y, x).

    Attributes:
        name: folder name and the name that users type.
        version: the maker's version of the weights.
        title: one line for a list of models.
        licence: SPDX expression, or a sentence.
        citation: what to cite; may be empty.
        intended_use: what it is made for and what not.
        network: name that `networks.build_network` knows.
        network_arguments: arguments of that network.
        spacing_mm: voxel size of the network's input.
        patch_size: voxels of the patch that it was trained on; also the budget of one tile.
        size_multiple: a tile's edges are multiples of this (the product of the network's strides).
        flexible_tiles: tiles may take another shape than ``patch_size`` to fit the region (within the same number
            of voxels). False where the exact tile matters, as for reproducing another program.
        tile_step: distance of neighbouring tiles as a fraction of the tile, 0.5 as in nnU-Net.
        normalisation: see `Normalisation`.
        outputs: one name for each output channel, of `FINE_OUTPUTS` or `OVERVIEW_OUTPUTS`.
        activation: ``sigmoid`` (each channel on its own; cortex is nested in parenchyma) or ``softmax``.
        threshold: probability from which a sigmoid output counts.
        localiser: name of the bundle that finds the kidneys first, or None: the whole body is searched.
        mirror_axes: axes (0 z, 1 y, 2 x) that may be mirrored.
        mirror: whether mirroring is on unless the user says otherwise.
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
    spacing_mm: SpacingMm
    patch_size: Size
    normalisation: Normalisation
    outputs: tuple[str, ...]
    activation: str
    size_multiple: Size = (16, 16, 16)
    flexible_tiles: bool = True
    tile_step: float = 0.5
    threshold: float = 0.5
    localiser: str | None = None
    mirror_axes: tuple[int, ...] = ()
    mirror: bool = False
    training: Mapping[str, Any] = field(default_factory=dict)
    metrics: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_localiser(self) -> bool:
        """Whether it finds kidneys and landmarks rather than measuring kidneys."""
        return "kidney" in self.outputs

    @property
    def divides_parenchyma(self) -> bool:
        """Whether it tells cortex from medulla; if not, its parenchyma is undivided."""
        return "cortex" in self.outputs


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
        content = manifest_of(self, self.folds, self.sha256)
        del content["name"]
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def manifest_of(spec: BundleSpec, folds: Iterable[FoldFiles], sha256: Mapping[str, str]) -> dict[str, Any]:
    """The content of ``model.json``."""
    n = spec.normalisation
    return {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "name": spec.name,
        "version": spec.version,
        "title": spec.title,
        "licence": spec.licence,
        "citation": spec.citation,
        "intended_use": spec.intended_use,
        "network": {"name": spec.network, "arguments": dict(spec.network_arguments)},
        "input": {
            "spacing_mm": list(spec.spacing_mm),
            "patch_size": list(spec.patch_size),
            "size_multiple": list(spec.size_multiple),
            "flexible_tiles": spec.flexible_tiles,
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
    }


def read_bundle(folder: Path) -> Bundle:
    """Read and validate the manifest of a bundle folder, and check that its files exist.

    The files' hashes are checked by `verify_bundle`, and by the engine for the files that it loads.

    Raises:
        ModelError: if the folder, its manifest or one of its files is missing, or the manifest is not valid.
    """
    manifest = folder / MANIFEST
    if not folder.is_dir():
        raise ModelError(f"A model folder was expected at {folder}, but there is none.")
    try:
        size = manifest.stat().st_size
        if size > MAX_MANIFEST_BYTES:
            raise ModelError(f"{manifest} has {size} bytes; a model's description has fewer than {MAX_MANIFEST_BYTES}.")
        text = manifest.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ModelError(f"{folder} is not a model bundle: it holds no {MANIFEST}.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ModelError(f"{manifest} could not be read: {error}. Import the model again.") from error
    bundle = parse_manifest(text, folder)
    for name in bundle.sha256:
        file = folder / name
        if not file.is_file():
            raise ModelError(f"The model {bundle.name} needs {file}, which is missing. Import the model again.")
        if file.is_symlink() and file.resolve().parent != folder.resolve():
            raise ModelError(f"{file} is a link that leads out of the model's folder. Import the model again.")
    return bundle


def parse_manifest(text: str, folder: Path) -> Bundle:
    """Validate the text of a ``model.json``; ``folder`` is where the bundle lies (used in messages too).

    Raises:
        ModelError: naming the key that is wrong, what was expected and what came.
    """
    where = str(folder / MANIFEST)
    try:
        content = json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise ModelError(f"{where} is not valid JSON: {error}. Import the model again.") from error
    form = Form(content, where, "")
    if form.text("format") != FORMAT:
        raise ModelError(f"{where} is not a KidneySeg model: its format must be '{FORMAT}', got {content['format']!r}.")
    version = form.integer("format_version", 0, 10**6)
    if version != FORMAT_VERSION:
        raise ModelError(
            f"{where} has format version {version}; this program reads version {FORMAT_VERSION}. "
            "Update KidneySeg, or get a model made for it."
        )
    network = form.form("network")
    given = form.form("input")
    normalisation = given.form("normalisation")
    output = form.form("output")
    bundle = Bundle(
        path=folder,
        name=form.text("name", pattern=NAME_PATTERN),
        version=form.text("version"),
        title=form.text("title"),
        licence=form.text("licence"),
        citation=form.text("citation", empty=True),
        intended_use=form.text("intended_use"),
        network=network.text("name", pattern=NAME_PATTERN),
        network_arguments=network.mapping("arguments"),
        spacing_mm=_triple(given.numbers("spacing_mm", 3, 0.05, 50.0)),
        patch_size=_size(given.numbers("patch_size", 3, 1, MAX_PATCH_EDGE, whole=True)),
        size_multiple=_size(given.numbers("size_multiple", 3, 1, 512, whole=True)),
        flexible_tiles=given.boolean("flexible_tiles"),
        tile_step=given.number("tile_step", 0.1, 1.0),
        normalisation=Normalisation(
            low_hu=normalisation.number("low_hu", -1e5, 1e5),
            high_hu=normalisation.number("high_hu", -1e5, 1e5),
            mean_hu=normalisation.number("mean_hu", -1e5, 1e5),
            standard_deviation_hu=normalisation.number("standard_deviation_hu", 1e-3, 1e5),
        ),
        mirror_axes=tuple(int(v) for v in given.numbers("mirror_axes", (0, 3), 0, 2, whole=True)),
        mirror=given.boolean("mirror"),
        outputs=output.texts("names", FINE_OUTPUTS + OVERVIEW_OUTPUTS),
        activation=output.text("activation", choices=ACTIVATIONS),
        threshold=output.number("threshold", 0.0, 1.0),
        localiser=form.text("localiser", pattern=NAME_PATTERN) if content.get("localiser") is not None else None,
        training=form.mapping("training"),
        metrics=form.mapping("metrics"),
        folds=_read_folds(form),
        sha256=_read_hashes(form),
    )
    form.known_only("localiser")
    for part in (network, given, normalisation, output):
        part.known_only()
    check_spec(bundle, where)
    _check_files(bundle, where)
    return bundle


def check_spec(spec: BundleSpec, where: str) -> None:
    """Check what one key alone cannot tell.

    Raises:
        ModelError: if keys contradict each other, or a shape is absurd.
    """

    def refuse(message: str) -> None:
        raise ModelError(f"{where}: {message}")

    for size in (spec.patch_size, spec.size_multiple):
        if len(size) != 3 or min(size) < 1:
            refuse(f"sizes must be three whole numbers of at least 1, got {size}.")
    if math.prod(spec.patch_size) > MAX_PATCH_VOXELS:
        refuse(f"input.patch_size {list(spec.patch_size)} has more voxels than {MAX_PATCH_VOXELS}.")
    if any(p % m for p, m in zip(spec.patch_size, spec.size_multiple, strict=True)):
        refuse(f"input.patch_size {list(spec.patch_size)} must be a multiple of {list(spec.size_multiple)}.")
    n = spec.normalisation
    if not n.low_hu < n.high_hu:
        refuse(f"input.normalisation.low_hu must be below high_hu, got {n.low_hu} and {n.high_hu}.")
    if len(set(spec.mirror_axes)) != len(spec.mirror_axes):
        refuse(f"input.mirror_axes must differ, got {list(spec.mirror_axes)}.")
    if not spec.outputs or len(set(spec.outputs)) != len(spec.outputs):
        refuse(f"output.names must be different names, at least one, got {list(spec.outputs)}.")
    kinds = FINE_OUTPUTS if not spec.is_localiser else OVERVIEW_OUTPUTS
    if not set(spec.outputs) <= set(kinds):
        refuse(f"output.names must all be of {list(kinds)}, got {list(spec.outputs)}.")
    if spec.activation == "softmax":
        if spec.outputs[0] != "background" or len(spec.outputs) < 2:
            refuse("output.names of a softmax network must begin with 'background' and name one structure more.")
        if "parenchyma" in spec.outputs and {"cortex", "medulla"} & set(spec.outputs):
            refuse("output.names of a softmax network must not hold parenchyma beside cortex or medulla.")
    else:
        if spec.is_localiser:
            refuse("output.activation of a localiser must be 'softmax'.")
        if "parenchyma" not in spec.outputs or {"background", "medulla"} & set(spec.outputs):
            refuse("output.names of a sigmoid network must hold 'parenchyma', and no 'background' or 'medulla'.")
    complete = "parenchyma" in spec.outputs or {"medulla", "cortex"} <= set(spec.outputs)
    if not spec.is_localiser and not complete:
        refuse(f"output.names must hold 'parenchyma', or 'medulla' and 'cortex', got {list(spec.outputs)}.")


def _check_files(bundle: Bundle, where: str) -> None:
    for fold in bundle.folds:
        for name in (fold.weights, fold.graph, fold.graph_weights):
            if name not in bundle.sha256:
                raise ModelError(f"{where}: files must give the SHA-256 of {name}, which folds names.")


def _read_folds(form: Form) -> tuple[FoldFiles, ...]:
    folds = form.items("folds", 1, MAX_FOLDS)
    result = []
    for index, value in enumerate(folds):
        fold = Form(value, form.where, f"folds[{index}].")
        result.append(
            FoldFiles(
                fold.text("weights", pattern=FILE_PATTERN),
                fold.text("graph", pattern=FILE_PATTERN),
                fold.text("graph_weights", pattern=FILE_PATTERN),
            )
        )
        fold.known_only()
    return tuple(result)


def _read_hashes(form: Form) -> dict[str, str]:
    files = form.mapping("files")
    for name, digest in files.items():
        if not FILE_PATTERN.fullmatch(name) or name == MANIFEST:
            raise ModelError(f"{form.where}: files must be plain file names, got {name!r}.")
        if not isinstance(digest, str) or not SHA256_PATTERN.fullmatch(digest):
            raise ModelError(f"{form.where}: files.{name} must be a SHA-256 of 64 hexadecimal digits, got {digest!r}.")
    return files


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is not a number")


def _triple(values: list[float]) -> SpacingMm:
    return values[0], values[1], values[2]


def _size(values: list[float]) -> Size:
    return int(values[0]), int(values[1]), int(values[2])
