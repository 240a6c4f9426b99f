"""What reading and writing ``model.json`` has in common for every kind of bundle.

The kinds' own keys are in `manifest` (CT) and `ultrasound.bundle`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from KidneySegLib.errors import ModelError
from KidneySegLib.files import json_text, write_whole
from KidneySegLib.models.bundle import FILE_PATTERN, MANIFEST, MAX_MANIFEST_BYTES, NAME_PATTERN, SHA256_PATTERN
from KidneySegLib.models.form import Form

if TYPE_CHECKING:
    from KidneySegLib.models.bundle import ModelDescription


class BundleOnDisk(Protocol):
    """What every kind of bundle says of its files."""

    @property
    def name(self) -> str: ...

    @property
    def path(self) -> Path: ...

    @property
    def sha256(self) -> Mapping[str, str]: ...


B = TypeVar("B", bound=BundleOnDisk)
Spec = TypeVar("Spec", bound="ModelDescription")


def read_folder(folder: Path, parse: Callable[[str, Path], B]) -> B:
    """Read the manifest of a bundle folder, and check that its files exist. Their hashes are not looked at.

    Args:
        folder: the bundle's.
        parse: text of a manifest and its folder to a bundle.

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
    bundle = parse(text, folder)
    for name in bundle.sha256:
        file = folder / name
        if not file.is_file():
            raise ModelError(f"The model {bundle.name} needs {file}, which is missing. Import the model again.")
        if file.is_symlink() and file.resolve().parent != folder.resolve():
            raise ModelError(f"{file} is a link that leads out of the model's folder. Import the model again.")
    return bundle


def write_manifest(folder: Path, content: Mapping[str, Any], parse: Callable[[str, Path], object]) -> None:
    """Write ``model.json`` into a bundle folder; one that is there is replaced as a whole.

    Args:
        folder: the bundle's.
        content: of the manifest.
        parse: as for `read_folder`; it checks the text before anything is written.

    Raises:
        ModelError: the content is not valid.
    """
    text = json_text(content)
    parse(text, folder)
    write_whole(folder / MANIFEST, text.encode("utf-8"))


def respecified(bundle: ModelDescription, kind: type[Spec], **changes: Any) -> Spec:
    """What a bundle says, as a spec of its kind, with changes."""
    values = {f.name: getattr(bundle, f.name) for f in fields(kind)}
    return kind(**{**values, **changes})


def manifest_form(text: str, where: str) -> Form:
    """The text of a manifest as a form.

    Raises:
        ModelError: it is no JSON object.
    """
    try:
        content = json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise ModelError(f"{where} is not valid JSON: {error}. Import the model again.") from error
    return Form(content, where, "")


def check_version(form: Form, known: int) -> None:
    """Raise a `ModelError` where the format's version is another than the known one."""
    version = form.integer("format_version", 0, 10**6)
    if version != known:
        raise ModelError(
            f"{form.where} has format version {version}; this program reads version {known}. "
            "Update KidneySeg, or get a model made for it."
        )


def read_description(form: Form, network: Form) -> dict[str, Any]:
    """The attributes of a `bundle.ModelDescription`.

    Args:
        form: a manifest, or a part that describes a model as one does.
        network: its key ``network``.
    """
    return {
        "name": form.text("name", pattern=NAME_PATTERN),
        "version": form.text("version"),
        "title": form.text("title"),
        "licence": form.text("licence"),
        "citation": form.text("citation", empty=True),
        "intended_use": form.text("intended_use"),
        "network": network.text("name", pattern=NAME_PATTERN),
        "network_arguments": network.mapping("arguments"),
        "training": form.mapping("training"),
        "metrics": form.mapping("metrics"),
    }


def read_hashes(form: Form) -> dict[str, str]:
    """SHA-256 of each file of the bundle."""
    files = form.mapping("files")
    for name, digest in files.items():
        if not FILE_PATTERN.fullmatch(name) or name == MANIFEST:
            raise ModelError(f"{form.where}: files must be plain file names, got {name!r}.")
        if not isinstance(digest, str) or not SHA256_PATTERN.fullmatch(digest):
            raise ModelError(f"{form.where}: files.{name} must be a SHA-256 of 64 hexadecimal digits, got {digest!r}.")
    return files


def check_name(name: str) -> None:
    """Raise a `ModelError` where a text cannot be a model's name."""
    if not NAME_PATTERN.fullmatch(name):
        raise ModelError(f"A model's name must be letters, digits, '.', '_' or '-', got '{name}'.")


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is not a number")
