"""Imported models against nnU-Net itself: its trainer made them, its predictor says what is right."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

pytest.importorskip("nnunetv2")

from nnunet_oracle import CASES

from KidneySegLib.errors import DeviceError
from KidneySegLib.inference import Engine, EngineResult
from KidneySegLib.inference.backend import make_torch_backend
from KidneySegLib.inference.nnunet_scan import prepare
from KidneySegLib.models import Bundle
from KidneySegLib.models.nnunet import import_nnunet
from KidneySegLib.models.nnunet_pair import pair_bundles


@pytest.fixture(scope="session")
def oracle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Models and answers of nnU-Net; made once, in a process of its own."""
    kept = os.environ.get("KIDNEYSEG_TEST_ORACLE")
    if kept:
        return Path(kept)
    folder = tmp_path_factory.mktemp("oracle")
    script = Path(__file__).with_name("nnunet_oracle.py")
    done = subprocess.run([sys.executable, str(script), str(folder)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-4000:]
    return folder


@pytest.fixture(scope="session")
def bundles(oracle: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Bundle]:
    folder = tmp_path_factory.mktemp("bundles")
    return {name: import_nnunet(oracle / name / "model", name, folder=folder / name) for name in CASES}


def scan_of(oracle: Path, name: str) -> sitk.Image:
    return sitk.ReadImage(str(oracle / name / "scan.nii.gz"))


def raw_of(result: EngineResult, image: sitk.Image) -> np.ndarray:
    """The raw label map on the scan's whole grid."""
    whole = np.zeros(image.GetSize()[::-1], np.uint8)
    part = sitk.GetArrayFromImage(result.raw)
    place = tuple(slice(i, i + n) for i, n in zip(result.index[::-1], part.shape, strict=True))
    whole[place] = part
    return whole


def dice(a: np.ndarray, b: np.ndarray) -> float:
    return float(2 * (a & b).sum() / (a.sum() + b.sum()))


def check(found: np.ndarray, expected: np.ndarray, least: float) -> None:
    ids = [int(i) for i in np.unique(expected) if i]
    assert ids
    for id in ids:
        assert (expected == id).sum() > 1000, "nnU-Net's own mask is too small to tell anything"
        assert dice(found == id, expected == id) >= least
    assert dice(found > 0, expected > 0) >= least


@pytest.mark.parametrize("name", CASES)
def test_the_network_sees_what_nnunet_shows_it(oracle: Path, bundles: dict[str, Bundle], name: str) -> None:
    scan = prepare(scan_of(oracle, name), bundles[name], lambda _f: None)
    expected = np.load(oracle / name / "prepared.npy")
    assert scan.volume.shape == expected.shape
    np.testing.assert_allclose(scan.volume, expected, atol=5e-4)


@pytest.mark.parametrize("name", CASES)
def test_masks_in_float32_are_nnunets(oracle: Path, bundles: dict[str, Bundle], name: str) -> None:
    image = scan_of(oracle, name)
    engine = Engine(bundles[name], device="cpu", precision="float32")
    assert engine._fine.passes_per_tile == 8
    result = engine.run(image)
    assert result.backend == "openvino"
    expected = np.load(oracle / name / "labels.npy")
    found = raw_of(result, image)
    check(found, expected, 0.999)
    # And what the labels mean here is on the same voxels.
    labels = sitk.GetArrayFromImage(result.labels)
    raw = sitk.GetArrayFromImage(result.raw)
    np.testing.assert_array_equal(labels, raw)  # Ids 1 and 2 mean medulla (or all parenchyma) and cortex here too.
    assert result.divided == ("kidney" not in CASES[name].labels)
    assert set(result.raw_names.values()) == set(CASES[name].labels)


@pytest.mark.parametrize("name", ["isotropic", "anisotropic", "regions"])
def test_masks_in_bfloat16_are_nearly_nnunets(oracle: Path, bundles: dict[str, Bundle], name: str) -> None:
    try:
        engine = Engine(bundles[name], device="cpu", precision="bfloat16")
    except DeviceError:
        pytest.skip("this processor has no bfloat16 units")
    image = scan_of(oracle, name)
    check(raw_of(engine.run(image), image), np.load(oracle / name / "labels.npy"), 0.995)


def test_logits_are_nnunets(oracle: Path, bundles: dict[str, Bundle]) -> None:
    name = "regions"
    engine = Engine(bundles[name], device="cpu", precision="float32")
    volume = np.load(oracle / name / "prepared.npy")
    logits = engine._fine.logits(volume, bundles[name].patch_size, lambda *_: None)
    expected = np.load(oracle / name / "logits.npy")
    difference = np.abs(logits - expected)
    # nnU-Net adds up in float16. Where its weights are all but 0, along a volume's edges, that is coarse.
    assert np.median(difference) < 5e-3
    assert np.percentile(difference, 75) < 0.02
    assert difference.max() < 0.6


def test_the_torch_backend_gives_the_same(oracle: Path, bundles: dict[str, Bundle]) -> None:
    image = scan_of(oracle, "residual")
    engine = Engine(bundles["residual"], device="cpu", precision="float32", make=make_torch_backend)
    check(raw_of(engine.run(image), image), np.load(oracle / "residual" / "labels.npy"), 0.999)


def test_a_pair_nests_cortex_in_parenchyma(oracle: Path, bundles: dict[str, Bundle], tmp_path: Path) -> None:
    # The anisotropic model finds whole kidneys; the isotropic one finds cortex on the same scan.
    pair = pair_bundles(bundles["anisotropic"].path, bundles["residual"].path, "pair", folder=tmp_path / "pair")
    image = scan_of(oracle, "residual")
    result = Engine(pair, device="cpu", precision="float32", mirror="off").run(image)
    labels, raw = (sitk.GetArrayFromImage(i) for i in (result.labels, result.raw))
    kidney, cortex = raw % 2 == 1, raw // 2 == 2
    assert cortex.any()
    np.testing.assert_array_equal(labels == 2, kidney & cortex)
    np.testing.assert_array_equal(labels > 0, kidney)
    assert result.divided
    assert result.raw_names[5] == "kidney + cortex"


def test_the_whole_road_writes_the_plain_output(oracle: Path, bundles: dict[str, Bundle], tmp_path: Path) -> None:
    from KidneySegLib.pipeline import segment_case

    source = oracle / "isotropic" / "scan.nii.gz"
    result = segment_case(
        source, tmp_path / "out", model=bundles["isotropic"].path, device="cpu", precision="float32", raw=True
    )
    raw = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "out" / "raw_labels.nii.gz")))
    check(raw, np.load(oracle / "isotropic" / "labels.npy"), 0.999)
    assert result.provenance["model"]["name"] == "isotropic"
