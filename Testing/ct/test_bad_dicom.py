"""DICOM that cannot be trusted: each is one line that names the file or series and says what to do."""

from __future__ import annotations

import contextlib
import os
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from dicom_series import SeriesSpec, edit, write_enhanced, write_series, zip_folder
from pydicom import dcmread
from pydicom.uid import JPEG2000Lossless, RLELossless

from KidneySegLib.ct import entries as entries_module
from KidneySegLib.ct import read_ct
from KidneySegLib.errors import InputError

SPEC = SeriesSpec()


def message(path: Path, **arguments: str) -> str:
    """The one line that reading gives."""
    with pytest.raises(InputError) as caught:
        read_ct(path, **arguments)
    text = str(caught.value)
    assert "\n" not in text
    assert text.endswith(".")
    return text


def edit_all(folder: Path, **tags: object) -> None:
    for path in folder.iterdir():
        edit(path, **tags)


BAD_TAGS: dict[str, tuple[dict[str, object], str]] = {
    "magnetic resonance": ({"Modality": "MR"}, "its modality is MR, not CT"),
    "no modality": ({"Modality": None}, "its modality is not given, not CT"),
    "localiser": ({"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}, "it is a localiser"),
    "no position": ({"ImagePositionPatient": None}, "12 of 12 slices have no position"),
    "no orientation": ({"ImageOrientationPatient": None}, "12 of 12 slices have no position"),
    "no pixel size": ({"PixelSpacing": None}, "12 of 12 slices have no position"),
    "no direction": ({"ImageOrientationPatient": [1, 0, 0, 1, 0, 0]}, "not two directions at right angles"),
    "zero direction": ({"ImageOrientationPatient": [0, 0, 0, 0, 0, 0]}, "not two directions at right angles"),
    "zero pixel size": ({"PixelSpacing": [0, 1]}, "PixelSpacing"),
    "negative pixel size": ({"PixelSpacing": [-1, 1]}, "PixelSpacing"),
    "iodine map": ({"RescaleType": "MGML"}, "its values are MGML, not Hounsfield units"),
    "slope zero": ({"RescaleSlope": 0}, "its RescaleSlope is 0"),
    "colour": ({"SamplesPerPixel": 3}, "it holds colour pictures"),
    "rescaling lost": ({"RescaleIntercept": "0"}, "has no negative voxel"),
}


@pytest.mark.parametrize(("tags", "words"), BAD_TAGS.values(), ids=BAD_TAGS.keys())
def test_tags_that_rule_a_series_out(tmp_path: Path, tags: dict[str, object], words: str) -> None:
    write_series(tmp_path, SPEC)
    edit_all(tmp_path, **tags)
    text = message(tmp_path)
    assert words in text
    assert "Abdomen arterial" in text


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"positions_mm": (0.0, 2.0, 4.0, 6.0)}, "only 4 slice positions, and at least 5 are needed"),
        ({"positions_mm": (0.0,)}, "only 1 slice position,"),
        (
            {"positions_mm": tuple(2.0 * i for i in range(35) if not 6 < i < 14)},
            "gap of 16.0 mm between the slices at (-20.0, -15.0, 42.0) and (-20.0, -15.0, 58.0); at most 10 mm",
        ),
        ({"positions_mm": tuple(12.0 * i for i in range(8))}, "lie 12.0 mm apart, but at most 10 mm"),
        ({"positions_mm": tuple(0.5 * i for i in range(8))}, "mm large, but must cover at least 10 mm"),
        ({"step": (0.0, 3.0, 1.0)}, "lean by 72 degrees"),
        ({"intercept": -30000.0, "tags": {"RescaleIntercept": "0"}}, "has no negative voxel"),
        ({"intercept": 0.0, "signed": True, "tags": {"RescaleIntercept": "-5000"}}, "cannot be Hounsfield units"),
    ],
)
def test_geometry_and_values_that_rule_a_series_out(tmp_path: Path, changes: dict[str, object], words: str) -> None:
    write_series(tmp_path, SPEC, **changes)
    assert words in message(tmp_path)


def test_slices_beside_each_other(tmp_path: Path) -> None:
    paths = write_series(tmp_path, SPEC)
    edit(paths[5], ImagePositionPatient=[-28.0, -15.0, 40.0])
    assert "do not lie in one line: one is 8.0 mm beside the others" in message(tmp_path)


def test_a_series_of_two_stacks(tmp_path: Path) -> None:
    write_series(tmp_path, SPEC)
    write_series(tmp_path, SPEC, first=50, row=(1, 0, 0), column=(0, 0, -1))
    assert "mixes slices of different size or orientation (12 differ from the other 12)" in message(tmp_path)


def test_one_slice_of_several_has_no_position(tmp_path: Path) -> None:
    paths = write_series(tmp_path, SPEC)
    edit(paths[3], ImagePositionPatient=None)
    assert "1 of 12 slices have no position" in message(tmp_path)


@pytest.mark.parametrize("keep", [150, 400, 0.5, 0.97])
def test_truncated_file_is_named(tmp_path: Path, keep: float) -> None:
    path = write_series(tmp_path, SPEC)[4]
    data = path.read_bytes()
    path.write_bytes(data[: int(keep if keep > 1 else keep * len(data))])
    text = message(tmp_path)
    assert path.name in text
    assert "damaged or incomplete DICOM file" in text
    assert "Copy it again, or remove it." in text


@pytest.mark.parametrize("syntax", [RLELossless, JPEG2000Lossless])
def test_truncated_compressed_file_is_named(tmp_path: Path, syntax: str) -> None:
    try:
        path = write_series(tmp_path, SPEC, syntax=syntax)[4]
    except RuntimeError as error:
        pytest.skip(f"no encoder: {error}")
    data = path.read_bytes()
    path.write_bytes(data[: int(0.8 * len(data))])
    assert path.name in message(tmp_path)


def test_empty_dicom_file_is_named(tmp_path: Path) -> None:
    path = write_series(tmp_path, SPEC)[4]
    path.write_bytes(b"")
    assert path.name in message(tmp_path)


def test_truncated_multi_frame(tmp_path: Path) -> None:
    path = write_enhanced(tmp_path / "enhanced.dcm", SPEC)
    data = path.read_bytes()
    path.write_bytes(data[: int(0.7 * len(data))])
    assert "enhanced.dcm is a damaged or incomplete DICOM file" in message(path)


def test_random_bytes_named_dcm(tmp_path: Path) -> None:
    (tmp_path / "noise.dcm").write_bytes(np.random.default_rng(0).bytes(5000))
    assert "noise.dcm is a damaged or incomplete DICOM file" in message(tmp_path)


@pytest.mark.parametrize("seed", range(12))
def test_flipped_bytes_never_give_a_traceback(tmp_path: Path, seed: int) -> None:
    generator = np.random.default_rng(seed)
    for path in write_series(tmp_path, SPEC)[:6]:
        data = bytearray(path.read_bytes())
        for place in generator.integers(132, len(data), 4):
            data[int(place)] = int(generator.integers(256))
        for place in generator.integers(132, 1400, 4):
            data[int(place)] = int(generator.integers(256))
        path.write_bytes(data)
    with contextlib.suppress(InputError):
        read_ct(tmp_path)


def test_one_file_of_a_series(tmp_path: Path) -> None:
    path = write_series(tmp_path, SPEC)[0]
    text = message(path)
    assert "only 1 slice position" in text
    assert "Give a whole CT series." in text


def test_unknown_compression(tmp_path: Path) -> None:
    for path in write_series(tmp_path, SPEC, syntax=RLELossless):
        dataset = dcmread(path)
        dataset.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.4.102"  # MPEG-4
        dataset.save_as(path)
    text = message(tmp_path)
    assert "compressed in a way that cannot be decoded here" in text
    assert "Export the series uncompressed" in text


def test_nothing_measurable_lists_the_reasons(tmp_path: Path) -> None:
    write_series(tmp_path, SPEC, modality="MR")
    write_series(tmp_path, SPEC, first=50, series_uid=SPEC.series_uid + "2", positions_mm=(0.0,))
    with pytest.raises(InputError, match=r"None of the 2 series[^\n]*\n.*MR.*\n.*1 slice position"):
        read_ct(tmp_path)


def test_asked_for_a_localiser(tmp_path: Path) -> None:
    write_series(tmp_path, SPEC)
    write_series(tmp_path, SPEC, first=50, series_uid=SPEC.series_uid + "2", modality="MR")
    assert "cannot be measured: its modality is MR" in message(tmp_path, series_uid=SPEC.series_uid + "2")


class TestFolders:
    def test_missing(self, tmp_path: Path) -> None:
        assert message(tmp_path / "nowhere") == f"{tmp_path}/nowhere does not exist. Check the path."

    def test_empty(self, tmp_path: Path) -> None:
        assert "is empty. Give a DICOM folder or zip" in message(tmp_path)

    def test_without_images(self, tmp_path: Path) -> None:
        (tmp_path / "readme.txt").write_text("hello")
        assert "holds no CT scan. Give a DICOM folder" in message(tmp_path)

    def test_picture(self, tmp_path: Path) -> None:
        (tmp_path / "slice.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"\0" * 100)
        assert "is a picture, not a CT scan in Hounsfield units" in message(tmp_path / "slice.png")

    def test_several_image_files(self, tmp_path: Path) -> None:
        for name in ("a.nii.gz", "b.nrrd"):
            (tmp_path / name).write_bytes(b"x")
        assert "holds 2 image files (a.nii.gz, b.nrrd). Give one of them." in message(tmp_path)

    def test_a_pipe_is_no_file(self, tmp_path: Path) -> None:
        if not hasattr(os, "mkfifo"):
            pytest.skip("Windows has no named pipes")
        os.mkfifo(tmp_path / "pipe")
        assert "is not a file or folder" in message(tmp_path / "pipe")

    def test_a_file_that_may_not_be_read(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        write_series(tmp_path, SPEC)

        def refuse(*_: object) -> None:
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr(entries_module.Entry, "open", refuse)
        assert "cannot be read (Permission denied). Check the disc and your permissions." in message(tmp_path)

    def test_name_that_is_no_unicode(self, tmp_path: Path) -> None:
        folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/odd\xff"))
        try:
            folder.mkdir()
        except OSError:
            pytest.skip("Windows and macOS refuse such names")
        message(folder).encode("utf-8")
        write_series(folder, SPEC)
        assert read_ct(folder).image.GetSize()[2] == 12


class TestZip:
    def zipped(self, tmp_path: Path) -> Path:
        write_series(tmp_path / "dicom" / "nested", SPEC)
        return zip_folder(tmp_path / "dicom", tmp_path / "study.zip")

    def test_reads_as_the_folder(self, tmp_path: Path) -> None:
        assert read_ct(self.zipped(tmp_path)).sha256 == read_ct(tmp_path / "dicom").sha256

    def test_nothing_is_unpacked_and_names_lead_nowhere(self, tmp_path: Path) -> None:
        paths = write_series(tmp_path / "dicom", SPEC)
        target = tmp_path / "inner" / "evil.zip"
        target.parent.mkdir()
        with zipfile.ZipFile(target, "w") as archive:
            for index, path in enumerate(paths):
                archive.write(path, f"../../escaped{index}.dcm" if index % 2 else f"/tmp/absolute{index}.dcm")
        before = sorted(tmp_path.rglob("*"))
        assert read_ct(target).image.GetSize()[2] == 12
        assert sorted(tmp_path.rglob("*")) == before

    def test_truncated(self, tmp_path: Path) -> None:
        path = self.zipped(tmp_path)
        path.write_bytes(path.read_bytes()[:-200])
        assert "study.zip is not a complete zip archive" in message(path)

    def test_damaged_member(self, tmp_path: Path) -> None:
        path = self.zipped(tmp_path)
        data = bytearray(path.read_bytes())
        middle = len(data) // 2
        data[middle : middle + 50] = b"\xff" * 50
        path.write_bytes(data)
        assert "damaged" in message(path)

    def test_empty(self, tmp_path: Path) -> None:
        zipfile.ZipFile(tmp_path / "empty.zip", "w").close()
        assert "The zip" in message(tmp_path / "empty.zip")

    def test_no_zip_at_all(self, tmp_path: Path) -> None:
        (tmp_path / "study.zip").write_text("hello")
        assert "is not a complete zip archive" in message(tmp_path / "study.zip")

    @pytest.mark.parametrize("limit", ["MAX_ZIP_MEMBERS", "MAX_ZIP_BYTES", "MAX_ZIP_MEMBER_BYTES"])
    def test_limits(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str) -> None:
        path = self.zipped(tmp_path)
        monkeypatch.setattr(entries_module, limit, 10)
        assert "12 files" in message(path)

    def test_encrypted(self, tmp_path: Path) -> None:
        path = self.zipped(tmp_path)
        data = path.read_bytes()
        central = data.index(b"PK\x01\x02")
        path.write_bytes(data[: central + 8] + b"\x01" + data[central + 9 :])
        assert "protected by a password" in message(path)

    def test_zip_in_zip(self, tmp_path: Path) -> None:
        inner = self.zipped(tmp_path)
        with zipfile.ZipFile(tmp_path / "outer.zip", "w") as archive:
            archive.write(inner, "inner.zip")
        assert "holds zips, which are not looked into" in message(tmp_path / "outer.zip")


def test_nothing_is_written_to_stderr(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for path in write_series(tmp_path / "odd", SPEC):
        data = path.read_bytes().replace(b"1.2.826.0.1.3680043.8.498.99", b"1.2.826.0.1.3680043.8.498.9x")
        path.write_bytes(data.replace(b"065Y", b"65 Y"))
    read_ct(tmp_path / "odd")
    path = write_series(tmp_path / "cut", replace(SPEC, syntax=RLELossless))[4]
    path.write_bytes(path.read_bytes()[:-700])
    message(tmp_path / "cut")
    assert capfd.readouterr() == ("", "")


def test_the_message_fits_a_terminal(tmp_path: Path) -> None:
    write_series(tmp_path, SPEC, description="x" * 64)
    edit_all(tmp_path, Modality="MR")
    message(tmp_path)
