"""Networks that see more than the tile they answer for: tiles, backends and the engine give them their margin."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from analytic_bundles import image_of, paint, spec
from scipy import ndimage

from KidneySegLib.errors import ModelError
from KidneySegLib.inference import Engine
from KidneySegLib.inference.backend import make_backend, make_torch_backend
from KidneySegLib.inference.device import cpu_device
from KidneySegLib.inference.network import ReadyNetwork
from KidneySegLib.inference.tiling import accumulate, plan_tiles
from KidneySegLib.models import Bundle, write_bundle
from KidneySegLib.networks import build_network

ARGUMENTS = {"out_channels": 3, "features": [4, 6, 8, 8], "context_features": [4, 6], "context_factor": 4, "margin": 8}
MARGIN = (8, 8, 8)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    torch.manual_seed(7)
    made = spec(
        "multires",
        network="MultiResUNet3D",
        network_arguments=ARGUMENTS,
        outputs=("background", "parenchyma", "abnormality"),
        activation="softmax",
        size_multiple=(8, 8, 8),
        patch_size=(24, 16, 16),
        margin=MARGIN,
        mirror_axes=(2,),
    )
    state = build_network("MultiResUNet3D", ARGUMENTS).state_dict()
    return write_bundle(tmp_path_factory.mktemp("margin") / "multires", made, state)


def test_tiles_see_their_margin_so_that_a_filter_over_it_is_that_of_the_whole_volume() -> None:
    margin, tile = (2, 1, 3), (8, 8, 8)
    volume = np.random.default_rng(1).normal(size=(15 + 4, 12 + 2, 21 + 6)).astype(np.float32)
    size = tuple(2 * m + 1 for m in margin)
    whole = ndimage.uniform_filter(volume.astype(np.float64), size)
    inner = tuple(slice(m, n - m) for m, n in zip(margin, volume.shape, strict=True))

    def predict(tiles: np.ndarray) -> np.ndarray:
        assert tiles.shape[2:] == tuple(t + 2 * m for t, m in zip(tile, margin, strict=True))
        filtered = ndimage.uniform_filter(tiles.astype(np.float64), (1, 1, *size))
        return filtered[:, :, 2:-2, 1:-1, 3:-3].astype(np.float32)

    out = accumulate(
        volume,
        plan_tiles((15, 12, 21), tile, 0.5, margin),
        1,
        predict,
        batch_size=2,
        mirror_axes=(),
        on_tile=lambda _done, _count: None,
    )
    np.testing.assert_allclose(out[0], whole[inner], atol=1e-5)


def test_one_tile_is_the_network_itself(bundle: Bundle) -> None:
    network = ReadyNetwork(bundle, cpu_device(), "float32", "off", make_backend)
    volume = np.random.default_rng(2).normal(size=(40, 32, 32)).astype(np.float32)
    got = network.logits(volume, (24, 16, 16), lambda _f, _m: None)
    torch.manual_seed(7)
    plain = build_network("MultiResUNet3D", ARGUMENTS).eval()
    with torch.no_grad():
        expected = plain(torch.from_numpy(volume)[None, None])[0].numpy()
    np.testing.assert_allclose(got, expected, atol=1e-4)


@pytest.mark.parametrize("mirror", ["off", "on"])
@pytest.mark.parametrize("size", [(30, 20, 36), (9, 10, 11)])
def test_openvino_answers_like_torch(bundle: Bundle, mirror: str, size: tuple[int, int, int]) -> None:
    volume = np.random.default_rng(3).normal(size=[n + 16 for n in size]).astype(np.float32)
    answers = [
        ReadyNetwork(bundle, cpu_device(), "float32", mirror, make).logits(volume, (24, 16, 16), lambda _f, _m: None)
        for make in (make_backend, make_torch_backend)
    ]
    assert answers[0].shape == (3, *size)
    np.testing.assert_allclose(answers[0], answers[1], atol=2e-4)


def test_the_engine_gives_the_network_the_scan_beyond_the_region(bundle: Bundle) -> None:
    """A scan of 40 x 32 x 32 voxels, all of it body: the regions' margins reach beyond it and are air."""
    image = paint(image_of(np.full((40, 32, 32), 60, np.int16), (1.0, 1.0, 1.0)), (10.0, -20.0, 30.0), (9, 8, 9), 200)
    results = [
        Engine(bundle, device="cpu", precision="float32", make=make).run(image)
        for make in (make_backend, make_torch_backend)
    ]
    first, second = (sitk.GetArrayFromImage(result.labels) for result in results)
    assert first.shape == second.shape
    assert (first == second).mean() > 0.999
    assert results[0].raw_names == {0: "background", 1: "parenchyma", 5: "abnormality"}
    n = bundle.normalisation
    given = (sitk.GetArrayFromImage(image).astype(np.float32).clip(n.low_hu, n.high_hu) - n.mean_hu) / (
        n.standard_deviation_hu
    )
    wide = np.pad(given, 8, constant_values=bundle.padding)
    network = ReadyNetwork(bundle, cpu_device(), "float32", "off", make_torch_backend)
    from KidneySegLib.inference.grid import Box, frame_of, grid_of
    from KidneySegLib.inference.regions import surround

    grid = grid_of(frame_of(image), bundle.spacing_mm)
    region, tile = surround(Box((0, 0, 0), (40, 32, 32)), grid, bundle)
    assert region.shape == (40, 32, 32)
    expected = np.array([0, 1, 5])[network.logits(wide, tile, lambda _f, _m: None).argmax(axis=0)]
    placed = np.zeros((40, 32, 32), np.uint8)
    x, y, z = results[1].index
    placed[z : z + second.shape[0], y : y + second.shape[1], x : x + second.shape[2]] = second
    assert (placed == expected).mean() > 0.99


def test_a_bundle_says_its_margin_and_others_are_as_they_were(bundle: Bundle, tmp_path: Path) -> None:
    assert bundle.margin == MARGIN
    assert '"margin"' in (bundle.path / "model.json").read_text()
    with pytest.raises(ModelError, match="size less the margin"):
        write_bundle(tmp_path / "wrong", spec("wrong", margin=(4, 4, 4)), build_plain())
    changed = spec("both", outputs=("parenchyma", "cyst", "abnormality"))
    with pytest.raises(ModelError, match="abnormality beside"):
        write_bundle(tmp_path / "both", changed, build_plain())


def build_plain() -> dict[str, torch.Tensor]:
    return build_network("UNet3D", {"in_channels": 1, "out_channels": 2, "features": [2, 2]}).state_dict()
