"""Which series an input holds, and which of them is the CT to measure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from KidneySegLib.ct.dicom_headers import SliceHeader, read_header, slices_of
from KidneySegLib.ct.entries import Entry
from KidneySegLib.ct.geometry import MIN_SLICES
from KidneySegLib.ct.scan import SeriesInfo
from KidneySegLib.errors import InputError, SeveralSeriesError
from KidneySegLib.progress import Progress

if TYPE_CHECKING:
    from pydicom import Dataset

#: Reading headers waits for discs and network drives more than for the processor.
THREADS = 8
#: Positions closer than this are one position.
SAME_POSITION_MM = 0.01
#: Share of positions that must be taken more than once before a series counts as several volumes.
_SEVERAL_VOLUMES = 0.5
#: Pictures of another size or orientation may make up at most this share; else nobody can say what the series is.
_MAX_FOREIGN = 0.2
_SAME_DIRECTION = 0.01
_HU_TYPES = ("", "HU", "US", "HU_MOD")


@dataclass(frozen=True)
class Series:
    """One volume of a DICOM series.

    Attributes:
        info: as the user sees it.
        slices: its slices in no particular order, localisers and foreign pictures left out.
        header: attributes of its first file.
        flags: keys of flags that came up while sorting it out.
    """

    info: SeriesInfo
    slices: tuple[SliceHeader, ...]
    header: Dataset
    flags: tuple[str, ...] = ()


def find_series(entries: Sequence[Entry], progress: Progress) -> tuple[Series, ...]:
    """All series with pictures among DICOM files, ordered by UID.

    Raises:
        InputError: a file is damaged; its name is told.
    """
    slices: dict[str, list[SliceHeader]] = defaultdict(list)
    headers: dict[str, Dataset] = {}
    with ThreadPoolExecutor(THREADS) as pool:
        for count, (entry, header) in enumerate(zip(entries, pool.map(read_header, entries), strict=True), start=1):
            uid = str(header.get("SeriesInstanceUID", "") or "without-uid")
            found = slices_of(entry, header)
            if found:
                headers.setdefault(uid, header)
                slices[uid].extend(found)
            if count % 16 == 0:
                progress.report("read", 0.2 * count / len(entries), "headers")
    return tuple(part for uid in sorted(slices) for part in _parts(uid, slices[uid], headers[uid]))


def choose_series(series: Sequence[Series], uid: str | None, name: str) -> Series:
    """The series to measure: the one asked for, else the only one that can be measured.

    Args:
        uid: value of ``--series``, or None.
        name: the input, for messages.

    Raises:
        SeveralSeriesError: several could be measured; the message lists them.
        InputError: there is none, or the one asked for is not there or cannot be measured.
    """
    if not series:
        raise InputError(f"The DICOM files of {name} hold no pictures (reports or lists only). Give a whole CT series.")
    if uid is not None:
        chosen = [one for one in series if one.info.uid == uid or one.info.uid.startswith(uid + "#")]
        if not chosen:
            raise InputError(f"{name} holds no series {uid}. Choose one of:{_listed(series)}")
        if len(chosen) == 1 and chosen[0].info.problem:
            raise InputError(f"Series {uid} cannot be measured: {chosen[0].info.problem}. Choose an axial CT series.")
    else:
        chosen = list(series)
    readable = [one for one in chosen if one.info.readable]
    if len(readable) > 1:
        raise SeveralSeriesError(
            f"{name} holds {len(readable)} CT series; choose one with --series UID:{_listed(readable)}"
        )
    if not readable:
        if len(chosen) == 1:
            info = chosen[0].info
            called = info.description or info.uid
            raise InputError(
                f"The only series of {name} ({called}) cannot be measured: {info.problem}. Give a whole CT series."
            )
        raise InputError(f"None of the {len(chosen)} series of {name} can be measured:{_listed(chosen)}")
    return readable[0]


def _listed(series: Iterable[Series]) -> str:
    return "".join(f"\n  {one.info}" for one in series)


def _parts(uid: str, slices: Sequence[SliceHeader], header: Dataset) -> list[Series]:
    """A series as one `Series`, or as several where it holds several volumes at the same positions."""
    modality = str(header.get("Modality", "") or "").upper()
    description = " ".join(str(header.get("SeriesDescription", "") or "").split())
    problem = _problem_of_any(slices, modality)
    flags: tuple[str, ...] = ()
    kept = list(slices)
    if not problem:
        kept = [one for one in kept if not one.localiser and one.samples == 1]
        kept, foreign = _without_foreign(kept)
        unique = _without_copies(kept)
        flags = ("mixed_slices_dropped",) if foreign else ()
        flags += ("duplicate_slices_dropped",) if len(unique) < len(kept) else ()
        kept = unique
        problem = _problem_of_volume(kept, foreign)
    volumes = [kept] if problem else _volumes(kept)
    return [
        Series(
            info=SeriesInfo(
                uid=uid if len(volumes) == 1 else f"{uid}#{index}",
                modality=modality,
                description=description,
                slice_count=len(volume),
                problem=problem,
            ),
            slices=tuple(volume),
            header=header,
            flags=flags,
        )
        for index, volume in enumerate(volumes, start=1)
    ]


def _problem_of_any(slices: Sequence[SliceHeader], modality: str) -> str:
    """Why pictures are no CT slices at all, or an empty text."""
    if modality != "CT":
        return f"its modality is {modality or 'not given'}, not CT"
    if all(one.samples != 1 for one in slices):
        return "it holds colour pictures (a report or screenshot)"
    if all(one.localiser or one.samples != 1 for one in slices):
        return "it is a localiser (scout view), not a scan"
    return ""


def _problem_of_volume(slices: Sequence[SliceHeader], foreign: int) -> str:
    """Why slices of one series make no volume, or an empty text."""
    missing = sum(one.position_mm is None or one.row is None or one.pixel_mm is None for one in slices)
    if missing:
        return (
            f"{missing} of {len(slices)} slices have no position (ImagePositionPatient, ImageOrientationPatient or "
            "PixelSpacing is missing)"
        )
    row, column = np.array(slices[0].row), np.array(slices[0].column)
    lengths = np.linalg.norm([row, column], axis=1)
    if not np.allclose(lengths, 1, atol=_SAME_DIRECTION) or abs(np.dot(row, column)) > _SAME_DIRECTION:
        return "its ImageOrientationPatient is not two directions at right angles"
    if foreign > _MAX_FOREIGN * (foreign + len(slices)):
        return f"it mixes slices of different size or orientation ({foreign} differ from the other {len(slices)})"
    count = len({round(place / SAME_POSITION_MM) for place in _places_mm(slices)})
    if count < MIN_SLICES:
        return f"it has only {count} slice position{'s' if count != 1 else ''}, and at least {MIN_SLICES} are needed"
    units = {one.rescale_type for one in slices} - set(_HU_TYPES)
    if units:
        return f"its values are {', '.join(sorted(units))}, not Hounsfield units"
    if any(one.lookup_table for one in slices):
        return "its values need a look-up table (ModalityLUTSequence), which is no CT in Hounsfield units"
    if any(one.slope == 0 for one in slices):
        return "its RescaleSlope is 0"
    return ""


def _without_foreign(slices: list[SliceHeader]) -> tuple[list[SliceHeader], int]:
    """The slices that agree in size, orientation and pixel size with most of them, and how many do not."""
    groups: list[list[SliceHeader]] = []
    for one in slices:
        for group in groups:
            if _same_kind(one, group[0]):
                group.append(one)
                break
        else:
            groups.append([one])
    largest = max(groups, key=len)
    return largest, len(slices) - len(largest)


def _same_kind(one: SliceHeader, other: SliceHeader) -> bool:
    if (one.rows, one.columns) != (other.rows, other.columns):
        return False
    for mine, theirs in ((one.row, other.row), (one.column, other.column), (one.pixel_mm, other.pixel_mm)):
        if (mine is None) != (theirs is None):
            return False
        if mine is not None and theirs is not None and not np.allclose(mine, theirs, atol=_SAME_DIRECTION):
            return False
    return True


def _without_copies(slices: Sequence[SliceHeader]) -> list[SliceHeader]:
    """Each SOP instance once, however often its file was copied into the folder."""
    unique: dict[object, SliceHeader] = {}
    for index, one in enumerate(slices):
        unique.setdefault((one.sop_uid, one.frame) if one.sop_uid else index, one)
    return list(unique.values())


def _places_mm(slices: Sequence[SliceHeader]) -> list[float]:
    """Distance of each slice from the origin along the normal of the first."""
    normal = np.cross(np.array(slices[0].row), np.array(slices[0].column))
    return [float(np.dot(normal, np.array(one.position_mm))) for one in slices]


def _volumes(slices: Sequence[SliceHeader]) -> list[list[SliceHeader]]:
    """Slices divided by acquisition where most positions are taken several times (contrast phases in one series)."""
    places = [round(place / SAME_POSITION_MM) for place in _places_mm(slices)]
    if len(places) - len(set(places)) < _SEVERAL_VOLUMES * len(set(places)):
        return [list(slices)]
    groups: dict[tuple[str, ...], list[SliceHeader]] = defaultdict(list)
    taken: dict[tuple[str, ...], set[int]] = defaultdict(set)
    for one, place in zip(slices, places, strict=True):
        groups[one.volume].append(one)
        taken[one.volume].add(place)
    if len(groups) < 2 or any(len(taken[key]) < max(len(group), MIN_SLICES) for key, group in groups.items()):
        return [list(slices)]
    return [groups[key] for key in sorted(groups, key=_natural)]


def _natural(key: tuple[str, ...]) -> tuple[tuple[int, str], ...]:
    return tuple((int(text) if text.isdigit() else 0, text) for text in key)
