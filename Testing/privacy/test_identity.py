"""Who the patient is goes into no output, log or message, whatever the DICOM files say of it."""

from __future__ import annotations

import gzip
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from pydicom import dcmread

from Testing.cli.conftest import TOP, a_scan, model  # noqa: F401 (a fixture)
from Testing.ct.dicom_series import SeriesSpec, slice_dataset

#: No part of these can stand in an output by chance.
SENTINELS = {
    "PatientName": "Zzqname^Qqvgiven",
    "PatientID": "ZZQID77",
    "PatientBirthDate": "19370211",
    "OtherPatientIDs": "ZZQOTHER",
    "AccessionNumber": "ZZQACC",
    "InstitutionName": "Zzqhospital",
    "InstitutionAddress": "Zzqstreet",
    "ReferringPhysicianName": "Zzqdoctor",
    "OperatorsName": "Zzqoperator",
    "StudyDescription": "Zzqstudy",
    "SeriesDescription": "Zzqseries",
    "StudyID": "ZZQSTUDYID",
    "StudyDate": "20311213",
    "PatientComments": "Zzqcomment",
    "PatientAddress": "Zzqaddress",
    "RequestingPhysician": "Zzqrequest",
}
FORBIDDEN = re.compile(rb"zzq|qqv|19370211|20311213|1937-02-11|2031-12-13", re.IGNORECASE)


@pytest.fixture(scope="module")
def series(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The scan with two kidneys as a DICOM series of a patient whose every fact is known."""
    folder = tmp_path_factory.mktemp("dicom") / "series"
    folder.mkdir()
    image = a_scan()
    hu = sitk.GetArrayFromImage(image)
    x_mm, y_mm, z_mm = image.GetSpacing()
    spec = SeriesSpec(
        rows=hu.shape[1],
        columns=hu.shape[2],
        positions_mm=tuple(z_mm * index for index in range(hu.shape[0])),
        origin_mm=image.GetOrigin(),
        pixel_mm=(y_mm, x_mm),
        thickness_mm=z_mm,
        series_uid="1.2.3.4",
        tags=SENTINELS,
    )
    for index in range(len(hu)):
        dataset = slice_dataset(spec, index, index + 1)
        dataset.PixelData = (hu[index].astype(np.int32) + 1024).astype(np.uint16).tobytes()
        block = dataset.private_block(0x0011, "ZZQ PRIVATE", create=True)
        block.add_new(1, "LO", "Zzqprivate")
        dataset.save_as(folder / f"IM{index:03d}.dcm", enforce_file_format=True)
    return folder


def run(*arguments: str | Path) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-m", "KidneySegLib", *map(str, arguments)], cwd=TOP, capture_output=True, timeout=600
    )


def found_in(folder: Path) -> dict[str, bytes]:
    """Files of a folder that name the patient, inside gzip too."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            data = path.read_bytes()
            if data.startswith(b"\x1f\x8b"):
                data = gzip.decompress(data)
            # Base 64 of a picture is noise.
            data = re.sub(rb"base64,[A-Za-z0-9+/=]+", b"", data)
            hit = FORBIDDEN.search(data) if path.suffix != ".png" else None
            if hit is not None:
                found[path.name] = data[max(0, hit.start() - 40) : hit.end() + 40]
            assert FORBIDDEN.search(os.fsencode(path.name)) is None
    return found


def test_the_sentinels_are_in_the_input(series: Path) -> None:
    assert len(found_in(series)) == len(list(series.iterdir()))


def test_a_single_case_and_a_batch_name_nobody(series: Path, model: Path, tmp_path: Path) -> None:  # noqa: F811
    done = run("segment", series, "-o", tmp_path / "out" / "case", "--model", model, "--raw")
    assert done.returncode == 0, done.stderr
    said = done.stdout + done.stderr
    cohort = tmp_path / "cohort"
    cohort.mkdir()
    (cohort / "good").symlink_to(series, target_is_directory=True)
    # One whose header is broken where the patient stands, and one without any pixels.
    for name, change in (("broken", _broken), ("cut", _cut)):
        (cohort / name).mkdir()
        for path in series.iterdir():
            (cohort / name / path.name).write_bytes(change(path.read_bytes()))
    done = run("batch", cohort, "-o", tmp_path / "out" / "batch", "--model", model)
    assert done.returncode == 0, done.stderr
    assert b"3 cases" in done.stdout
    said += done.stdout + done.stderr
    assert FORBIDDEN.search(said) is None, said
    assert found_in(tmp_path / "out") == {}
    # Known facts that volumes are compared with are used, without saying whose they are.
    assert b"bsa_mosteller_m2" in (tmp_path / "out" / "batch" / "volumes.csv").read_bytes()


def _broken(data: bytes) -> bytes:
    """The patient's name with bytes that no character set has, its birth date and weight with nonsense."""
    data = data.replace(b"Zzqname^Qqvgiven", b"Zzq\xff\xfe^\x1b\\vgive")
    at = data.find(b"19370211")
    weight = data.find(b"\x10\x00\x30\x10DS")
    assert at > 0
    assert weight > 0
    return data[: weight + 6] + b"\xff\x7f" + data[weight + 8 :]


def _cut(data: bytes) -> bytes:
    return data[: len(data) // 2]


def test_messages_about_series_are_asked_for(series: Path, model: Path, tmp_path: Path) -> None:  # noqa: F811
    """The one exception: who gives several series at once is told their descriptions, to choose by, on the terminal."""
    both = tmp_path / "both"
    shutil.copytree(series, both / "one")
    (both / "two").mkdir()
    for path in series.iterdir():
        dataset = dcmread(path)
        dataset.SeriesInstanceUID = "1.2.3.5"
        dataset.SOPInstanceUID = f"1.2.3.5.{dataset.InstanceNumber}"
        dataset.save_as(both / "two" / path.name)
    done = run("segment", both, "-o", tmp_path / "out", "--model", model, "--quiet")
    assert done.returncode == 2
    assert b"choose one with --series" in done.stderr
    assert b"Zzqname" not in done.stderr
    assert not (tmp_path / "out").exists()
