"""The lines that the panel and its child process exchange: one JSON object a line, UTF-8, over the child's pipes.

Requests carry ``id`` (a whole number chosen by the panel) and ``command``; the first must be ``hello`` with
``protocol`` and ``version``. Replies carry the request's ``id`` and ``event``: any number of ``progress``, then
exactly one of ``result``, ``error`` or ``cancelled``. Voxels never travel in a line: see `worker_parts.arrays`.
This file needs only the standard library, so that both ends share it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

PROTOCOL = "kidneyseg-worker"
VERSION = 1
#: A line longer than this is not ours (a whole measurement table is below 64 kB).
MAX_LINE_BYTES = 1 << 20

COMMANDS = (
    "hello",
    "capabilities",
    "devices",
    "models",
    "import_model",
    "verify_model",
    "remove_model",
    "check",
    "segment",
    "segment_ultrasound",
    "measure",
    "sample",
    "dataset_add",
    "dataset_list",
    "dataset_load",
    "dataset_export",
    "dicom_seg",
    "cancel",
    "shutdown",
)
#: Commands that the reading thread obeys at once, even while another one runs.
IMMEDIATE_COMMANDS = ("cancel", "shutdown")

#: Exit statuses of the child that tell the panel why it ended by itself.
EXIT_OK = 0
EXIT_NOT_OUR_PROTOCOL = 64
EXIT_ABANDONED = 75
EXIT_OUT_OF_MEMORY = 77

#: File that marks a private workspace, so that only such a folder is ever cleaned away.
WORKSPACE_MARKER = ".kidneyseg-workspace"


class ProtocolError(Exception):
    """A line is not of this protocol or version: the other end is another program, or an older KidneySeg."""


def encode(message: Mapping[str, Any]) -> bytes:
    """One line, newline included. Not-a-number is refused: a cell that was not measured is an empty string."""
    return json.dumps(message, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode() + b"\n"


def decode(line: bytes) -> dict[str, Any]:
    """The object on one line.

    Raises:
        ProtocolError: if the line is too long, or is not one JSON object in UTF-8.
    """
    if len(line) > MAX_LINE_BYTES:
        raise ProtocolError(f"a line must be at most {MAX_LINE_BYTES} bytes long, got {len(line)} or more")
    try:
        message = json.loads(line.decode())
    except (UnicodeDecodeError, ValueError) as error:
        raise ProtocolError(f"a line must be one JSON object, got {line[:60]!r}") from error
    if not isinstance(message, dict):
        raise ProtocolError(f"a line must be one JSON object, got {type(message).__name__}")
    return message


def check_request(message: Mapping[str, Any]) -> tuple[int, str]:
    """The id and command of a request.

    Raises:
        ProtocolError: if either is missing, of another type, or unknown.
    """
    request_id, command = message.get("id"), message.get("command")
    if not isinstance(request_id, int) or isinstance(request_id, bool):
        raise ProtocolError(f"a request must have a whole number as id, got {request_id!r}")
    if command not in COMMANDS:
        raise ProtocolError(f"command must be one of {', '.join(COMMANDS)}, got {command!r}")
    return request_id, str(command)


def check_greeting(message: Mapping[str, Any]) -> None:
    """Accept the other end's greeting (a ``hello`` request, or the reply to it).

    Raises:
        ProtocolError: if it names another protocol or another version of it.
    """
    protocol, version = message.get("protocol"), message.get("version")
    if protocol != PROTOCOL:
        raise ProtocolError(f"the other end must speak {PROTOCOL}, got {protocol!r}")
    if version != VERSION:
        raise ProtocolError(
            f"both ends must speak version {VERSION} of {PROTOCOL}, the other end speaks {version!r}. "
            "KidneySeg was updated while it ran, or two copies are installed: restart 3D Slicer."
        )
