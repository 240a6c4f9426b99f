"""The text header of a MetaImage file, checked before ITK reads it: its reader (MetaIO) trusts what it finds there.

An ``NDims`` that is no small number ends the whole process inside MetaIO, which keeps fields in arrays of a fixed size.
Format: https://itk.org/Wiki/ITK/MetaIO/Documentation
"""

from __future__ import annotations

import math
from pathlib import Path

from KidneySegLib.errors import InputError

#: A header is a page of text.
_MAX_HEADER_BYTES = 1 << 16
#: Texts are copied into buffers of 255 bytes.
_MAX_TEXT = 250
_MAX_LINE = 2000
_MAX_DIMENSIONS = 4
#: Fields that hold one number, or one for each axis, or a matrix.
_PER_AXIS = ("DimSize", "ElementSpacing", "ElementSize", "Offset", "Position", "Origin", "CenterOfRotation")
_MATRICES = ("TransformMatrix", "Rotation", "Orientation")
_SINGLE = ("NDims", "HeaderSize", "ElementNumberOfChannels", "CompressedDataSize", "ID", "ParentID")
_LAST = "ElementDataFile"


def check_meta_header(path: Path, name: str) -> None:
    """Refuse a header that MetaIO might stumble over.

    Args:
        path: ``.mha`` or ``.mhd``.
        name: how to call it in messages.

    Raises:
        InputError: fields that are missing, no numbers, too many, too long, or a data file elsewhere.
    """
    fields = _fields(path, name)

    def refuse(what: str) -> InputError:
        return InputError(f"{name} is damaged or not a MetaImage as its name says ({what}). Export the CT again.")

    for key, text in fields.items():
        if len(key) > _MAX_TEXT or len(text) > (_MAX_TEXT if key not in (*_PER_AXIS, *_MATRICES) else _MAX_LINE):
            raise refuse(f"its field {key[:40]!r} is too long")
    count = _numbers(fields.get("NDims", ""))
    if count is None or len(count) != 1 or count[0] not in range(2, _MAX_DIMENSIONS + 1):
        raise refuse(f"NDims must be 2 to {_MAX_DIMENSIONS}, got {fields.get('NDims', '')[:40]!r}")
    axes = int(count[0])
    wanted = {**dict.fromkeys(_PER_AXIS, axes), **dict.fromkeys(_MATRICES, axes**2), **dict.fromkeys(_SINGLE, 1)}
    for key, numbers in wanted.items():
        if key in fields:
            values = _numbers(fields[key])
            if values is None or len(values) != numbers:
                raise refuse(f"{key} must be {numbers} numbers, got {fields[key][:40]!r}")
            if key == "DimSize" and any(value < 1 or value != int(value) or value > 2**31 for value in values):
                raise refuse(f"DimSize must be whole numbers above 0, got {fields[key][:40]!r}")
            if key == "ElementNumberOfChannels" and not 1 <= values[0] <= 4096:
                raise refuse(f"{key} must be at least 1, got {fields[key][:40]!r}")
    if "DimSize" not in fields:
        raise refuse("DimSize is missing")
    data_file = fields[_LAST]
    if data_file.upper() != "LOCAL" and (Path(data_file).is_absolute() or ".." in Path(data_file).parts):
        raise refuse("its voxels are said to lie in another folder")
    if "%" in data_file or data_file.upper().startswith("LIST"):
        raise refuse("its voxels are spread over many files; convert it to one")


def _fields(path: Path, name: str) -> dict[str, str]:
    """Fields up to the one that ends the header."""
    with path.open("rb") as stream:
        head = stream.read(_MAX_HEADER_BYTES)
    fields: dict[str, str] = {}
    for line in head.split(b"\n"):
        key, equals, text = line.decode("latin-1").partition("=")
        key = key.strip()
        if not equals or "\0" in key:
            break
        if key in fields:
            raise InputError(f"{name} is damaged: its header has {key[:40]} twice. Export the CT again.")
        fields[key] = text.strip()
        if key == _LAST:
            return fields
    raise InputError(
        f"{name} is damaged or not a MetaImage as its name says (its header has no end). Copy, download or export it "
        "again."
    )


def _numbers(text: str) -> list[float] | None:
    try:
        values = [float(word) for word in text.split()]
    except ValueError:
        return None
    return values if values and all(map(math.isfinite, values)) and max(map(abs, values)) < 1e15 else None
