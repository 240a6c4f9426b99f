"""What a model bundle for ultrasound says about itself.

It lies where the others lie and is made of the same files (``model.json``, ``weights.safetensors``, ``network.xml`` and
``network.bin``), but it is of its own format: its network sees flat pictures whose grey levels mean nothing absolute,
so nothing of what a CT bundle says of voxels and HU holds for it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from KidneySegLib.errors import ModelError
from KidneySegLib.models.bundle import (
    FILE_PATTERN,
    MANIFEST,
    MAX_MANIFEST_BYTES,
    NAME_PATTERN,
    SHA256_PATTERN,
    ULTRASOUND_FORMAT,
)
from KidneySegLib.models.form import Form

FORMAT = ULTRASOUND_FORMAT
FORMAT_VERSION = 1
WEIGHTS, GRAPH, GRAPH_WEIGHTS = "weights.safetensors", "network.xml", "network.bin"
#: What a network may outline.
OUTPUTS = ("kidney",)
MAX_EDGE = 2048


@dataclass(frozen=True, kw_only=True)
class UltrasoundSpec:
    """What a maker of a bundle states about it.

    Attributes:
        name, version, title, licence, citation, intended_use: as in `models.BundleSpec`.
        network: name that `networks.build_network` knows.
        network_arguments: arguments of that network.
        channels: of its input; the grey picture is repeated in each.
        size: of its input (y, x).
        outputs: one name for each output channel, of `OUTPUTS`.
        threshold: probability from which a pixel counts.
        demonstration: it has seen no patient; every result says so.
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
    channels: int
    size: tuple[int, int]
    outputs: tuple[str, ...] = OUTPUTS
    threshold: float = 0.5
    demonstration: bool = False
    training: Mapping[str, Any] = field(default_factory=dict)
    metrics: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class UltrasoundBundle(UltrasoundSpec):
    """A bundle on disk.

    Attributes:
        path: its folder.
        sha256: SHA-256 (lower-case hexadecimal) of each file but ``model.json``.
    """

    path: Path
    sha256: Mapping[str, str]

    @property
    def digest(self) -> str:
        """SHA-256 that identifies the model whatever its name: of the manifest without its name."""
        content = manifest_of(self, self.sha256)
        del content["name"]
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def manifest_of(spec: UltrasoundSpec, sha256: Mapping[str, str]) -> dict[str, Any]:
    """The content of ``model.json``."""
    return {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "name": spec.name,
        "version": spec.version,
        "title": spec.title,
        "licence": spec.licence,
        "citation": spec.citation,
        "intended_use": spec.intended_use,
        "demonstration": spec.demonstration,
        "network": {"name": spec.network, "arguments": dict(spec.network_arguments)},
        "input": {"channels": spec.channels, "size": list(spec.size)},
        "output": {"names": list(spec.outputs), "threshold": spec.threshold},
        "training": dict(spec.training),
        "metrics": dict(spec.metrics),
        "files": dict(sorted(sha256.items())),
    }


def is_ultrasound_manifest(content: Any) -> bool:
    """Whether the content of a ``model.json`` is of an ultrasound bundle."""
    return isinstance(content, dict) and content.get("format") == FORMAT


def has_ultrasound_manifest(folder: Path) -> bool:
    """Whether a folder holds an ultrasound bundle, valid or not."""
    try:
        manifest = folder / MANIFEST
        if manifest.stat().st_size > MAX_MANIFEST_BYTES:
            return False
        return is_ultrasound_manifest(json.loads(manifest.read_text(encoding="utf-8")))
    except (OSError, ValueError, RecursionError):
        return False


def read_ultrasound_bundle(folder: Path) -> UltrasoundBundle:
    """Read and validate the manifest of a bundle folder, and check that its files exist.

    Raises:
        ModelError: if the folder, its manifest or one of its files is missing, or the manifest is not valid.
    """
    manifest = folder / MANIFEST
    try:
        size = manifest.stat().st_size
        if size > MAX_MANIFEST_BYTES:
            raise ModelError(f"{manifest} has {size} bytes; a model's description has fewer than {MAX_MANIFEST_BYTES}.")
        text = manifest.read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError):
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


def parse_manifest(text: str, folder: Path) -> UltrasoundBundle:
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
        raise ModelError(
            f"{where} is no model for ultrasound: its format must be '{FORMAT}', got {content['format']!r}. "
            "Models for CT go with: kidneyseg segment."
        )
    version = form.integer("format_version", 0, 10**6)
    if version != FORMAT_VERSION:
        raise ModelError(
            f"{where} has format version {version}; this program reads version {FORMAT_VERSION}. Update KidneySeg."
        )
    network, given, output = form.form("network"), form.form("input"), form.form("output")
    size = given.numbers("size", 2, 32, MAX_EDGE, whole=True)
    bundle = UltrasoundBundle(
        path=folder,
        name=form.text("name", pattern=NAME_PATTERN),
        version=form.text("version"),
        title=form.text("title"),
        licence=form.text("licence"),
        citation=form.text("citation", empty=True),
        intended_use=form.text("intended_use"),
        demonstration=form.boolean("demonstration"),
        network=network.text("name", pattern=NAME_PATTERN),
        network_arguments=network.mapping("arguments"),
        channels=given.integer("channels", 1, 3),
        size=(int(size[0]), int(size[1])),
        outputs=output.texts("names", OUTPUTS),
        threshold=output.number("threshold", 0.0, 1.0),
        training=form.mapping("training"),
        metrics=form.mapping("metrics"),
        sha256=_read_hashes(form),
    )
    for part in (form, network, given, output):
        part.known_only()
    return bundle


def _read_hashes(form: Form) -> dict[str, str]:
    files = form.mapping("files")
    for name, digest in files.items():
        if not FILE_PATTERN.fullmatch(name) or name == MANIFEST:
            raise ModelError(f"{form.where}: files must be plain file names, got {name!r}.")
        if not isinstance(digest, str) or not SHA256_PATTERN.fullmatch(digest):
            raise ModelError(f"{form.where}: files.{name} must be a SHA-256 of 64 hexadecimal digits, got {digest!r}.")
    for name in (WEIGHTS, GRAPH, GRAPH_WEIGHTS):
        if name not in files:
            raise ModelError(f"{form.where}: files must give the SHA-256 of {name}.")
    return files


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is not a number")
