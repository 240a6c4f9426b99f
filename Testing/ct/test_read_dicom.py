"""DICOM series of every geometry and encoding are read with the right HU at the right place."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from dicom_series import ROOT, SeriesSpec, edit, write_enhanced, write_series, zip_folder
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from known_scans import hu_error
from pydicom import dcmread
from pydicom.data import get_testdata_file
from pydicom.uid import (
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    RLELossless,
)
from scipy import ndimage

from KidneySegLib.ct import list_series, read_ct
from KidneySegLib.ct.dicom_pixels import _stored_frames
from KidneySegLib.errors import Cancelled, InputError, SeveralSeriesError
from KidneySegLib.flags import FLAGS
from KidneySegLib.progress import CancelToken, Progress

SPEC = SeriesSpec()
#: A point where `world_hu` is 0.
MIDDLE_MM = np.array([0.0, 0.0, 420 / 11])


def compress_or_skip(folder: Path, spec: SeriesSpec) -> Path:
    try:
        write_series(folder, spec)
    except RuntimeError as error:
        pytest.skip(f"no encoder here for {spec.syntax}: {error}")
    return folder


class TestEncodings:
    @pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian, RLELossless])
    def test_hu_are_exact_and_int16(self, tmp_path: Path, syntax: str) -> None:
        write_series(tmp_path, SPEC, syntax=syntax)
        scan = read_ct(tmp_path)
        assert scan.image.GetPixelID() == sitk.sitkInt16
        assert scan.image.GetSize() == (40, 36, 12)
        assert scan.image.GetSpacing() == pytest.approx((1.25, 1.5, 2.0))
        assert scan.image.GetOrigin() == pytest.approx(SPEC.origin_mm)
        assert np.abs(hu_error(scan.image)).max() <= 0.5
        assert scan.flags == ()
        assert scan.series_uid == SPEC.series_uid

    @pytest.mark.parametrize("syntax", [JPEGLSLossless, JPEG2000Lossless])
    def test_compressed_with_a_plugin(self, tmp_path: Path, syntax: str) -> None:
        compress_or_skip(tmp_path, replace(SPEC, syntax=syntax))
        assert np.abs(hu_error(read_ct(tmp_path).image)).max() <= 0.5

    def test_hash_does_not_depend_on_names_encoding_or_patient(self, tmp_path: Path) -> None:
        write_series(tmp_path / "a", SPEC)
        write_series(tmp_path / "b", SPEC, syntax=RLELossless, suffix="", first=40, signed=True, intercept=-1000.0)
        for path in (tmp_path / "b").iterdir():
            edit(path, PatientName="Someone^Else", SeriesInstanceUID=ROOT + "77")
        write_series(tmp_path / "c", SPEC, origin_mm=(-20.0, -15.0, 31.0))
        plain, renamed, moved = (read_ct(tmp_path / name).sha256 for name in "abc")
        assert plain == renamed
        assert plain != moved

    def test_slope_and_intercept_of_each_slice(self, tmp_path: Path) -> None:
        for index in range(len(SPEC.positions_mm)):
            single = replace(
                SPEC, positions_mm=(SPEC.positions_mm[index],), intercept=-1000.0 - index, slope=1.0 + index % 2
            )
            write_series(tmp_path, single, first=index + 1)
        assert np.abs(hu_error(read_ct(tmp_path).image)).max() <= 1.5

    def test_fractional_hu_stay_fractional(self, tmp_path: Path) -> None:
        write_series(tmp_path, SPEC, slope=0.3)
        scan = read_ct(tmp_path)
        assert scan.image.GetPixelID() == sitk.sitkFloat32
        assert np.abs(hu_error(scan.image)).max() <= 0.7

    def test_half_slope_with_whole_hu_is_int16(self, tmp_path: Path) -> None:
        write_series(tmp_path, SPEC, slope=0.5)
        assert read_ct(tmp_path).image.GetPixelID() == sitk.sitkInt16

    def test_padding_outside_the_field_of_view_becomes_air(self, tmp_path: Path) -> None:
        paths = write_series(tmp_path, SPEC)
        for path in paths:
            dataset = dcmread(path)
            pixels = dataset.pixel_array.copy()
            pixels[:3] = 63536
            dataset.PixelData = pixels.tobytes()
            dataset.add_new("PixelPaddingValue", "US", 63536)
            dataset.save_as(path)
        scan = read_ct(tmp_path)
        assert scan.image.GetPixelID() == sitk.sitkInt16
        assert (sitk.GetArrayViewFromImage(scan.image)[:, :3] == -1024).all()
        assert np.abs(hu_error(scan.image)[:, 3:]).max() <= 0.5

    @pytest.mark.parametrize("name", ["JPEG2000.dcm", "MR_small_jpeg_ls_lossless.dcm"])
    def test_plugins_decode_what_others_wrote(self, name: str) -> None:
        path = get_testdata_file(name, download=False)
        with open(path, "rb") as stream:
            (values,) = _stored_frames(stream, [0])
        assert values.shape == (dcmread(path).Rows, dcmread(path).Columns)
        assert values.std() > 0

    @pytest.mark.parametrize("syntax", ["JPEGLosslessProcess14_1", "JPEGLosslessProcess14", "JPEGLSLossless"])
    def test_what_gdcm_compresses(self, tmp_path: Path, syntax: str) -> None:
        gdcm = pytest.importorskip("gdcm")
        for path in write_series(tmp_path, SPEC):
            reader, change, writer = gdcm.ImageReader(), gdcm.ImageChangeTransferSyntax(), gdcm.ImageWriter()
            reader.SetFileName(str(path))
            assert reader.Read()
            change.SetTransferSyntax(gdcm.TransferSyntax(getattr(gdcm.TransferSyntax, syntax)))
            change.SetInput(reader.GetImage())
            assert change.Change()
            writer.SetFileName(str(path))
            writer.SetFile(reader.GetFile())
            writer.SetImage(change.GetOutput())
            assert writer.Write()
            assert dcmread(path).file_meta.TransferSyntaxUID.is_compressed
        assert np.abs(hu_error(read_ct(tmp_path).image)).max() <= 0.5

    @pytest.mark.parametrize("shared", [False, True])
    @pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, RLELossless])
    def test_enhanced_multi_frame(self, tmp_path: Path, syntax: str, shared: bool) -> None:
        path = write_enhanced(tmp_path / "enhanced", replace(SPEC, syntax=syntax), shared_geometry=shared)
        write_series(tmp_path / "classic", SPEC)
        scan, classic = read_ct(path), read_ct(tmp_path / "classic")
        assert np.abs(hu_error(scan.image)).max() <= 0.5
        assert scan.sha256 == classic.sha256
        assert scan.slice_thickness_mm == 2.5
        assert scan.acquisition["KVP"] == "120" or scan.acquisition["KVP"] == "100"

    def test_without_preamble(self, tmp_path: Path) -> None:
        for path in write_series(tmp_path, SPEC, suffix=""):
            path.write_bytes(path.read_bytes()[132:])
        assert np.abs(hu_error(read_ct(tmp_path).image)).max() <= 0.5


AXES = {
    "axial": ((1, 0, 0), (0, 1, 0)),
    "axial prone": ((-1, 0, 0), (0, -1, 0)),
    "axial from above": ((-1, 0, 0), (0, 1, 0)),
    "coronal": ((1, 0, 0), (0, 0, -1)),
    "sagittal": ((0, 1, 0), (0, 0, -1)),
}


class TestGeometry:
    @pytest.mark.parametrize("axes", AXES.values(), ids=AXES.keys())
    def test_orientation(self, tmp_path: Path, axes: tuple[tuple[float, ...], tuple[float, ...]]) -> None:
        turn = np.column_stack([*axes, np.cross(*axes)])
        origin = tuple(MIDDLE_MM - turn @ np.array([25.0, 27.0, 12.0]))
        write_series(tmp_path, SPEC, row=axes[0], column=axes[1], origin_mm=origin)
        scan = read_ct(tmp_path)
        assert scan.flags == ()
        assert np.abs(hu_error(scan.image)).max() <= 0.51

    @settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(
        angles=st.tuples(*[st.floats(-3.1, 3.1)] * 3),
        pixel_mm=st.tuples(st.floats(0.6, 2.0), st.floats(0.6, 2.0)),
        spacing_mm=st.floats(0.7, 6.0),
        reverse=st.booleans(),
    )
    def test_any_oblique_grid(
        self,
        tmp_path_factory: pytest.TempPathFactory,
        angles: tuple[float, float, float],
        pixel_mm: tuple[float, float],
        spacing_mm: float,
        reverse: bool,
    ) -> None:
        turn = _rotation(*angles)
        middle = np.array([10 * pixel_mm[1], 9 * pixel_mm[0], 7 * spacing_mm])
        places = tuple(round(spacing_mm, 3) * i for i in range(15))
        spec = SeriesSpec(
            rows=18,
            columns=20,
            row=tuple(turn[:, 0]),
            column=tuple(turn[:, 1]),
            pixel_mm=tuple(round(v, 4) for v in pixel_mm),
            origin_mm=tuple(MIDDLE_MM - turn @ middle),
            positions_mm=places[::-1] if reverse else places,
        )
        folder = tmp_path_factory.mktemp("oblique")
        write_series(folder, spec)
        scan = read_ct(folder)
        assert scan.flags in ((), ("hu_clipped",))
        assert scan.image.GetSpacing() == pytest.approx((*spec.pixel_mm[::-1], round(spacing_mm, 3)), rel=1e-3)
        assert np.abs(hu_error(scan.image)).max() <= 0.6

    def test_thickness_may_differ_from_spacing(self, tmp_path: Path) -> None:
        write_series(tmp_path, SPEC, thickness_mm=5.0)
        assert read_ct(tmp_path).slice_thickness_mm == 5.0

    def test_thickness_defaults_to_spacing(self, tmp_path: Path) -> None:
        write_series(tmp_path, SPEC, thickness_mm=None)
        assert read_ct(tmp_path).slice_thickness_mm == pytest.approx(2.0)

    def test_rounded_positions_are_even(self, tmp_path: Path) -> None:
        write_series(tmp_path, SPEC, positions_mm=tuple(round(0.625 * i, 1) for i in range(30)))
        scan = read_ct(tmp_path)
        assert scan.flags == ()
        assert scan.image.GetSpacing()[2] == pytest.approx(0.625, abs=0.005)

    def test_variable_spacing_is_resampled_and_flagged(self, tmp_path: Path) -> None:
        write_series(tmp_path, SPEC, positions_mm=(0, 2, 4, 6, 8, 11, 14, 17, 20, 25))
        scan = read_ct(tmp_path)
        assert scan.flags == ("resampled_irregular_slices",)
        assert scan.image.GetSize()[2] == 14
        assert scan.image.GetSpacing()[2] == pytest.approx(25 / 13)
        assert np.abs(hu_error(scan.image)).max() <= 1.0

    def test_a_missing_slice_is_interpolated_and_flagged(self, tmp_path: Path) -> None:
        write_series(tmp_path, SPEC, positions_mm=tuple(2.0 * i for i in range(15) if i != 6))
        scan = read_ct(tmp_path)
        assert scan.flags == ("missing_slices_interpolated",)
        assert scan.image.GetSize()[2] == 15
        assert scan.image.GetSpacing()[2] == pytest.approx(2.0)
        assert np.abs(hu_error(scan.image)).max() <= 1.0

    def test_missing_slice_of_coarse_scan_up_to_the_stated_gap(self, tmp_path: Path) -> None:
        write_series(tmp_path, SPEC, positions_mm=tuple(5.0 * i for i in range(9) if i != 4))
        assert "missing_slices_interpolated" in read_ct(tmp_path).flags

    @pytest.mark.parametrize("degrees", [-25.0, 10.0, 30.0])
    def test_gantry_tilt_is_made_upright(self, tmp_path: Path, degrees: float) -> None:
        tilt = np.deg2rad(degrees)
        write_series(
            tmp_path,
            SPEC,
            column=(0.0, float(np.cos(tilt)), float(np.sin(tilt))),
            step=(0.0, 0.0, 1.0),
            positions_mm=tuple(2.0 * i for i in range(20)),
        )
        scan = read_ct(tmp_path)
        assert scan.flags == ("gantry_tilt_corrected",)
        assert np.array(scan.image.GetDirection()).reshape(3, 3) == pytest.approx(np.eye(3), abs=1e-6)
        assert scan.image.GetSpacing() == pytest.approx((1.25, 1.5, 2.0))
        voxels = sitk.GetArrayFromImage(scan.image)
        inside = ndimage.binary_erosion(voxels != -1024, np.ones((3, 3, 3)))
        assert inside.sum() > 0.4 * inside.size
        assert np.abs(hu_error(scan.image))[inside].max() <= 1.0

    def test_tilt_by_less_than_half_a_pixel_is_none(self, tmp_path: Path) -> None:
        write_series(tmp_path, SPEC, step=(0.0, 0.01, 1.0))
        assert read_ct(tmp_path).flags == ()

    def test_duplicate_positions_keep_the_first_and_flag(self, tmp_path: Path) -> None:
        write_series(tmp_path, SPEC)
        write_series(tmp_path, SPEC, first=50, positions_mm=SPEC.positions_mm[3:5], origin_mm=SPEC.origin_mm)
        scan = read_ct(tmp_path)
        assert scan.flags == ("duplicate_slices_dropped",)
        assert np.abs(hu_error(scan.image)).max() <= 0.5

    def test_a_folder_copied_twice_is_read_once(self, tmp_path: Path) -> None:
        write_series(tmp_path / "one", SPEC)
        write_series(tmp_path / "copy of one", SPEC)
        scan = read_ct(tmp_path)
        assert scan.image.GetSize()[2] == 12
        assert scan.flags == ("duplicate_slices_dropped",)

    def test_foreign_pictures_in_a_series_are_left_out_and_flagged(self, tmp_path: Path) -> None:
        write_series(tmp_path, SPEC)
        write_series(tmp_path, SPEC, first=90, rows=50, positions_mm=(0.0,))
        scan = read_ct(tmp_path)
        assert scan.flags == ("mixed_slices_dropped",)
        assert scan.image.GetSize() == (40, 36, 12)

    def test_a_scout_inside_the_series_is_left_out(self, tmp_path: Path) -> None:
        write_series(tmp_path, SPEC)
        write_series(
            tmp_path, SPEC, first=90, positions_mm=(0.0,), row=(1, 0, 0), column=(0, 0, -1),
            image_type=("ORIGINAL", "PRIMARY", "LOCALIZER"),
        )  # fmt: skip
        scan = read_ct(tmp_path)
        assert scan.flags == ()
        assert scan.image.GetSize()[2] == 12

    def test_all_flags_have_a_sentence(self) -> None:
        for key in ("mixed_slices_dropped", "duplicate_slices_dropped", "gantry_tilt_corrected", "hu_clipped"):
            assert FLAGS[key].sentence


class TestSeries:
    def test_nested_folders_and_other_files(self, tmp_path: Path) -> None:
        write_series(tmp_path / "a" / "b" / "c", SPEC)
        (tmp_path / "a" / "notes.txt").write_text("not an image")
        (tmp_path / "DICOMDIR").write_bytes(b"\0" * 500)
        assert read_ct(tmp_path).image.GetSize()[2] == 12

    def test_a_renamed_dicomdir_is_no_slice(self, tmp_path: Path) -> None:
        write_series(tmp_path, SPEC)
        (tmp_path / "index.dcm").write_bytes(Path(get_testdata_file("DICOMDIR-empty.dcm")).read_bytes())
        assert read_ct(tmp_path).image.GetSize()[2] == 12

    def test_several_series_are_listed(self, tmp_path: Path) -> None:
        write_series(tmp_path / "1", SPEC)
        write_series(tmp_path / "2", SPEC, series_uid=ROOT + "2", description="Abdomen venös")
        with pytest.raises(SeveralSeriesError) as caught:
            read_ct(tmp_path)
        lines = str(caught.value).splitlines()
        assert "2 CT series; choose one with --series" in lines[0]
        assert lines[1].split() == [ROOT + "1", "CT", "Abdomen", "arterial", "12", "slices"]
        assert lines[2].split() == [ROOT + "2", "CT", "Abdomen", "venös", "12", "slices"]

    def test_series_uid_chooses(self, tmp_path: Path) -> None:
        write_series(tmp_path, SPEC)
        write_series(tmp_path, SPEC, series_uid=ROOT + "2", first=50, positions_mm=tuple(3.0 * i for i in range(7)))
        assert read_ct(tmp_path, series_uid=ROOT + "2").image.GetSize()[2] == 7

    def test_localisers_and_others_do_not_count(self, tmp_path: Path) -> None:
        write_series(tmp_path / "ct", SPEC)
        write_series(tmp_path / "scout", SPEC, series_uid=ROOT + "2", image_type=("ORIGINAL", "PRIMARY", "LOCALIZER"))
        write_series(tmp_path / "mr", SPEC, series_uid=ROOT + "3", modality="MR")
        write_series(tmp_path / "bolus", SPEC, series_uid=ROOT + "4", positions_mm=(0.0,) * 8)
        scan = read_ct(tmp_path)
        assert scan.series_uid == SPEC.series_uid
        listed = {info.uid[-1]: info for info in list_series(tmp_path)}
        assert {uid: info.readable for uid, info in listed.items()} == {"1": True, "2": False, "3": False, "4": False}
        assert "localiser" in listed["2"].problem
        assert "MR" in listed["3"].problem
        assert "1 slice position" in listed["4"].problem

    def test_two_phases_in_one_series_are_told_apart(self, tmp_path: Path) -> None:
        write_series(tmp_path, SPEC, acquisition=2)
        write_series(tmp_path, SPEC, acquisition=10, first=50, intercept=-1014.0)
        with pytest.raises(SeveralSeriesError, match="#1"):
            read_ct(tmp_path)
        first, second = (read_ct(tmp_path, series_uid=f"{SPEC.series_uid}#{part}") for part in (1, 2))
        assert first.flags == second.flags == ()
        assert first.image.GetSize() == second.image.GetSize() == (40, 36, 12)
        with pytest.raises(SeveralSeriesError):
            read_ct(tmp_path, series_uid=SPEC.series_uid)

    def test_unknown_series_uid(self, tmp_path: Path) -> None:
        write_series(tmp_path, SPEC)
        with pytest.raises(InputError, match=r"holds no series 1\.2\.3\. Choose one of:\n  1\.2\.826"):
            read_ct(tmp_path, series_uid="1.2.3")

    def test_cancel_stops_reading(self, tmp_path: Path) -> None:
        write_series(tmp_path, SPEC)
        token = CancelToken()
        token.cancel()
        with pytest.raises(Cancelled):
            read_ct(tmp_path, progress=Progress(token=token))

    def test_progress_goes_from_none_to_all(self, tmp_path: Path) -> None:
        write_series(tmp_path, SPEC)
        fractions: list[float] = []
        read_ct(tmp_path, progress=Progress(listener=lambda event: fractions.append(event.fraction)))
        assert fractions == sorted(fractions)
        assert (fractions[0], fractions[-1]) == (0.0, 1.0)


class TestNamesAndPatients:
    def test_non_ascii_paths(self, tmp_path: Path) -> None:
        folder = tmp_path / "Níže uložené 腎臓 µ"
        write_series(folder, SPEC)
        assert read_ct(folder).image.GetSize()[2] == 12
        assert read_ct(zip_folder(folder, tmp_path / "ledviny č. 1.zip")).image.GetSize()[2] == 12

    def test_patient_data_but_no_identity(self, tmp_path: Path) -> None:
        write_series(tmp_path, SPEC)
        scan = read_ct(tmp_path)
        assert (scan.patient.sex, scan.patient.age_years) == ("f", 65.0)
        assert (scan.patient.height_cm, scan.patient.weight_kg) == (165.0, 70.0)
        assert scan.acquisition == {
            "Manufacturer": "Testwerk",
            "KVP": "100",
            "SliceThickness": "2.5",
            "ConvolutionKernel": "B30f",
            "RescaleType": "HU",
        }
        assert "secret-id" not in repr(scan)
        assert "Kůň" not in repr(scan)


def _rotation(a: float, b: float, c: float) -> np.ndarray:
    x = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    y = np.array([[np.cos(b), 0, np.sin(b)], [0, 1, 0], [-np.sin(b), 0, np.cos(b)]])
    z = np.array([[np.cos(c), -np.sin(c), 0], [np.sin(c), np.cos(c), 0], [0, 0, 1]])
    return x @ y @ z
