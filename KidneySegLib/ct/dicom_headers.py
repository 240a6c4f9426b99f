"""DICOM headers as plain records: one per slice, whether it is a file or a frame of a multi-frame file."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from KidneySegLib.ct.entries import Entry
from KidneySegLib.ct.patient import ACQUISITION_KEYWORDS, PATIENT_KEYWORDS
from KidneySegLib.errors import InputError

if TYPE_CHECKING:
    from pydicom import Dataset

#: All attributes that are looked at; nothing else of a header is kept in memory.
KEYWORDS = (
    "SpecificCharacterSet",
    "SOPClassUID",
    "SOPInstanceUID",
    "SeriesInstanceUID",
    "SeriesDescription",
    "Modality",
    "ImageType",
    "InstanceNumber",
    "AcquisitionNumber",
    "TemporalPositionIdentifier",
    "Rows",
    "Columns",
    "SamplesPerPixel",
    "BitsAllocated",
    "BitsStored",
    "PixelRepresentation",
    "NumberOfFrames",
    "ImagePositionPatient",
    "ImageOrientationPatient",
    "PixelSpacing",
    "RescaleSlope",
    "RescaleIntercept",
    "PixelPaddingValue",
    "PixelPaddingRangeLimit",
    "ModalityLUTSequence",
    "SharedFunctionalGroupsSequence",
    "PerFrameFunctionalGroupsSequence",
    *ACQUISITION_KEYWORDS,
    *PATIENT_KEYWORDS,
)

_MAX_FRAMES = 10_000
#: Media Storage Directory Storage: a table of contents, whatever its name is.
_DICOMDIR = "1.2.840.10008.1.3.10"
#: CT, Enhanced CT and Legacy Converted Enhanced CT Image Storage.
_CT_PICTURES = (
    "1.2.840.10008.5.1.4.1.1.2",
    "1.2.840.10008.5.1.4.1.1.2.1",
    "1.2.840.10008.5.1.4.1.1.2.2",
)
Vector = tuple[float, float, float]


@dataclass(frozen=True)
class SliceHeader:
    """Where one slice lies and how its stored values become HU.

    Attributes:
        entry: the file.
        frame: index of the frame in the file; None in a single-frame file.
        sop_uid: SOPInstanceUID.
        number: InstanceNumber or, in a multi-frame file, the frame's number.
        volume: what tells several volumes at the same positions apart (acquisition and temporal position).
        localiser: whether ImageType or FrameType says so.
        samples: values in a pixel; 1 in a CT.
        rows, columns: size of the picture.
        position_mm: centre of the first pixel in LPS, or None.
        row, column: unit vectors along a row and down a column, or None.
        pixel_mm: distance of pixels down a column and along a row, or None.
        thickness_mm: SliceThickness, or None.
        slope, intercept: HU = stored value * slope + intercept.
        rescale_type: unit of the result, HU or unknown.
        padding: stored values that mark pixels outside the field of view, as (lowest, highest), or None.
        lookup_table: whether a modality look-up table stands in place of slope and intercept.
    """

    entry: Entry
    frame: int | None
    sop_uid: str
    number: int
    volume: tuple[str, ...]
    localiser: bool
    samples: int
    rows: int
    columns: int
    position_mm: Vector | None
    row: Vector | None
    column: Vector | None
    pixel_mm: tuple[float, float] | None
    thickness_mm: float | None
    slope: float
    intercept: float
    rescale_type: str
    padding: tuple[int, int] | None
    lookup_table: bool


def read_header(entry: Entry) -> Dataset:
    """The attributes of `KEYWORDS` that a DICOM file has.

    Raises:
        InputError: not DICOM, or damaged.
    """
    from pydicom import dcmread

    try:
        with entry.open() as stream:
            header = dcmread(stream, stop_before_pixels=True, force=True, specific_tags=list(KEYWORDS))
        _convert_all(header)
        # Looked up here, because that converts the value, too.
        directory = getattr(header, "file_meta", {}).get("MediaStorageSOPClassUID") == _DICOMDIR
    except (OSError, ImportError):
        raise
    except Exception as error:  # pydicom raises whatever a damaged byte leads to
        raise damaged(entry, error) from error
    if "SOPClassUID" not in header and "Modality" not in header and not directory:
        raise damaged(entry, "its header is incomplete")
    return header


def _convert_all(header: Dataset) -> None:
    """Make pydicom convert every value now, so that a damaged one is met here.

    Attributes that only describe the patient or the scanner are dropped if they cannot be read ("70kg").
    """
    from pydicom.datadict import keyword_for_tag

    for tag in list(header.keys()):
        try:
            element = header[tag]
        except Exception:  # as in `read_header`
            if keyword_for_tag(tag) not in (*ACQUISITION_KEYWORDS, *PATIENT_KEYWORDS):
                raise
            del header[tag]
            continue
        if element.VR == "SQ":
            for item in element.value:
                for _ in item.iterall():
                    pass


def damaged(entry: Entry, reason: object) -> InputError:
    return InputError(
        f"{entry.name} is a damaged or incomplete DICOM file ({one_line(reason)}). Copy it again, or remove it."
    )


def one_line(reason: object) -> str:
    """Another library's words, short enough for one line."""
    printable = "".join(char if char.isprintable() else " " for char in str(reason))
    text = " ".join(printable.split()) or type(reason).__name__
    return text if len(text) <= 160 else text[:157] + "..."


def slices_of(entry: Entry, header: Dataset) -> tuple[SliceHeader, ...]:
    """The slices of one file; empty for objects without pixels (reports, presentation states).

    Raises:
        InputError: an attribute holds something that is no number.
    """
    if "Rows" not in header or "Columns" not in header:
        if str(header.get("SOPClassUID", "")) in _CT_PICTURES:
            # A slice that is passed over because its header is cut would be missing from the scan.
            raise damaged(entry, "it is a CT picture without rows and columns")
        return ()
    try:
        per_frame = header.get("PerFrameFunctionalGroupsSequence") or ()
        if not per_frame:
            frames = int(header.get("NumberOfFrames") or 1)
            groups: Sequence[Dataset] = [header]
            if frames > 1:  # a cine or secondary capture, whose frames lie nowhere
                return tuple(_slice(entry, header, groups, index) for index in range(min(frames, _MAX_FRAMES)))
            return (_slice(entry, header, groups, None),)
        shared = list(header.get("SharedFunctionalGroupsSequence") or ())[:1]
        return tuple(
            _slice(entry, header, [*_macros(frame), *(m for item in shared for m in _macros(item)), header], index)
            for index, frame in enumerate(per_frame)
        )
    except (TypeError, ValueError, AttributeError, OverflowError) as error:
        raise damaged(entry, error) from error


def _macros(groups: Dataset) -> Iterable[Dataset]:
    """The items inside a functional group: PlanePositionSequence[0], PixelMeasuresSequence[0] ..."""
    return [element.value[0] for element in groups if element.VR == "SQ" and len(element.value)]


def _slice(entry: Entry, header: Dataset, groups: Sequence[Dataset], frame: int | None) -> SliceHeader:
    def find(keyword: str) -> Any:
        return next((group.get(keyword) for group in groups if group.get(keyword) not in (None, "")), None)

    orientation = numbers(find("ImageOrientationPatient"), 6)
    position = numbers(find("ImagePositionPatient"), 3)
    pixel = numbers(find("PixelSpacing"), 2)
    thickness = numbers(find("SliceThickness"), 1)
    slope = numbers(find("RescaleSlope"), 1)
    intercept = numbers(find("RescaleIntercept"), 1)
    image_type = [*(header.get("ImageType") or ()), *(find("FrameType") or ())]
    acquisition = find("FrameAcquisitionNumber") or header.get("AcquisitionNumber")
    temporal = find("TemporalPositionIndex") or header.get("TemporalPositionIdentifier")
    return SliceHeader(
        entry=entry,
        frame=frame,
        sop_uid=str(header.get("SOPInstanceUID", "")),
        number=int(header.get("InstanceNumber") or 0) if frame is None else frame + 1,
        volume=(str(acquisition or ""), str(temporal or "")),
        localiser=any(str(word).upper() in ("LOCALIZER", "SCOUT", "TOPOGRAM") for word in image_type),
        samples=int(header.get("SamplesPerPixel") or 1),
        rows=int(header.Rows),
        columns=int(header.Columns),
        position_mm=(position[0], position[1], position[2]) if position else None,
        row=(orientation[0], orientation[1], orientation[2]) if orientation else None,
        column=(orientation[3], orientation[4], orientation[5]) if orientation else None,
        pixel_mm=(pixel[0], pixel[1]) if pixel else None,
        thickness_mm=thickness[0] if thickness and thickness[0] > 0 else None,
        slope=slope[0] if slope else 1.0,
        intercept=intercept[0] if intercept else 0.0,
        rescale_type=str(find("RescaleType") or "").strip().upper(),
        padding=_padding(header),
        lookup_table=bool(header.get("ModalityLUTSequence")) and slope is None,
    )


def _padding(header: Dataset) -> tuple[int, int] | None:
    value = header.get("PixelPaddingValue")
    if value is None:
        return None
    limit = header.get("PixelPaddingRangeLimit")
    ends = (int(value), int(value if limit is None else limit))
    if int(header.get("PixelRepresentation") or 0) == 0:
        # Some writers store the unsigned value as signed.
        ends = (ends[0] & 0xFFFF, ends[1] & 0xFFFF)
    return min(ends), max(ends)


def numbers(value: Any, count: int) -> list[float] | None:
    """Finite numbers of a DICOM value, or None if it has not exactly ``count`` of them."""
    if value is None:
        return None
    values = [value] if isinstance(value, str | int | float) else list(value)
    try:
        floats = [float(item) for item in values]
    except (TypeError, ValueError):
        return None
    return floats if len(floats) == count and all(math.isfinite(item) for item in floats) else None
