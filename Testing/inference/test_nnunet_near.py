"""nnU-Net's bundles round the kidneys only: the same input and the same labels as on the whole scan."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import analytic_bundles as a
import numpy as np
import pytest
import SimpleITK as sitk

from KidneySegLib.inference import Engine, nnunet_near
from KidneySegLib.inference.grid import Box, frame_of, grid_of
from KidneySegLib.inference.localiser import Overview
from KidneySegLib.inference.nnunet_labels import ids_on_scan
from KidneySegLib.inference.nnunet_scan import lay, prepare
from KidneySegLib.models import Bundle, write_bundle

RECORD = a.nnunet_record({0: "background", 1: "parenchyma", 2: "cortex"}, {1: "medulla", 2: "cortex"}, (1, 2))


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return write_theirs(tmp_path)


def write_theirs(tmp_path: Path, seen_from_hu: float = a.PARENCHYMA_HU) -> Bundle:
    a.write_localiser(tmp_path / "coarse", seen_from_hu)
    spec = a.spec("theirs", nnunet=RECORD, flexible_tiles=False, localiser="coarse", spacing_mm=(2.0, 1.5, 1.5))
    lines = [a.threshold_line(a.PARENCHYMA_HU), a.threshold_line(a.CORTEX_HU)]
    return write_bundle(tmp_path / "theirs", spec, a.pointwise_state(lines))


def scan() -> sitk.Image:
    """A body with two kidneys of medulla in cortex, 1.7 mm voxels, an edge of zeros, columns running to the right."""
    array = np.full((70, 90, 120), 30, np.int16)
    image = a.image_of(array, (1.7, 1.7, 1.7), np.diag([-1.0, 1.0, 1.0]))
    for side in (-50.0, 60.0):
        centre = (10.0 + side, -20.0, 32.0)
        image = a.paint(image, centre, (22.0, 20.0, 38.0), 240)
        image = a.paint(image, centre, (14.0, 12.0, 28.0), 150)
    values = sitk.GetArrayFromImage(image)
    values[:, :5] = values[:, :, -7:] = 0
    cut = sitk.GetImageFromArray(values)
    cut.CopyInformation(image)
    return cut


def on_scan(result: object, image: sitk.Image) -> np.ndarray:
    whole = np.zeros(image.GetSize()[::-1], np.uint8)
    part = sitk.GetArrayFromImage(result.raw)
    whole[tuple(slice(i, i + n) for i, n in zip(result.index[::-1], part.shape, strict=True))] = part
    return whole


@pytest.mark.parametrize("spacing", [(2.0, 1.5, 1.5), (6.0, 1.5, 1.5), (1.7, 1.7, 1.7)])
@pytest.mark.parametrize("scheme", ["ct", "z_score"])
def test_a_part_is_prepared_as_in_the_whole(spacing: tuple[float, float, float], scheme: str) -> None:
    spec = a.spec(nnunet=replace(RECORD, normalisation=scheme), spacing_mm=spacing)
    noisy = sitk.AdditiveGaussianNoise(scan(), 20.0, 0.0, 3)
    image = sitk.Cast(noisy, sitk.sitkInt16)
    whole = prepare(image, spec, lambda _f: None)
    n = whole.volume.shape
    region = Box((3, 10, 5), (n[0] - 2, n[1] - 11, n[2] // 2))
    part = prepare(image, spec, lambda _f: None, layout=lay(image, spec), region=region)
    np.testing.assert_allclose(part.volume, whole.volume[region.slices], atol=1e-4)


def test_labels_of_a_part_are_those_of_the_whole() -> None:
    spec = a.spec(nnunet=RECORD, spacing_mm=(2.0, 1.5, 1.5))
    image = scan()
    whole = prepare(image, spec, lambda _f: None)
    logits = np.stack([whole.volume, whole.volume - 1]) * 10
    ids, box = ids_on_scan(logits, whole, spec, lambda _f: None)
    n = whole.volume.shape
    region = Box((0, 0, 0), (n[0], n[1], n[2] // 2))
    cut = ids_on_scan(logits[(slice(None), *region.slices)], replace(whole, region=region), spec, lambda _f: None)
    assert cut is not None
    expected = np.zeros(image.GetSize()[::-1], np.uint8)
    expected[box.slices] = ids
    np.testing.assert_array_equal(cut[0], expected[cut[1].slices])
    assert (cut[0] == 1).sum() > 1000
    assert (cut[0] == 2).sum() > 1000


def test_kidneys_found_first_give_the_labels_of_the_whole_scan(bundle: Bundle) -> None:
    image = scan()
    near = Engine(bundle, device="cpu", precision="float32").run(image)
    whole = Engine(bundle, device="cpu", precision="float32", use_localiser=False).run(image)
    assert near.overview is not None
    assert whole.overview is None
    np.testing.assert_array_equal(on_scan(near, image), on_scan(whole, image))
    found = on_scan(near, image)
    assert (found == 2).sum() > 5000
    assert near.seconds["localise"] > 0


def test_without_a_kidney_there_is_nothing(bundle: Bundle) -> None:
    image = sitk.Image([40, 40, 30], sitk.sitkInt16) + 20
    image.SetSpacing((2.0, 2.0, 2.0))
    result = Engine(bundle, device="cpu", precision="float32").run(image)
    assert not sitk.GetArrayFromImage(result.labels).any()


def test_a_mask_without_end_is_not_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image = sitk.Cast(scan(), sitk.sitkInt16)
    # The localiser sees the kidneys by their cortex; the network takes for kidney what joins them, from end to end.
    values = sitk.GetArrayFromImage(image)
    values[:, 30:50, 10:110] = 150
    bright = sitk.GetImageFromArray(values)
    bright.CopyInformation(image)
    engine = Engine(write_theirs(tmp_path, a.CORTEX_HU), device="cpu", precision="float32")
    seen = []
    real = nnunet_near.prepare

    def watched(*arguments: object, **options: object) -> object:
        seen.append(options["region"])
        return real(*arguments, **options)

    monkeypatch.setattr(nnunet_near, "prepare", watched)
    engine.run(bright)
    grown_to = max(region.voxels for region in seen)
    seen.clear()
    # A plate of 7 mm is too thin a stalk: it is followed as far as a kidney's surroundings go.
    values = sitk.GetArrayFromImage(image)
    values[:, 38:42, 10:110] = 150
    thin = sitk.GetImageFromArray(values)
    thin.CopyInformation(image)
    engine.run(thin)
    assert max(region.voxels for region in seen) < grown_to
    seen.clear()
    monkeypatch.setattr(nnunet_near, "MOST_TILES", 1)
    engine.run(bright)
    assert seen
    assert max(region.voxels for region in seen) < grown_to


@pytest.mark.parametrize("orientation", ["stored", "RAS"])
@pytest.mark.parametrize("transpose", [(0, 1, 2), (2, 0, 1)])
def test_the_surroundings_of_a_kidney_lie_round_it(orientation: str, transpose: tuple[int, int, int]) -> None:
    image = scan()
    record = replace(RECORD, orientation=orientation, transpose=transpose)
    spec = a.spec(nnunet=record, spacing_mm=(2.0, 1.5, 1.5))
    grid = grid_of(frame_of(image), (4.0, 4.0, 4.0))
    coarse = sitk.GetImageFromArray(np.zeros(grid.shape, np.uint8))
    grid.place(coarse, grid.whole)
    values = sitk.GetArrayFromImage(image)
    values[:, :, :60] = 0  # Columns run to the patient's right: one kidney only.
    one = sitk.GetImageFromArray(values)
    one.CopyInformation(image)
    kidney = sitk.GetArrayFromImage(sitk.Resample(one, coarse)) > 100
    assert kidney.sum() > 100
    overview = Overview(grid, kidney.astype(np.uint8), kidney)
    layout = lay(image, spec)
    volume = prepare(image, spec, lambda _f: None, layout=layout)
    hu = volume.volume * spec.normalisation.standard_deviation_hu + spec.normalisation.mean_hu
    surroundings = nnunet_near._surroundings(overview)
    near = nnunet_near._on_box(surroundings, image, layout, Box((0, 0, 0), layout.size))
    bright = hu > 120
    seen = bright & near
    # Of the bright voxels, which are those of both kidneys, one kidney's are near and the other's far.
    assert 0.45 < seen.sum() / bright.sum() < 0.55
    part = Box((2, 3, 4), tuple(n - 5 for n in layout.size))
    np.testing.assert_array_equal(nnunet_near._on_box(surroundings, image, layout, part), near[part.slices])
