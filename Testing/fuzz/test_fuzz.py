"""A bounded part of ``make fuzz``, and what it once found."""

from __future__ import annotations

import contextlib
import gzip
import json
import os
import random
import resource
import struct
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from KidneySegLib.ct import read_ct
from KidneySegLib.errors import InputError, KidneySegError
from KidneySegLib.models.manifest import parse_manifest
from KidneySegLib.worker_parts import protocol
from KidneySegLib.worker_parts.protocol import ProtocolError
from KidneySegLib.worker_parts.request_forms import check_fields
from Testing.ct.dicom_series import SeriesSpec, write_series
from Testing.fuzz.run import run_fuzz

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="limits of processes are Linux's")
SMALL = SeriesSpec(rows=16, columns=16, positions_mm=tuple(3.0 * i for i in range(6)), pixel_mm=(3.0, 3.0))


def test_five_hundred_mutations_end_in_a_result_or_an_error() -> None:
    report = run_fuzz(500, seed=20_260_101, batch=500)
    assert report["mutations"] == 500
    assert report["details"] == []
    # Not everything may be refused, nor everything read: then the mutations would be too rude or too timid.
    assert report["ends"]["result"] > 50
    assert report["ends"]["error"] > 50


def in_little_memory(work: Callable[[], None], spare_bytes: int = 192 << 20) -> None:
    """Do something in a forked process that may take little memory more than it has. `InputError` is expected."""
    pid = os.fork()
    if pid == 0:
        status = 1
        with open("/proc/self/statm") as file:
            used = int(file.read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + spare_bytes, used + spare_bytes))
        try:
            work()
        except InputError as error:
            status = 3 if isinstance(error.__cause__, MemoryError) else 0
        except BaseException as error:
            print(repr(error), file=sys.stderr)
            status = 2
        os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def a_nifti(path: Path) -> bytes:
    hu = np.random.default_rng(1).integers(-900, 400, (6, 12, 14)).astype(np.int16)
    image = sitk.GetImageFromArray(hu)
    image.SetSpacing((2.5, 2.5, 4.0))
    sitk.WriteImage(image, str(path))
    return path.read_bytes()


def test_an_element_that_claims_four_gibibytes(tmp_path: Path) -> None:
    paths = write_series(tmp_path / "series", SMALL)
    data = bytearray(paths[0].read_bytes())
    # SeriesDescription as OB of 4 GiB: the rest of the header is gone.
    at = data.find(b"\x08\x00\x3e\x10LO")
    data[at : at + 12] = b"\x08\x00\x3e\x10OB\x00\x00" + struct.pack("<I", 0xFFFFFFF0)
    paths[0].write_bytes(bytes(data))
    in_little_memory(lambda: read_ct(tmp_path / "series") and None)


def test_pixels_that_are_fewer_than_the_header_claims(tmp_path: Path) -> None:
    for path in write_series(tmp_path / "series", SMALL):
        data = path.read_bytes()
        for tag in (b"\x28\x00\x10\x00US\x02\x00", b"\x28\x00\x11\x00US\x02\x00"):
            at = data.find(tag) + len(tag)
            data = data[:at] + struct.pack("<H", 12_000) + data[at + 2 :]
        path.write_bytes(data)
    in_little_memory(lambda: read_ct(tmp_path / "series") and None)


def test_a_gzip_bomb_behind_a_small_scan(tmp_path: Path) -> None:
    data = a_nifti(tmp_path / "scan.nii")
    bomb = tmp_path / "bomb.nii.gz"
    bomb.write_bytes(gzip.compress(data) + gzip.compress(bytes(1 << 22)) * 256)
    assert bomb.stat().st_size < 2 << 20
    in_little_memory(lambda: read_ct(bomb) and None)


def test_a_gzip_bomb_in_one_piece(tmp_path: Path) -> None:
    data = a_nifti(tmp_path / "scan.nii")
    bomb = tmp_path / "bomb.nii.gz"
    with gzip.open(bomb, "wb", compresslevel=1) as file:
        file.write(data)
        for _ in range(512):
            file.write(bytes(1 << 20))
    in_little_memory(lambda: read_ct(bomb) and None)


def test_what_follows_a_packed_scan_is_no_harm(tmp_path: Path) -> None:
    data = a_nifti(tmp_path / "scan.nii")
    (tmp_path / "scan.nii.gz").write_bytes(gzip.compress(data + bytes(3 << 20)))
    assert read_ct(tmp_path / "scan.nii.gz").sha256 == read_ct(tmp_path / "scan.nii").sha256


def test_a_header_that_claims_more_voxels_than_any_scan_has(tmp_path: Path) -> None:
    path = tmp_path / "scan.nrrd"
    path.write_bytes(
        b"NRRD0004\ntype: short\ndimension: 3\nspace: left-posterior-superior\nsizes: 30000 30000 30000\n"
        b"space directions: (1,0,0) (0,1,0) (0,0,1)\nkinds: domain domain domain\nendian: little\n"
        b"encoding: raw\nspace origin: (0,0,0)\n\n" + bytes(1000)
    )
    with pytest.raises(InputError, match="more than the 2e"):
        read_ct(path)


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("NDims", "1e99", "NDims must be 2 to 4"),  # ended the whole process inside ITK
        ("NDims", "11", "NDims must be"),
        ("DimSize", "14 12 -6", "DimSize must be whole"),
        ("DimSize", "14 12", "DimSize must be 3 numbers"),
        ("TransformMatrix", "1 0 0 0 nan 0 0 0 1", "TransformMatrix must be 9 numbers"),
        ("Comment", "x" * 300, "too long"),
        ("ElementDataFile", "../../secret.raw", "another folder"),
        ("ElementDataFile", "LIST", "many files"),
    ],
)
def test_meta_image_headers_that_itk_would_trust(tmp_path: Path, field: str, value: str, words: str) -> None:
    image = sitk.GetImageFromArray(np.random.default_rng(1).integers(-900, 400, (6, 12, 14)).astype(np.int16))
    image.SetSpacing((2.5, 2.5, 4.0))
    path = tmp_path / "scan.mha"
    sitk.WriteImage(image, str(path))
    assert read_ct(path).image.GetSize() == (14, 12, 6)
    lines = path.read_bytes().split(b"\n")
    new = f"{field} = {value}".encode()
    for index, line in enumerate(lines):
        if line.startswith(field.encode() + b" "):
            lines[index] = new
            break
    else:
        lines.insert(1, new)
    path.write_bytes(b"\n".join(lines))
    with pytest.raises(InputError, match=words):
        read_ct(path)


def test_a_zip_bomb(tmp_path: Path) -> None:
    path = tmp_path / "bomb.zip"
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive,
        archive.open("a.dcm", "w") as file,
    ):
        for _ in range(1100):
            file.write(bytes(1 << 20))
    with pytest.raises(InputError, match="more than a CT study holds"):
        read_ct(path)


def test_a_zip_with_a_member_that_has_no_name(tmp_path: Path) -> None:
    path = tmp_path / "study.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(zipfile.ZipInfo(""), b"")
    with pytest.raises(InputError):
        read_ct(path)


def test_a_path_of_more_than_260_characters(tmp_path: Path) -> None:
    folder = tmp_path
    while len(str(folder)) < 300:
        folder = folder / ("deep folder of a hospital's archive " + "x" * 20)
    folder.mkdir(parents=True)
    a_nifti(tmp_path / "scan.nii")
    (tmp_path / "scan.nii").rename(folder / "scan.nii")
    assert read_ct(folder / "scan.nii").image.GetSize() == (14, 12, 6)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda children: st.lists(children, max_size=4) | st.dictionaries(st.text(max_size=12), children, max_size=4),
    max_leaves=20,
)


@given(st.binary(max_size=400))
def test_any_bytes_are_a_line_of_the_worker_or_refused(line: bytes) -> None:
    with contextlib.suppress(ProtocolError):
        assert isinstance(protocol.decode(line), dict)


@given(st.dictionaries(st.sampled_from(["volume", "labels", "patient", "model", "case_id", "use_localiser"]), JSON))
def test_any_request_is_of_the_protocol_or_refused(request: dict[str, object]) -> None:
    try:
        check_fields(request)
    except ProtocolError:
        return
    for key in ("volume", "labels", "patient"):
        assert request.get(key) is None or isinstance(request[key], dict)


@given(JSON)
@settings(suppress_health_check=[HealthCheck.too_slow])
def test_any_json_is_refused_as_a_model(content: object) -> None:
    with pytest.raises(KidneySegError):
        parse_manifest(json.dumps(content), Path("m"))


@given(st.integers(), st.integers(0, 2**32))
@settings(max_examples=30)
def test_the_same_seed_makes_the_same_mutation(index: int, seed: int) -> None:
    from Testing.fuzz import mutations

    once, again = (mutations.blind(bytes(range(256)), random.Random(f"{seed} {index}")) for _ in range(2))
    assert once == again
