"""What a model bundle for ultrasound says about itself.

It lies where the others lie and is made of the same files (``model.json``, ``weights.safetensors``, ``network.xml`` and
``network.bin``), but it is of its own format: its network sees flat pictures whose grey levels mean nothing absolute,
so nothing of what a CT bundle says of voxels and HU holds for it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from KidneySegLib.errors import ModelError
from KidneySegLib.models.bundle import (
    MANIFEST,
    MAX_MANIFEST_BYTES,
    ULTRASOUND_FORMAT,
    ModelDescription,
    description_of,
    digest_of,
)
from KidneySegLib.models.form import Form
from KidneySegLib.models.model_json import check_version, manifest_form, read_description, read_folder, read_hashes

FORMAT = ULTRASOUND_FORMAT
FORMAT_VERSION = 1
WEIGHTS, GRAPH, GRAPH_WEIGHTS = "weights.safetensors", "network.xml", "network.bin"
#: What a network may outline.
OUTPUTS = ("kidney",)
MAX_EDGE = 2048


@dataclass(frozen=True, kw_only=True)
class UltrasoundSpec(ModelDescription):
    """What a maker of a bundle states about it, beside `models.bundle.ModelDescription`.

    Attributes:
        channels: of its input; the grey picture is repeated in each.
        size: of its input (y, x).
        outputs: one name for each output channel, of `OUTPUTS`.
        threshold: probability from which a pixel counts.
        demonstration: it has seen no patient; every result says so.
    """

    channels: int
    size: tuple[int, int]
    outputs: tuple[str, ...] = OUTPUTS
    threshold: float = 0.5
    demonstration: bool = False


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
        return digest_of(manifest_of(self, self.sha256))


def manifest_of(spec: UltrasoundSpec, sha256: Mapping[str, str]) -> dict[str, Any]:
    """The content of ``model.json``."""
    return {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        **description_of(spec),
        "demonstration": spec.demonstration,
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
    return read_folder(folder, parse_manifest)


def parse_manifest(text: str, folder: Path) -> UltrasoundBundle:
    """Validate the text of a ``model.json``; ``folder`` is where the bundle lies (used in messages too).

    Raises:
        ModelError: naming the key that is wrong, what was expected and what came.
    """
    where = str(folder / MANIFEST)
    form = manifest_form(text, where)
    kind = form.text("format")
    if kind != FORMAT:
        raise ModelError(
            f"{where} is no model for ultrasound: its format must be '{FORMAT}', got {kind!r}. "
            "Models for CT go with: kidneyseg segment."
        )
    check_version(form, FORMAT_VERSION)
    network, given, output = form.form("network"), form.form("input"), form.form("output")
    size = given.numbers("size", 2, 32, MAX_EDGE, whole=True)
    bundle = UltrasoundBundle(
        path=folder,
        sha256=_read_hashes(form),
        **read_description(form, network),
        demonstration=form.boolean("demonstration"),
        channels=given.integer("channels", 1, 3),
        size=(int(size[0]), int(size[1])),
        outputs=output.texts("names", OUTPUTS),
        threshold=output.number("threshold", 0.0, 1.0),
    )
    for part in (form, network, given, output):
        part.known_only()
    return bundle


def _read_hashes(form: Form) -> dict[str, str]:
    files = read_hashes(form)
    for name in (WEIGHTS, GRAPH, GRAPH_WEIGHTS):
        if name not in files:
            raise ModelError(f"{form.where}: files must give the SHA-256 of {name}.")
    return files
