"""Where bundles lie: find, list, verify and remove them."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

from KidneySegLib.errors import KidneySegError, ModelError
from KidneySegLib.files import file_sha256
from KidneySegLib.models.bundle import MANIFEST, NAME_PATTERN, Bundle
from KidneySegLib.models.manifest import read_bundle
from KidneySegLib.models.model_json import B, BundleOnDisk
from KidneySegLib.progress import Progress
from KidneySegLib.resources import embedded_models_dir, user_models_dir

#: The embedded model that `kidneyseg segment` uses unless told otherwise.
DEFAULT_MODEL = "kidneyseg-arterial"


def find_bundle(name_or_path: str | Path, progress: Progress = Progress(), *, beside: Path | None = None) -> Bundle:
    """The bundle of a name, or at a path.

    A name is looked for in the folder ``beside`` (where given), then among the user's models, then among the
    embedded ones. A text with a path separator, or a `Path`, is a folder.

    Raises:
        ModelError: if there is none (the message lists what there is), or its manifest is not valid.
    """
    progress.check()
    folder = folder_of(name_or_path, beside)
    if folder is not None:
        return read_bundle(folder)
    known = ", ".join(path.name for path in bundle_folders()) or "none"
    raise ModelError(
        f"No model is called '{name_or_path}'. Known models: {known}. Give one of these names, the path of a bundle "
        "folder, or import the model first (kidneyseg models import)."
    )


def folder_of(name_or_path: str | Path, beside: Path | None = None) -> Path | None:
    """The folder that a name or path means, for every kind of bundle; see `find_bundle`.

    Returns:
        A path as it is, whether there is anything or not; None where no bundle has that name.
    """
    text = str(name_or_path)
    separators = [s for s in (os.sep, os.altsep) if s]
    if isinstance(name_or_path, Path) or any(s in text for s in separators):
        return Path(text).expanduser()
    places = [*([beside] if beside is not None else []), *_model_folders()] if NAME_PATTERN.fullmatch(text) else []
    for place in (*places, Path()):
        if (place / text / MANIFEST).is_file():
            return place / text
    return None


def find_localiser(bundle: Bundle, progress: Progress = Progress()) -> Bundle | None:
    """The localiser that a bundle names, looked for beside it first; None where it names none.

    Raises:
        ModelError: if it is missing, or is no localiser.
    """
    if bundle.localiser is None:
        return None
    localiser = find_bundle(bundle.localiser, progress, beside=bundle.path.resolve().parent)
    if not localiser.is_localiser:
        raise ModelError(
            f"The model {bundle.name} names {localiser.name} as its localiser, but that one finds "
            f"{', '.join(localiser.outputs)}; a localiser finds 'kidney'. Use --no-localiser or repair model.json."
        )
    return localiser


def list_bundles() -> tuple[Bundle, ...]:
    """All valid bundles by name: the user's, then embedded ones that the user's do not replace.

    A folder that is no valid bundle is left out here; `find_bundle` says what is wrong with it.
    """
    return list_readable(read_bundle)


def list_readable(read: Callable[[Path], B]) -> tuple[B, ...]:
    """`list_bundles` of the kind that ``read`` reads; it raises a `ModelError` for the other kind."""
    bundles: dict[str, B] = {}
    for path in bundle_folders():
        with contextlib.suppress(ModelError):
            bundle = read(path)
            bundles.setdefault(bundle.name, bundle)
    return tuple(bundles[name] for name in sorted(bundles))


def is_embedded(bundle: BundleOnDisk) -> bool:
    """Whether a bundle ships with the program."""
    try:
        return bundle.path.resolve().parent == embedded_models_dir().resolve()
    except KidneySegError:
        return False


def verify_bundle(bundle: Bundle, progress: Progress = Progress()) -> None:
    """Compare every file with the SHA-256 that the manifest gives.

    Raises:
        ModelError: naming the first file that is missing or differs.
    """
    verify_files(bundle, bundle.sha256, progress)


def verify_files(bundle: BundleOnDisk, names: Iterable[str], progress: Progress = Progress()) -> None:
    """Compare some files of a bundle with their SHA-256. See `verify_bundle`."""
    for name in names:
        progress.check()
        expected = bundle.sha256[name]
        try:
            actual = file_sha256(bundle.path / name)
        except OSError as error:
            raise ModelError(
                f"The file {name} of the model {bundle.name} could not be read: {error}. Import the model again."
            ) from error
        if actual != expected:
            raise ModelError(
                f"{bundle.path / name} is damaged or was changed: its SHA-256 must be {expected}, is {actual}. "
                "Import the model again."
            )


def remove_bundle(name: str) -> Path:
    """Delete one of the user's bundles and say where it was. Embedded ones stay.

    Raises:
        ModelError: if the user has no such model, or it cannot be deleted.
    """
    path = user_models_dir() / name
    if not NAME_PATTERN.fullmatch(name) or not (path / MANIFEST).is_file():
        raise ModelError(
            f"No model of yours is called '{name}' in {user_models_dir()}, so there is nothing to remove. "
            "Models that ship with the program cannot be removed."
        )
    try:
        # Out of sight first, so that a killed removal leaves no half bundle under the name.
        doomed = Path(tempfile.mkdtemp(prefix=".removed-", dir=path.parent)) / name
        path.rename(doomed)
        shutil.rmtree(doomed.parent)
    except OSError as error:
        raise ModelError(f"The model {path} could not be removed: {error}.") from error
    return path


def bundle_folders() -> list[Path]:
    """The folders of all bundles of every kind, valid or not: the user's by name, then embedded ones."""
    found: list[Path] = []
    for folder in _model_folders():
        if folder.is_dir():
            found += sorted(p for p in folder.iterdir() if not p.name.startswith(".") and (p / MANIFEST).is_file())
    return found


def _model_folders() -> list[Path]:
    folders = [user_models_dir()]
    with contextlib.suppress(KidneySegError):  # Without Resources, the user's own models are still there.
        folders.append(embedded_models_dir())
    return folders
