"""Trained nnU-Net v2 model folders and zips become bundles: what is kept, what is refused, and that no code runs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from KidneySegLib.errors import ModelError  # noqa: E402
from KidneySegLib.models import find_bundle, import_bundle, read_bundle, verify_bundle  # noqa: E402
from KidneySegLib.models.nnunet import import_nnunet  # noqa: E402
from KidneySegLib.models.nnunet_checkpoint import read_checkpoint  # noqa: E402
from KidneySegLib.models.nnunet_pair import pair_bundles  # noqa: E402
from KidneySegLib.models.nnunet_plans import read_plan  # noqa: E402
from Testing.models import nnunet_folders as made  # noqa: E402

REGION = {"background": 0, "parenchyma": [1, 2]}


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return made.write_model(tmp_path / "model", folds=("0", "1"))


def test_what_a_bundle_keeps_of_a_folder(model: Path, tmp_path: Path) -> None:
    (model / "LICENSE").write_text("Creative Commons Attribution 4.0\n\nand so on")
    bundle = import_nnunet(model, "kidneys")
    assert bundle == find_bundle("kidneys")
    verify_bundle(bundle)
    assert bundle.network == "PlainConvUNet"
    assert (bundle.spacing_mm, bundle.patch_size, bundle.size_multiple) == ((2.0, 1.0, 1.0), (8, 16, 16), (2, 2, 2))
    assert bundle.outputs == ("background", "medulla", "cortex")
    assert (bundle.mirror, bundle.mirror_axes, bundle.localiser) == (True, (0, 1, 2), None)
    assert (bundle.flexible_tiles, bundle.tile_step, len(bundle.folds)) == (False, 0.5, 2)
    n = bundle.normalisation
    assert (n.low_hu, n.high_hu, n.mean_hu, n.standard_deviation_hu) == (-60.5, 300.25, 100.0, 50.0)
    assert bundle.nnunet is not None
    assert bundle.nnunet.labels == {0: "background", 1: "medulla", 2: "cortex"}
    assert (bundle.nnunet.normalisation, bundle.nnunet.orientation) == ("ct", "stored")
    assert (bundle.nnunet.data.order, bundle.nnunet.logits.order, bundle.nnunet.data.separate_z) == (3, 1, None)
    assert bundle.licence == "Creative Commons Attribution 4.0 (see LICENSE)"
    assert "LICENSE" in bundle.sha256
    assert bundle.training["folds"] == ["0", "1"]
    assert bundle.training["trainer"] == "nnUNetTrainer"
    assert set(bundle.origin["checkpoints"]) == {"fold_0/checkpoint_final.pth", "fold_1/checkpoint_final.pth"}
    assert str(tmp_path) not in (bundle.path / "model.json").read_text()
    again = import_nnunet(model, "again")
    assert again.origin == bundle.origin
    assert again.sha256[again.folds[1].weights] == bundle.sha256[bundle.folds[1].weights]


def test_the_weights_of_each_fold_are_kept(model: Path) -> None:
    from safetensors.torch import load_file

    bundle = import_nnunet(model)
    assert bundle.name == "Small-Kidneys"
    for number, fold in enumerate(bundle.folds):
        stored = load_file(str(bundle.path / fold.weights))
        expected = made.weights(3, number)
        assert all(torch.equal(value, expected[key]) for key, value in stored.items())
        assert not any("all_modules" in key or key.startswith("decoder.encoder") for key in stored)


def test_a_zip_as_nnunet_exports_it(model: Path, tmp_path: Path) -> None:
    inside = "nnUNet_results/Dataset007_Small/nnUNetTrainer__nnUNetPlans__3d_fullres/"
    zipped = made.zipped(model, tmp_path / "export.zip", inside)
    assert import_bundle(zipped, name="zipped").digest != ""
    assert len(read_bundle(find_bundle("zipped").path).folds) == 2


def test_folds_and_checkpoints_can_be_chosen(tmp_path: Path) -> None:
    folder = made.write_model(tmp_path / "model", folds=("0", "1", "all"))
    torch.save(made.checkpoint(made.weights(3, 9)), folder / "fold_1" / "checkpoint_best.pth")
    assert import_nnunet(folder, "some").training["folds"] == ["0", "1"]
    assert import_nnunet(folder, "whole", folds=["all"]).training["folds"] == ["all"]
    best = import_nnunet(folder, "best", folds=["1"], checkpoint="best")
    assert set(best.origin["checkpoints"]) == {"fold_1/checkpoint_best.pth"}
    with pytest.raises(ModelError, match="no fold 4; it has 0, 1, all"):
        import_nnunet(folder, "none", folds=["4"])
    with pytest.raises(ModelError, match="fold_0 holds no checkpoint_best"):
        import_nnunet(folder, "none", folds=["0"], checkpoint="best")


def test_a_taken_name_is_an_error_without_replace(model: Path) -> None:
    import_nnunet(model, "taken")
    with pytest.raises(ModelError, match=r"exists already.*--replace"):
        import_nnunet(model, "taken")
    assert import_nnunet(model, "taken", replace=True, licence="MIT").licence == "MIT"


def test_plans_before_nnunet_2_5_are_read() -> None:
    old = {
        "UNet_class_name": "PlainConvUNet",
        "UNet_base_num_features": 32,
        "unet_max_num_features": 320,
        "n_conv_per_stage_encoder": [2, 2, 2, 2, 2, 2],
        "n_conv_per_stage_decoder": [2, 2, 2, 2, 2],
        "num_pool_per_axis": [5, 5, 5],
        "pool_op_kernel_sizes": [[1, 1, 1]] + [[2, 2, 2]] * 5,
        "conv_kernel_sizes": [[3, 3, 3]] * 6,
        "patch_size": [128, 128, 128],
        "spacing": [1.5, 1.5, 1.5],
        "architecture": None,
    }
    content = {**made.plans(**old), "dataset_name": "Dataset291_TotalSegmentator_part1_organs_1559subj"}
    plan = read_plan(content, "3d_fullres", "plans.json")
    assert plan.network == "PlainConvUNet"
    assert plan.arguments["features_per_stage"] == [32, 64, 128, 256, 320, 320]
    assert (plan.size_multiple, plan.orientation) == ((32, 32, 32), "RAS")


def test_configurations_inherit() -> None:
    content = made.plans()
    content["configurations"]["3d_small"] = {"inherits_from": "3d_fullres", "patch_size": [16, 16, 16]}
    plan = read_plan(content, "3d_small", "plans.json")
    assert (plan.patch_size, plan.spacing_mm) == ((16, 16, 16), (2.0, 1.0, 1.0))


def test_the_network_of_luo_and_li_named_in_plans(tmp_path: Path) -> None:
    arguments = {"features": [2, 4], "strides": [[1, 1, 1], [2, 2, 2]], "normalisation": "instance"}
    from KidneySegLib.networks.unet3d import UNet3D

    network = UNet3D(in_channels=1, out_channels=1, deep_supervision=True, **arguments)
    architecture = {"network_class_name": "KidneySegLib.networks.unet3d.UNet3D", "arch_kwargs": arguments}
    folder = made.write_model(
        tmp_path / "model",
        plan=made.plans(architecture=architecture, normalization_schemes=["ZScoreNormalization"]),
        data=made.dataset(REGION, regions_class_order=[1]),
        content=made.checkpoint(dict(network.state_dict())),
    )
    bundle = import_nnunet(folder, "luo-li")
    assert (bundle.network, bundle.outputs, bundle.divides_parenchyma) == ("UNet3D", ("parenchyma",), False)
    assert bundle.nnunet is not None
    assert bundle.nnunet.normalisation == "z_score"


def test_two_models_become_one(tmp_path: Path) -> None:
    parenchyma = made.write_model(
        tmp_path / "p", classes=1, data=made.dataset(REGION, regions_class_order=[1], licence="MIT")
    )
    cortex = made.write_model(
        tmp_path / "c", {"background": 0, "cortex": 1}, classes=2, plan=made.plans(spacing=[3.0, 1.0, 1.0])
    )
    bundle = pair_bundles(parenchyma, made.zipped(cortex, tmp_path / "c.zip"), "pair")
    assert bundle == find_bundle("pair")
    verify_bundle(bundle)
    assert bundle.divides_parenchyma
    assert bundle.partner is not None
    assert bundle.partner.spacing_mm == (3.0, 1.0, 1.0)
    assert bundle.partner.folds[0].weights == "cortex_weights.safetensors"
    assert bundle.licence == "MIT; cortex: not stated by its makers"
    # Bundles that were imported one by one can be paired as well.
    one, two = import_nnunet(parenchyma, "one"), import_nnunet(cortex, "two")
    assert pair_bundles(one.path, two.path, "pair2").partner is not None
    with pytest.raises(ModelError, match="must find parenchyma and no cortex"):
        pair_bundles(two.path, one.path, "pair3")
    from KidneySegLib.inference import Engine

    with pytest.raises(ModelError, match="finds the cortex only"):
        Engine(two, device="cpu")


class Evil:
    """What a malicious checkpoint holds: unpickling it would run a program."""

    def __init__(self, witness: Path) -> None:
        self.witness = witness

    def __reduce__(self):
        return os.system, (f"touch {self.witness}",)


@pytest.mark.parametrize("where", ["logging", "init_args", "network_weights"])
def test_code_in_a_checkpoint_is_never_run(tmp_path: Path, where: str) -> None:
    witness = tmp_path / "ran"
    content = made.checkpoint(made.weights(3))
    content[where] = {**(content[where] if isinstance(content[where], dict) else {}), "x": Evil(witness)}
    folder = made.write_model(tmp_path / "model", content=content)
    with pytest.raises(ModelError, match=r"more than plain data.*(system|posix)"):
        import_nnunet(folder, "evil")
    assert not witness.exists()


def test_damaged_checkpoints_are_refused(tmp_path: Path) -> None:
    folder = made.write_model(tmp_path / "model")
    path = folder / "fold_0" / "checkpoint_final.pth"
    whole = path.read_bytes()
    for content in (b"", b"nothing", whole[: len(whole) // 2], b"\x80\x02."):
        path.write_bytes(content)
        with pytest.raises(ModelError, match="Get the model"):
            read_checkpoint(path)
    torch.save({"state_dict": {}}, path)
    with pytest.raises(ModelError, match="no network_weights"):
        read_checkpoint(path)
    torch.save(made.checkpoint({"a": 3}), path)
    with pytest.raises(ModelError, match="must name tensors"):
        read_checkpoint(path)


def test_weights_that_do_not_fit_the_plans_are_refused(tmp_path: Path) -> None:
    folder = made.write_model(tmp_path / "model", classes=4)
    with pytest.raises(ModelError, match="do not fit the network PlainConvUNet"):
        import_nnunet(folder, "wrong")
    with pytest.raises(ModelError, match="No model is called 'wrong'"):
        find_bundle("wrong")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"patch_size": [16, 16], "spacing": [1.0, 1.0]}, "not three-dimensional"),
        ({"previous_stage": "3d_lowres"}, "second stage of a cascade"),
        ({"normalization_schemes": ["CTNormalization"] * 2}, "needs 2 images a case"),
        ({"normalization_schemes": ["Histogram"]}, "normalisation must be one of"),
        ({"resampling_fn_data": "resample_torch"}, "must be resampled with resample_data_or_seg_to_shape"),
        ({"spacing": None}, "KeyError 'spacing'"),
        ({"patch_size": "big"}, "not a plans file"),
        ({"architecture": {**made.ARCHITECTURE, "network_class_name": "os.system"}}, "must be PlainConvUNet"),
        (
            {"architecture": {**made.ARCHITECTURE, "arch_kwargs": {**made.ARCHITECTURE["arch_kwargs"], "magic": 1}}},
            "unknown arguments: magic",
        ),
        (
            {
                "architecture": {
                    **made.ARCHITECTURE,
                    "arch_kwargs": {**made.ARCHITECTURE["arch_kwargs"], "nonlin": "GELU"},
                }
            },
            "GELU are not known",
        ),
    ],
)
def test_plans_that_cannot_be_followed_are_refused(changes: dict, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        read_plan(made.plans(**changes), "3d_fullres", "plans.json")


def test_folders_that_are_no_model_or_several(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no trained nnU-Net v2 model"):
        import_nnunet(tmp_path, "x")
    with pytest.raises(ModelError, match="there is none"):
        import_nnunet(tmp_path / "nowhere", "x")
    (tmp_path / "text.zip").write_text("not a zip")
    with pytest.raises(ModelError, match="neither a folder nor a zip"):
        import_nnunet(tmp_path / "text.zip", "x")
    for name in ("a", "b"):
        made.write_model(tmp_path / "several" / name)
    with pytest.raises(ModelError, match="holds 2 trained models: a, b"):
        import_nnunet(tmp_path / "several", "x")


@pytest.mark.parametrize("name", ["../plans.json", "/etc/plans.json", "a\\..\\plans.json"])
def test_zips_that_lead_out_are_refused(model: Path, tmp_path: Path, name: str) -> None:
    zipped = made.zipped(model, tmp_path / "evil.zip")
    with zipfile.ZipFile(zipped, "a") as archive:
        archive.writestr(name, "{}")
    with pytest.raises(ModelError, match="leads out of its folder"):
        import_nnunet(zipped, "evil")


def test_links_in_zips_and_folders_are_refused(model: Path, tmp_path: Path) -> None:
    zipped = made.zipped(model, tmp_path / "evil.zip")
    link = zipfile.ZipInfo("fold_2/checkpoint_final.pth")
    link.external_attr = 0o120777 << 16
    with zipfile.ZipFile(zipped, "a") as archive:
        archive.writestr(link, "/etc/passwd")
    with pytest.raises(ModelError, match="link or special file"):
        import_nnunet(zipped, "evil")
    path = model / "fold_0" / "checkpoint_final.pth"
    path.rename(tmp_path / "elsewhere.pth")
    path.symlink_to(tmp_path / "elsewhere.pth")
    with pytest.raises(ModelError, match="is a link"):
        import_nnunet(model, "evil")


def test_without_torch_the_message_says_what_to_install(model: Path, tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "from KidneySegLib.cli.main import main\n"
        f"sys.exit(main(['models', 'import', {str(model)!r}, '--name', 'x', '--quiet']))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 2
    assert "needs torch" in done.stderr
    assert "kidneyseg[gpu]" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_command_maps_labels_and_shows_what_they_mean(tmp_path: Path, capsys) -> None:
    from KidneySegLib.cli.main import main

    folder = made.write_model(tmp_path / "model", {"background": 0, "nephro": 1, "thing": 2})
    assert main(["models", "import", str(folder), "--name", "mapped", "--quiet"]) == 2
    assert "nephro, thing" in capsys.readouterr().err
    arguments = [
        "models",
        "import",
        str(folder),
        "--name",
        "mapped",
        "--map",
        "nephro=kidney_left",
        "--map",
        "thing=cyst",
    ]
    assert main([*arguments, "--licence", "CC-BY-4.0", "--quiet"]) == 0
    said = capsys.readouterr().out
    assert "Label 1 (nephro) counts as parenchyma" in said
    assert "Licence: CC-BY-4.0" in said
    assert main(["models", "show", "mapped"]) == 0
    said = capsys.readouterr().out
    assert "2 thing = cyst" in said
    assert (
        json.loads((find_bundle("mapped").path / "model.json").read_text())["nnunet"]["structures"]["1"] == "parenchyma"
    )


def test_the_panels_worker_imports_it(model: Path) -> None:
    from KidneySegLib.progress import Progress
    from KidneySegLib.worker_parts.commands import Session

    reply = Session(model.parent).import_model({"source": str(model), "name": "from-panel"}, Progress())
    assert reply["model"]["name"] == "from-panel"
