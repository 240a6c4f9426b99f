"""The files of an input: on disk, in nested folders or inside a zip, which is never unpacked.

Members of a zip are read in place, so their names never become paths and nothing has to be cleaned up.
"""

from __future__ import annotations

import io
import os
import struct
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import IO

from KidneySegLib.errors import InputError

#: A study is rarely more than 10 000 files; many more is no CT.
MAX_ZIP_MEMBERS = 100_000
#: Declared size of one unpacked member. zipfile never gives out more than is declared. An enhanced CT of
#: 512 x 512 x 4000 voxels is 2 GiB.
MAX_ZIP_MEMBER_BYTES = 4 * 1024**3
#: Declared size of all members together.
MAX_ZIP_BYTES = 64 * 1024**3

#: A zip that unpacks to more than this many times its size is none of a CT (a CT packs to half or a third).
MAX_ZIP_RATIO = 300
#: Below this size the ratio does not matter.
_HARMLESS_BYTES = 1024**3

#: Bytes that `kind_of` looks at: DICOM's preamble (128) and its mark, and a little more for bare DICOM.
HEAD_BYTES = 352

IMAGE_SUFFIXES = (".nii.gz", ".nii", ".nrrd", ".nhdr", ".mha", ".mhd")
DICOM_SUFFIXES = (".dcm", ".dicom", ".ima")
_PICTURES = (b"\x89PNG", b"\xff\xd8\xff", b"BM", b"GIF8", b"II*\x00", b"MM\x00*", b"%PDF")
# A DICOM file without preamble begins with an element of group 2 or 8, little endian.
_BARE_DICOM = tuple(
    group + element
    for group, elements in ((b"\x02\x00", b"\x00\x01\x10"), (b"\x08\x00", b"\x00\x05\x08\x12\x16\x18"))
    for element in (bytes([low, 0]) for low in elements)
)


class Kind(Enum):
    """What a file is, judged by its first bytes and then by its name."""

    DICOM = "DICOM"
    IMAGE = "image file"
    ZIP = "zip archive"
    PICTURE = "picture"
    OTHER = "other"


class _WithinFile(io.BufferedReader):
    """A file that is never asked for more than it holds: Python takes the memory for a read before it reads.

    A damaged DICOM element that claims 4 GiB then costs no more than the rest of its file.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(io.FileIO(path))
        self._length = os.fstat(self.fileno()).st_size

    def read(self, size: int | None = -1, /) -> bytes:
        if size is None or size < 0:
            return super().read()
        return super().read(min(size, max(self._length - self.tell(), 0)))


@dataclass(frozen=True)
class Entry:
    """One file of an input.

    Attributes:
        name: as shown to the user; relative to the input where it lies in a folder or zip.
        path: the file, or the zip that holds it.
        member: its record in the zip, or None.
        archive: the open zip, or None.
    """

    name: str
    path: Path
    member: zipfile.ZipInfo | None = None
    archive: zipfile.ZipFile | None = None

    def open(self) -> IO[bytes]:
        """The file, opened for reading. The caller closes it."""
        if self.archive is None or self.member is None:
            return _WithinFile(self.path)
        return self.archive.open(self.member)

    def read(self) -> IO[bytes]:
        """The file for random access: as `open`, but a member of a zip is first read into memory."""
        if self.member is None:
            return self.open()
        with self.open() as stream:
            return io.BytesIO(stream.read())

    def head(self) -> bytes:
        with self.open() as stream:
            return stream.read(HEAD_BYTES)


def shown(path: Path | str) -> str:
    """A path as text that any terminal can print: names that are not valid Unicode lose their odd bytes."""
    return os.fsencode(path).decode("utf-8", "replace")


def kind_of(entry: Entry) -> Kind:
    """What an entry is. A file named ``.nii.gz`` is an image file whatever it holds: reading it says what is wrong."""
    name = entry.name.lower()
    head = entry.head()
    if head[128:132] == b"DICM":
        return Kind.DICOM
    if name.endswith(IMAGE_SUFFIXES):
        return Kind.IMAGE
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06")) or name.endswith(".zip"):
        return Kind.ZIP
    if name.endswith(DICOM_SUFFIXES) or head[:4] in _BARE_DICOM:
        return Kind.DICOM
    return Kind.PICTURE if head.startswith(_PICTURES) else Kind.OTHER


def walk(folder: Path) -> tuple[Entry, ...]:
    """All files below a folder, in a stable order; hidden ones, links to folders and DICOMDIR are left out."""
    entries = []
    for root, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not _ignored(name))
        for name in sorted(files):
            path = Path(root) / name
            if not _ignored(name) and path.is_file():
                entries.append(Entry(shown(path.relative_to(folder)), path))
    return tuple(entries)


def _ignored(name: str) -> bool:
    return name.startswith(".") or name in ("__MACOSX", "DICOMDIR", "Thumbs.db", "desktop.ini")


@contextmanager
def open_zip(path: Path) -> Iterator[tuple[Entry, ...]]:
    """The files inside a zip, readable while the context lasts.

    Raises:
        InputError: damaged, encrypted, or larger than the limits of this module.
    """
    try:
        archive = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, NotImplementedError, ValueError, struct.error) as error:
        raise InputError(
            f"{shown(path)} is not a complete zip archive ({error}). Copy or download it again, or unpack it and give "
            "the folder."
        ) from error
    with archive:
        # Not `is_dir`, which stumbles over a member without a name.
        members = [info for info in archive.infolist() if info.filename and not info.filename.endswith("/")]
        if any(info.flag_bits & 1 for info in members):
            raise InputError(f"{shown(path)} is protected by a password. Unpack it and give the folder.")
        total = sum(info.file_size for info in members)
        largest = max((info.file_size for info in members), default=0)
        bomb = total > max(_HARMLESS_BYTES, MAX_ZIP_RATIO * path.stat().st_size)
        if bomb or len(members) > MAX_ZIP_MEMBERS or total > MAX_ZIP_BYTES or largest > MAX_ZIP_MEMBER_BYTES:
            raise InputError(
                f"{shown(path)} would unpack to {len(members)} files and {total / 1024**3:.1f} GiB, which is more than "
                f"a CT study holds. Give a zip with one study only."
            )
        yield tuple(
            Entry(info.filename.encode("utf-8", "replace").decode(), path, info, archive)
            for info in sorted(members, key=lambda info: info.filename)
            if not any(_ignored(part) for part in info.filename.replace("\\", "/").split("/") if part.strip("."))
        )
