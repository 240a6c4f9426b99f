"""Fetch a model from the web when the user asks for it: resumed where it broke off, and checked against its SHA-256.

Nothing here runs unless a person typed the address. What comes is stored in ``$KIDNEYSEG_HOME/downloads`` and stays
there until the person deletes it; a part of a file has ``.part`` at its end.
"""

from __future__ import annotations

import http.client
import json
import re
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from KidneySegLib.errors import ModelError
from KidneySegLib.files import file_sha256, why_not_written
from KidneySegLib.models.bundle import SHA256_PATTERN
from KidneySegLib.models.importing import MAX_FILE_BYTES
from KidneySegLib.progress import Progress
from KidneySegLib.resources import user_dir

_TIMEOUT_S = 60.0
_CHUNK_BYTES = 1 << 20
_PLAIN = re.compile(r"[^A-Za-z0-9._-]+")


@dataclass(frozen=True)
class Offer:
    """What a server says of a file before it is fetched.

    Attributes:
        url: as given.
        name: what the file will be called here.
        size_bytes: None where the server does not tell.
        resumable: whether a part can be continued.
    """

    url: str
    name: str
    size_bytes: int | None
    resumable: bool


def downloads_dir() -> Path:
    """Where downloads are stored. It may not exist yet."""
    return user_dir() / "downloads"


def look_up(url: str) -> Offer:
    """Ask a server for a file's size, without fetching it.

    Raises:
        ModelError: if the address is none of the web, or the server does not give the file.
    """
    _check_address(url)
    # One byte: some servers answer HEAD with an error, and this shows whether parts can be had.
    with _open(url, {"Range": "bytes=0-0"}) as response:
        resumable = response.status == 206
        total = response.headers.get("Content-Range", "").rpartition("/")[2] if resumable else ""
        size = total if resumable else response.headers.get("Content-Length", "")
    return Offer(url, _name_of(url), int(size) if size.isdecimal() else None, resumable)


def download(url: str, sha256: str, progress: Progress = Progress(), *, folder: Path | None = None) -> Path:
    """Fetch a file, or the rest of it, and check it.

    Args:
        url: http or https; an https address is never followed to an http one.
        sha256: what the file must have, 64 hexadecimal digits.
        progress: told the share that is here; may cancel (the part stays, and the next call goes on).
        folder: where to put it; default `downloads_dir`.

    Returns:
        The file, which has that SHA-256.

    Raises:
        ModelError: if the server does not give it, the connection broke (the part stays) or the file is another one
            (it is deleted).
    """
    wanted = sha256.strip().lower()
    if not SHA256_PATTERN.fullmatch(wanted):
        raise ModelError(f"A SHA-256 has 64 hexadecimal digits, got '{sha256:.80}'. Copy it from its makers' page.")
    _check_address(url)
    place = folder or downloads_dir()
    target = place / _name_of(url)
    try:
        place.mkdir(parents=True, exist_ok=True)
        if target.is_file():
            if file_sha256(target) == wanted:
                return target
            raise ModelError(f"{target} exists already and is another file. Delete or move it, then try again.")
        part = _Part(target, url, wanted)
        found = file_sha256(part.path) if part.size else ""
        if found != wanted:  # Else it was whole, and the program ended before it could say so.
            _fetch(part, url, progress)
            found = file_sha256(part.path)
        if found != wanted:
            part.delete()
            raise ModelError(
                f"What {url} gave has SHA-256 {found}, but {wanted} was expected. It was deleted. Check the address "
                "and the SHA-256; if both are right, the file was changed on its way and must not be used."
            )
        part.path.replace(target)
        part.delete()
    except OSError as error:
        raise ModelError(
            f"{target} could not be written ({why_not_written(error)}). Make room, or set $KIDNEYSEG_HOME."
        ) from error
    progress.report("download", 1.0)
    return target


class _Part:
    """A file that is not whole yet, with a note of what it is a part of."""

    def __init__(self, target: Path, url: str, sha256: str) -> None:
        self.path = target.with_name(target.name + ".part")
        self._note = target.with_name(target.name + ".part.json")
        self._facts = {"url": url, "sha256": sha256}
        self.version = ""
        if self._read() != self._facts:
            self.delete()
            self.version = ""

    def _read(self) -> dict[str, Any]:
        try:
            content = json.loads(self._note.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        self.version = str(content.pop("version", "")) if isinstance(content, dict) else ""
        return content if isinstance(content, dict) else {}

    @property
    def size(self) -> int:
        return self.path.stat().st_size if self.path.is_file() else 0

    def begin(self, version: str) -> None:
        """Start over with a version of the file (its ETag, or when it was changed)."""
        self.version = version
        self._note.write_text(json.dumps({**self._facts, "version": version}), encoding="utf-8")
        self.path.write_bytes(b"")

    def delete(self) -> None:
        self.path.unlink(missing_ok=True)
        self._note.unlink(missing_ok=True)


def _fetch(part: _Part, url: str, progress: Progress) -> None:
    """Fetch what is missing of a part."""
    headers = {}
    # Without a version the server could append to another file; the SHA-256 would show it, but for nothing fetched.
    if part.size and part.version:
        headers = {"Range": f"bytes={part.size}-", "If-Range": part.version}
    with _open(url, headers) as response:
        start = _start_of(response)
        if response.status == 206 and start != part.size:
            raise ModelError(f"{url}: the server gave another part ({start}) than asked for ({part.size}). Try again.")
        if response.status != 206:
            part.begin(_version_of(response.headers))
        length = response.headers.get("Content-Length", "")
        total = part.size + int(length) if length.isdecimal() else None
        if total is not None and total > MAX_FILE_BYTES:
            raise ModelError(f"{url} has {total} bytes, more than any model ({MAX_FILE_BYTES}). It was not fetched.")
        with part.path.open("ab") as file:
            have = part.size
            while True:
                progress.report("download", have / total if total else 0.0, f"{have / 1e6:.0f} MB")
                try:
                    chunk = response.read(_CHUNK_BYTES)
                except (OSError, http.client.HTTPException):
                    break
                if not chunk:
                    break
                have += len(chunk)
                if have > MAX_FILE_BYTES:
                    raise ModelError(
                        f"{url} gives more than {MAX_FILE_BYTES} bytes, more than any model. It was stopped."
                    )
                file.write(chunk)
    if total is not None and have < total:
        raise ModelError(
            f"The connection broke after {have} of {total} bytes. What came is kept in {part.path}; run the same "
            "command again to go on."
        )


def _start_of(response: Any) -> int:
    match = re.match(r"bytes (\d+)-", response.headers.get("Content-Range", ""))
    return int(match.group(1)) if match else 0


def _version_of(headers: Mapping[str, str]) -> str:
    tag = headers.get("ETag", "")
    return tag if tag and not tag.startswith("W/") else headers.get("Last-Modified", "")


class _SafeRedirects(urllib.request.HTTPRedirectHandler):
    """Follows addresses of the web only, and from https to https only."""

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        _check_address(newurl)
        if req.full_url.startswith("https:") and not newurl.startswith("https:"):
            raise ModelError(f"{req.full_url} leads to {newurl}, which is not encrypted. It was not followed.")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


@contextmanager
def _open(url: str, headers: Mapping[str, str]) -> Iterator[Any]:
    opener = urllib.request.build_opener(_SafeRedirects)
    request = urllib.request.Request(url, headers={"User-Agent": "kidneyseg", "Accept-Encoding": "identity", **headers})
    try:
        response = opener.open(request, timeout=_TIMEOUT_S)
    except urllib.error.HTTPError as error:
        with error:
            raise ModelError(f"{url} could not be fetched: the server answered {error.code} {error.reason}.") from error
    except (OSError, http.client.HTTPException, ValueError) as error:
        reason = getattr(error, "reason", error)
        raise ModelError(f"{url} could not be fetched: {reason}. Is this computer on the internet?") from error
    with response:
        yield response


def _check_address(url: str) -> None:
    parts = urllib.parse.urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ModelError(f"An address that begins with https:// was expected, got '{url:.200}'.")


def _name_of(url: str) -> str:
    last = urllib.parse.unquote(urllib.parse.urlsplit(url).path).rstrip("/").rpartition("/")[2]
    return _PLAIN.sub("_", last).strip("._")[:100] or "model"
