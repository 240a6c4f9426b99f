from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("torch")
# pytest's importlib mode leaves a test's own folder off the path.
sys.path.insert(0, str(Path(__file__).parent))

import analytic_bundles

from KidneySegLib.models import Bundle, read_bundle


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of bundles: ``fine`` (names ``coarse`` as its localiser) and ``coarse``."""
    folder = tmp_path_factory.mktemp("models")
    analytic_bundles.write_localiser(folder / "coarse")
    analytic_bundles.write_fine(folder / "fine", localiser="coarse")
    return folder


@pytest.fixture(scope="session")
def fine(models: Path) -> Bundle:
    return read_bundle(models / "fine")


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """Tiny networks gain nothing from more threads, and tests share the machine."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KIDNEYSEG_THREADS", "1")
        yield
