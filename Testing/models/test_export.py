"""Writing bundles: whole or not at all, and the graph answers like the network."""

from __future__ import annotations

import stat
import subprocess
import sys
from pathlib import Path

import analytic_bundles
import pytest
import torch
from safetensors.torch import load_file

from KidneySegLib.errors import ModelError
from KidneySegLib.models import verify_bundle, write_bundle
from KidneySegLib.models.export import update_manifest
from KidneySegLib.networks import build_network

ARGUMENTS = {"in_channels": 1, "out_channels": 2, "features": [4, 8], "normalisation": "instance"}


def state(seed: int = 0) -> dict[str, torch.Tensor]:
    torch.manual_seed(seed)
    return build_network("UNet3D", ARGUMENTS).state_dict()


def test_weights_come_back_as_they_were(tmp_path: Path) -> None:
    given = state()
    bundle = write_bundle(tmp_path / "b", analytic_bundles.spec("b", network_arguments=ARGUMENTS), given)
    verify_bundle(bundle)
    assert stat.S_IMODE((bundle.path / "weights.safetensors").stat().st_mode) == 0o644
    read = load_file(bundle.path / "weights.safetensors")
    assert read.keys() == given.keys()
    assert all(torch.equal(read[key], given[key]) for key in given)


def test_float16_takes_half_the_space(tmp_path: Path) -> None:
    made = analytic_bundles.spec("b", network_arguments={**ARGUMENTS, "features": [16, 32]})
    torch.manual_seed(0)
    given = build_network("UNet3D", made.network_arguments).state_dict()
    full = write_bundle(tmp_path / "full", made, given)
    half = write_bundle(tmp_path / "half", made, given, float16=True)
    for name in ("weights.safetensors", "network.bin"):
        ratio = (half.path / name).stat().st_size / (full.path / name).stat().st_size
        assert 0.49 < ratio < 0.56
    read = load_file(half.path / "weights.safetensors")
    assert all(torch.allclose(read[key].float(), given[key], atol=1e-3) for key in given)


def test_extra_files_are_hashed_too(tmp_path: Path) -> None:
    out = tmp_path / "out"
    from KidneySegLib.models.export import write_bundle as write

    made = analytic_bundles.spec("b", network_arguments=ARGUMENTS)
    bundle = write(out / "b", made, state(), extra_files={"LICENSE": b"free"})
    assert (bundle.path / "LICENSE").read_bytes() == b"free"
    assert "LICENSE" in bundle.sha256
    with pytest.raises(ModelError, match="plain, free name"):
        write(out / "c", made, state(), extra_files={"../LICENSE": b"free"})
    assert sorted(p.name for p in out.iterdir()) == ["b"]


def test_weights_that_do_not_fit_are_refused_and_nothing_is_left(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(ModelError, match="do not fit the network UNet3D"):
        write_bundle(out / "b", analytic_bundles.spec("b"), state())
    broken = state()
    broken["head.bias"] = torch.tensor([float("nan"), 0.0])
    with pytest.raises(ModelError, match="Are the weights finite"):
        write_bundle(out / "b", analytic_bundles.spec("b", network_arguments=ARGUMENTS), broken)
    three = analytic_bundles.spec("b", network_arguments=ARGUMENTS, outputs=("parenchyma", "cortex", "cyst"))
    with pytest.raises(ModelError, match="must give 3 outputs"):
        write_bundle(out / "b", three, state())
    with pytest.raises(ModelError, match="at least one set of weights"):
        write_bundle(out / "b", analytic_bundles.spec("b"), [])
    assert list(out.iterdir()) == []


def test_a_folder_in_use_is_kept_unless_told(tmp_path: Path) -> None:
    made = analytic_bundles.spec("b", network_arguments=ARGUMENTS)
    first = write_bundle(tmp_path / "b", made, state(0))
    with pytest.raises(ModelError, match="exists already"):
        write_bundle(tmp_path / "b", made, state(1))
    second = write_bundle(tmp_path / "b", made, state(1), replace=True)
    assert first.digest != second.digest
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "photo.jpg").write_text("not ours")
    with pytest.raises(ModelError, match="exists already"):
        write_bundle(tmp_path / "mine", made, state(), replace=True)
    assert (tmp_path / "mine" / "photo.jpg").exists()


def test_metrics_are_added_without_touching_the_weights(tmp_path: Path) -> None:
    bundle = write_bundle(tmp_path / "b", analytic_bundles.spec("b", network_arguments=ARGUMENTS), state())
    changed = update_manifest(bundle, metrics={"dice": 0.94}, version="1.1")
    assert (changed.metrics, changed.version) == ({"dice": 0.94}, "1.1")
    assert changed.sha256 == bundle.sha256
    verify_bundle(changed)
    with pytest.raises(ModelError, match="threshold"):
        update_manifest(changed, threshold=7)
    assert update_manifest(changed, title="New").threshold == 0.5


def test_reading_bundles_needs_neither_torch_nor_openvino(made: Path) -> None:
    code = (
        "import sys; from KidneySegLib.models import read_bundle, verify_bundle; from pathlib import Path; "
        f"verify_bundle(read_bundle(Path({str(made)!r}))); "
        "print([m for m in ('torch', 'openvino', 'numpy', 'SimpleITK', 'scipy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
