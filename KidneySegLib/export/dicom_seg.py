"""DICOM SEG: label maps as a DICOM object that refers to the series they were made on, written with highdicom.

One BINARY segment a structure and side, empty frames left out: what Slicer and OHIF read. (The newer LABELMAP kind is
smaller, but few viewers know it yet; `read_dicom_seg` reads both.)
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from KidneySegLib.errors import InputError
from KidneySegLib.export.dicom_codes import add_codes
from KidneySegLib.export.review import origin_sentence
from KidneySegLib.files import plain_write_errors
from KidneySegLib.labels import LABELS, Code, Label

if TYPE_CHECKING:
    import SimpleITK as sitk
    from highdicom.seg import SegmentDescription
    from pydicom import Dataset

    from KidneySegLib.ct.source_series import SourceSeries

MANUFACTURER = "KidneySeg"
#: Our own coding scheme, for the one structure that no public one has a code for.
CODING_SCHEME = "99KIDNEYSEG"
#: Longest text of DICOM's value representations LO and ST.
_LO, _ST = 64, 1024
#: Attributes of type 2: they must be there, but may be empty. Some archives drop them.
_MAY_BE_EMPTY = (
    "PatientID",
    "PatientName",
    "PatientBirthDate",
    "PatientSex",
    "AccessionNumber",
    "StudyID",
    "StudyDate",
    "StudyTime",
)
_SHARED = ("PixelMeasuresSequence", "PlaneOrientationSequence")
RESAMPLED_NOTE = (
    "The scan was resampled (uneven or missing slices, or a tilted gantry), so the frames of this object lie on the "
    "resampled grid and not on the original slices: 3D Slicer shows them in place; viewers that need a frame on each "
    "original slice may not."
)


def write_dicom_seg(
    path: Path,
    labels: sitk.Image,
    image: sitk.Image,
    series: SourceSeries,
    *,
    provenance: Mapping[str, Any] | None = None,
) -> tuple[str, ...]:
    """Write a label map as DICOM SEG.

    Args:
        path: the file, ``segmentation.dcm``; replaced as a whole if it is there.
        labels: ids 1-15 on the scan's grid or a part of it.
        image: the scan, as `read_ct` gives it for the same series.
        series: the series that it was read from.
        provenance: what ``provenance.json`` says: ``source``, ``model``, ``review``, ``created``, ``version``.

    Returns:
        Sentences that the user should know; none as a rule.

    Raises:
        InputError: nothing is segmented, labels on another grid, or headers that no object may refer to.
        OutputError: the file cannot be written.
    """
    from KidneySegLib.export.label_maps import on_whole_grid

    facts = dict(provenance or {})
    whole = on_whole_grid(labels, image)
    segments = _segments(whole)
    if not segments:
        raise InputError("No kidney is segmented, so there is nothing to write as DICOM SEG.")
    seg = _make(whole, series, segments, facts)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.part")
    try:
        with plain_write_errors(f"{path} could not be written", "Choose another place."):
            seg.save_as(temporary, enforce_file_format=True)
            os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    return () if series.same_grid else (RESAMPLED_NOTE,)


def _segments(whole: sitk.Image) -> list[Label]:
    import SimpleITK as sitk

    present = {int(value) for plane in sitk.GetArrayViewFromImage(whole) for value in np.unique(plane)}
    return [label for label in LABELS if label.id in present]


def _make(whole: sitk.Image, series: SourceSeries, segments: list[Label], facts: Mapping[str, Any]) -> Dataset:
    """The object. Segments are numbered from 1 in the order of the table of labels."""
    import highdicom as hd
    import SimpleITK as sitk
    from pydicom.uid import ExplicitVRLittleEndian

    numbers = np.zeros(256, dtype=np.uint8)
    for number, label in enumerate(segments, start=1):
        numbers[label.id] = number
    voxels = numbers[sitk.GetArrayViewFromImage(whole)]
    review = facts.get("review") or {}
    reader = str(review.get("reader") or "")
    corrected = facts.get("source") != "automatic"
    state = "corrected" if corrected else "automatic"
    sources = [_complete(header) for header in series.headers]
    aligned = series.same_grid and not series.is_multiframe
    try:
        seg = hd.seg.Segmentation(
            source_images=sources,
            pixel_array=voxels if aligned else _volume(voxels, whole, sources[0]),
            segmentation_type=hd.seg.SegmentationTypeValues.BINARY,
            segment_descriptions=[
                _description(number, label, facts, corrected) for number, label in enumerate(segments, start=1)
            ],
            series_instance_uid=hd.UID(),
            series_number=_series_number(sources[0]),
            sop_instance_uid=hd.UID(),
            instance_number=1,
            manufacturer=MANUFACTURER,
            manufacturer_model_name="KidneySeg",
            software_versions=str(facts.get("version") or _version()),
            device_serial_number="0",
            content_label="KIDNEYS",
            content_description=_short(f"Kidneys, {state}" + (f" by {reader}" if corrected and reader else "")),
            # A caret says that all of the text is the family name, as far as anybody knows.
            content_creator_name=f"{_name(reader)}^" if reader else None,
            transfer_syntax_uid=ExplicitVRLittleEndian,
            omit_empty_frames=True,
            series_description=f"KidneySeg kidneys, {state}",
            specific_character_set="ISO_IR 192",
        )
    except (AttributeError, KeyError, ValueError, TypeError) as error:
        raise InputError(
            f"The headers of series {series.uid} do not allow a DICOM SEG to refer to it ({error}). Export the "
            "original CT series again, or save the label map as NIfTI."
        ) from error
    _add_date(seg, str(review.get("time") or facts.get("created") or ""))
    _add_scheme(seg)
    return seg


def _description(number: int, label: Label, facts: Mapping[str, Any], corrected: bool) -> SegmentDescription:
    import highdicom as hd
    from pydicom.sr.codedict import codes

    model = facts.get("model") or {}
    named = str(model.get("name") or "")
    kinds = hd.seg.SegmentAlgorithmTypeValues
    algorithm = None
    if named:
        algorithm = hd.AlgorithmIdentificationSequence(
            name=_short(named),
            family=codes.cid7162.ArtificialIntelligence,
            version=_short(str(model.get("version") or "unknown")),
            source=MANUFACTURER,
            parameters={"model_sha256": str(model["sha256"])} if model.get("sha256") else None,
        )
    kind = kinds.MANUAL if algorithm is None else kinds.SEMIAUTOMATIC if corrected else kinds.AUTOMATIC
    segment = hd.seg.SegmentDescription(
        segment_number=number,
        segment_label=label.name,
        segmented_property_category=_code(label.category),
        segmented_property_type=_code(label.type),
        algorithm_type=kind,
        algorithm_identification=algorithm,
        tracking_id=label.key,
        tracking_uid=hd.UID(),
        anatomic_regions=[_code(label.region)] if label.region is not None else None,
        display_color=hd.color.CIELabColor.from_rgb(*label.colour),
    )
    add_codes(segment, label)
    sentence = origin_sentence(facts)
    if sentence:
        # The attribute of this name (0062,0006); the whole item is called a segment description, too.
        segment.SegmentDescription = sentence[:_ST]
    return segment


def _code(code: Code) -> Any:
    from highdicom.sr import CodedConcept

    return CodedConcept(code.value, code.scheme, code.meaning)


def _volume(voxels: NDArray[np.uint8], whole: sitk.Image, header: Dataset) -> Any:
    """Voxels with a geometry of their own, for frames that are not simply those of the source."""
    import highdicom as hd

    from KidneySegLib.postprocessing.grid import VoxelGrid

    grid = VoxelGrid.of(whole)
    affine = np.eye(4)
    affine[:3, :3] = grid.linear[:, ::-1]  # columns of the matrix: slice, row, column
    affine[:3, 3] = grid.origin_mm
    return hd.Volume(
        array=voxels,
        affine=affine,
        coordinate_system=hd.CoordinateSystemNames.PATIENT,
        frame_of_reference_uid=header.FrameOfReferenceUID,
    )


def _complete(header: Dataset) -> Dataset:
    """A header with what highdicom takes for granted; the given one is not changed."""
    from copy import deepcopy

    missing = [keyword for keyword in _MAY_BE_EMPTY if keyword not in header]
    per_frame = list(header.get("PerFrameFunctionalGroupsSequence") or ())
    if not missing and not per_frame:
        return header
    header = deepcopy(header)
    for keyword in missing:
        setattr(header, keyword, "")
    for keyword in _SHARED if per_frame else ():
        # The same in all frames of a volume, but some scanners write it into each.
        shared = header.SharedFunctionalGroupsSequence[0]
        if keyword not in shared and keyword in per_frame[0]:
            setattr(shared, keyword, deepcopy(per_frame[0][keyword].value))
    return header


def _add_date(seg: Dataset, time: str) -> None:
    """When the content was made; without it, highdicom says when the file was."""
    try:
        when = datetime.fromisoformat(time.replace("Z", "+00:00"))
    except ValueError:
        return
    seg.ContentDate, seg.ContentTime = when.strftime("%Y%m%d"), when.strftime("%H%M%S")
    if when.tzinfo is not None:
        seg.TimezoneOffsetFromUTC = when.strftime("%z")


def _add_scheme(seg: Dataset) -> None:
    """Say whose the private coding scheme is (PS3.3 C.12.1.1.6)."""
    from pydicom.dataset import Dataset

    item = Dataset()
    item.CodingSchemeDesignator = CODING_SCHEME
    item.CodingSchemeName = "KidneySeg structures without a public code"
    item.CodingSchemeResponsibleOrganization = "KidneySeg"
    seg.CodingSchemeIdentificationSequence = [item]


def _series_number(header: Dataset) -> int:
    try:
        return min(int(header.get("SeriesNumber") or 0) + 1000, 2**31 - 1)
    except (TypeError, ValueError):
        return 1000


def _short(text: str) -> str:
    return " ".join(text.replace("\\", "/").split())[:_LO]


def _name(text: str) -> str:
    return "".join(" " if char in "^=\\" else char for char in _short(text))[: _LO - 1].strip()


def _version() -> str:
    from KidneySegLib import __version__

    return __version__
