"""Case ids: they become names of folders on any operating system."""

from __future__ import annotations

import hashlib
import os
import re

#: With the files in it and a temporary name beside it, a path stays far below Windows' 260 characters.
MAX_LENGTH = 80

_FORBIDDEN = re.compile(r'[<>:"/\\|?*\x00-\x1f\x7f]')
_RESERVED = {"con", "prn", "aux", "nul", *(f"{device}{n}" for device in ("com", "lpt") for n in range(1, 10))}


def problem_of_name(name: str) -> str:
    """Why a text cannot be a case id; empty if it can."""
    if not name:
        return "it is empty"
    if len(name) > MAX_LENGTH:
        return f"it has {len(name)} characters, more than {MAX_LENGTH}"
    if _FORBIDDEN.search(name) or not name.isprintable():
        return 'it holds one of < > : " / \\ | ? * or an invisible character'
    if name[0] == "." or name[-1] in ". " or name[0] == " ":
        return "it begins or ends with a dot or a space"
    if name.partition(".")[0].lower() in _RESERVED:
        return "Windows reserves this name"
    return ""


def name_of_folder(name: str) -> str:
    """The case id of a folder: its name, or where that will not do, what is left of it and a few digits of its hash."""
    if not problem_of_name(name):
        return name
    digits = hashlib.sha256(os.fsencode(name)).hexdigest()[:8]
    kept = "".join(
        char if char.isalnum() or char in "-_" else "_" for char in os.fsencode(name).decode("utf-8", "replace")
    )
    return f"case_{kept[: MAX_LENGTH - 14]}_{digits}"


def same_on_disk(name: str) -> str:
    """Names for which this is equal are one folder on Windows and macOS."""
    import unicodedata

    return unicodedata.normalize("NFC", name).casefold()
