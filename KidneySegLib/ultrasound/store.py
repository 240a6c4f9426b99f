"""Where ultrasound bundles lie: among the other models."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from pathlib import Path

from KidneySegLib.errors import KidneySegError, ModelError
from KidneySegLib.models.bundle import MANIFEST, NAME_PATTERN
from KidneySegLib.models.store import file_sha256
from KidneySegLib.progress import Progress
from KidneySegLib.resources import embedded_models_dir, user_models_dir
from KidneySegLib.ultrasound.bundle import (
    UltrasoundBundle,
    has_ultrasound_manifest,
    parse_manifest,
    read_ultrasound_bundle,
)

#: The embedded demonstration, used unless told otherwise.
DEFAULT_MODEL = "kidneyseg-ultrasound-demo"


def find_ultrasound_bundle(name_or_path: str | Path | None = None) -> UltrasoundBundle:
    """The ultrasound bundle of a name or at a path; None is the embedded one. The user's own come first.

    Raises:
        ModelError: if there is none (the message lists what there is), it is a model for CT, or it is not valid.
    """
    text = str(name_or_path or DEFAULT_MODEL)
    separators = [s for s in (os.sep, os.altsep) if s]
    if isinstance(name_or_path, Path) or any(s in text for s in separators):
        return read_ultrasound_bundle(Path(text).expanduser())
    if NAME_PATTERN.fullmatch(text):
        for folder in (*_folders(), Path()):
            if (folder / text / MANIFEST).is_file():
                return read_ultrasound_bundle(folder / text)
    known = ", ".join(bundle.name for bundle in list_ultrasound_bundles()) or "none"
    raise ModelError(
        f"No ultrasound model is called '{text}'. Known ultrasound models: {known}. Give one of these names or the "
        "path of a bundle folder."
    )


def list_ultrasound_bundles() -> tuple[UltrasoundBundle, ...]:
    """All valid ultrasound bundles by name: the user's, then embedded ones that the user's do not replace."""
    found: dict[str, UltrasoundBundle] = {}
    for folder in _folders():
        for path in sorted(folder.iterdir()) if folder.is_dir() else ():
            if path.name.startswith(".") or not has_ultrasound_manifest(path):
                continue
            with contextlib.suppress(ModelError):
                bundle = read_ultrasound_bundle(path)
                found.setdefault(bundle.name, bundle)
    return tuple(found[name] for name in sorted(found))


def verify_ultrasound_bundle(
    bundle: UltrasoundBundle, names: Iterable[str] | None = None, progress: Progress = Progress()
) -> None:
    """Compare files with the SHA-256 that the manifest gives; None: all of them.

    Raises:
        ModelError: naming the first file that is missing or differs.
    """
    for name in bundle.sha256 if names is None else names:
        progress.check()
        try:
            actual = file_sha256(bundle.path / name)
        except OSError as error:
            raise ModelError(
                f"The file {name} of the model {bundle.name} could not be read: {error}. Import the model again."
            ) from error
        if actual != bundle.sha256[name]:
            raise ModelError(
                f"{bundle.path / name} is damaged or was changed: its SHA-256 must be {bundle.sha256[name]}, is "
                f"{actual}. Import the model again."
            )


def import_ultrasound_bundle(
    source: Path, name: str | None = None, replace: bool = False, progress: Progress = Progress()
) -> UltrasoundBundle:
    """Copy an ultrasound bundle (folder or zip file) into the user's models, whole or not at all.

    Raises:
        ModelError: if the source is no such bundle, is damaged or unsafe, or the name is taken.
    """
    from KidneySegLib.models.importing import BundleKind, import_as

    def verify(bundle: UltrasoundBundle, told: Progress) -> None:
        verify_ultrasound_bundle(bundle, progress=told)

    if name is not None and not NAME_PATTERN.fullmatch(name):
        raise ModelError(f"A model's name must be letters, digits, '.', '_' or '-', got '{name}'.")
    return import_as(BundleKind(parse_manifest, read_ultrasound_bundle, verify), source, name, replace, progress)


def ultrasound_folder(name_or_path: str | Path) -> Path | None:
    """The folder of a name or path if what lies there is an ultrasound bundle (valid or not), else None."""
    text = str(name_or_path)
    if any(s in text for s in (os.sep, os.altsep) if s) or isinstance(name_or_path, Path):
        folder = Path(text).expanduser()
        return folder if has_ultrasound_manifest(folder) else None
    if NAME_PATTERN.fullmatch(text):
        for parent in (*_folders(), Path()):
            if (parent / text / MANIFEST).is_file():
                return parent / text if has_ultrasound_manifest(parent / text) else None
    return None


def is_embedded(bundle: UltrasoundBundle) -> bool:
    """Whether a bundle ships with the program."""
    try:
        return bundle.path.resolve().parent == embedded_models_dir().resolve()
    except KidneySegError:
        return False


def _folders() -> list[Path]:
    folders = [user_models_dir()]
    with contextlib.suppress(KidneySegError):  # Without Resources, the user's own models are still there.
        folders.append(embedded_models_dir())
    return folders
