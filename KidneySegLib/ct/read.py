"""The door: a folder, zip or file becomes one checked CT scan."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from KidneySegLib.ct.entries import IMAGE_SUFFIXES, Entry, Kind, kind_of, open_zip, shown, walk
from KidneySegLib.ct.quiet import quiet
from KidneySegLib.ct.scan import CtScan, SeriesInfo
from KidneySegLib.errors import InputError
from KidneySegLib.progress import Progress

if TYPE_CHECKING:
    import SimpleITK as sitk

_FORMATS = "a DICOM folder or zip, or one NIfTI, NRRD or MHA file"


def read_ct(path: Path | str, *, series_uid: str | None = None, progress: Progress | None = None) -> CtScan:
    """Read one CT scan in Hounsfield units and refuse what cannot be trusted.

    Args:
        path: a folder with DICOM files at any depth, a zip of one, a multi-frame DICOM file, or an image file
            (``.nii``, ``.nii.gz``, ``.nrrd``, ``.nhdr``, ``.mha``, ``.mhd``). A folder or zip without DICOM may
            hold one image file.
        series_uid: which DICOM series to read (`SeriesInfo.uid`).
        progress: is told the stage ``read``.

    Raises:
        SeveralSeriesError: several CT series, and no ``series_uid``; the message lists them.
        InputError: anything else that keeps the input from being measured; the message names the file or series
            and says what to do.
        Cancelled: at the user's request.
    """
    progress = progress or Progress()
    source = Path(path).expanduser()
    name = shown(source)
    progress.report("read", 0.0, source.name)
    with _plain_errors(name), quiet(), _open(source) as entries:
        dicom, images = _sorted_out(entries, name)
        if dicom:
            from KidneySegLib.ct.dicom import read_dicom

            scan = read_dicom(dicom, source, name, series_uid, progress)
        else:
            if series_uid is not None:
                raise InputError(f"{name} holds no DICOM, so there is no series {series_uid}. Leave out --series.")
            scan = _read_image(images[0], source, name)
    progress.report("read", 1.0, source.name)
    return scan


def list_series(path: Path | str, *, progress: Progress | None = None) -> tuple[SeriesInfo, ...]:
    """All DICOM series with pictures in a folder, zip or file, ordered by UID.

    Series that `read_ct` would not take (localisers, no CT ...) are in the list and say why in `SeriesInfo.problem`.
    An input without DICOM gives an empty list.

    Raises:
        InputError: the path does not exist, holds no image at all, or has a damaged DICOM file.
    """
    source = Path(path).expanduser()
    name = shown(source)
    with _plain_errors(name), quiet(), _open(source) as entries:
        dicom, _ = _sorted_out(entries, name)
        if not dicom:
            return ()
        from KidneySegLib.ct.dicom_series import find_series

        return tuple(series.info for series in find_series(dicom, progress or Progress()))


def scan_from_image(image: sitk.Image, *, source: Path | str = "memory", name: str = "The volume") -> CtScan:
    """Check an image that is already in memory (Slicer's volume) as `read_ct` checks a file.

    Args:
        image: 3-D, HU, world LPS in mm.
        source: where it came from, for provenance.
        name: how to call it in messages.

    Raises:
        InputError: as `read_ct`.
    """
    from KidneySegLib.ct.geometry import check_grid
    from KidneySegLib.ct.hounsfield import check_hu
    from KidneySegLib.ct.image_file import compact
    from KidneySegLib.ct.scan import content_hash
    from KidneySegLib.ct.upright import is_sheared, upright

    if image.GetDimension() != 3 or image.GetNumberOfComponentsPerPixel() != 1:
        raise InputError(f"{name} is not one 3-D scan with one value in a voxel. Choose a CT volume.")
    image = compact(image)
    flags = list(check_hu(image, name))
    sha256 = content_hash(image)
    check_grid(image, name, right_angled=False)
    if is_sheared(image):
        image = upright(image, name)
        flags.append("gantry_tilt_corrected")
    check_grid(image, name)
    return CtScan(
        image=image,
        source=Path(source),
        series_uid=None,
        sha256=sha256,
        slice_thickness_mm=max(image.GetSpacing()),
        flags=tuple(flags),
    )


@contextmanager
def _plain_errors(name: str) -> Iterator[None]:
    """What the operating system says, as an error that the user can mend."""
    try:
        yield
    except FileNotFoundError as error:
        raise InputError(f"{name} does not exist. Check the path.") from error
    except MemoryError as error:
        raise InputError(f"{name} does not fit into memory. Close other programs, or crop the scan.") from error
    except OSError as error:
        reason = error.strerror or str(error)
        raise InputError(f"{name} cannot be read ({reason}). Check the disc and your permissions.") from error


@contextmanager
def _open(source: Path) -> Iterator[Sequence[Entry]]:
    """The files of an input, readable while the context lasts."""
    name = shown(source)
    if source.is_dir():
        entries = walk(source)
        if not entries:
            raise InputError(f"The folder {name} is empty. Give {_FORMATS}.")
        yield entries
        return
    if not source.exists():
        raise InputError(f"{name} does not exist. Check the path.")
    if not source.is_file():
        raise InputError(f"{name} is not a file or folder. Give {_FORMATS}.")
    entry = Entry(name, source)
    if kind_of(entry) is not Kind.ZIP:
        yield (entry,)
        return
    with open_zip(source) as entries:
        if not entries:
            raise InputError(f"The zip {name} is empty. Give {_FORMATS}.")
        yield entries


def _sorted_out(entries: Sequence[Entry], name: str) -> tuple[list[Entry], list[Entry]]:
    """The DICOM files of an input or, if there are none, its only image file."""
    kinds = [(entry, _kind(entry)) for entry in entries]
    dicom = [entry for entry, kind in kinds if kind is Kind.DICOM]
    if dicom:
        return dicom, []
    images = [entry for entry, kind in kinds if kind is Kind.IMAGE]
    if len(images) == 1:
        return [], images
    if images:
        few = ", ".join(entry.name for entry in images[:5]) + (", ..." if len(images) > 5 else "")
        raise InputError(f"{name} holds {len(images)} image files ({few}). Give one of them.")
    found = {kind for _, kind in kinds}
    if found == {Kind.PICTURE}:
        what = "is a picture, not a CT scan in Hounsfield units" if len(kinds) == 1 else "holds pictures, not a CT scan"
    elif Kind.ZIP in found:
        what = "holds zips, which are not looked into"
    else:
        what = "holds no CT scan"
    raise InputError(f"{name} {what}. Give {_FORMATS}.")


def _kind(entry: Entry) -> Kind:
    import zlib
    from zipfile import BadZipFile

    try:
        return kind_of(entry)
    except (BadZipFile, zlib.error, NotImplementedError, EOFError) as error:
        raise InputError(
            f"{entry.name} in {shown(entry.path)} is damaged ({error}). Copy or download the zip again."
        ) from error


def _read_image(entry: Entry, source: Path, name: str) -> CtScan:
    from KidneySegLib.ct.image_file import read_image_file

    if entry.member is None:
        image = read_image_file(entry.path, entry.name)
        return replace(scan_from_image(image, source=source, name=entry.name), source=source)
    if entry.name.lower().endswith((".nhdr", ".mhd")):
        raise InputError(f"{entry.name} in {name} keeps its voxels in a second file. Unpack the zip and give the file.")
    suffix = next(suffix for suffix in IMAGE_SUFFIXES if entry.name.lower().endswith(suffix))
    with TemporaryDirectory(prefix="kidneyseg-") as folder:
        unpacked = Path(folder) / f"scan{suffix}"
        with entry.open() as packed, unpacked.open("wb") as plain:
            while block := packed.read(1 << 20):
                plain.write(block)
        image = read_image_file(unpacked, entry.name)
    return scan_from_image(image, source=source, name=entry.name)
