"""An ensemble with an nnU-Net model: its probabilities on the first model's grid, and the mean of both."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import analytic_bundles as a
import numpy as np
import pytest
import SimpleITK as sitk
import torch
from scipy import ndimage
from scipy.special import softmax

from KidneySegLib.inference import Engine
from KidneySegLib.inference.backend import make_backend
from KidneySegLib.inference.device import cpu_device
from KidneySegLib.inference.engine import StageClock
from KidneySegLib.inference.ensemble import Partner, structure_probabilities
from KidneySegLib.inference.grid import Box, frame_of, grid_of
from KidneySegLib.inference.network import ReadyNetwork
from KidneySegLib.models import Bundle, write_bundle
from KidneySegLib.models.nnunet_ensemble import ensemble_bundles
from KidneySegLib.models.nnunet_record import NnUnetRecord
from KidneySegLib.networks import build_network
from KidneySegLib.pipeline import segment_case

OUTPUTS = ("background", "parenchyma", "abnormality")
RECORD = a.nnunet_record(
    {0: "background", 1: "kidney", 2: "abnormality"}, {0: "background", 1: "parenchyma", 2: "abnormality"}, (0, 1, 2)
)
Lines = list[tuple[float, float]]


def write(folder: Path, lines: Lines, **changes: object) -> Bundle:
    """A softmax model whose logits are lines in HU."""
    arguments = {"in_channels": 1, "out_channels": len(lines), "features": [2, 2]}
    values = {
        "outputs": OUTPUTS,
        "activation": "softmax",
        "spacing_mm": (1.5, 1.5, 1.5),
        "network_arguments": arguments,
    }
    return write_bundle(folder, a.spec(folder.name, **{**values, **changes}), a.pointwise_state(lines))


def write_theirs(folder: Path, lines: Lines, record: NnUnetRecord = RECORD, **changes: object) -> Bundle:
    return write(folder, lines, nnunet=record, flexible_tiles=False, **changes)


def kidney_lines(abnormal_over_parenchyma: float) -> Lines:
    """Above 150 HU it is kidney; there the logit of abnormality is so much more than that of parenchyma."""
    kidney = a.threshold_line(150.0)
    return [(0.0, 0.0), kidney, (kidney[0], kidney[1] + abnormal_over_parenchyma)]


def scan(hu: float = 250.0) -> sitk.Image:
    image = a.image_of(np.full((40, 44, 60), -50, np.int16), (1.5, 1.5, 1.5))
    for x in (-15.0, 35.0):
        image = a.paint(image, (x, -20.0, 30.0), (12.0, 14.0, 20.0), hu)
    return image


def labels_of(bundle: Bundle, image: sitk.Image) -> np.ndarray:
    """Training labels on the whole scan, in float32."""
    result = Engine(bundle, device="cpu", precision="float32").run(image)
    whole = np.zeros(image.GetSize()[::-1], np.uint8)
    part = sitk.GetArrayFromImage(result.labels)
    whole[tuple(slice(i, i + n) for i, n in zip(result.index[::-1], part.shape, strict=True))] = part
    return whole


def test_structures_of_labels_and_of_regions_that_nest() -> None:
    labels = replace(
        RECORD,
        labels={0: "background", 1: "kidney_left", 2: "kidney_right", 3: "tumor", 4: "spleen"},
        structures={1: "parenchyma", 2: "parenchyma", 3: "mass", 4: "background"},
        channels=(0, 1, 2, 3, 4),
    )
    logits = np.log(np.array([0.1, 0.2, 0.3, 0.15, 0.25], np.float32)).reshape(5, 1, 1, 1)
    found = structure_probabilities(logits, a.spec(nnunet=labels, activation="softmax"))
    said = {name: float(value[0, 0, 0]) for name, value in found.items()}
    assert said == pytest.approx({"background": 0.35, "parenchyma": 0.5, "mass": 0.15}, abs=1e-6)
    # KiTS: kidney and masses (paints 1), masses (paints 3, which leaves cysts), tumour (paints 2).
    regions = replace(
        RECORD,
        labels={0: "background", 1: "kidney_and_mass", 2: "tumor", 3: "masses"},
        structures={0: "background", 1: "parenchyma", 3: "cyst", 2: "mass"},
        channels=(1, 3, 2),
    )
    regional = np.array([[0.9, 0.45, 0.2], [0.3, 0.6, 0.1]]).T.astype(np.float32)
    logits = np.log(regional / (1 - regional)).reshape(3, 1, 1, 2)
    before = logits.copy()
    found = structure_probabilities(logits, a.spec(nnunet=regions, activation="sigmoid"))
    expected = {"parenchyma": [0.45, 0.0], "cyst": [0.25, 0.5], "mass": [0.2, 0.1], "background": [0.1, 0.4]}
    assert found.keys() == expected.keys()
    for name, values in expected.items():
        np.testing.assert_allclose(found[name][0, 0], values, atol=1e-6)
    np.testing.assert_array_equal(logits, before)


def turned(degrees: float) -> np.ndarray:
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return np.array([[c, -s, 0], [s, c, 0], [0, 0, 1.0]])


@pytest.mark.parametrize(
    ("orientation", "transpose", "direction"),
    [
        ("stored", (0, 1, 2), np.eye(3)),
        ("stored", (2, 0, 1), np.diag([-1.0, 1.0, -1.0])),
        ("RAS", (1, 0, 2), np.eye(3)[[1, 2, 0]] @ np.diag([-1.0, 1.0, 1.0])),
        ("RAS", (0, 1, 2), turned(25.0)),
    ],
)
def test_probabilities_lie_where_they_belong_in_every_orientation(
    tmp_path: Path, orientation: str, transpose: tuple[int, int, int], direction: np.ndarray
) -> None:
    lines = [(0.0, 0.0), (1.5, 0.5), (-2.0, -0.25)]
    record = replace(RECORD, orientation=orientation, transpose=transpose)
    spacing = (2.5, 1.2, 1.8)
    theirs = write_theirs(tmp_path / "theirs", lines, record, spacing_mm=spacing)
    empty = a.image_of(np.zeros((30, 50, 40), np.float32), (1.6, 1.4, 2.2), direction)

    def hu_at(world: np.ndarray) -> np.ndarray:
        return 90.0 + (world - np.array([10.0, -20.0, 30.0])) @ np.array([3.0, -2.0, 2.5])

    values = hu_at(a.world_of(empty)).astype(np.float32)
    values[:, :3] = values[-4:] = 0  # nnU-Net cuts off what is 0 all round.
    image = sitk.GetImageFromArray(values)
    image.CopyInformation(empty)

    grid = grid_of(frame_of(image), (1.5, 1.5, 1.5))
    region = Box(tuple(n // 3 for n in grid.shape), tuple(2 * n // 3 for n in grid.shape))  # type: ignore[arg-type]
    partner = Partner(ReadyNetwork(theirs, cpu_device(), "float32", "off", make_backend), OUTPUTS, image)
    clock = StageClock()
    found = partner.probabilities(grid, region, clock.timed, lambda *_: None)

    assert found.shape == (3, *region.shape)
    index = np.stack(
        np.meshgrid(*(np.arange(b, e) for b, e in zip(region.start, region.stop, strict=True)), indexing="ij")
    )
    world = np.array([grid.centre_of_mm(i) for i in index.reshape(3, -1).T])
    x = (hu_at(world) - 100.0) / 100.0
    expected = softmax(np.array([slope * x + offset for slope, offset in lines]), axis=0).reshape(found.shape)
    assert np.ptp(expected[1]) > 0.3
    np.testing.assert_allclose(found, expected, atol=4e-3)
    assert clock.seconds["network"] > 0


def test_outside_of_what_nnunet_sees_there_is_background(tmp_path: Path) -> None:
    theirs = write_theirs(tmp_path / "theirs", [(0.0, 0.0), (0.0, 5.0), (0.0, -5.0)])
    image = scan()
    values = sitk.GetArrayFromImage(image)
    values[:10] = 0
    cut = sitk.GetImageFromArray(values)
    cut.CopyInformation(image)
    grid = grid_of(frame_of(cut), (1.5, 1.5, 1.5))
    partner = Partner(ReadyNetwork(theirs, cpu_device(), "float32", "off", make_backend), OUTPUTS, cut)
    found = partner.probabilities(grid, grid.whole, StageClock().timed, lambda *_: None)
    np.testing.assert_allclose(found.sum(axis=0), 1.0, atol=1e-5)
    assert (found[0, :10] == 1).all()
    assert (found[1, 10:] > 0.99).all()


@pytest.mark.parametrize(("second", "expected"), [(-1.5, 1), (-0.5, 5)])
def test_the_mean_of_two_probabilities_decides(tmp_path: Path, second: float, expected: int) -> None:
    # In the kidney the first says abnormality with 1 / (1 + e^-1) = 0.731, the second with 0.182 or 0.378:
    # the mean is 0.457, which is parenchyma, or 0.554, which is abnormality.
    first = write(tmp_path / "first", kidney_lines(1.0))
    theirs = write_theirs(tmp_path / "theirs", kidney_lines(second), spacing_mm=(3.0, 1.0, 1.25))
    both = ensemble_bundles(first.path, theirs.path, folder=tmp_path / "both")
    image = scan()
    kidney = sitk.GetArrayFromImage(image) == 250
    # Within 3 mm of the surface nnU-Net's slices of 3 mm are partly background.
    inside = ndimage.binary_erosion(kidney, iterations=2)
    outside = ~ndimage.binary_dilation(kidney, iterations=2)
    assert inside.sum() > 3000
    found = labels_of(both, image)
    assert (found[inside] == expected).all()
    assert not found[outside].any()
    assert (labels_of(first, image)[inside] == 5).all()
    assert (labels_of(theirs, image)[inside] == 1).all()


def test_with_itself_it_is_the_model_itself(tmp_path: Path) -> None:
    a.write_localiser(tmp_path / "coarse")
    first = write(tmp_path / "first", kidney_lines(1.0), localiser="coarse")
    theirs = write_theirs(tmp_path / "theirs", kidney_lines(1.0))
    both = ensemble_bundles(first.path, theirs.path, folder=tmp_path / "both")
    image = sitk.Cast(sitk.AdditiveGaussianNoise(scan(), 60.0, 0.0, 5), sitk.sitkInt16)
    alone = labels_of(first, image)
    assert (alone == 5).sum() > 5000
    np.testing.assert_array_equal(labels_of(both, image), alone)


def test_the_multi_resolution_network_and_nnunets_own(tmp_path: Path) -> None:
    """Weights at random, one region that is the scan: the labels are those of the mean of what each says by itself."""
    arguments = {
        "out_channels": 3,
        "features": [4, 6, 8, 8],
        "context_features": [4, 6],
        "context_factor": 4,
        "margin": 8,
    }
    torch.manual_seed(15)
    made = a.spec(
        "first",
        network="MultiResUNet3D",
        network_arguments=arguments,
        outputs=OUTPUTS,
        activation="softmax",
        size_multiple=(8, 8, 8),
        patch_size=(32, 32, 40),
        margin=(8, 8, 8),
    )
    first = write_bundle(tmp_path / "first", made, build_network("MultiResUNet3D", arguments).state_dict())
    plain = {
        "num_classes": 3,
        "features_per_stage": [2, 4],
        "strides": [1, 2],
        "n_conv_per_stage": 1,
        "n_conv_per_stage_decoder": 1,
    }
    torch.manual_seed(115)
    theirs = write_bundle(
        tmp_path / "theirs",
        a.spec(
            "theirs",
            network="PlainConvUNet",
            network_arguments=plain,
            outputs=OUTPUTS,
            activation="softmax",
            nnunet=RECORD,
            flexible_tiles=False,
            patch_size=(32, 32, 40),
            mirror_axes=(0, 1, 2),
            mirror=True,
        ),
        build_network("PlainConvUNet", plain).state_dict(),
    )
    both = ensemble_bundles(first.path, theirs.path, folder=tmp_path / "both")
    hu = np.random.default_rng(4).normal(100, 150, (32, 32, 40)).astype(np.int16)
    image = a.image_of(hu, (1.0, 1.0, 1.0))
    given = (hu.astype(np.float32).clip(-300, 500) - 100) / 100
    own = ReadyNetwork(first, cpu_device(), "float32", "auto", make_backend)
    wide = np.pad(given, 8, constant_values=first.padding)
    one = own.probabilities(wide, (32, 32, 40), lambda *_: None)
    nnunet = ReadyNetwork(theirs, cpu_device(), "float32", "auto", make_backend)
    assert nnunet.passes_per_tile == 8
    two = softmax(nnunet.logits(given, (32, 32, 40), lambda *_: None), axis=0)
    expected = np.array([0, 1, 5])[(one + two).argmax(axis=0)]
    found = labels_of(both, image)
    assert (found == expected).mean() > 0.999
    assert (found != np.array([0, 1, 5])[one.argmax(axis=0)]).mean() > 0.05
    assert (found != np.array([0, 1, 5])[two.argmax(axis=0)]).mean() > 0.05


def test_a_case_has_cysts_in_its_table(tmp_path: Path) -> None:
    """Fat is background, water abnormality, contrast medium parenchyma; what is abnormal is then split as ever."""
    water, contrast = a.threshold_line(-40.0, 8.0), a.threshold_line(80.0, 8.0)
    lines = [(0.0, 0.0), water, (water[0] + contrast[0], water[1] + contrast[1])]
    first = write(tmp_path / "first", [lines[0], lines[2], lines[1]])
    # Their tables name cyst and tumour in another order, which both count as abnormality.
    record = replace(
        RECORD,
        labels={0: "background", 1: "cyst", 2: "tumor", 3: "kidney"},
        structures={0: "background", 1: "cyst", 2: "mass", 3: "parenchyma"},
        channels=(0, 1, 2, 3),
    )
    theirs = write_theirs(
        tmp_path / "theirs",
        [lines[0], lines[1], (0.0, -50.0), lines[2]],
        record,
        outputs=("background", "cyst", "mass", "parenchyma"),
    )
    both = ensemble_bundles(first.path, theirs.path, folder=tmp_path / "both")
    image = a.image_of(np.full((60, 60, 110), -100, np.int16), (1.5, 1.5, 1.5))
    for x in (-40.0, 60.0):
        image = a.paint(image, (x, -20.0, 30.0), (24.0, 22.0, 36.0), 180)
    image = a.paint(image, (-40.0, -20.0, 30.0), (12.0, 12.0, 12.0), 5)
    seen = []
    engine = Engine(both, device="cpu", precision="float32")
    sitk.WriteImage(image, str(tmp_path / "scan.nii.gz"))
    from KidneySegLib.progress import Progress

    progress = Progress(lambda event: seen.append((event.stage, event.fraction)))
    segment_case(tmp_path / "scan.nii.gz", tmp_path / "out", engine=engine, progress=progress)
    with open(tmp_path / "out" / "volumes.csv", newline="", encoding="utf-8") as file:
        rows = {row["side"]: row for row in csv.DictReader(file)}
    cyst_ml = 4 / 3 * np.pi * 12**3 / 1000
    assert float(rows["both"]["cyst_ml"]) == pytest.approx(cyst_ml, rel=0.08)
    assert float(rows["both"]["mass_ml"]) == pytest.approx(0.0, abs=0.05)
    assert "cyst_or_mass_by_hu" in rows["both"]["flags"]
    assert rows["both"]["cortex_ml"] == ""
    provenance = json.loads((tmp_path / "out" / "provenance.json").read_text(encoding="utf-8"))
    assert provenance["model"]["sha256"] == both.digest
    network = [fraction for stage, fraction in seen if stage == "network"]
    assert network == sorted(network)
    assert 0.5 in network
    assert network[-1] == 1.0
