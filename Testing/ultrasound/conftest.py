"""Pictures and bundles that several tests share."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from KidneySegLib.ultrasound.bundle import UltrasoundBundle

#: A light ensemble: the real architecture, four channels wide.
LIGHT = {"deeplab_depths": [18, 18], "width": 4, "decoder_channels": 8, "low_level_channels": 4}


@pytest.fixture(scope="session")
def untrained_bundle(tmp_path_factory: pytest.TempPathFactory) -> UltrasoundBundle:
    """A bundle with random weights, in a folder of its own."""
    torch = pytest.importorskip("torch")
    from KidneySegLib.networks import build_network
    from KidneySegLib.ultrasound.bundle import UltrasoundSpec
    from KidneySegLib.ultrasound.export import write_ultrasound_bundle

    torch.manual_seed(3)
    network = build_network("TripleConcat", {**LIGHT, "in_channels": 1, "out_channels": 1})
    spec = UltrasoundSpec(
        name="untrained",
        version="1",
        title="Untrained",
        licence="Apache-2.0",
        citation="",
        intended_use="Tests.",
        network="TripleConcat",
        network_arguments=LIGHT,
        channels=1,
        size=(64, 64),
    )
    return write_ultrasound_bundle(tmp_path_factory.mktemp("bundles") / "untrained", spec, network.state_dict())


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder of the user's own."""
    monkeypatch.setenv("KIDNEYSEG_HOME", str(tmp_path / "home"))
    return tmp_path / "home"
