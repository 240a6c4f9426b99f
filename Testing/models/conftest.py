from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("torch")
# pytest's importlib mode leaves test folders off the path; the analytic bundles stand with the inference tests.
sys.path.insert(0, str(Path(__file__).parent.parent / "inference"))

import analytic_bundles

from KidneySegLib.models import Bundle, read_bundle


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle folder that tests must not change."""
    folder = tmp_path_factory.mktemp("made") / "analytic"
    analytic_bundles.write_fine(folder, localiser="coarse", metrics={"dice": 0.93}, training={"steps": 10})
    return folder


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    """A copy of the bundle folder, free to be damaged."""
    import shutil

    return Path(shutil.copytree(made, tmp_path / "source" / "analytic"))


@pytest.fixture
def bundle(folder: Path) -> Bundle:
    return read_bundle(folder)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's models and the embedded ones: empty folders of the test's own. Returns the user's."""
    from KidneySegLib.models import importing, store

    monkeypatch.setenv("KIDNEYSEG_HOME", str(tmp_path / "home"))
    embedded = tmp_path / "Resources" / "models"
    embedded.mkdir(parents=True)
    for module in (store, importing):
        monkeypatch.setattr(module, "embedded_models_dir", lambda: embedded)
    return tmp_path / "home" / "models"


@pytest.fixture
def embedded(tmp_path: Path) -> Path:
    return tmp_path / "Resources" / "models"


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """Tiny networks gain nothing from more threads, and tests share the machine."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KIDNEYSEG_THREADS", "1")
        yield
