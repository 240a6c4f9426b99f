"""DICOM SEG read back into a label map: what we wrote, and what other programs made of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from KidneySegLib.errors import InputError
from KidneySegLib.export.dicom_codes import label_of
from KidneySegLib.labels import LABELS

if TYPE_CHECKING:
    import SimpleITK as sitk
    from pydicom import Dataset

_STORAGE = ("1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7")
_SOURCES = {"AUTOMATIC": "automatic", "SEMIAUTOMATIC": "corrected", "MANUAL": "corrected"}


@dataclass(frozen=True)
class SegInfo:
    """What a DICOM SEG says of itself.

    Attributes:
        source: ``automatic`` or ``corrected``.
        model, model_version: name and version of the algorithm; empty if none is named.
        reader: ContentCreatorName; empty if none is named.
        created: ContentDate and ContentTime, ISO 8601; empty if not given.
        description: SegmentDescription of the first segment.
        series_uid: SeriesInstanceUID of the images that it refers to; empty if it refers to none.
        program: manufacturer's model name and software version.
    """

    source: str
    model: str
    model_version: str
    reader: str
    created: str
    description: str
    series_uid: str
    program: str


def is_dicom_seg(path: Path) -> bool:
    """Whether a file is a DICOM SEG."""
    try:
        with path.open("rb") as stream:
            if stream.read(132)[128:] != b"DICM":
                return False
        from pydicom import dcmread

        header = dcmread(path, specific_tags=["SOPClassUID"], stop_before_pixels=True)
    except Exception:  # pydicom raises whatever a damaged byte leads to
        return False
    return header.get("SOPClassUID") in _STORAGE


def read_dicom_seg(path: Path) -> tuple[sitk.Image, SegInfo]:
    """Read a DICOM SEG.

    Args:
        path: the file; of the kind BINARY or LABELMAP, with one frame of reference and even slices.

    Returns:
        uint8 ids of `labels.LABELS` on the part of the scan's grid that has frames, slices in the order in which
        `read_ct` puts them; and what the file says of itself.

    Raises:
        InputError: no DICOM SEG, damaged, segments that are not known or overlap, or frames that make no volume.
    """
    from highdicom.seg import segread

    if not is_dicom_seg(path):
        raise InputError(f"{path} is no DICOM SEG. Give a segmentation in DICOM format, or a label map.")
    try:
        seg = segread(path)
        ids = _ids(path, seg)
        volume = seg.get_volume(combine_segments=True, relabel=False, dtype=np.uint16)
    except InputError:
        raise
    except RuntimeError as error:
        if "overlap" in str(error).lower():
            raise InputError(
                f"Segments of {path.name} overlap, so a voxel has no single label. Save it without overlaps."
            ) from error
        raise _unusable(path, error) from error
    except Exception as error:  # as in `is_dicom_seg`
        raise _unusable(path, error) from error
    return _image(ids[volume.array], np.array(volume.affine)), _info(seg)


def _ids(path: Path, seg: Any) -> NDArray[np.uint8]:
    """Our id for each segment number."""
    ids = np.zeros(1 << 16, dtype=np.uint8)
    unknown = []
    for segment in seg.SegmentSequence:
        number = int(segment.SegmentNumber)
        label = label_of(segment)
        if number == 0:  # background of a LABELMAP
            continue
        if label is None:
            unknown.append(str(segment.get("SegmentLabel", number)))
        else:
            ids[number] = label.id
    if unknown:
        raise InputError(
            f"{path.name} has segments that are not known: {', '.join(unknown)}. Known are {LABELS[0].name}, "
            f"{LABELS[1].name} and so on (kidneyseg measure --help); rename or remove the others."
        )
    return ids


def _image(voxels: NDArray[np.uint8], affine: NDArray[np.float64]) -> sitk.Image:
    """A label map from (slice, row, column) and its matrix; slices run along the normal, as in `read_ct`."""
    import SimpleITK as sitk

    linear, origin = affine[:3, :3], affine[:3, 3]
    if np.linalg.det(linear[:, ::-1]) < 0:
        voxels = voxels[::-1]
        origin = origin + linear[:, 0] * (voxels.shape[0] - 1)
        linear = linear * [-1, 1, 1]
    axes = linear[:, ::-1]
    spacing = np.linalg.norm(axes, axis=0)
    image: sitk.Image = sitk.GetImageFromArray(np.ascontiguousarray(voxels, dtype=np.uint8))
    image.SetSpacing(spacing.tolist())
    image.SetOrigin(origin.tolist())
    image.SetDirection((axes / spacing).ravel().tolist())
    return image


def _info(seg: Dataset) -> SegInfo:
    segment = next(item for item in seg.SegmentSequence if int(item.SegmentNumber) > 0)
    algorithm = (segment.get("SegmentationAlgorithmIdentificationSequence") or [{}])[0]
    referenced = (seg.get("ReferencedSeriesSequence") or [{}])[0]
    date, time = str(seg.get("ContentDate", "") or ""), str(seg.get("ContentTime", "") or "")
    created = f"{date[:4]}-{date[4:6]}-{date[6:8]}" if len(date) == 8 else ""
    if created and len(time) >= 6:
        zone = str(seg.get("TimezoneOffsetFromUTC", "") or "")
        created += f"T{time[:2]}:{time[2:4]}:{time[4:6]}" + (f"{zone[:3]}:{zone[3:]}" if len(zone) == 5 else "")
    return SegInfo(
        source=_SOURCES.get(str(segment.get("SegmentAlgorithmType", "")), "corrected"),
        model=str(algorithm.get("AlgorithmName", "") or ""),
        model_version=str(algorithm.get("AlgorithmVersion", "") or ""),
        reader=str(seg.get("ContentCreatorName", "") or "").rstrip("^"),
        created=created,
        description=str(segment.get("SegmentDescription", "") or ""),
        series_uid=str(referenced.get("SeriesInstanceUID", "") or ""),
        program=" ".join(str(seg.get(key, "") or "") for key in ("ManufacturerModelName", "SoftwareVersions")).strip(),
    )


def _unusable(path: Path, error: Exception) -> InputError:
    reason = " ".join(str(error).split())[:120]
    return InputError(f"{path.name} could not be read as one volume of labels ({reason}). Save it again.")
