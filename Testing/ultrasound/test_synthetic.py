"""Synthetic B-mode pictures: repeatable, with a truth that can be seen in them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from KidneySegLib.errors import OutputError
from KidneySegLib.ultrasound.synthetic import CORTEX, MEDULLA, SINUS, synthetic_image
from KidneySegLib.ultrasound.synthetic_probe import Canvas, Probe, scan_convert
from KidneySegLib.ultrasound.synthetic_set import write_synthetic_set


@pytest.fixture(scope="module")
def pictures() -> list:  # type: ignore[type-arg]
    return [synthetic_image(seed, height=192, kidney=True, overlay=False) for seed in range(24)]


def test_a_seed_is_a_picture() -> None:
    one, same, other = (synthetic_image(seed, height=160) for seed in (4, 4, 5))
    np.testing.assert_array_equal(one.pixels, same.pixels)
    np.testing.assert_array_equal(one.labels, same.labels)
    assert (one.pixels != other.pixels).any()


def test_the_truth_lies_in_the_view_and_has_its_parts(pictures: list) -> None:  # type: ignore[type-arg]
    for image in pictures:
        assert image.kidney.any()
        assert not (image.kidney & ~image.view).any()
        assert not image.pixels[~image.view].any()
        assert {CORTEX, SINUS} <= set(np.unique(image.labels))
    assert sum((image.labels == MEDULLA).any() for image in pictures) >= 20


def test_kidneys_have_the_size_of_kidneys(pictures: list) -> None:  # type: ignore[type-arg]
    areas_cm2 = [image.kidney.sum() * image.pixel_mm**2 / 100 for image in pictures]
    assert min(areas_cm2) > 8
    assert max(areas_cm2) < 80
    assert 20 < np.median(areas_cm2) < 55


def test_the_sinus_is_brighter_than_the_cortex_and_that_than_the_medulla(pictures: list) -> None:  # type: ignore[type-arg]
    healthy = [i for i in pictures if not {"cyst", "stone"} & set(i.facts["lesions"])]
    assert len(healthy) >= 8
    means = {
        part: np.mean([i.pixels[i.labels == part].mean() for i in healthy if (i.labels == part).any()])
        for part in (CORTEX, MEDULLA, SINUS)
    }
    assert means[SINUS] > means[CORTEX] + 10
    assert means[CORTEX] > means[MEDULLA] + 3


def test_the_cortex_differs_from_what_surrounds_it(pictures: list) -> None:  # type: ignore[type-arg]
    from scipy.ndimage import binary_dilation

    darker = 0
    for image in pictures:
        shell = binary_dilation(image.kidney, iterations=3) & ~image.kidney & image.view
        darker += image.pixels[image.labels == CORTEX].mean() < image.pixels[shell].mean()
    assert darker >= 18


def test_some_pictures_show_no_kidney_and_some_carry_text() -> None:
    images = [synthetic_image(seed, height=96) for seed in range(60)]
    empty = sum(not image.kidney.any() for image in images)
    assert 1 <= empty <= 18
    assert 15 <= sum(image.has_text for image in images) <= 45
    assert {image.facts["probe"] for image in images} == {"linear", "convex"}


def test_speckle_is_rayleigh_like_before_compression() -> None:
    """Mean over standard deviation of the amplitude of fully developed speckle is 1.91."""
    from KidneySegLib.ultrasound.synthetic_echoes import Scanner, _look

    probe = Probe(0.0, 0.0, 40.0, 80.0)
    scanner = Scanner(0.4, 1.2, 0.0, 0.5, 1, 60, 36, 0, -60, 1.0)
    ones = np.ones((probe.samples, probe.beams), np.float32)
    power = _look(np.random.default_rng(0), ones, 0 * ones, probe, scanner)
    amplitude = np.sqrt(power)
    assert amplitude.mean() / amplitude.std() == pytest.approx(1.91, rel=0.06)
    assert power.mean() == pytest.approx(1.0, rel=0.15)


def test_beams_and_pixels_agree_about_where_things_are() -> None:
    for probe in (Probe(50.0, 0.6, 0.0, 120.0), Probe(0.0, 0.0, 30.0, 60.0)):
        x, z = probe.points()
        sample, beam = probe.places(x, z)
        np.testing.assert_allclose(sample, np.broadcast_to(np.arange(probe.samples)[:, None], x.shape), atol=0.01)
        np.testing.assert_allclose(beam, np.broadcast_to(np.arange(probe.beams)[None], x.shape), atol=0.01)
        left, right, top, bottom = probe.bounds_mm
        pixel = (bottom - top) / 200
        canvas = Canvas(201, int((right - left) / pixel) + 1, pixel, left, top)
        picture, inside = scan_convert(z.astype(np.float32), probe, canvas)
        np.testing.assert_allclose(picture[inside], canvas.points()[1][inside], atol=0.5)


def test_a_set_is_written_as_training_reads_it(tmp_path: Path) -> None:
    from KidneySegLib.training.ultrasound.dataset import find_outlined

    write_synthetic_set(tmp_path / "set", 2, 7)
    found = find_outlined(tmp_path / "set")
    assert [i.image.name for i in found.images] == ["synthetic_00000007.png", "synthetic_00000008.png"]
    image = synthetic_image(8)
    np.testing.assert_array_equal(found.images[1].kidney(image.view.shape), image.kidney)
    with Image.open(found.images[1].image) as picture:
        np.testing.assert_array_equal(np.asarray(picture), image.pixels)
    with pytest.raises(OutputError, match="not empty"):
        write_synthetic_set(tmp_path / "set", 1)
