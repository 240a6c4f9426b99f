"""An nnU-Net model joined to a model that finds the same: what fits, what is refused, and the command."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

import analytic_bundles as analytic  # noqa: E402

from KidneySegLib.errors import ModelError  # noqa: E402
from KidneySegLib.models import Bundle, find_bundle, read_bundle, verify_bundle, write_bundle  # noqa: E402
from KidneySegLib.models.bundle import LesionsOnRequest  # noqa: E402
from KidneySegLib.models.ensemble import check_ensemble  # noqa: E402
from KidneySegLib.models.manifest import parse_manifest  # noqa: E402
from KidneySegLib.models.nnunet import import_nnunet  # noqa: E402
from KidneySegLib.models.nnunet_ensemble import ensemble_bundles  # noqa: E402
from Testing.models import nnunet_folders as made  # noqa: E402

ZENODO = {"background": 0, "kidney": 1, "abnormality": 2}


@pytest.fixture(scope="module")
def abnormality(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    folder = tmp_path_factory.mktemp("first") / "kidneyseg-abnormality"
    spec = analytic.spec(
        folder.name,
        network_arguments={"in_channels": 1, "out_channels": 3, "features": [2, 2]},
        outputs=("background", "parenchyma", "abnormality"),
        activation="softmax",
        localiser="kidneyseg-localiser",
        metrics={"validation_dice": {"parenchyma": 0.9}},
    )
    return write_bundle(folder, spec, analytic.pointwise_state([(0.0, 0.0), (1.0, 0.0), (2.0, 0.0)]))


@pytest.fixture(scope="module")
def zenodo(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """An nnU-Net model with the labels of Zenodo 8014290, as a bundle."""
    folder = tmp_path_factory.mktemp("theirs")
    return import_nnunet(made.write_model(folder / "model", ZENODO), "lesions", folder=folder / "lesions")


def test_one_bundle_holds_both_and_says_so(abnormality: Bundle, zenodo: Bundle) -> None:
    both = ensemble_bundles(abnormality.path, zenodo.path)
    assert both.name == "kidneyseg-abnormality-ensemble"
    assert both == find_bundle(both.name)
    verify_bundle(both)
    assert both.is_ensemble
    assert not abnormality.is_ensemble
    assert not both.divides_parenchyma
    assert (both.outputs, both.localiser) == (abnormality.outputs, "kidneyseg-localiser")
    assert both.partner is not None
    assert both.partner.nnunet is not None
    assert both.partner.nnunet.structures == {0: "background", 1: "parenchyma", 2: "abnormality"}
    assert isinstance(both.partner, Bundle)
    assert both.partner.folds[0].weights == "nnunet_weights.safetensors"
    assert both.metrics == {}
    assert both.origin["first"]["metrics"] == abnormality.metrics
    assert both.origin["second"]["sha256"] == zenodo.digest
    assert both.digest not in (abnormality.digest, zenodo.digest)
    assert both.licence == "Apache-2.0; nnU-Net: not stated by its makers"
    with pytest.raises(ModelError, match="exists already"):
        ensemble_bundles(abnormality.path, zenodo.path)
    # An ensemble is no single model.
    with pytest.raises(ModelError, match="one single model made from nnU-Net's"):
        ensemble_bundles(abnormality.path, both.path, "more")


def test_an_ensemble_shows_the_lesions_that_its_first_model_shows_on_request(tmp_path: Path, zenodo: Bundle) -> None:
    spec = analytic.spec("first", outputs=("parenchyma", "abnormality"), lesions=LesionsOnRequest())
    first = write_bundle(tmp_path / "first", spec, analytic.pointwise_state([(0.0, 0.0), (1.0, 0.0)]))
    both = ensemble_bundles(first.path, zenodo.path, "both", folder=tmp_path / "both")
    assert first.lesions is not None
    assert both.lesions is None
    assert both.finds_lesions


@pytest.mark.parametrize(
    ("outputs", "labels"),
    [
        (("background", "parenchyma", "abnormality"), ["parenchyma", "mass"]),
        (("background", "parenchyma", "abnormality"), ["parenchyma", "cyst", "mass", "background"]),
        (("background", "parenchyma", "abnormality"), ["medulla", "cortex", "abnormality"]),
        (("background", "parenchyma", "cyst", "mass"), ["mass", "parenchyma", "cyst"]),
        (("background", "medulla", "cortex"), ["medulla", "cortex"]),
    ],
)
def test_labels_that_fit(zenodo: Bundle, outputs: tuple[str, ...], labels: list[str]) -> None:
    check_ensemble(spec_of(zenodo, outputs, labels), "here")


@pytest.mark.parametrize(
    ("outputs", "labels", "message"),
    [
        (("background", "parenchyma", "abnormality"), ["parenchyma"], r"finds no abnormality; its labels are a1 \(par"),
        (("background", "parenchyma", "abnormality"), ["cyst", "mass"], "finds no parenchyma"),
        (
            ("background", "parenchyma", "cyst", "mass"),
            ["parenchyma", "abnormality"],
            "no cyst, finds no mass, finds ab",
        ),
        (("background", "medulla", "cortex"), ["parenchyma", "cortex"], "finds no medulla, finds parenchyma too"),
        (("background", "parenchyma"), ["parenchyma", "mass"], "finds mass too.*--map THEIRS=MEANING"),
    ],
)
def test_labels_that_do_not_fit(zenodo: Bundle, outputs: tuple[str, ...], labels: list[str], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        check_ensemble(spec_of(zenodo, outputs, labels), "here")


def spec_of(zenodo: Bundle, outputs: tuple[str, ...], labels: list[str]):
    from dataclasses import replace

    assert zenodo.nnunet is not None
    structures = dict(enumerate(["background", *labels]))
    record = replace(
        zenodo.nnunet,
        labels={id: f"a{id}" for id in structures},
        structures=structures,
        channels=tuple(structures),
    )
    return analytic.spec(outputs=outputs, activation="softmax", partner=replace(zenodo, nnunet=record))


def test_wrong_sorts_of_models_are_refused(abnormality: Bundle, zenodo: Bundle, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="second model of an ensemble must be one single model made from nnU-Net's"):
        ensemble_bundles(zenodo.path, abnormality.path, "swapped")
    other = import_nnunet(made.write_model(tmp_path / "two", ZENODO), "two")
    with pytest.raises(ModelError, match="first model of an ensemble"):
        check_ensemble(analytic.spec(nnunet=zenodo.nnunet, flexible_tiles=False, partner=other), "here")
    kidneys = made.write_model(tmp_path / "kidneys", {"background": 0, "kidney_left": 1, "kidney_right": 2})
    with pytest.raises(ModelError, match="finds no abnormality; its labels are kidney_left"):
        ensemble_bundles(abnormality.path, kidneys, "kidneys")
    with pytest.raises(ModelError, match="No model is called 'kidneys'"):
        find_bundle("kidneys")


def test_a_manifest_whose_models_do_not_fit_is_refused(abnormality: Bundle, zenodo: Bundle, tmp_path: Path) -> None:
    both = ensemble_bundles(abnormality.path, zenodo.path, folder=tmp_path / "both")
    content = json.loads((both.path / "model.json").read_text(encoding="utf-8"))
    content["partner"]["nnunet"]["structures"]["2"] = "parenchyma"
    with pytest.raises(ModelError, match="finds no abnormality"):
        parse_manifest(json.dumps(content), both.path)
    assert read_bundle(both.path) == both


def test_the_command_joins_maps_and_shows(
    abnormality: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from KidneySegLib.cli.main import main

    folder = made.write_model(tmp_path / "model", {"background": 0, "nephro": 1, "lump": 2})
    arguments = ["models", "import", str(folder), "--ensemble-with", str(abnormality.path), "--name", "both", "--quiet"]
    assert main(arguments) == 2
    assert "nephro, lump" in capsys.readouterr().err
    assert main([*arguments, "--map", "nephro=parenchyma", "--map", "lump=abnormality"]) == 0
    said = capsys.readouterr().out
    assert "Label 1 (nephro) counts as parenchyma" in said
    assert "Label 2 (lump) counts as abnormality" in said
    assert main(["models", "show", "both"]) == 0
    assert "averaged with Small-Kidneys" in capsys.readouterr().out
    assert main([*arguments, "--folds", "0"]) == 2
    assert "Import each of a pair by itself first" in capsys.readouterr().err
    assert main([*arguments, "--cortex", str(folder)]) == 2
    assert "not allowed with" in capsys.readouterr().err
