"""The DICOM series behind a scan, with whole headers: what an object that refers to its images needs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from KidneySegLib.ct.entries import Entry, shown
from KidneySegLib.ct.quiet import quiet
from KidneySegLib.ct.read import _open, _plain_errors, _sorted_out
from KidneySegLib.errors import InputError
from KidneySegLib.progress import Progress

if TYPE_CHECKING:
    from pydicom import Dataset

    from KidneySegLib.ct.scan import CtScan


@dataclass(frozen=True)
class SourceSeries:
    """Headers of the pictures of one CT volume.

    Attributes:
        uid: as `SeriesInfo.uid`.
        headers: all attributes but pixels (identity included: they go into DICOM only). One for each slice of the
            scan's image, in its order; or the only one of a multi-frame file.
        is_multiframe: whether it is one multi-frame file.
        same_grid: whether the scan's image has exactly these slices. False where it was resampled, because slices
            were missing or uneven or the gantry was tilted.
    """

    uid: str
    headers: tuple[Dataset, ...]
    is_multiframe: bool
    same_grid: bool


def read_source_series(
    path: Path | str, series_uid: str | None = None, progress: Progress | None = None
) -> SourceSeries:
    """The series that `read_ct` reads with the same arguments.

    Raises:
        InputError: no DICOM, or a series that cannot be measured.
        SeveralSeriesError: several CT series, and no ``series_uid``.
        Cancelled: at the user's request.
    """
    progress = progress or Progress()
    source = Path(path).expanduser()
    name = shown(source)
    with _plain_errors(name), quiet(), _open(source) as entries:
        dicom, _ = _sorted_out(entries, name)
        if not dicom:
            raise InputError(
                f"{name} holds no DICOM, but a DICOM object must refer to the series that it was made from. Give the "
                "DICOM folder or zip of the scan."
            )
        return _source_series(dicom, name, series_uid, progress)


def read_source_files(files: Sequence[Path], progress: Progress | None = None) -> tuple[CtScan, SourceSeries]:
    """The scan and the series of a list of DICOM files, as a database has them.

    Raises:
        InputError: as `read_ct`.
    """
    from KidneySegLib.ct.dicom import read_dicom

    progress = progress or Progress()
    name = "The DICOM series"
    with _plain_errors(name), quiet():
        entries = [Entry(shown(path.name), path) for path in files]
        series = _source_series(entries, name, None, progress)
        return read_dicom(entries, files[0].parent, name, series.uid, progress), series


def _source_series(dicom: Sequence[Entry], name: str, series_uid: str | None, progress: Progress) -> SourceSeries:
    from KidneySegLib.ct.dicom_series import choose_series, find_series
    from KidneySegLib.ct.dicom_stack import build_stack

    series = choose_series(find_series(dicom, progress), series_uid, name)
    stack = build_stack(series.slices, f"series {series.info.description or series.info.uid} of {name}")
    one_file = len({one.entry.path if one.entry.member is None else one.entry.name for one in stack.slices}) == 1
    wanted = stack.slices[:1] if one_file else stack.slices
    return SourceSeries(
        uid=series.info.uid,
        headers=tuple(_whole_header(one.entry) for one in wanted),
        is_multiframe=one_file,
        same_grid=stack.even and "gantry_tilt_corrected" not in stack.flags,
    )


def _whole_header(entry: Entry) -> Dataset:
    from pydicom import dcmread

    from KidneySegLib.ct.dicom_headers import damaged

    try:
        with entry.read() as stream:
            return dcmread(stream, stop_before_pixels=True, force=True)
    except OSError:
        raise
    except Exception as error:  # pydicom raises whatever a damaged byte leads to
        raise damaged(entry, error) from error
