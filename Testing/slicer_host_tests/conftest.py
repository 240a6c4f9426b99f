"""One host for all tests of this folder; every test starts with an empty scene and ends without hidden exceptions."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

pytest.importorskip("slicer_core", reason="needs the extra 'slicer-host'")
pytest.importorskip("PySide6", reason="needs the extra 'slicer-host'")

from slicer_host import Host, install


@pytest.fixture(scope="session")
def slicer_host() -> Host:
    return install()


@pytest.fixture
def host(slicer_host: Host) -> Iterator[Host]:
    slicer_host.clear_scene()
    slicer_host.errors.clear()
    slicer_host.messages.clear()
    yield slicer_host
    hidden = slicer_host.errors.take()
    assert not hidden, f"exceptions in slots or observers: {hidden}"
