"""The protocol of Luo and Li up to nnU-Net: finding cases, raw data sets and plans."""

from __future__ import annotations

import json
import re
import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from KidneySegLib.errors import InputError, OutputError
from KidneySegLib.labels import Side, Structure, label_id
from KidneySegLib.training.luo_li.cases import LabelledCase, find_cases, signature
from KidneySegLib.training.luo_li.raw import DATASET_NAMES, read_case, write_raw
from KidneySegLib.training.luo_li.settings import STRUCTURES, LuoLiSettings, read_recipe

SHAPE = (6, 16, 20)
CORTEX, MEDULLA = label_id(Structure.CORTEX, Side.RIGHT), label_id(Structure.MEDULLA, Side.RIGHT)
CYST = label_id(Structure.CYST, Side.RIGHT)


def image_of(voxels: np.ndarray) -> sitk.Image:
    image = sitk.GetImageFromArray(voxels)
    image.SetSpacing((2.0, 2.0, 5.0))
    image.SetOrigin((-10.0, 5.0, 100.0))
    return image


def ct() -> sitk.Image:
    return image_of(np.random.default_rng(0).integers(-120, 250, SHAPE).astype(np.int16))


def ids() -> np.ndarray:
    """A kidney of 3 x 6 x 6 voxels: cortex outside, medulla inside, one voxel of cyst."""
    labels = np.zeros(SHAPE, dtype=np.uint8)
    labels[1:4, 4:10, 5:11] = CORTEX
    labels[2, 5:9, 6:10] = MEDULLA
    labels[2, 5, 6] = CYST
    return labels


def write(folder: Path, image: sitk.Image, name: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    sitk.WriteImage(image, str(folder / name), True)
    return folder


@pytest.fixture
def data_set(tmp_path: Path) -> Path:
    root = tmp_path / "data"
    for number in range(6):
        write(root / f"p{number}", ct(), "ct.nii.gz")
        write(root / f"p{number}", image_of(ids()), "labels.nii.gz")
    return root


# --- finding cases


def test_cases_are_found_with_scan_and_labels(data_set: Path) -> None:
    (data_set / ".hidden").mkdir()
    (data_set / "notes.txt").write_text("not a case")
    found = find_cases(data_set)
    assert [case.case_id for case in found] == [f"p{n}" for n in range(6)]
    assert found[0] == LabelledCase("p0", data_set / "p0" / "ct.nii.gz", data_set / "p0" / "labels.nii.gz")


def test_an_only_image_beside_labels_is_the_scan(data_set: Path) -> None:
    (data_set / "p0" / "ct.nii.gz").rename(data_set / "p0" / "scan_of_monday.nii.gz")
    (data_set / "p0" / "labels.nii.gz").rename(data_set / "p0" / "segmentation.nii.gz")
    case = find_cases(data_set)[0]
    assert (case.image.name, case.labels.name) == ("scan_of_monday.nii.gz", "segmentation.nii.gz")


def damage_no_labels(case: Path) -> None:
    (case / "labels.nii.gz").unlink()


def damage_no_scan(case: Path) -> None:
    (case / "ct.nii.gz").unlink()


def damage_two_scans(case: Path) -> None:
    (case / "ct.nii.gz").rename(case / "a.nii.gz")
    shutil.copy(case / "a.nii.gz", case / "b.nii.gz")


def damage_one_mask(case: Path) -> None:
    (case / "labels.nii.gz").rename(case / "parenchyma.nii.gz")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (damage_no_labels, "p1: no labels"),
        (damage_no_scan, "p1: no scan"),
        (damage_two_scans, "p1: 2 images"),
        (damage_one_mask, "p1: no cortex.nii.gz"),
    ],
)
def test_incomplete_cases_are_named(data_set: Path, damage: Callable[[Path], None], message: str) -> None:
    damage(data_set / "p1")
    with pytest.raises(InputError, match=f"1 of 6 cases.*{re.escape(message)}"):
        find_cases(data_set)


def test_what_is_no_data_set_says_so(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="must be a folder"):
        find_cases(tmp_path / "nowhere")
    with pytest.raises(InputError, match="no case folders"):
        find_cases(tmp_path)


def test_a_data_set_of_nnunet_is_read_with_training_ids(data_set: Path, tmp_path: Path) -> None:
    root = tmp_path / "Dataset600_Ours"
    write(root / "imagesTr", ct(), "a_0000.nii.gz")
    training = np.zeros(SHAPE, dtype=np.uint8)
    training[1:4, 4:10, 5:11] = 2
    training[2, 5:9, 6:10] = 1
    write(root / "labelsTr", image_of(training), "a.nii.gz")
    (root / "dataset.json").write_text(json.dumps({"file_ending": ".nii.gz"}))
    (case,) = find_cases(root)
    assert case.scheme == "training"
    np.testing.assert_array_equal(sitk.GetArrayFromImage(read_case(case)[1]), training)


def test_a_growing_data_set_gives_its_newest_accepted_labels_and_its_held_out_cases(tmp_path: Path) -> None:
    from KidneySegLib.ct import scan_from_image
    from KidneySegLib.export.dataset import Addition, DataSet, Split

    data = DataSet.create(tmp_path / "growing")
    voxels = sitk.GetArrayFromImage(ct())
    for number, split in enumerate((Split.TRAIN, Split.TEST)):
        scan = scan_from_image(image_of(voxels + number))
        data.add(scan, image_of(ids()), Addition("first reader", subject="patient 7", split=split))
        if number == 0:
            changed = ids()
            changed[1, 4, 5] = 0
            data.add(scan, image_of(changed), Addition("second reader", subject="patient 7"))
            break
    (case,) = find_cases(tmp_path / "growing")
    assert case.split == "train"
    assert case.subject
    labels = sitk.GetArrayFromImage(read_case(case)[1])
    assert labels[1, 4, 5] == 0
    assert labels[1, 4, 6] == 2


def test_the_signature_tells_a_changed_data_set(data_set: Path) -> None:
    before = signature(find_cases(data_set))
    assert signature(find_cases(data_set)) == before
    shutil.copytree(data_set / "p0", data_set / "p9")
    assert signature(find_cases(data_set)) != before


# --- labels


def test_labels_become_training_ids_and_cysts_background(data_set: Path) -> None:
    scan, labels = read_case(find_cases(data_set)[0])
    voxels = sitk.GetArrayFromImage(labels)
    assert scan.image.GetPixelID() == sitk.sitkInt16
    assert Counter(voxels.ravel().tolist()) == {0: 6 * 16 * 20 - 3 * 36, 2: 3 * 36 - 16, 1: 15} | {
        0: 6 * 16 * 20 - 3 * 36 + 1
    }
    assert labels.GetOrigin() == scan.image.GetOrigin()


def test_two_masks_of_readers_become_one_map(data_set: Path) -> None:
    case = data_set / "p0"
    (case / "labels.nii.gz").unlink()
    parenchyma = np.isin(ids(), (CORTEX, MEDULLA)).astype(np.uint8)
    cortex = (ids() == CORTEX).astype(np.uint8)
    cortex[0, 0, 0] = 1  # outside the other outline: still parenchyma
    write(case, image_of(parenchyma), "parenchyma.nii.gz")
    write(case, image_of(cortex * 255), "cortex.nii.gz")
    voxels = sitk.GetArrayFromImage(read_case(find_cases(data_set)[0])[1])
    assert voxels[0, 0, 0] == 2
    voxels[0, 0, 0] = 0
    np.testing.assert_array_equal(voxels == 2, ids() == CORTEX)
    np.testing.assert_array_equal(voxels == 1, ids() == MEDULLA)


def test_labels_that_a_converter_turned_over_are_turned_back(data_set: Path) -> None:
    straight = sitk.GetArrayFromImage(read_case(find_cases(data_set)[0])[1])
    turned = sitk.DICOMOrient(image_of(ids()), "RAS")  # dcm2nii's way; images here are LPS
    assert turned.GetDirection() != image_of(ids()).GetDirection()
    write(data_set / "p0", turned, "labels.nii.gz")
    np.testing.assert_array_equal(sitk.GetArrayFromImage(read_case(find_cases(data_set)[0])[1]), straight)


def test_labels_on_a_part_of_the_grid_are_put_in_their_place(data_set: Path) -> None:
    straight = sitk.GetArrayFromImage(read_case(find_cases(data_set)[0])[1])
    write(data_set / "p0", image_of(ids())[4:12, 3:11, 0:5], "labels.nii.gz")
    np.testing.assert_array_equal(sitk.GetArrayFromImage(read_case(find_cases(data_set)[0])[1]), straight)


def undivided(labels: np.ndarray) -> sitk.Image:
    labels[labels > 0] = label_id(Structure.UNDIVIDED, Side.RIGHT)
    return image_of(labels)


def no_cortex(labels: np.ndarray) -> sitk.Image:
    labels[labels == CORTEX] = MEDULLA
    return image_of(labels)


def other_grid(labels: np.ndarray) -> sitk.Image:
    image = image_of(labels)
    image.SetSpacing((2.1, 2.0, 5.0))
    return image


def strange_ids(labels: np.ndarray) -> sitk.Image:
    return image_of(labels + 40)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (undivided, "do not tell cortex from medulla"),
        (no_cortex, "hold no cortex"),
        (other_grid, "does not lie on the scan's grid"),
        (strange_ids, "holds the labels"),
    ],
)
def test_labels_that_cannot_be_trained_on_name_the_case(
    data_set: Path, change: Callable[[np.ndarray], sitk.Image], message: str
) -> None:
    write(data_set / "p3", change(ids()), "labels.nii.gz")
    with pytest.raises(InputError, match=f"Case p3 cannot be trained on:.*{message}"):
        read_case(find_cases(data_set)[3])


def test_a_scan_that_is_no_ct_names_the_case(data_set: Path) -> None:
    write(data_set / "p2", image_of(np.abs(sitk.GetArrayFromImage(ct()))), "ct.nii.gz")
    with pytest.raises(InputError, match=r"Case p2 cannot be trained on:.*Hounsfield"):
        read_case(find_cases(data_set)[2])


# --- raw data sets


def test_raw_data_sets_have_one_region_each(data_set: Path, tmp_path: Path) -> None:
    cases = find_cases(data_set)
    groups = {case.case_id: "all" for case in cases}
    splits = [{"train": ["p1"], "val": ["p2"]}]
    facts = write_raw(cases, groups, ["p0"], splits, tmp_path / "raw")
    for structure in STRUCTURES:
        root = tmp_path / "raw" / DATASET_NAMES[structure]
        described = json.loads((root / "dataset.json").read_text())
        assert described["numTraining"] == 5
        assert described["channel_names"] == {"0": "zscore"}
        assert sorted(p.name for p in (root / "imagesTr").iterdir()) == [f"p{n}_0000.nii.gz" for n in range(1, 6)]
        assert [p.name for p in (root / "imagesTs").iterdir()] == ["p0_0000.nii.gz"]
        assert [p.name for p in (root / "labelsTs").iterdir()] == ["p0.nii.gz"]
        assert json.loads((root / "splits_final.json").read_text()) == splits
    parenchyma, cortex = (
        sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "raw" / DATASET_NAMES[s] / "labelsTr" / "p1.nii.gz")))
        for s in STRUCTURES
    )
    np.testing.assert_array_equal(parenchyma == 2, ids() == CORTEX)
    np.testing.assert_array_equal(cortex == 1, ids() == CORTEX)
    from KidneySegLib.cohort.cases import find_cases as find_cohort

    (held_out,) = find_cohort(tmp_path / "test_cases.csv", tmp_path / "out")
    assert held_out.case_id == "p0"
    assert facts.cases["p0"] == {"group": "all", "held_out": True, "parenchyma_ml": 2.14, "cortex_ml": 1.84}


def test_all_cases_are_looked_at_before_the_first_one_is_complained_of(data_set: Path, tmp_path: Path) -> None:
    for name in ("p1", "p4"):
        write(data_set / name, no_cortex(ids()), "labels.nii.gz")
    cases = find_cases(data_set)
    with pytest.raises(InputError, match=r"2 of 6 cases: Case p1 .* Case p4 "):
        write_raw(cases, {case.case_id: "all" for case in cases}, [], [], tmp_path / "raw")


def test_a_run_that_trained_nothing_may_begin_anew(data_set: Path, tmp_path: Path) -> None:
    pytest.importorskip("nnunetv2")
    from KidneySegLib.training.luo_li.run import train_luo_li

    write(data_set / "p3", no_cortex(ids()), "labels.nii.gz")
    settings = LuoLiSettings(test_fraction=0.0)
    for _ in range(2):
        with pytest.raises(InputError, match="Case p3"):
            train_luo_li(data_set, tmp_path / "run", settings=settings, device="cpu")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.txt").write_text("mine")
    with pytest.raises(OutputError, match="not empty"):
        train_luo_li(data_set, tmp_path / "other", settings=settings, device="cpu")


def test_the_hash_tells_other_voxels(data_set: Path, tmp_path: Path) -> None:
    cases = find_cases(data_set)
    groups = {case.case_id: "all" for case in cases}
    first = write_raw(cases, groups, [], [], tmp_path / "raw").sha256
    assert write_raw(cases, groups, [], [], tmp_path / "again").sha256 == first
    changed = ids()
    changed[3, 9, 10] = MEDULLA
    write(data_set / "p4", image_of(changed), "labels.nii.gz")
    assert write_raw(cases, groups, [], [], tmp_path / "raw").sha256 != first


# --- settings, recipe, plans


@pytest.mark.parametrize(
    "change",
    [{"epochs": 0}, {"folds": ()}, {"folds": (5,)}, {"folds": (1, 1)}, {"patch": (32, 60, 64)}, {"test_fraction": 1.0}],
)
def test_settings_that_do_not_fit(change: dict[str, object]) -> None:
    with pytest.raises(InputError, match=next(iter(change))):
        replace(LuoLiSettings(), **change)


def test_the_recipe_says_whose_each_choice_is() -> None:
    choices = {choice["item"]: choice for choice in read_recipe()["choices"]}
    assert all(choice["whose"] in ("paper", "nnU-Net", "ours") for choice in choices.values())
    assert all("note" in choice for choice in choices.values() if choice["whose"] == "ours")
    settings = LuoLiSettings()
    assert choices["epochs"]["value"] == settings.epochs == 200
    assert choices["L2 regularisation"]["value"] == settings.weight_decay
    assert choices["channels"]["value"] == list(settings.features)
    assert choices["seed"]["value"] == settings.seed
    assert choices["Nesterov momentum"]["value"] == settings.nesterov
    assert str(settings.learning_rate) in choices["optimiser"]["value"]
    assert str(settings.momentum) in choices["optimiser"]["value"]
    assert str(settings.test_fraction) in choices["held-out test cases"]["value"]


def test_plans_get_the_papers_network_and_training() -> None:
    pytest.importorskip("nnunetv2")
    from KidneySegLib.training.luo_li.plans import patched

    planned = {
        "plans_name": "LuoLi2025Plans",
        "configurations": {
            "2d": {},
            "3d_lowres": {},
            "3d_fullres": {"patch_size": (np.int64(28), np.int64(225), np.int64(7)), "batch_size": 9, "spacing": [5.0]},
        },
    }
    plans = patched(planned, LuoLiSettings())
    (name,) = plans["configurations"]
    configuration = plans["configurations"][name]
    assert name == "3d_fullres"
    assert configuration["patch_size"] == [32, 224, 16]
    assert configuration["batch_size"] == 2
    assert configuration["architecture"]["network_class_name"] == "KidneySegLib.networks.unet3d.UNet3D"
    assert configuration["architecture"]["arch_kwargs"]["features"] == [32, 64, 128, 256, 512]
    assert configuration["architecture"]["arch_kwargs"]["downsampling"] == "max_pool"
    assert configuration["luo_li_2025"]["epochs"] == 200
    with pytest.raises(InputError, match="one slice"):
        patched({"configurations": {"2d": {}}}, LuoLiSettings())


def test_the_network_has_the_size_that_algorithms_give() -> None:
    """22.58 M parameters for 32 to 512 channels with four poolings."""
    torch = pytest.importorskip("torch")
    from KidneySegLib.networks.unet3d import UNet3D

    network = UNet3D(features=LuoLiSettings().features, out_channels=1, normalisation="instance")
    assert sum(p.numel() for p in network.parameters()) == pytest.approx(22.58e6, rel=2e-3)
    assert network.divisor == (16, 16, 16)
    del torch


@pytest.mark.parametrize(("gpus", "message"), [(3, "at most 2"), (2, "NVIDIA|was asked for")])
def test_more_cards_than_the_batch_or_the_machine_has(gpus: int, message: str) -> None:
    pytest.importorskip("torch")
    from KidneySegLib.errors import KidneySegError
    from KidneySegLib.training.luo_li.folds import check_device

    with pytest.raises(KidneySegError, match=message):
        check_device("cpu", gpus)
