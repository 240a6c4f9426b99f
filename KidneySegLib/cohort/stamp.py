"""Whether a scan's files look as they did, told without reading them."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path


def source_stamp(source: Path) -> str:
    """Hash of the names, sizes and times of a scan's files; empty if they cannot be looked at.

    An equal stamp means: not touched since. A different one means nothing; then the scan is read and its content
    hash decides. The time of the inode's last change is in it, which no program can set back.

    Args:
        source: a file, or a folder with files at any depth.
    """
    digest = hashlib.sha256()
    try:
        if not source.is_dir():
            _add(digest, source.name, source.stat())
            return digest.hexdigest()
        stack = [source]
        while stack:
            folder = stack.pop()
            with os.scandir(folder) as listing:
                entries = sorted(listing, key=lambda entry: entry.name)
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    stack.append(Path(entry.path))
                else:
                    _add(digest, os.path.relpath(entry.path, source), entry.stat())
    except OSError:
        return ""
    return digest.hexdigest()


def _add(digest: hashlib._Hash, name: str, facts: os.stat_result) -> None:
    digest.update(os.fsencode(name))
    digest.update(f"\0{facts.st_size} {facts.st_mtime_ns} {facts.st_ctime_ns}\n".encode())
