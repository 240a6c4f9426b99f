"""``kidneyseg models`` on bundles made for the test."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from Testing.cli.conftest import Finished


def test_import_list_show_verify_remove(kidneyseg: Callable[..., Finished], model: Path, tmp_path: Path) -> None:
    archive = shutil.make_archive(str(tmp_path / "fine"), "zip", model.parent, model.name)
    for source, name in ((model, "from-folder"), (archive, "from-zip")):
        done = kidneyseg("models", "import", source, "--name", name)
        assert done.status == 0, done.err
        assert name in done.out
    listed = kidneyseg("models", "list").out
    assert "from-folder" in listed
    assert "from-zip" in listed
    shown = kidneyseg("models", "show", "from-zip").out
    assert all(text in shown for text in ("UNet3D", "parenchyma, cortex", "3 x 3 x 3 mm", "Apache-2.0", "model"))
    assert kidneyseg("models", "verify", "from-zip").status == 0
    again = kidneyseg("models", "import", model, "--name", "from-zip")
    assert again.status == 2
    assert "--replace" in again.err
    assert kidneyseg("models", "import", model, "--name", "from-zip", "--replace").status == 0
    for name in ("from-folder", "from-zip"):
        assert kidneyseg("models", "remove", name).status == 0
    assert "from-" not in kidneyseg("models", "list").out
    assert kidneyseg("models", "remove", "from-zip").status == 2


def test_verify_finds_a_changed_byte(kidneyseg: Callable[..., Finished], model: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(model, tmp_path / "fine")
    content = bytearray((copy / "weights.safetensors").read_bytes())
    content[-1] ^= 1
    (copy / "weights.safetensors").write_bytes(content)
    done = kidneyseg("models", "verify", copy)
    assert done.status == 2
    assert "weights.safetensors" in done.err
    assert kidneyseg("models", "verify", model).status == 0


def test_a_damaged_model_segments_nothing(
    kidneyseg: Callable[..., Finished], scan: Path, model: Path, tmp_path: Path
) -> None:
    copy = shutil.copytree(model.parent, tmp_path / "models") / "fine"
    content = bytearray((copy / "network.bin").read_bytes())
    content[-1] ^= 1
    (copy / "network.bin").write_bytes(content)
    done = kidneyseg("segment", scan, "-o", tmp_path / "out", "--model", copy, "--quiet")
    assert done.status == 2
    assert "network.bin" in done.err
    assert done.err.count("\n") == 1
    assert not (tmp_path / "out").exists()
