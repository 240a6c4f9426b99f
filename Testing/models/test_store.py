"""Bundles are found by name and path, listed, verified and removed."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from KidneySegLib.errors import ModelError
from KidneySegLib.models import (
    Bundle,
    find_bundle,
    find_localiser,
    is_embedded,
    list_bundles,
    remove_bundle,
    verify_bundle,
)


def put(made: Path, where: Path, name: str, **changes: object) -> Path:
    """A copy of the bundle under a name, with changed manifest entries."""
    target = Path(shutil.copytree(made, where / name))
    content = json.loads((target / "model.json").read_text())
    content.update(name=name, **changes)
    (target / "model.json").write_text(json.dumps(content))
    return target


def test_names_are_looked_up_among_the_users_models_first(made: Path, home: Path, embedded: Path) -> None:
    shipped = put(made, embedded, "one")
    assert find_bundle("one").path == shipped
    assert is_embedded(find_bundle("one"))
    own = put(made, home, "one", title="Mine")
    assert find_bundle("one").path == own
    assert not is_embedded(find_bundle("one"))
    assert [b.title for b in list_bundles()] == ["Mine"]


def test_paths_are_paths(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert find_bundle(folder).name == "analytic"
    assert find_bundle(str(folder)).name == "analytic"
    monkeypatch.chdir(folder.parent)
    assert find_bundle("./analytic").name == "analytic"
    assert find_bundle("analytic").name == "analytic"
    assert find_bundle(Path("analytic")).name == "analytic"


def test_unknown_names_list_the_known_ones(made: Path, home: Path, embedded: Path) -> None:
    put(made, embedded, "shipped")
    put(made, home, "own")
    with pytest.raises(ModelError, match=r"No model is called 'nothing'\. Known models: own, shipped"):
        find_bundle("nothing")
    with pytest.raises(ModelError, match="there is none"):
        find_bundle("no/such/folder")


def test_the_list_leaves_out_what_is_no_bundle(made: Path, home: Path, embedded: Path) -> None:
    assert list_bundles() == ()
    put(made, embedded, "b")
    put(made, embedded, "a")
    put(made, embedded, "broken", format_version=99)
    put(made, home, ".import-half")
    assert [b.name for b in list_bundles()] == ["a", "b"]
    with pytest.raises(ModelError, match="format version 99"):
        find_bundle("broken")


def test_a_changed_byte_is_found(bundle: Bundle) -> None:
    verify_bundle(bundle)
    file = bundle.path / "network.bin"
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    with pytest.raises(ModelError, match=r"network\.bin is damaged or was changed"):
        verify_bundle(bundle)
    file.unlink()
    with pytest.raises(ModelError, match=r"network\.bin .* could not be read"):
        verify_bundle(bundle)


def test_a_localiser_is_found_beside_its_bundle_first(made: Path, tmp_path: Path, embedded: Path) -> None:
    softmax = {"names": ["background", "kidney"], "activation": "softmax", "threshold": 0.5}
    put(made, embedded, "coarse", output=softmax, title="Shipped")
    fine = find_bundle(put(made, tmp_path / "elsewhere", "fine"))
    found = find_localiser(fine)
    assert found is not None
    assert found.title == "Shipped"
    put(made, tmp_path / "elsewhere", "coarse", output=softmax, title="Beside")
    found = find_localiser(fine)
    assert found is not None
    assert found.title == "Beside"


def test_a_localiser_must_be_one(made: Path, tmp_path: Path) -> None:
    fine = find_bundle(put(made, tmp_path, "fine"))
    with pytest.raises(ModelError, match="No model is called 'coarse'"):
        find_localiser(fine)
    put(made, tmp_path, "coarse")
    with pytest.raises(ModelError, match="a localiser finds 'kidney'"):
        find_localiser(fine)
    assert find_localiser(find_bundle(put(made, tmp_path, "alone", localiser=None))) is None


def test_only_the_users_models_are_removed(made: Path, home: Path, embedded: Path) -> None:
    put(made, home, "mine")
    put(made, embedded, "shipped")
    assert remove_bundle("mine") == home / "mine"
    assert list(home.iterdir()) == []
    for name in ("mine", "shipped", "../home", ".."):
        with pytest.raises(ModelError, match="nothing to remove"):
            remove_bundle(name)
    assert (embedded / "shipped" / "model.json").is_file()
