from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch")
# pytest's importlib mode leaves test folders off the path; the analytic bundles stand with the inference tests.
sys.path.insert(0, str(Path(__file__).parent.parent / "inference"))
os.environ.setdefault("KIDNEYSEG_THREADS", "1")

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
