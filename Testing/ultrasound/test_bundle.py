"""Ultrasound bundles: written, read, verified, listed; and kept apart from those for CT."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

from KidneySegLib.cli.main import main
from KidneySegLib.errors import ModelError
from KidneySegLib.models import find_bundle, list_bundles
from KidneySegLib.resources import embedded_models_dir
from KidneySegLib.ultrasound.bundle import UltrasoundBundle, read_ultrasound_bundle
from KidneySegLib.ultrasound.export import load_network
from KidneySegLib.ultrasound.network import UltrasoundNetwork
from KidneySegLib.ultrasound.store import (
    find_ultrasound_bundle,
    list_ultrasound_bundles,
    verify_ultrasound_bundle,
)


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    capsys.readouterr()
    status = main([str(a) for a in arguments])
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def copy(bundle: UltrasoundBundle, folder: Path) -> Path:
    shutil.copytree(bundle.path, folder)
    return folder


def edit(folder: Path, **changes: object) -> Path:
    content = json.loads((folder / "model.json").read_text(encoding="utf-8"))
    (folder / "model.json").write_text(json.dumps({**content, **changes}), encoding="utf-8")
    return folder


def test_openvino_answers_as_torch_does(untrained_bundle: UltrasoundBundle) -> None:
    import torch
    from safetensors.torch import load_file

    pictures = np.random.default_rng(0).standard_normal((3, 64, 64)).astype(np.float32)
    network = load_network(untrained_bundle, load_file(str(untrained_bundle.path / "weights.safetensors")))
    with torch.no_grad():
        expected = network(torch.from_numpy(pictures[:, None])).sigmoid().numpy()
    ready = UltrasoundNetwork(untrained_bundle, "cpu", "float32", mirror=False)
    assert (ready.backend, ready.device, ready.precision) == ("openvino", "cpu", "float32")
    np.testing.assert_allclose(ready.probabilities(pictures), expected, atol=2e-4)


def test_a_picture_and_its_mirror_image_are_averaged(untrained_bundle: UltrasoundBundle) -> None:
    pictures = np.random.default_rng(1).standard_normal((2, 64, 64)).astype(np.float32)
    plain = UltrasoundNetwork(untrained_bundle, "cpu", "float32", mirror=False).probabilities
    both = UltrasoundNetwork(untrained_bundle, "cpu", "float32").probabilities
    mirrored = plain(np.ascontiguousarray(pictures[:, :, ::-1]))[..., ::-1]
    np.testing.assert_allclose(both(pictures), (plain(pictures) + mirrored) / 2, atol=1e-6)
    np.testing.assert_allclose(both(pictures[:, :, ::-1]), both(pictures)[..., ::-1], atol=1e-6)
    assert np.abs(both(pictures) - plain(pictures)).max() > 1e-3


def test_what_was_written_is_what_is_read(untrained_bundle: UltrasoundBundle) -> None:
    again = read_ultrasound_bundle(untrained_bundle.path)
    assert again == untrained_bundle
    verify_ultrasound_bundle(again)
    assert len(again.digest) == 64


def test_a_changed_file_is_noticed(untrained_bundle: UltrasoundBundle, tmp_path: Path) -> None:
    folder = copy(untrained_bundle, tmp_path / "m")
    with (folder / "network.bin").open("r+b") as file:
        file.write(b"\xff\xff\xff\xff")
    bundle = read_ultrasound_bundle(folder)
    with pytest.raises(ModelError, match=r"network\.bin is damaged"):
        verify_ultrasound_bundle(bundle)
    with pytest.raises(ModelError, match=r"network\.bin is damaged"):
        UltrasoundNetwork(bundle, "cpu")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"format_version": 2}, "format version 2"),
        ({"format": "something"}, "no model for ultrasound"),
        ({"title": ""}, "title"),
        ({"extra": 1}, "unknown keys extra"),
        ({"input": {"channels": 9, "size": [64, 64]}}, "channels"),
        ({"output": {"names": ["liver"], "threshold": 0.5}}, "names"),
        ({"demonstration": "no"}, "demonstration"),
        ({"files": {}}, "SHA-256"),
        ({"files": {"../x": "0" * 64}}, "plain file names"),
    ],
)
def test_a_manifest_is_read_strictly(
    untrained_bundle: UltrasoundBundle, tmp_path: Path, changes: dict[str, object], words: str
) -> None:
    with pytest.raises(ModelError, match=words):
        read_ultrasound_bundle(edit(copy(untrained_bundle, tmp_path / "m"), **changes))


def test_the_doors_refuse_each_other_s_models(untrained_bundle: UltrasoundBundle) -> None:
    with pytest.raises(ModelError, match="kidneyseg ultrasound segment"):
        find_bundle(untrained_bundle.path)
    with pytest.raises(ModelError, match="kidneyseg segment"):
        find_ultrasound_bundle(embedded_models_dir() / "kidneyseg-arterial")
    assert "untrained" not in {b.name for b in list_bundles()}


def test_models_lists_shows_verifies_imports_and_removes(
    untrained_bundle: UltrasoundBundle, tmp_path: Path, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    archive = shutil.make_archive(str(tmp_path / "m"), "zip", untrained_bundle.path)
    status, out, _ = run(capsys, "models", "import", archive, "--name", "mine", "-q")
    assert status == 0
    assert "kidneyseg ultrasound segment" in out
    assert [b.name for b in list_ultrasound_bundles() if b.path.is_relative_to(home)] == ["mine"]
    status, out, _ = run(capsys, "models", "list")
    assert "mine" in out
    assert "kidneyseg-arterial" in out
    status, out, _ = run(capsys, "models", "show", "mine")
    assert (status, "2-D ultrasound" in out) == (0, True)
    status, out, _ = run(capsys, "models", "verify", "mine", "kidneyseg-arterial")
    assert status == 0
    assert out.count("files are as they were made") == 2
    assert find_ultrasound_bundle("mine").digest == untrained_bundle.digest
    status, _, err = run(capsys, "models", "import", archive, "--name", "mine", "-q")
    assert (status, "exists already" in err) == (2, True)
    assert run(capsys, "models", "remove", "mine")[0] == 0
    with pytest.raises(ModelError, match="No ultrasound model is called 'mine'"):
        find_ultrasound_bundle("mine")


def test_a_ct_command_with_an_ultrasound_model_says_which_command_to_use(
    untrained_bundle: UltrasoundBundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status, _, err = run(
        capsys, "segment", tmp_path / "x.nii.gz", "-o", tmp_path / "o", "--model", untrained_bundle.path, "-q"
    )
    assert status == 2
    assert "kidneyseg ultrasound segment" in err
