"""The panel's tests in the test host. In a real Slicer, Testing/run_in_slicer.py runs them without this file."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(path) for path in (ROOT, ROOT / "Testing", ROOT / "KidneySeg", Path(__file__).parent)]

pytest.importorskip("slicer_core", reason="needs the extra 'slicer-host'")
pytest.importorskip("PySide6", reason="needs the extra 'slicer-host'")

from slicer_host import install  # noqa: E402

# Before any test file is imported: from here on `import slicer` is as inside Slicer.
HOST = install()


@pytest.fixture(scope="session")
def slicer_host():
    HOST.load_module(ROOT / "KidneySeg" / "KidneySeg.py")
    return HOST


@pytest.fixture(autouse=True)
def no_hidden_exception(slicer_host):
    """An exception in a slot, timer or observer is printed in Slicer and lost; here it fails the test."""
    slicer_host.errors.clear()
    slicer_host.messages.clear()
    yield
    hidden = slicer_host.errors.take()
    assert not hidden, f"exceptions in slots or observers: {hidden}"
