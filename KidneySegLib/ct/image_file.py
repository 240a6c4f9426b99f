"""One image file (NIfTI, NRRD, MetaImage) read with SimpleITK, and what its readers would let pass refused."""

from __future__ import annotations

import os
import shutil
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from KidneySegLib.ct.geometry import check_grid
from KidneySegLib.ct.hounsfield import no_number
from KidneySegLib.ct.meta_header import check_meta_header
from KidneySegLib.ct.quiet import quiet_stderr
from KidneySegLib.errors import InputError

if TYPE_CHECKING:
    import SimpleITK as sitk

#: The header's text has 6 digits, so directions agree to about this.
_DIRECTION_TOLERANCE = 1e-3
_SPACING_TOLERANCE = 0.01
_BLOCK_BYTES = 1 << 20
#: What may follow the voxels of a NIfTI file. Without a limit, a small file could keep the program unpacking for days.
_MOST_SURPLUS_BYTES = 64 << 20
#: The size of a header, which is its first field.
_NIFTI_1_BYTES, _NIFTI_2_BYTES = 348, 540
#: No millimetre of a sform is as much as this; squares of what is below it are numbers still.
_MOST_SFORM = 1e9
#: NIfTI datatype codes of floating point voxels.
_NIFTI_FLOATS = {16: "f4", 64: "f8"}


def read_image_file(path: Path, name: str) -> sitk.Image:
    """The image of one file, as sitkInt16 where that is lossless, else sitkFloat32.

    Args:
        path: ``.nii``, ``.nii.gz``, ``.nrrd``, ``.nhdr``, ``.mha`` or ``.mhd``.
        name: how to call it in messages.

    Raises:
        InputError: damaged, not the format its name says, not one 3-D scalar image, or without a trustworthy grid.
    """
    import SimpleITK as sitk

    if path.name.lower().endswith((".mha", ".mhd")):
        with path.open("rb") as stream:
            if b"=" not in stream.read(256):
                raise InputError(_why_not_readable(path, name, RuntimeError("it has no header")))
        check_meta_header(path, name)
    head = _head(path, name) if path.name.lower().endswith((".nii", ".nii.gz")) else None
    if head is not None:
        _check_stored_header(head, name)
    with _plain_name(path) as readable:
        reader = sitk.ImageFileReader()
        reader.SetFileName(str(readable))
        try:
            with quiet_stderr():
                reader.ReadImageInformation()
        except RuntimeError as error:
            raise InputError(_why_not_readable(path, name, error)) from error
        _check_pixels(reader, name)
        if head is not None:
            _check_nifti(reader, path, head, name)
        check_grid(reader, name, right_angled=False)
        if reader.GetPixelID() not in (sitk.sitkInt16, sitk.sitkUInt8, sitk.sitkInt8):
            reader.SetOutputPixelType(sitk.sitkFloat32)
        try:
            with quiet_stderr():
                image = reader.Execute()
        except RuntimeError as error:
            raise InputError(
                f"{name} is damaged or incomplete ({_last_line(error)}). Copy, download or export it again."
            ) from error
    return compact(image)


def compact(image: sitk.Image) -> sitk.Image:
    """The same image as sitkInt16 if all its values are whole numbers that fit, else as sitkFloat32."""
    import SimpleITK as sitk

    if image.GetPixelID() in (sitk.sitkInt16, sitk.sitkUInt8, sitk.sitkInt8):
        return image
    limits = np.iinfo(np.int16)
    whole = all(
        bool(np.isfinite(plane).all())
        and plane.min() >= limits.min
        and plane.max() <= limits.max
        and np.array_equal(plane, np.rint(plane))
        for plane in sitk.GetArrayViewFromImage(image)
    )
    return sitk.Cast(image, sitk.sitkInt16 if whole else sitk.sitkFloat32)


def _check_pixels(reader: sitk.ImageFileReader, name: str) -> None:
    import SimpleITK as sitk

    size = reader.GetSize()
    if reader.GetDimension() == 4 and size[3] == 1:
        reader.SetExtractSize([*size[:3], 0])
    elif reader.GetDimension() != 3:
        kind = "a single picture (2-D)" if reader.GetDimension() == 2 else f"{reader.GetDimension()}-D"
        raise InputError(f"{name} is {kind}, but one 3-D CT scan is needed. Give one phase of a scan as 3-D file.")
    if reader.GetNumberOfComponents() != 1 or reader.GetPixelID() in (sitk.sitkComplexFloat32, sitk.sitkComplexFloat64):
        raise InputError(f"{name} has several values in a voxel (colour or vectors), but a CT has one. Give the CT.")


def _check_nifti(reader: sitk.ImageFileReader, path: Path, head: bytes, name: str) -> None:
    """Refuse what ITK's NIfTI reader silently mends: no orientation, impossible sizes, missing voxels."""
    header = {key: reader.GetMetaData(key) for key in reader.GetMetaDataKeys()}
    if int(header["sform_code"]) <= 0 and int(header["qform_code"]) <= 0:
        raise InputError(
            f"{name} does not say how it lies in the patient (its sform and qform codes are 0), so right and left "
            "cannot be told. Convert the scan from DICOM again."
        )
    pixdim_mm = _stored_pixdim(head)
    if not all(np.isfinite(mm) and mm > 0 for mm in pixdim_mm):
        raise InputError(
            f"{name} has a voxel size of {' x '.join(f'{mm:g}' for mm in pixdim_mm)} mm, which cannot be right. "
            "Convert the scan from DICOM again."
        )
    if int(header["sform_code"]) > 0:
        _check_sform(reader, header, name)
    voxels = int(np.prod([max(int(header[f"dim[{axis}]"]), 1) for axis in range(1, int(header["dim[0]"]) + 1)]))
    start = int(float(header["vox_offset"]))
    expected = start + voxels * int(header["bitpix"]) // 8
    floats = _NIFTI_FLOATS.get(int(header["datatype"]))
    as_it_is = floats is None and not _is_gzip(path)
    length = path.stat().st_size if as_it_is else _read_through(path, name, start, floats, expected)
    if length < expected:
        raise InputError(
            f"{name} is incomplete: {length} of {expected} bytes are there. Copy, download or export it again."
        )


def _byte_order(head: bytes) -> str:
    """``<`` or ``>``, from the first field of a header."""
    return "<" if int.from_bytes(head[:4], "little") in (_NIFTI_1_BYTES, _NIFTI_2_BYTES) else ">"


def _head(path: Path, name: str) -> bytes:
    """The first bytes of a NIfTI file, unpacked: its whole header if it is that long."""
    head = b""
    for block in _unpacked(path, name):
        head += block
        if len(head) >= _NIFTI_1_BYTES:
            break
    return head[:_NIFTI_1_BYTES]


def _check_stored_header(head: bytes, name: str) -> None:
    """Refuse NIfTI-2, which ITK does not know, and an sform with infinities before ITK sees it: its reader looks for
    their singular values for ever."""
    order = _byte_order(head)
    size = int.from_bytes(head[:4], "little" if order == "<" else "big")
    if size == _NIFTI_2_BYTES:
        raise InputError(f"{name} is a NIfTI-2 file, but NIfTI-1 is needed. Convert it, or give the DICOM series.")
    if size != _NIFTI_1_BYTES or len(head) < size:
        return  # no whole header of NIfTI; ITK says so
    code, rows = np.frombuffer(head[254:256], f"{order}i2"), np.frombuffer(head[280:328], f"{order}f4")
    if code[0] > 0 and not (np.abs(rows) < _MOST_SFORM).all():
        raise InputError(
            f"The orientation in the header of {name} holds {rows[~(np.abs(rows) < _MOST_SFORM)][0]:g}, so its axes "
            "cannot be at right angles. Convert the scan from DICOM again, or give the DICOM series."
        )


def _stored_pixdim(head: bytes) -> list[float]:
    """Voxel size (x, y, z) as the header has it; ITK tells 1 where it is 0 or no number."""
    return [float(value) for value in np.frombuffer(head[80:92], f"{_byte_order(head)}f4")]


def _check_sform(reader: sitk.ImageFileReader, header: dict[str, str], name: str) -> None:
    """The sform must be a rotation and scale, and be what ITK made of the file."""
    rows = np.array([[float(text) for text in header[key].split()[:3]] for key in ("srow_x", "srow_y", "srow_z")])
    with np.errstate(all="ignore"):
        lengths_mm = np.linalg.norm(rows, axis=0)
        directions = np.diag([-1.0, -1.0, 1.0]) @ (rows / lengths_mm)  # NIfTI's RAS to LPS
    spacing_mm = np.array(reader.GetSpacing()[:3])
    dimension = reader.GetDimension()
    read = np.array(reader.GetDirection()).reshape(dimension, dimension)[:3, :3]
    same_spacing = np.allclose(lengths_mm, spacing_mm, rtol=_SPACING_TOLERANCE)
    if not same_spacing or not np.allclose(directions, read, atol=_DIRECTION_TOLERANCE):
        raise InputError(
            f"The orientation in the header of {name} contradicts itself (sform, qform and voxel size disagree, or its "
            "axes are not at right angles). Convert the scan from DICOM again, or give the DICOM series."
        )


def _is_gzip(path: Path) -> bool:
    with path.open("rb") as stream:
        return stream.read(2) == b"\x1f\x8b"


def _read_through(path: Path, name: str, start: int, floats: str | None, expected: int) -> int:
    """Unpacked length of a NIfTI file, its checksums and floating point voxels verified.

    ITK's NIfTI reader does neither: it fills up what is missing, and replaces NaN with 0.

    Raises:
        InputError: damaged, voxels without a number, or far longer than ``expected``.
    """
    length = 0
    rest = b""
    dtype = np.dtype(floats) if floats else None
    for block in _unpacked(path, name):
        if dtype is not None:
            if length == 0:
                dtype = dtype.newbyteorder("<" if _byte_order(block) == "<" else ">")
            voxels = rest + block[max(start - length, 0) :]
            whole = len(voxels) - len(voxels) % dtype.itemsize
            rest = voxels[whole:]
            if not np.isfinite(np.frombuffer(voxels[:whole], dtype)).all():
                raise InputError(no_number(name))
        length += len(block)
        if length > expected + _MOST_SURPLUS_BYTES:
            raise InputError(
                f"{name} holds more than the {expected} bytes that its header tells of. Export the scan again."
            )
    return length


def _unpacked(path: Path, name: str) -> Iterator[bytes]:
    """The bytes of a file in portions, unpacked if it is gzip.

    Raises:
        InputError: compressed data is damaged or ends early.
    """
    packed = _is_gzip(path)
    unpacker = zlib.decompressobj(wbits=31)
    with path.open("rb") as stream:
        try:
            while block := stream.read(_BLOCK_BYTES):
                while packed and block:
                    # A limited portion: a megabyte of zeros is a kilobyte when it is packed.
                    yield unpacker.decompress(block, _BLOCK_BYTES)
                    block = unpacker.unconsumed_tail
                    if unpacker.eof:
                        block = unpacker.unused_data.lstrip(b"\0")
                        if block:
                            unpacker = zlib.decompressobj(wbits=31)  # a file may be several gzip members in a row
                if not packed:
                    yield block
            # All is fed, but portions may still be inside.
            while packed and not unpacker.eof and (rest := unpacker.decompress(b"", _BLOCK_BYTES)):
                yield rest
        except zlib.error as error:
            raise InputError(f"{name} is damaged ({error}). Copy, download or export it again.") from error
    if packed and not unpacker.eof:
        raise InputError(f"{name} is incomplete: its compressed data ends early. Copy, download or export it again.")


@contextmanager
def _plain_name(path: Path) -> Iterator[Path]:
    """A path that SimpleITK can open: the path itself, or a stand-in where its name would not survive.

    Names that are not valid Unicode cannot be passed to SimpleITK; on Windows zlib inside ITK needs ASCII.
    """
    text = str(path)
    printable = text == text.encode("utf-8", "replace").decode()
    if printable and (text.isascii() or os.name != "nt"):
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="kidneyseg-") as folder:
        suffix = ".nii.gz" if path.name.lower().endswith(".nii.gz") else path.suffix
        stand_in = Path(folder) / f"scan{suffix}"
        try:
            stand_in.symlink_to(path.resolve())
        except OSError:
            shutil.copyfile(path, stand_in)
        yield stand_in


def _why_not_readable(path: Path, name: str, error: RuntimeError) -> str:
    again = "Copy, download or export it again."
    with path.open("rb") as stream:
        head = stream.read(256)
    if not head:
        return f"{name} is empty. {again}"
    if "orthonormal" in str(error):
        return (
            f"The axes of {name} are not at right angles, so it cannot be read. Convert the scan from DICOM again, or "
            "give the DICOM series."
        )
    is_text = all(byte in b"\t\n\r\f" or 32 <= byte < 127 for byte in head)
    if is_text and not head.startswith((b"NRRD", b"ObjectType", b"NDims")):
        return f"{name} is a text file, not an image as its name says. {again}"
    return f"{name} is damaged, incomplete or not an image as its name says ({_last_line(error)}). {again}"


def _last_line(error: RuntimeError) -> str:
    """The last words of ITK's many lines, without addresses and paths of its build."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1].rpartition("ERROR: ")[2].rstrip(".:") if lines else type(error).__name__
