"""Pictures and DICOM files: what is read, what it is calibrated by, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from KidneySegLib.errors import InputError
from KidneySegLib.ultrasound.image import DICOM_REGION, DICOM_SPACING, GIVEN
from KidneySegLib.ultrasound.reading import read_ultrasound
from Testing.ultrasound.us_dicom import region, write_us


@pytest.fixture
def grey() -> np.ndarray:
    """A bright rectangle, x 40 to 160 and y 20 to 110, in a black picture of 120 x 200 pixels."""
    picture = np.zeros((120, 200), np.uint8)
    picture[20:110, 40:160] = np.random.default_rng(0).integers(60, 200, (90, 120))
    return picture


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tiff"])
def test_a_picture_is_read_as_it_is_and_is_not_calibrated(tmp_path: Path, grey: np.ndarray, suffix: str) -> None:
    Image.fromarray(grey).save(tmp_path / f"a{suffix}")
    image = read_ultrasound(tmp_path / f"a{suffix}")
    np.testing.assert_array_equal(image.frames, grey[None])
    assert image.pixel_mm is None
    assert image.calibration == ""
    assert image.flags == ("us_not_calibrated",)
    assert 0.9 < image.view.sum() / (90 * 120) < 1.1


def test_a_jpeg_in_colour_becomes_grey(tmp_path: Path, grey: np.ndarray) -> None:
    Image.fromarray(np.stack([grey] * 3, axis=-1)).save(tmp_path / "a.JPG", quality=95)
    image = read_ultrasound(tmp_path / "a.JPG")
    assert image.frames.shape == (1, 120, 200)
    assert np.abs(image.frames[0].astype(int) - grey).mean() < 6


def test_sixteen_bits_and_palettes_are_read(tmp_path: Path, grey: np.ndarray) -> None:
    Image.fromarray(grey.astype(np.uint16) * 257).save(tmp_path / "deep.png")
    deep = read_ultrasound(tmp_path / "deep.png").frames[0]
    np.testing.assert_array_equal(deep > 100, grey * 255.0 / grey.max() > 100)
    Image.fromarray(grey).convert("P").save(tmp_path / "palette.png")
    np.testing.assert_array_equal(read_ultrasound(tmp_path / "palette.png").frames[0], grey)


def test_the_user_may_say_how_large_pixels_are(tmp_path: Path, grey: np.ndarray) -> None:
    Image.fromarray(grey).save(tmp_path / "a.png")
    image = read_ultrasound(tmp_path / "a.png", pixel_mm=(0.3, 0.25))
    assert image.pixel_mm == (0.3, 0.25)
    assert image.calibration == GIVEN
    assert "us_not_calibrated" not in image.flags
    with pytest.raises(InputError, match="5"):
        read_ultrasound(tmp_path / "a.png", pixel_mm=(30.0, 30.0))


def test_a_calibrated_region_gives_mm_and_bounds_the_view(tmp_path: Path, grey: np.ndarray) -> None:
    written = grey.copy()
    written[2:12, 5:100] = 255
    path = write_us(tmp_path / "a.dcm", written, regions=[region((40, 20, 159, 109), (0.03, 0.031))])
    image = read_ultrasound(path)
    assert image.pixel_mm == pytest.approx((0.31, 0.3))
    assert image.calibration == DICOM_REGION
    assert image.flags == ()
    assert not image.view[:20].any()
    assert not image.view[:, :40].any()
    assert image.view[20:110, 40:160].mean() > 0.97
    assert image.acquisition == {"Manufacturer": "Maker"}


def test_a_region_without_cm_leaves_the_picture_uncalibrated(tmp_path: Path, grey: np.ndarray) -> None:
    spectral = region((40, 20, 159, 109), (0.03, 0.03), PhysicalUnitsXDirection=4)
    image = read_ultrasound(write_us(tmp_path / "a.dcm", grey, regions=[spectral]))
    assert image.pixel_mm is None
    assert "us_not_calibrated" in image.flags


def test_a_doppler_region_is_not_the_view(tmp_path: Path, grey: np.ndarray) -> None:
    doppler = region((0, 0, 199, 119), (0.5, 0.5), RegionSpatialFormat=3)
    tissue = region((40, 20, 159, 109), (0.03, 0.03))
    assert read_ultrasound(write_us(tmp_path / "a.dcm", grey, regions=[doppler, tissue])).pixel_mm == pytest.approx(
        (0.3, 0.3)
    )


def test_of_two_views_side_by_side_the_larger_counts_and_it_is_said(tmp_path: Path, grey: np.ndarray) -> None:
    regions = [region((0, 0, 30, 30), (0.1, 0.1)), region((40, 20, 159, 109), (0.03, 0.03))]
    image = read_ultrasound(write_us(tmp_path / "a.dcm", grey, regions=regions))
    assert image.pixel_mm == pytest.approx((0.3, 0.3))
    assert image.flags == ("us_several_regions",)


def test_pixel_spacing_serves_where_there_is_no_region(tmp_path: Path, grey: np.ndarray) -> None:
    image = read_ultrasound(write_us(tmp_path / "a.dcm", grey, PixelSpacing=[0.4, 0.2]))
    assert (image.pixel_mm, image.calibration) == ((0.4, 0.2), DICOM_SPACING)


def test_a_loop_gives_all_frames_or_the_one_that_is_asked_for(tmp_path: Path, grey: np.ndarray) -> None:
    loop = np.stack([grey, grey // 2, grey // 3])
    path = write_us(tmp_path / "loop.dcm", loop, NumberOfFrames=3)
    np.testing.assert_array_equal(read_ultrasound(path).frames, loop)
    np.testing.assert_array_equal(read_ultrasound(path, frame=2).frames, loop[1:2])
    with pytest.raises(InputError, match="3 frames"):
        read_ultrasound(path, frame=4)


def test_colour_loops_and_inverted_grey_are_read(tmp_path: Path, grey: np.ndarray) -> None:
    colour = np.repeat(np.stack([grey, grey])[..., None], 3, axis=-1)
    path = write_us(tmp_path / "c.dcm", colour, NumberOfFrames=2)
    np.testing.assert_array_equal(read_ultrasound(path).frames, np.stack([grey, grey]))
    inverted = write_us(tmp_path / "i.dcm", 255 - grey, PhotometricInterpretation="MONOCHROME1")
    np.testing.assert_array_equal(read_ultrasound(inverted).frames[0], grey)


def test_coloured_callipers_are_painted_over(tmp_path: Path) -> None:
    colour = np.full((100, 100, 3), 90, np.uint8)
    colour[50, 20:80] = (255, 230, 0)
    image = read_ultrasound(write_us(tmp_path / "a.dcm", colour))
    assert (image.frames == 90).all()


def test_a_folder_with_one_picture_is_that_picture(tmp_path: Path, grey: np.ndarray) -> None:
    Image.fromarray(grey).save(tmp_path / "a.png")
    (tmp_path / "notes.txt").write_text("x" * 200)
    assert read_ultrasound(tmp_path).source.name == "a.png"
    Image.fromarray(grey).save(tmp_path / "b.png")
    with pytest.raises(InputError, match="2 pictures"):
        read_ultrasound(tmp_path)


def test_ct_is_sent_to_the_other_door(tmp_path: Path, grey: np.ndarray) -> None:
    with pytest.raises(InputError, match="kidneyseg segment"):
        read_ultrasound(write_us(tmp_path / "a.dcm", grey, Modality="CT"))


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.png", b"\x89PNG\r\n\x1a\nrubbish", "damaged or no picture"),
        ("a.jpg", b"", "damaged or no picture"),
        ("a.gif", b"GIF89a", "no known kind"),
        ("a.dcm", b"\0" * 128 + b"DICMrubbish", "a.dcm"),
    ],
)
def test_what_is_no_picture_is_said_to_be_none(tmp_path: Path, name: str, content: bytes, words: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=words):
        read_ultrasound(tmp_path / name)


def test_a_truncated_file_is_said_to_be_damaged(tmp_path: Path, grey: np.ndarray) -> None:
    path = write_us(tmp_path / "a.dcm", grey)
    path.write_bytes(path.read_bytes()[:-9000])
    with pytest.raises(InputError, match=r"a\.dcm"):
        read_ultrasound(path)


def test_missing_and_tiny_pictures_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        read_ultrasound(tmp_path / "none.png")
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(tmp_path / "a.png")
    with pytest.raises(InputError, match="8 x 8"):
        read_ultrasound(tmp_path / "a.png")
