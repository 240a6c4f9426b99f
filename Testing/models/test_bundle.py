"""The manifest says what it must, and anything else is refused by name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import analytic_bundles
import pytest
from hypothesis import given
from hypothesis import strategies as st

from KidneySegLib.errors import ModelError
from KidneySegLib.models import Bundle, FoldFiles, Normalisation, read_bundle
from KidneySegLib.models.bundle import MANIFEST, manifest_of
from KidneySegLib.models.manifest import check_spec, parse_manifest


def manifest(folder: Path) -> dict[str, Any]:
    return json.loads((folder / MANIFEST).read_text(encoding="utf-8"))


def write(folder: Path, content: Any) -> None:
    (folder / MANIFEST).write_text(json.dumps(content), encoding="utf-8")


def test_a_bundle_says_what_its_spec_said(bundle: Bundle, folder: Path) -> None:
    assert bundle.path == folder
    assert bundle.name == "analytic"
    assert bundle.spacing_mm == (1.0, 1.0, 1.0)
    assert bundle.patch_size == (48, 32, 32)
    assert bundle.normalisation == Normalisation(-300.0, 500.0, 100.0, 100.0)
    assert bundle.outputs == ("parenchyma", "cortex")
    assert bundle.divides_parenchyma
    assert not bundle.is_localiser
    assert bundle.localiser == "coarse"
    assert bundle.metrics == {"dice": 0.93}
    assert bundle.folds == (FoldFiles("weights.safetensors", "network.xml", "network.bin"),)
    assert set(bundle.sha256) == {"weights.safetensors", "network.xml", "network.bin"}
    assert sorted(p.name for p in folder.iterdir()) == [
        "model.json",
        "network.bin",
        "network.xml",
        "weights.safetensors",
    ]


def test_digest_is_the_models_not_the_names(folder: Path) -> None:
    before = read_bundle(folder).digest
    content = manifest(folder)
    content["name"] = "another"
    write(folder, content)
    assert read_bundle(folder).digest == before
    content["files"]["network.bin"] = "0" * 64
    write(folder, content)
    assert read_bundle(folder).digest != before


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("format", "zip", "is not a KidneySeg model"),
        ("format_version", 2, "format version 2; this program reads version 1"),
        ("name", "../evil", "name must be a plain name"),
        ("name", "", "name must be a text"),
        ("title", 7, "title must be a text, got 7"),
        ("surprise", 1, "unknown keys surprise"),
        ("input.surprise", 1, "unknown keys input.surprise"),
        ("network", [], "network must be an object"),
        ("input.spacing_mm", [1, 1], "input.spacing_mm must be a list of 3 to 3 items"),
        ("input.spacing_mm", [1, 1, 0], "input.spacing_mm must be a number from 0.05 to 50.0, got 0"),
        ("input.patch_size", [48, 32, 32.5], "input.patch_size must be a whole number"),
        ("input.patch_size", [48, 32, 10**6], "input.patch_size must be a whole number from 1 to 1024"),
        ("input.patch_size", [1024, 1024, 1024], "more voxels than"),
        ("input.patch_size", [48, 33, 32], r"must be a multiple of \[2, 2, 2\]"),
        ("input.patch_size", [True, 32, 32], "input.patch_size must be a whole number"),
        ("input.tile_step", 0, "input.tile_step must be a number from 0.1 to 1.0"),
        ("input.flexible_tiles", "yes", "input.flexible_tiles must be true or false"),
        ("input.mirror_axes", [0, 0], "input.mirror_axes must differ"),
        ("input.mirror_axes", [3], "input.mirror_axes must be a whole number from 0 to 2"),
        ("input.normalisation.low_hu", 600, "low_hu must be below high_hu"),
        ("input.normalisation.standard_deviation_hu", 0, "standard_deviation_hu must be a number"),
        ("output.names", ["kidney_left"], "output.names must be names of"),
        ("output.names", ["parenchyma", "parenchyma"], "output.names must be different names"),
        ("output.names", ["parenchyma", "spine"], "output.names must all be of"),
        ("output.names", ["cortex"], "output.names of a sigmoid network must hold 'parenchyma'"),
        ("output.activation", "relu", r"output.activation must be one of \['sigmoid', 'softmax'\]"),
        ("output.activation", "softmax", "must begin with 'background'"),
        ("output.threshold", 1.5, "output.threshold must be a number from 0.0 to 1.0"),
        ("localiser", "a/b", "localiser must be a plain name"),
        ("folds", [], "folds must be a list of 1 to 10 items"),
        ("folds", [{"weights": "../w", "graph": "n.xml", "graph_weights": "n.bin"}], r"folds\[0\].weights must be"),
        ("folds", [{"weights": "w", "graph": "network.xml", "graph_weights": "network.bin"}], "SHA-256 of w"),
        ("files", {"weights.safetensors": "abc"}, "must be a SHA-256"),
        ("files", {"a/b": "0" * 64}, "files must be plain file names"),
    ],
)
def test_wrong_values_are_refused_by_name(folder: Path, path: str, value: Any, message: str) -> None:
    content = manifest(folder)
    place = content
    *parents, key = path.split(".")
    for parent in parents:
        place = place[parent]
    place[key] = value
    write(folder, content)
    with pytest.raises(ModelError, match=message) as caught:
        read_bundle(folder)
    assert MANIFEST in str(caught.value)


@pytest.mark.parametrize("key", ["format", "name", "network", "input", "output", "folds", "files", "metrics"])
def test_missing_keys_are_named(folder: Path, key: str) -> None:
    content = manifest(folder)
    del content[key]
    write(folder, content)
    with pytest.raises(ModelError, match=f"the key {key} is missing"):
        read_bundle(folder)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"format": NaN}', "[" * 100_000, "\ud800"])
def test_what_is_no_manifest_is_refused(folder: Path, text: str) -> None:
    (folder / MANIFEST).write_bytes(text.encode("utf-8", "surrogatepass"))
    with pytest.raises(ModelError):
        read_bundle(folder)


def test_missing_folders_manifests_and_files_are_told_apart(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="there is none"):
        read_bundle(tmp_path / "nowhere")
    with pytest.raises(ModelError, match=r"holds no model\.json"):
        read_bundle(tmp_path)
    (folder / "network.bin").unlink()
    with pytest.raises(ModelError, match=r"network\.bin, which is missing"):
        read_bundle(folder)


def test_a_link_out_of_the_folder_is_refused(folder: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside.bin"
    (folder / "network.bin").rename(outside)
    (folder / "network.bin").symlink_to(outside)
    with pytest.raises(ModelError, match="leads out"):
        read_bundle(folder)


json_values = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False) | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=8,
)


@given(data=st.data())
def test_no_value_anywhere_is_more_than_a_model_error(data: st.DataObject, made: Path) -> None:
    content = manifest(made)
    place: Any = content
    while True:
        key = data.draw(st.sampled_from(sorted(place) if isinstance(place, dict) else range(len(place))))
        deeper = place[key]
        if not (isinstance(deeper, dict | list) and deeper and data.draw(st.booleans())):
            break
        place = deeper
    place[key] = data.draw(json_values)
    try:
        bundle = parse_manifest(json.dumps(content), made)
    except ModelError:
        return
    assert manifest_of(bundle, bundle.folds, bundle.sha256)["format"] == "kidneyseg-model"


@pytest.mark.parametrize(
    "changes",
    [
        {"outputs": ("background", "kidney"), "activation": "sigmoid"},
        {"outputs": ("parenchyma", "medulla")},
        {"outputs": ("background", "parenchyma", "cortex"), "activation": "softmax"},
        {"outputs": ("background",), "activation": "softmax"},
        {"outputs": ("background", "cyst"), "activation": "softmax"},
    ],
)
def test_outputs_that_make_no_sense_together(changes: dict[str, Any]) -> None:
    with pytest.raises(ModelError, match="output"):
        check_spec(analytic_bundles.spec(**changes), "here")


@pytest.mark.parametrize(
    "outputs", [("background", "medulla", "cortex"), ("background", "parenchyma"), ("background", "kidney", "spine")]
)
def test_softmax_outputs_that_do(outputs: tuple[str, ...]) -> None:
    check_spec(analytic_bundles.spec(outputs=outputs, activation="softmax"), "here")
