"""Bring a bundle, a folder or a zip file, into the user's models. Nothing in it is trusted."""

from __future__ import annotations

import json
import os
import stat
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Generic

from KidneySegLib.errors import ModelError
from KidneySegLib.models.bundle import MANIFEST, MAX_MANIFEST_BYTES, Bundle
from KidneySegLib.models.bundle_folder import fresh_folder
from KidneySegLib.models.manifest import parse_manifest, read_bundle
from KidneySegLib.models.model_json import B, check_name, write_manifest
from KidneySegLib.models.store import verify_bundle
from KidneySegLib.progress import Progress
from KidneySegLib.resources import embedded_models_dir, user_models_dir

#: The largest file that a bundle may hold: several times the largest network that we know (800 MB).
MAX_FILE_BYTES = 8 * 1024**3
MAX_ZIP_MEMBERS = 1000
_COPY_CHUNK_BYTES = 1 << 20

Opener = Callable[[str], IO[bytes]]


@dataclass(frozen=True)
class BundleKind(Generic[B]):
    """How bundles of one kind are understood.

    Attributes:
        parse: text of a manifest and its folder to a bundle.
        read: a folder to a bundle.
        verify: compares all files with their hashes.
    """

    parse: Callable[[str, Path], B]
    read: Callable[[Path], B]
    verify: Callable[[B, Progress], None]


def import_bundle(
    source: str | Path, name: str | None = None, replace: bool = False, progress: Progress = Progress()
) -> Bundle:
    """Copy a bundle into the user's models, whole or not at all; a trained nnU-Net model becomes one.

    Of a bundle only the files that its manifest lists are copied, each compared with its SHA-256. For nnU-Net's models
    see `nnunet.import_nnunet`, which has more options.

    Args:
        source: a bundle folder, or a zip file of one (at its top, or in one folder); or a model of nnU-Net.
        name: another name for it; default its own.
        replace: allow an existing model of that name (an embedded one is then hidden, not changed).
        progress: told about each file; may cancel.

    Raises:
        ModelError: if the source is no bundle, is damaged or unsafe, or the name is taken.
    """
    source = Path(source).expanduser()
    if name is not None:
        check_name(name)
    from KidneySegLib.models.nnunet_folder import is_nnunet

    if is_nnunet(source):
        from KidneySegLib.models.nnunet import import_nnunet

        return import_nnunet(source, name, replace=replace, progress=progress)
    return import_as(BundleKind(parse_manifest, read_bundle, verify_bundle), source, name, replace, progress)


def import_as(kind: BundleKind[B], source: Path, name: str | None, replace: bool, progress: Progress) -> B:
    """`import_bundle` for bundles of one kind.

    Raises:
        ModelError: if the source is no bundle of that kind, is damaged or unsafe, or the name is taken.
    """
    with _opened(source) as open_file:
        text = _manifest_text(source, open_file)
        described = kind.parse(text, source)
        final_name = name or described.name
        check_name_is_free(final_name, replace)
        target = user_models_dir() / final_name
        with fresh_folder(target, ".import-") as fresh:
            for index, file_name in enumerate(described.sha256):
                progress.report("import", index / len(described.sha256), file_name)
                with open_file(file_name) as incoming, (fresh / file_name).open("xb") as outgoing:
                    copy_stream(incoming, outgoing, f"{source}: {file_name}", progress)
            write_manifest(fresh, {**json.loads(text), "name": final_name}, kind.parse)
            kind.verify(kind.read(fresh), progress)
    progress.report("import", 1.0)
    return kind.read(target)


def peek_manifest(source: Path) -> object:
    """What the ``model.json`` of a bundle folder or zip file holds, unchecked; None where there is none to read."""
    try:
        with _opened(source) as open_file:
            return json.loads(_manifest_text(source, open_file))
    except (ModelError, ValueError, RecursionError):
        return None


@contextmanager
def _opened(source: Path) -> Iterator[Opener]:
    try:
        if source.is_dir():
            yield _folder_opener(source)
            return
        if not source.is_file():
            raise ModelError(f"A bundle folder or zip file was expected at {source}, but there is none.")
        if not zipfile.is_zipfile(source):
            raise ModelError(f"{source} is neither a folder nor a zip file. Give a model bundle as a folder or zip.")
        with zipfile.ZipFile(source) as archive:
            yield _zip_opener(archive, source)
    except (OSError, zipfile.BadZipFile, RuntimeError, NotImplementedError, EOFError) as error:
        # zipfile raises RuntimeError for encrypted members and NotImplementedError for unknown compression.
        raise ModelError(f"The model {source} could not be imported: {error}") from error


def _manifest_text(source: Path, open_file: Opener) -> str:
    with open_file(MANIFEST) as file:
        data = file.read(MAX_MANIFEST_BYTES + 1)
    if len(data) > MAX_MANIFEST_BYTES:
        raise ModelError(f"{source}: {MANIFEST} is longer than {MAX_MANIFEST_BYTES} bytes, so it is no model's.")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ModelError(f"{source}: {MANIFEST} is not UTF-8 text: {error}") from error


def check_name_is_free(name: str, replace: bool) -> None:
    """Raise a `ModelError` where a model of that name is there already and may not be replaced."""
    if replace:
        return
    for folder in (user_models_dir(), embedded_models_dir()):
        if (folder / name).exists():
            raise ModelError(
                f"A model called '{name}' exists already in {folder}. Choose another name (--name), or replace it "
                "(--replace)."
            )


def copy_stream(incoming: IO[bytes], outgoing: IO[bytes], what: str, progress: Progress) -> None:
    """Copy a file of a model; more than `MAX_FILE_BYTES` are refused, whatever an archive announced."""
    copied = 0
    while chunk := incoming.read(_COPY_CHUNK_BYTES):
        progress.check()
        copied += len(chunk)
        if copied > MAX_FILE_BYTES:
            raise ModelError(f"{what} has more than {MAX_FILE_BYTES} bytes, more than any model; it was refused.")
        outgoing.write(chunk)


def _folder_opener(folder: Path) -> Opener:
    def open_file(name: str) -> IO[bytes]:
        path = folder / name
        if path.is_symlink():
            raise ModelError(f"{path} is a link; a model bundle holds plain files only. It was refused.")
        if not path.is_file():
            if name == MANIFEST:
                raise ModelError(f"{folder} is not a model bundle: it holds no {MANIFEST}.")
            raise ModelError(f"{folder} is incomplete: the file {name} is missing. Get the model again.")
        flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
        return os.fdopen(os.open(path, flags), "rb")

    return open_file


def _zip_opener(archive: zipfile.ZipFile, source: Path) -> Opener:
    members = archive.infolist()
    check_members(members, source)
    tops = [PurePosixPath(m.filename).parent for m in members if PurePosixPath(m.filename).name == MANIFEST]
    tops = [top for top in tops if len(top.parts) <= 1 and top.parts[:1] != ("__MACOSX",)]
    if len(tops) != 1:
        raise ModelError(
            f"{source} is not a model bundle: exactly one {MANIFEST} was expected, at its top or in one folder; "
            f"{len(tops)} were found."
        )
    by_name = {member.filename: member for member in members}

    def open_file(name: str) -> IO[bytes]:
        member = by_name.get(str(tops[0] / name))
        if member is None:
            raise ModelError(f"{source} is incomplete: the file {name} is missing. Get the model again.")
        if member.file_size > MAX_FILE_BYTES:
            raise ModelError(f"{source}: {name} has {member.file_size} bytes, more than any model; it was refused.")
        return archive.open(member)

    return open_file


def check_members(members: list[zipfile.ZipInfo], source: Path) -> None:
    """Raise a `ModelError` where an archive's members are too many, lead out of it, are links or have the same name."""
    if len(members) > MAX_ZIP_MEMBERS:
        raise ModelError(f"{source} holds {len(members)} files; a model bundle holds a few. It was refused.")
    for member in members:
        _check_member(member, source)
    if len({member.filename for member in members}) != len(members):
        raise ModelError(f"{source} holds two files of the same name; it was refused.")


def _check_member(member: zipfile.ZipInfo, source: Path) -> None:
    name = member.filename
    path = PurePosixPath(name)
    unsafe = path.is_absolute() or ".." in path.parts or "\\" in name or ":" in name or "\x00" in name
    if unsafe:
        raise ModelError(f"{source} holds the file name {name!r}, which leads out of its folder. It was refused.")
    mode = member.external_attr >> 16
    if mode and stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise ModelError(f"{source} holds {name!r}, which is a link or special file. It was refused.")
