"""The protocol of Luo and Li in a short form: from raw phantoms through nnU-Net to a bundle that segments.

Slow (about a minute on one idle core), since it trains for real: two structures, one of five folds, 2 x 40 steps of a
narrow network on coarse phantoms, stopped once on its way and resumed.
"""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

pytest.importorskip("torch")
pytest.importorskip("nnunetv2")

from KidneySegLib.cli.main import main
from KidneySegLib.errors import Cancelled, InputError
from KidneySegLib.labels import LABELS, Structure
from KidneySegLib.models import find_bundle, verify_bundle
from KidneySegLib.phantom.output import write_case
from KidneySegLib.phantom.protocol import Protocol
from KidneySegLib.pipeline import CaseResult, segment_case
from KidneySegLib.progress import CancelToken, Progress, ProgressEvent
from KidneySegLib.training.luo_li.environment import nnunet_environment
from KidneySegLib.training.luo_li.folds import FINAL, LATEST, model_folder
from KidneySegLib.training.luo_li.plans import prepare
from KidneySegLib.training.luo_li.raw import DATASET_NAMES
from KidneySegLib.training.luo_li.run import LuoLiResult, train_luo_li
from KidneySegLib.training.luo_li.settings import STRUCTURES, LuoLiSettings

pytestmark = pytest.mark.slow

NAME = "short-luo-li"
#: Some 20 slices of 64 x 64 voxels: a kidney is a thousand voxels, and its cortex one or two of them thick.
COARSE = Protocol(
    name="coarse", pixel_mm=5.0, matrix=64, slice_thickness_mm=10.0, slice_spacing_mm=10.0, noise_hu=5.0,
    beam_hardening=0.0, kernel="smooth",
)  # fmt: skip
#: Momentum 0.99 needs more steps than a test has.
SHORT = LuoLiSettings(
    epochs=2, iterations=40, validation_iterations=2, folds=(0,), patch=(16, 32, 32), width=8, test_fraction=0.0,
    checkpoint_epochs=1, learning_rate=0.05, momentum=0.9,
)  # fmt: skip


@dataclass(frozen=True)
class ShortRun:
    """What the fixture leaves."""

    data: Path
    table: Path
    output: Path
    result: LuoLiResult
    validation_case: str
    stages: tuple[str, ...]


def cancelled_in_the_second_epoch() -> Progress:
    token = CancelToken()

    def listen(event: ProgressEvent) -> None:
        if "parenchyma, fold 0: epoch 2" in event.message:
            token.cancel()

    return Progress(listen, token)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ShortRun]:
    root = tmp_path_factory.mktemp("luo-li")
    data, table, output = root / "data", root / "patients.csv", root / "run"
    for number in range(5):
        write_case(data / f"case_{number}", 11 + number, "normal", COARSE, dicom=number == 4, phase="arterial")
    (data / "case_4" / "ct.nii.gz").unlink()  # one patient is DICOM
    with table.open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["case_id", "egfr"])
        rows.writerows([f"case_{number}", 45 if number < 2 else 95] for number in range(5))
    with pytest.MonkeyPatch.context() as patch:
        # As the fixture for all tests does it, which comes after this one.
        patch.setenv("KIDNEYSEG_HOME", str(tmp_path_factory.getbasetemp() / "kidneyseg-home"))
        with pytest.raises(Cancelled):
            train_luo_li(
                data,
                output,
                patients=table,
                settings=SHORT,
                name=NAME,
                device="cpu",
                progress=cancelled_in_the_second_epoch(),
            )
        assert (model_folder(output, "parenchyma") / "fold_0" / LATEST).is_file()
        assert not (output / "record.json").exists()
        stages: list[str] = []
        result = train_luo_li(
            data,
            output,
            patients=table,
            settings=SHORT,
            name=NAME,
            device="cpu",
            processes=1,
            loaders=0,
            resume=True,
            progress=Progress(lambda event: stages.append(event.stage)),
        )
    (validation_case,) = json.loads((output / "splits.json").read_text())["folds"][0]["val"]
    yield ShortRun(data, table, output, result, validation_case, tuple(stages))
    shutil.rmtree(root, ignore_errors=True)


def dice(a: np.ndarray, b: np.ndarray) -> float:
    """Dice; two empty masks agree: after two epochs a network may find no cortex."""
    if not a.any() and not b.any():
        return 1.0
    return float(2 * (a & b).sum() / (a.sum() + b.sum()))


def truth_of(run: ShortRun) -> np.ndarray:
    return sitk.GetArrayFromImage(sitk.ReadImage(str(run.data / run.validation_case / "labels.nii.gz")))


CORTEX_IDS = [label.id for label in LABELS if label.structure is Structure.CORTEX]
PARENCHYMA_IDS = [label.id for label in LABELS if label.structure in (Structure.CORTEX, Structure.MEDULLA)]


@pytest.fixture(scope="module")
def segmented(run: ShortRun, tmp_path_factory: pytest.TempPathFactory) -> CaseResult:
    """The validation case of the kept fold, segmented with the bundle."""
    case = run.data / run.validation_case
    source = case / "ct.nii.gz" if (case / "ct.nii.gz").exists() else case / "dicom"
    return segment_case(
        source, tmp_path_factory.mktemp("segmented") / "out", model=run.result.bundle.path, device="cpu",
        precision="float32", raw=True,
    )  # fmt: skip


def test_nnunet_finds_the_raw_data_sets_valid(run: ShortRun) -> None:
    from nnunetv2.experiment_planning.verify_dataset_integrity import verify_dataset_integrity

    with nnunet_environment(run.output, processes=1, loaders=0):
        for structure in STRUCTURES:
            verify_dataset_integrity(str(run.output / "nnUNet_raw" / DATASET_NAMES[structure]), 1)
    assert "verify_dataset_integrity Done" in (run.output / "nnunet.log").read_text()


def test_what_nnunet_finds_wrong_is_told(run: ShortRun, tmp_path: Path) -> None:
    raw = tmp_path / "nnUNet_raw" / DATASET_NAMES["cortex"]
    shutil.copytree(run.output / "nnUNet_raw" / DATASET_NAMES["cortex"], raw)
    (raw / "labelsTr" / "case_0.nii.gz").unlink()
    with nnunet_environment(tmp_path, processes=1, loaders=0), pytest.raises(InputError, match="nnU-Net refuses"):
        prepare("cortex", tmp_path, SHORT, 1)


def test_a_stopped_run_goes_on_where_it_was(run: ShortRun) -> None:
    assert "read" not in run.stages  # the raw data sets were there already
    logs = sorted((model_folder(run.output, "parenchyma") / "fold_0").glob("training_log_*.txt"))
    assert len(logs) == 2
    assert "Epoch 0" in logs[0].read_text()
    assert "Epoch 0" not in logs[1].read_text()
    assert "Epoch 1" in logs[1].read_text()


def test_the_training_is_the_protocols(run: ShortRun) -> None:
    for structure in STRUCTURES:
        folder = model_folder(run.output, structure)
        log = "".join(path.read_text() for path in (folder / "fold_0").glob("training_log_*.txt"))
        assert "ZScoreNormalization" in log
        debug = json.loads((folder / "fold_0" / "debug.json").read_text())
        assert "momentum: 0.9" in debug["optimizer"]
        assert "nesterov: True" in debug["optimizer"]
        assert "weight_decay: 3e-05" in debug["optimizer"]
        assert "DC_and_BCE" in debug["loss"]
        assert debug["network"] == "UNet3D"
        architecture = json.loads((folder / "plans.json").read_text())["configurations"]["3d_fullres"]["architecture"]
        assert architecture["network_class_name"] == "KidneySegLib.networks.unet3d.UNet3D"
        assert architecture["arch_kwargs"]["downsampling"] == "max_pool"


def test_the_augmentations_are_the_papers() -> None:
    from KidneySegLib.training.luo_li.trainers.luo_li_2025_trainer import LuoLi2025Trainer

    transforms = LuoLi2025Trainer.get_training_transforms((16, 32, 32), (-0.5, 0.5), None, (0, 1, 2), False)
    names = [type(getattr(t, "transform", t)).__name__ for t in transforms.transforms]
    assert names == [
        "SpatialTransform",
        "GaussianNoiseTransform",
        "MultiplicativeBrightnessTransform",
        "ContrastTransform",
        "SimulateLowResolutionTransform",
        "MirrorTransform",
        "RemoveLabelTransform",
    ]


def test_the_record_says_how_it_came_about(run: ShortRun) -> None:
    record = json.loads((run.output / "record.json").read_text(encoding="utf-8"))
    assert record == run.result.record
    assert record["seed"] == 2025
    assert record["commit"]
    assert len(record["dataset"]["sha256"]) == 64
    assert record["dataset"]["groups_from"] == "eGFR"
    assert record["dataset"]["training_cases"] == {"moderate": 2, "normal": 3}
    assert record["versions"]["nnunetv2"]
    for structure in STRUCTURES:
        validation = record["validation"][structure]
        assert validation["kept_fold"] == 0
        assert set(validation["folds"][0]["cases"]) == {run.validation_case}
    assert {choice["whose"] for choice in record["choices"]} == {"paper", "nnU-Net", "ours"}
    assert record["notes"] == [
        "Fewer training cases than folds in moderate, normal: some folds are validated without them.",
        "Not as in the protocol: epochs 2, iterations 40, validation_iterations 2, folds [0], patch [16, 32, 32], "
        "width 8, test_fraction 0.0, checkpoint_epochs 1, learning_rate 0.05, momentum 0.9.",
        "Only the folds 0 of five were trained.",
    ]


def test_the_bundle_is_registered_and_names_no_case(run: ShortRun) -> None:
    bundle = find_bundle(NAME)
    verify_bundle(bundle)
    assert bundle.digest == run.result.bundle.digest
    assert bundle.training["recipe"] == "luo-li-2025"
    assert bundle.metrics["validation_dice"] == {
        structure: run.result.scores[structure][0].dice for structure in STRUCTURES
    }
    assert "case_0" not in (bundle.path / "model.json").read_text(encoding="utf-8")


def test_the_bundle_segments(run: ShortRun, segmented: CaseResult) -> None:
    truth = truth_of(run)
    found = sitk.GetArrayFromImage(sitk.ReadImage(str(segmented.folder / "segmentation.nii.gz")))
    assert dice(np.isin(found, PARENCHYMA_IDS), np.isin(truth, PARENCHYMA_IDS)) > 0.5
    assert segmented.provenance["model"]["name"] == NAME


def test_cortex_is_nested_in_parenchyma(segmented: CaseResult) -> None:
    """Cortex is what both models found; after so few steps that may be little, and need not be right."""
    found = sitk.GetArrayFromImage(sitk.ReadImage(str(segmented.folder / "segmentation.nii.gz")))
    raw = sitk.GetArrayFromImage(sitk.ReadImage(str(segmented.folder / "raw_labels.nii.gz")))
    in_both = (raw % 2 == 1) & (raw >= 2)
    assert not (np.isin(found, CORTEX_IDS) & ~in_both).any()
    assert (np.isin(found, PARENCHYMA_IDS) <= (raw % 2 == 1)).all()


def test_the_engine_gives_what_nnunets_own_validation_gave(run: ShortRun, segmented: CaseResult) -> None:
    """Before post-processing: the same case, through our reader, engine and bundle, has nnU-Net's own Dice."""
    truth = truth_of(run)
    raw = sitk.GetArrayFromImage(sitk.ReadImage(str(segmented.folder / "raw_labels.nii.gz")))
    theirs = {}
    for structure in STRUCTURES:
        folder = model_folder(run.output, structure) / "fold_0" / "validation"
        mask = sitk.GetArrayFromImage(sitk.ReadImage(str(folder / f"{run.validation_case}.nii.gz")))
        theirs[structure] = mask > 0
        expected = run.result.scores[structure][0].dice
        ids = PARENCHYMA_IDS if structure == "parenchyma" else CORTEX_IDS
        assert expected == pytest.approx(dice(theirs[structure], np.isin(truth, ids)), abs=1e-6)
    # A pair's own label map says in one number what both networks found: first + 2 x second.
    assert dice(raw % 2 == 1, theirs["parenchyma"]) > 0.999
    assert dice(raw >= 2, theirs["cortex"]) > 0.999


def test_nnunet_predicts_with_the_kept_folder(run: ShortRun) -> None:
    import torch
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

    with nnunet_environment(run.output, processes=1, loaders=0):
        predictor = nnUNetPredictor(device=torch.device("cpu"), perform_everything_on_device=False, allow_tqdm=False)
        predictor.initialize_from_trained_model_folder(str(run.output / "kept" / "cortex"), (0,), FINAL)
    assert type(predictor.network).__name__ == "UNet3D"


def test_a_finished_run_is_not_trained_again(run: ShortRun) -> None:
    with pytest.raises(InputError, match="holds a training run already"):
        train_luo_li(run.data, run.output, patients=run.table, settings=SHORT, name="other", device="cpu")
    changed = replace(SHORT, epochs=3)
    with pytest.raises(InputError, match="begun otherwise: epochs 2 -> 3"):
        train_luo_li(
            run.data, run.output, patients=run.table, settings=changed, name="other", device="cpu", resume=True
        )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere"], "must be a folder"),
        (["DATA", "--name", NAME], "exists already"),
        (["DATA"], "at least 5 patients"),
        (["DATA", "--patch", "32", "64", "60"], "multiples of 16"),
        (["DATA", "--folds", "5"], "numbers from 0 to 4"),
        (["DATA", "--gpus", "3"], "at most 2"),
        (["DATA", "--patients", "nowhere.csv"], "could not be read"),
    ],
)
def test_the_command_says_what_is_wrong(
    run: ShortRun, tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    data = [str(run.data) if word == "DATA" else word for word in arguments]
    status = main(["train", "luo-li-2025", *data, "-o", str(tmp_path / "out"), "--device", "cpu", "--quiet"])
    assert status == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
