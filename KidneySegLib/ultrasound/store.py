"""Where ultrasound bundles lie: among the other models."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from KidneySegLib.errors import ModelError
from KidneySegLib.models.model_json import check_name
from KidneySegLib.models.store import folder_of, list_readable, verify_files
from KidneySegLib.models.store import is_embedded as is_embedded
from KidneySegLib.progress import Progress
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
    wanted = name_or_path or DEFAULT_MODEL
    folder = folder_of(wanted)
    if folder is not None:
        return read_ultrasound_bundle(folder)
    known = ", ".join(bundle.name for bundle in list_ultrasound_bundles()) or "none"
    raise ModelError(
        f"No ultrasound model is called '{wanted}'. Known ultrasound models: {known}. Give one of these names or the "
        "path of a bundle folder."
    )


def list_ultrasound_bundles() -> tuple[UltrasoundBundle, ...]:
    """All valid ultrasound bundles by name: the user's, then embedded ones that the user's do not replace."""
    return list_readable(read_ultrasound_bundle)


def verify_ultrasound_bundle(
    bundle: UltrasoundBundle, names: Iterable[str] | None = None, progress: Progress = Progress()
) -> None:
    """Compare files with the SHA-256 that the manifest gives; None: all of them.

    Raises:
        ModelError: naming the first file that is missing or differs.
    """
    verify_files(bundle, bundle.sha256 if names is None else names, progress)


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

    if name is not None:
        check_name(name)
    return import_as(BundleKind(parse_manifest, read_ultrasound_bundle, verify), source, name, replace, progress)


def ultrasound_folder(name_or_path: str | Path) -> Path | None:
    """The folder of a name or path if what lies there is an ultrasound bundle (valid or not), else None."""
    folder = folder_of(name_or_path)
    return folder if folder is not None and has_ultrasound_manifest(folder) else None
