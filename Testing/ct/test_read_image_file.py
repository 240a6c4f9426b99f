"""NIfTI, NRRD and MetaImage files: read with their geometry, or refused in one line."""

from __future__ import annotations

import gzip
import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk
from dicom_series import SeriesSpec, world_hu, write_series
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from known_scans import hu_error

from KidneySegLib.ct import list_series, read_ct, scan_from_image
from KidneySegLib.ct.entries import shown
from KidneySegLib.ct.image_file import compact
from KidneySegLib.errors import InputError

SUFFIXES = (".nii", ".nii.gz", ".nrrd", ".nhdr", ".mha", ".mhd")
#: Offsets in a NIfTI-1 header.
PIXDIM, QFORM_CODE, SFORM_CODE, QUATERN, SROW = 76, 252, 254, 256, 280


def message(path: Path, **arguments: str) -> str:
    with pytest.raises(InputError) as caught:
        read_ct(path, **arguments)
    text = str(caught.value)
    assert "\n" not in text
    assert text.endswith(".")
    assert path.name in text
    return text


def written(image: sitk.Image, path: Path) -> Path:
    sitk.WriteImage(image, str(path), useCompression=path.suffix in (".gz", ".mha"))
    return path


class TestFormats:
    @pytest.mark.parametrize("suffix", SUFFIXES)
    def test_geometry_and_values_stay(self, tmp_path: Path, an_image: sitk.Image, suffix: str) -> None:
        scan = read_ct(written(an_image, tmp_path / f"scan{suffix}"))
        assert scan.image.GetPixelID() == sitk.sitkInt16
        assert scan.image.GetSize() == an_image.GetSize()
        assert scan.image.GetSpacing() == pytest.approx(an_image.GetSpacing(), rel=1e-6)
        assert scan.image.GetOrigin() == pytest.approx(an_image.GetOrigin(), rel=1e-5)
        assert scan.image.GetDirection() == pytest.approx(an_image.GetDirection(), abs=1e-6)
        assert np.array_equal(sitk.GetArrayFromImage(scan.image), sitk.GetArrayFromImage(an_image))
        assert np.abs(hu_error(scan.image)).max() <= 0.51
        assert scan.slice_thickness_mm == pytest.approx(3.0)
        assert scan.flags == ()
        assert scan.series_uid is None

    def test_one_hash_for_all_formats_and_dicom(self, tmp_path: Path) -> None:
        write_series(tmp_path / "dicom", SeriesSpec())
        scan = read_ct(tmp_path / "dicom")
        hashes = {read_ct(written(scan.image, tmp_path / f"s{suffix}")).sha256 for suffix in SUFFIXES}
        assert hashes == {scan.sha256}

    def test_left_handed_grid_is_kept(self, tmp_path: Path, an_image: sitk.Image) -> None:
        flipped = sitk.Flip(an_image, [False, False, True])
        assert np.linalg.det(np.array(flipped.GetDirection()).reshape(3, 3)) == pytest.approx(-1)
        scan = read_ct(written(flipped, tmp_path / "flipped.nrrd"))
        assert scan.image.GetDirection() == pytest.approx(flipped.GetDirection())
        assert np.abs(hu_error(scan.image)).max() <= 0.51

    @pytest.mark.parametrize("kind", [sitk.sitkFloat64, sitk.sitkFloat32, sitk.sitkInt32])
    def test_whole_values_become_int16(self, tmp_path: Path, an_image: sitk.Image, kind: int) -> None:
        scan = read_ct(written(sitk.Cast(an_image, kind), tmp_path / "scan.mha"))
        assert scan.image.GetPixelID() == sitk.sitkInt16

    def test_fractions_stay_float32(self, tmp_path: Path, an_image: sitk.Image) -> None:
        scan = read_ct(written(sitk.Cast(an_image, sitk.sitkFloat64) + 0.25, tmp_path / "scan.nii.gz"))
        assert scan.image.GetPixelID() == sitk.sitkFloat32

    def test_scaled_nifti(self, tmp_path: Path, an_image: sitk.Image) -> None:
        path = written(an_image + 1024, tmp_path / "scan.nii")
        data = bytearray(path.read_bytes())
        struct.pack_into("<ff", data, 112, 1.0, -1024.0)
        path.write_bytes(data)
        scan = read_ct(path)
        assert scan.image.GetPixelID() == sitk.sitkInt16
        assert np.abs(hu_error(scan.image)).max() <= 0.51

    def test_fourth_dimension_of_one(self, tmp_path: Path, an_image: sitk.Image) -> None:
        path = written(sitk.JoinSeries([an_image]), tmp_path / "scan.nrrd")
        assert np.abs(hu_error(read_ct(path).image)).max() <= 0.51

    def test_several_gzip_members(self, tmp_path: Path, an_image: sitk.Image) -> None:
        data = written(an_image, tmp_path / "plain.nii").read_bytes()
        path = tmp_path / "members.nii.gz"
        path.write_bytes(gzip.compress(data[:5000]) + gzip.compress(data[5000:]))
        assert np.abs(hu_error(read_ct(path).image)).max() <= 0.51

    def test_big_endian_nifti(self, tmp_path: Path) -> None:
        values = np.random.default_rng(0).integers(-900, 900, (20, 18, 16)).astype(">i2")
        header = nibabel.Nifti1Header(endianness=">")
        nibabel.save(nibabel.Nifti1Image(values, np.diag([-1.0, -1.0, 1.0, 1.0]), header), tmp_path / "big.nii")
        assert np.array_equal(sitk.GetArrayFromImage(read_ct(tmp_path / "big.nii").image), values.T)

    def test_sheared_grid_is_made_upright(self, tmp_path: Path) -> None:
        image = sitk.Image(40, 36, 20, sitk.sitkInt16)
        image.SetSpacing((1.0, 1.0, 2.0))
        image.SetDirection((1, 0, 0, 0, np.cos(0.3), 0, 0, np.sin(0.3), 1))
        z, y, x = np.indices((20, 36, 40))
        matrix = np.array(image.GetDirection()).reshape(3, 3) * np.array(image.GetSpacing())
        image.SetOrigin((0.0, 0.0, 15.0))
        points = np.stack([x, y, z], axis=-1) @ matrix.T + np.array(image.GetOrigin())
        filled = sitk.GetImageFromArray(np.rint(world_hu(points)).astype(np.int16))
        filled.CopyInformation(image)
        scan = read_ct(written(filled, tmp_path / "leaning.mha"))
        assert scan.flags == ("gantry_tilt_corrected",)
        assert np.array(scan.image.GetDirection()).reshape(3, 3) == pytest.approx(np.eye(3), abs=1e-6)
        middle = np.abs(hu_error(scan.image))[8:14, 12:20, 5:-5]
        assert np.median(middle) <= 1.0


class TestPlaces:
    def test_non_ascii_path(self, tmp_path: Path, an_image: sitk.Image) -> None:
        folder = tmp_path / "Žluťoučký kůň 腎"
        folder.mkdir()
        assert np.abs(hu_error(read_ct(written(an_image, folder / "levá ledvina µ.nii.gz")).image)).max() <= 0.51

    def test_name_that_is_no_unicode(self, tmp_path: Path, an_image: sitk.Image) -> None:
        plain = written(an_image, tmp_path / "plain.nii.gz")
        odd = Path(os.fsdecode(os.fsencode(tmp_path) + b"/odd\xff.nii.gz"))
        try:
            plain.rename(odd)
        except OSError:
            pytest.skip("Windows and macOS refuse such names")
        assert np.abs(hu_error(read_ct(odd).image)).max() <= 0.51
        odd.write_bytes(b"broken")
        with pytest.raises(InputError) as caught:
            read_ct(odd)
        assert shown(odd) in str(caught.value).encode("utf-8").decode()

    def test_folder_with_one_file(self, tmp_path: Path, an_image: sitk.Image) -> None:
        written(an_image, tmp_path / "scan.nii.gz")
        (tmp_path / "notes.txt").write_text("x")
        assert np.abs(hu_error(read_ct(tmp_path).image)).max() <= 0.51
        assert list_series(tmp_path) == ()

    def test_zip_with_one_file(self, tmp_path: Path, an_image: sitk.Image) -> None:
        import zipfile

        path = written(an_image, tmp_path / "scan.nii.gz")
        with zipfile.ZipFile(tmp_path / "scan.zip", "w") as archive:
            archive.write(path, "../scan.nii.gz")
        scan = read_ct(tmp_path / "scan.zip")
        assert np.abs(hu_error(scan.image)).max() <= 0.51
        assert scan.source == tmp_path / "scan.zip"

    def test_series_needs_dicom(self, tmp_path: Path, an_image: sitk.Image) -> None:
        path = written(an_image, tmp_path / "scan.nii.gz")
        assert "holds no DICOM, so there is no series 1.2.3" in message(path, series_uid="1.2.3")


def _patch(offset: int, layout: str, *values: float) -> Callable[[bytes], bytes]:
    def change(data: bytes) -> bytes:
        changed = bytearray(data)
        struct.pack_into(layout, changed, offset, *values)
        return bytes(changed)

    return change


def _replace(old: bytes, new: bytes) -> Callable[[bytes], bytes]:
    def change(data: bytes) -> bytes:
        assert old in data
        return data.replace(old, new, 1)

    return change


def _codes(sform: int, qform: int) -> Callable[[bytes], bytes]:
    return _patch(QFORM_CODE, "<hh", qform, sform)


def _in_two(data: bytes) -> bytes:
    return gzip.compress(data[:100]) + gzip.compress(data[100:])


NAN = float("nan")
DAMAGED: dict[str, tuple[str, Callable[[bytes], bytes], str]] = {
    "nifti text": (".nii", lambda _: b"not an image at all\n" * 40, "is a text file, not an image"),
    "nifti.gz text": (".nii.gz", lambda _: b"not an image at all\n" * 40, "is a text file, not an image"),
    "nifti empty": (".nii", lambda _: b"", "is empty"),
    "nifti noise": (".nii", lambda _: np.random.default_rng(1).bytes(4000), "damaged, incomplete or not an image"),
    "nifti truncated": (".nii", lambda data: data[: len(data) // 2], "is incomplete: 7856 of 15712 bytes are there"),
    "nifti.gz truncated": (".nii.gz", lambda data: data[: len(data) // 2], "its compressed data ends early"),
    "nifti.gz without its end": (".nii.gz", lambda data: data[:-4], "its compressed data ends early"),
    "nifti.gz of a truncated file": (
        ".nii.gz",
        lambda data: gzip.compress(gzip.decompress(data)[:9000]),
        "is incomplete: 9000 of 15712 bytes",
    ),
    "nifti.gz flipped byte": (
        ".nii.gz",
        lambda data: data[:2000] + bytes([data[2000] ^ 255]) + data[2001:],
        "is damaged",
    ),
    "nifti end of header missing": (".nii", lambda data: data[:293], "damaged, incomplete or not an image"),
    "nifti header only": (".nii", lambda data: data[:300], "damaged, incomplete or not an image"),
    "nifti no orientation": (".nii", _codes(0, 0), "does not say how it lies in the patient"),
    "nifti zero spacing": (".nii", _patch(PIXDIM + 12, "<f", 0.0), "voxel size of 0.8 x 1.1 x 0 mm"),
    "nifti negative spacing": (".nii", _patch(PIXDIM + 12, "<f", -3.0), "voxel size of 0.8 x 1.1 x -3 mm"),
    "nifti nan spacing": (".nii", _patch(PIXDIM + 4, "<f", NAN), "voxel size of nan x 1.1 x 3 mm"),
    "nifti spacing and sform disagree": (".nii", _patch(PIXDIM + 12, "<f", 5.0), "contradicts itself"),
    "nifti nan sform": (".nii", lambda data: _codes(1, 0)(_patch(SROW, "<4f", *[NAN] * 4)(data)), "right angles"),
    "nifti infinite sform": (".nii", _patch(SROW + 16, "<2f", -1.0, -np.inf), "right angles"),
    "nifti infinite sform, in two packed parts": (
        ".nii.gz",
        lambda data: _in_two(_patch(SROW + 8, "<f", np.inf)(gzip.decompress(data))),
        "right angles",
    ),
    "nifti huge sform": (".nii", _patch(SROW + 8, "<f", 1e30), "right angles"),
    "nifti singular sform": (
        ".nii",
        lambda data: _codes(1, 0)(_patch(SROW + 32, "<3f", 0.0, 0.0, 0.0)(data)),
        "not at right angles",
    ),
    "nifti sheared sform": (".nii", _patch(SROW + 8, "<f", 2.0), "contradicts itself"),
    "nifti mirrored sform": (".nii", _patch(SROW, "<3f", 0.776, 0.2, -0.1), "contradicts itself"),
    "nrrd text": (".nrrd", lambda _: b"hello\n" * 40, "is a text file, not an image"),
    "nrrd truncated": (".nrrd", lambda data: data[: len(data) // 2], "is damaged or incomplete"),
    "nrrd nan direction": (".nrrd", _replace(b"space directions: (", b"space directions: (nan,0,0) ("), "damaged"),
    "mha text": (".mha", lambda _: b"hello\n" * 40, "is a text file, not an image"),
    "mha truncated": (".mha", lambda data: data[: len(data) // 2], "is damaged or incomplete"),
    "mha zero spacing": (".mha", lambda data: _line(data, b"ElementSpacing", b"0 1 1"), "voxel size of 0 x"),
    "mha negative spacing": (".mha", _replace(b"ElementSpacing = 0", b"ElementSpacing = -0"), "voxel size of -0.8 x"),
    "mha metres": (".mha", _replace(b"ElementSpacing = 0.8", b"ElementSpacing = 0.0008"), "Check its units"),
    "mha large": (".mha", _replace(b"ElementSpacing = 0.8", b"ElementSpacing = 80.0"), "but a CT has 0.05 to 20 mm"),
    "mha singular": (".mha", lambda data: _matrix(data, b"1 0 0 0 1 0 1 0 0"), "not at right angles"),
    "mha zero matrix": (".mha", lambda data: _matrix(data, b"0 0 0 0 0 0 0 0 0"), "not at right angles"),
    "mha leaning too far": (".mha", lambda data: _matrix(data, b"1 0 0 0 1 0 0 0.8 0.6"), "lean by 53 degrees"),
}


def _line(data: bytes, key: bytes, value: bytes) -> bytes:
    start = data.index(key + b" = ") + len(key) + 3
    return data[:start] + value + data[data.index(b"\n", start) :]


def _matrix(data: bytes, numbers: bytes) -> bytes:
    return _line(data, b"TransformMatrix", numbers)


@pytest.mark.parametrize(("suffix", "damage", "words"), DAMAGED.values(), ids=DAMAGED.keys())
def test_damaged_files(
    tmp_path: Path,
    an_image: sitk.Image,
    capfd: pytest.CaptureFixture[str],
    suffix: str,
    damage: Callable[[bytes], bytes],
    words: str,
) -> None:
    path = written(an_image, tmp_path / f"scan{suffix}")
    path.write_bytes(damage(path.read_bytes()))
    text = message(path)
    assert words in text
    assert "Copy" in text or "onvert" in text or "xport" in text
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_nifti_2_is_refused_by_name(tmp_path: Path, an_image: sitk.Image, order: str, suffix: str) -> None:
    first: Any = nibabel.load(written(an_image, tmp_path / "first.nii"))
    second = nibabel.Nifti2Image(np.asarray(first.dataobj), first.affine, nibabel.Nifti2Header(endianness=order))
    path = tmp_path / f"second{suffix}"
    nibabel.save(second, path)
    assert "is a NIfTI-2 file, but NIfTI-1 is needed. Convert" in message(path)


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".nrrd", ".mha"])
@pytest.mark.parametrize("seed", range(6))
def test_flipped_bytes_never_give_a_traceback(tmp_path: Path, an_image: sitk.Image, suffix: str, seed: int) -> None:
    path = written(an_image, tmp_path / f"scan{suffix}")
    data = bytearray(path.read_bytes())
    generator = np.random.default_rng(seed)
    for place in generator.integers(0, 400, 3):
        data[int(place)] = int(generator.integers(256))
    path.write_bytes(data)
    try:
        scan = read_ct(path)
    except InputError as error:
        assert "\n" not in str(error)  # noqa: PT017 - either outcome is right
    else:
        assert scan.image.GetDimension() == 3


class TestNoCt:
    def test_two_dimensions(self, tmp_path: Path, an_image: sitk.Image) -> None:
        assert "is a single picture (2-D)" in message(written(an_image[:, :, 3], tmp_path / "slice.nii.gz"))

    def test_four_dimensions(self, tmp_path: Path, an_image: sitk.Image) -> None:
        path = written(sitk.JoinSeries([an_image, an_image]), tmp_path / "perfusion.nii.gz")
        assert "is 4-D, but one 3-D CT scan is needed" in message(path)

    def test_colour(self, tmp_path: Path, an_image: sitk.Image) -> None:
        path = written(sitk.Compose(an_image, an_image, an_image), tmp_path / "colour.mha")
        assert "several values in a voxel" in message(path)

    def test_few_slices(self, tmp_path: Path, an_image: sitk.Image) -> None:
        text = message(written(an_image[:, :, :4], tmp_path / "few.nii.gz"))
        assert "24 x 20 x 4 voxels, but at least 5 slices are needed" in text

    def test_eight_bit_picture(self, tmp_path: Path, an_image: sitk.Image) -> None:
        picture = sitk.Cast(sitk.RescaleIntensity(an_image, 0, 255), sitk.sitkUInt8)
        assert "has 8-bit pixels, so it is a picture" in message(written(picture, tmp_path / "picture.nii.gz"))

    def test_no_negative_voxel(self, tmp_path: Path, an_image: sitk.Image) -> None:
        text = message(written(an_image + 2000, tmp_path / "mr.nii.gz"))
        assert "has no negative voxel (range " in text

    def test_nan(self, tmp_path: Path, an_image: sitk.Image) -> None:
        values = sitk.Cast(an_image, sitk.sitkFloat32)
        values[3, 4, 5] = NAN
        text = message(written(values, tmp_path / "nan.nii.gz"))
        assert "has voxels without a number (NaN or infinite)" in text

    @pytest.mark.parametrize("value", [0, -1024, 40])
    def test_one_value(self, tmp_path: Path, an_image: sitk.Image, value: int) -> None:
        text = message(written(an_image * 0 + value, tmp_path / "flat.nii.gz"))
        assert f"All voxels of flat.nii.gz are {value}" in text.replace(str(tmp_path) + "/", "")

    @pytest.mark.parametrize("change", [lambda i: i * 1e-3, lambda i: i * 1e4, lambda i: i - 5000, lambda i: i - 900.0])
    def test_values_that_cannot_be_hu(
        self, tmp_path: Path, an_image: sitk.Image, change: Callable[[sitk.Image], sitk.Image]
    ) -> None:
        changed = change(sitk.Cast(an_image, sitk.sitkFloat32))
        text = message(written(changed, tmp_path / "odd.mha"))
        assert "cannot be Hounsfield units" in text or "it holds no picture" in text


class TestInMemory:
    def test_checked_as_a_file(self, tmp_path: Path, an_image: sitk.Image) -> None:
        scan = scan_from_image(an_image, source="Slicer")
        assert scan.sha256 == read_ct(written(an_image, tmp_path / "s.nrrd")).sha256
        assert scan.source == Path("Slicer")

    def test_refused(self, an_image: sitk.Image) -> None:
        with pytest.raises(InputError, match=r"CT 3 has no negative voxel"):
            scan_from_image(an_image + 2000, name="CT 3")
        with pytest.raises(InputError, match=r"is not one 3-D scan"):
            scan_from_image(sitk.JoinSeries([an_image, an_image]))


@given(values=arrays(np.float32, (2, 3, 4), elements=st.floats(-40000, 40000, width=32)), whole=st.booleans())
def test_compact_never_changes_a_value(values: np.ndarray, whole: bool) -> None:
    given_values = np.rint(values) if whole else values
    image = compact(sitk.GetImageFromArray(given_values))
    assert np.array_equal(sitk.GetArrayFromImage(image).astype(np.float32), given_values)
    fits = bool(np.all(given_values == np.rint(given_values)) and np.abs(given_values).max() <= 32767)
    assert (image.GetPixelID() == sitk.sitkInt16) >= fits
