"""From the network's label map to kidneys with sides."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from KidneySegLib.errors import InputError
from KidneySegLib.labels import LABELS, PARENCHYMA, STRUCTURE_OF_TRAINING_LABEL, Side, Structure, label_id
from KidneySegLib.postprocessing.agreement import least_agreement
from KidneySegLib.postprocessing.bridges import cut_bridge
from KidneySegLib.postprocessing.case_flags import label_flags
from KidneySegLib.postprocessing.cyst_or_mass import split_abnormality
from KidneySegLib.postprocessing.grid import VoxelGrid, bounding_box, offset_in, place_of
from KidneySegLib.postprocessing.grouping import OWN_KIDNEY_MM3, Group, drop_islands, group_pieces
from KidneySegLib.postprocessing.landmarks import Body, Landmarks, Midline, find_landmarks, sample_body
from KidneySegLib.postprocessing.pieces import Piece, describe, find_pieces
from KidneySegLib.postprocessing.plausible import DOUBTED, SEEN_SHARE, UNSEEN, found_twice, kidney_share, why_no_kidney
from KidneySegLib.postprocessing.sides import FlagOfSide, Sided, find_sides
from KidneySegLib.postprocessing.tidy import tidy
from KidneySegLib.progress import Progress

if TYPE_CHECKING:
    import SimpleITK as sitk

    from KidneySegLib.inference.engine import EngineResult
    from KidneySegLib.inference.evidence import Evidence

#: Connected tissue smaller than this is noise, wherever it lies.
MIN_PIECE_MM3 = 300.0
#: Samples of the scan this near to a kidney count as kidney, so that its bright cortex is not taken for bone.
NEAR_KIDNEY_MM = 12.0

_STRUCTURES = (*PARENCHYMA, Structure.CYST, Structure.MASS)
_CODE = {structure: code for code, structure in enumerate(_STRUCTURES, start=1)}
_IS_PARENCHYMA = np.array([False, *(structure in PARENCHYMA for structure in _STRUCTURES)])
_IS_SOLID = np.array([False, *(structure is not Structure.CYST for structure in _STRUCTURES)])
_SIDES = (Side.RIGHT, Side.LEFT, Side.UNSIDED)


@dataclass(frozen=True)
class Kidneys:
    """Kidneys with sides.

    Attributes:
        labels: uint8 ids of `KidneySegLib.labels.LABELS`, on the grid of the map that was given.
        flags: (side, key of `KidneySegLib.flags.FLAGS`); the side is None for what concerns the whole case.
        notes: English sentences: what was removed or joined, and why.
        midline: what the sides were judged by: ``spine``, ``bone``, ``body``, or None.
    """

    labels: sitk.Image
    flags: tuple[FlagOfSide, ...]
    notes: tuple[str, ...] = ()
    midline: str | None = None


def assign_kidneys(result: EngineResult, image: sitk.Image, progress: Progress | None = None) -> Kidneys:
    """Clean the network's label map and give each kidney its side.

    In order: abnormality made cyst or mass (`cyst_or_mass`); connected pieces; pieces under `MIN_PIECE_MM3` and
    implausible ones (`plausible`) removed; false bridges between two kidneys cut (`bridges`); pieces grouped to kidneys
    (`grouping`); sides by the spine (`sides`); holes and specks (`tidy`); flags. Cortex cannot leave parenchyma, since
    both are ids of one map.

    Args:
        result: labels with training ids (medulla 1, cortex 2, cyst 3, mass 4), and 5 for abnormality, on a part of the
            scan's grid. Where its ``divided`` is False, 1 means all parenchyma.
        image: the whole scan, in HU.
        progress: told once; looked at for cancelling.

    Returns:
        Kidneys on the grid of ``result.labels``. All-zero labels and the flag ``no_kidney`` if nothing is left.

    Raises:
        InputError: if the labels do not lie on the scan's grid.
    """
    (progress or Progress()).report("postprocess", 0.0)
    codes_of_ids = np.zeros(256, dtype=np.uint8)
    for training, structure in STRUCTURE_OF_TRAINING_LABEL.items():
        undivided = structure in PARENCHYMA and not result.divided
        codes_of_ids[training] = _CODE[Structure.UNDIVIDED if undivided else structure]
    labels, more_flags, more_notes = split_abnormality(result.labels, image)
    kidneys = _assign(
        labels,
        codes_of_ids,
        image,
        result.overview,
        clean=True,
        evidence=result.evidence or (),
        kidney=result.kidney,
        progress=progress or Progress(),
    )
    (progress or Progress()).report("postprocess", 1.0)
    case_flags: list[FlagOfSide] = [(None, key) for key in more_flags]
    return replace(kidneys, flags=(*case_flags, *kidneys.flags), notes=(*more_notes, *kidneys.notes))


def assign_sides(labels: sitk.Image, image: sitk.Image, overview: sitk.Image | None = None) -> Kidneys:
    """Give sides to a label map without them (ids 9-12 and 15) that a person has drawn; nothing is removed or tidied.

    Args:
        labels: ids of `LABELS` on the scan's grid or a part of it. Sides that it already has are judged anew.
        image: the whole scan, in HU.
        overview: the localiser's map, if there is one.

    Raises:
        InputError: if the labels do not lie on the scan's grid.
    """
    codes_of_ids = np.zeros(256, dtype=np.uint8)
    for label in LABELS:
        codes_of_ids[label.id] = _CODE[label.structure]
    return _assign(labels, codes_of_ids, image, overview, clean=False, progress=Progress())


def _assign(
    labels: sitk.Image,
    codes_of_ids: NDArray[np.uint8],
    image: sitk.Image,
    overview: sitk.Image | None,
    *,
    clean: bool,
    evidence: Sequence[Evidence] = (),
    kidney: Evidence | None = None,
    progress: Progress,
) -> Kidneys:
    import SimpleITK as sitk

    whole, grid = VoxelGrid.of(image), VoxelGrid.of(labels)
    offset = offset_in(grid, whole)
    if offset is None:
        raise InputError(
            f"The label map ({grid.size[0]} x {grid.size[1]} x {grid.size[2]} voxels) does not lie on the grid of the "
            "scan. Give a label map made on this scan."
        )
    values = sitk.GetArrayViewFromImage(labels)
    box = bounding_box(values)
    if box is None:
        return Kidneys(_empty_like(labels), ((None, "no_kidney"),))
    codes = codes_of_ids[values[box]]
    part = grid.part(tuple(s.start for s in box), tuple(s.stop for s in box))
    start_zyx = tuple(s.start + o for s, o in zip(box, offset[::-1], strict=True))
    numbers, pieces = find_pieces(codes, _IS_PARENCHYMA, _IS_SOLID, part, MIN_PIECE_MM3)
    if not pieces and not clean:
        numbers, pieces = find_pieces(codes, _IS_PARENCHYMA, _IS_SOLID, part, 0.0)
    progress.check()
    body = sample_body(image)
    landmarks = find_landmarks(body, _near(body, pieces), overview)
    midline = landmarks.midline
    notes: list[str] = []
    flags: list[FlagOfSide] = []
    sure: list[int] = []
    if clean:
        shares = [least_agreement(piece.samples_mm, () if kidney is None else (kidney,)) for piece in pieces]
        sure = [piece.number for piece, share in zip(pieces, shares, strict=True) if found_twice(piece, share)]
        pieces, removed = _plausible_only(pieces, numbers, codes, start_zyx, image, landmarks, evidence, sure)
        notes = [_says(piece, f"was removed: it {why}") for piece, why in removed]
        unseen = [piece for piece, why in removed if why in (UNSEEN, DOUBTED)]
        if any(piece.solid_mm3 >= OWN_KIDNEY_MM3 for piece in unseen):
            flags.append((None, "kidney_not_counted"))
        pieces = _without_bridges(pieces, numbers, codes, part, midline, notes)
    progress.check()
    groups = group_pieces(pieces, midline)
    kept, islands = drop_islands(groups, midline, sure)
    if clean:
        groups = kept
        notes += [_says(group, "was removed: too small for a kidney") for group in islands]
    elif kept:
        groups = kept  # what else was drawn goes with the nearest of them
    sided, case_flags = find_sides(groups, midline, landmarks.pelvis_top_mm)
    ids = np.zeros(codes.shape, dtype=np.uint8)
    for own in sided:
        progress.check()
        _write(ids, numbers, codes, own, part.voxel_mm3, clean)
    if not clean:
        _write_rest(ids, codes, sided, part)
    out = np.zeros(values.shape, dtype=np.uint8)
    out[box] = ids
    sided_labels = sitk.GetImageFromArray(out)
    sided_labels.CopyInformation(labels)
    flags += [(None, key) for key in case_flags]
    flags += [(own.side, key) for own in sided for key in own.flags]
    flags += label_flags(sided_labels, image)
    return Kidneys(
        labels=sided_labels,
        flags=tuple(dict.fromkeys(flags)),
        notes=tuple(notes),
        midline=None if midline is None else midline.source,
    )


def _near(body: Body, pieces: list[Piece]) -> NDArray[np.bool_]:
    from scipy.spatial import cKDTree

    near = np.zeros(len(body.hu), dtype=np.bool_)
    if not pieces or not len(near):
        return near
    points = np.concatenate([np.concatenate([piece.samples_mm, piece.surface_mm]) for piece in pieces])
    low, high = points.min(axis=0) - NEAR_KIDNEY_MM, points.max(axis=0) + NEAR_KIDNEY_MM
    # Only bright samples are ever asked about.
    asked = np.flatnonzero(((body.world_mm > low) & (body.world_mm < high)).all(axis=1) & (body.hu > 100))
    distance, _ = cKDTree(points).query(body.world_mm[asked], distance_upper_bound=NEAR_KIDNEY_MM)
    near[asked] = np.isfinite(distance)
    return near


def _plausible_only(
    pieces: list[Piece],
    numbers: NDArray[np.int32],
    codes: NDArray[np.uint8],
    start_zyx: tuple[int, ...],
    image: sitk.Image,
    landmarks: Landmarks,
    evidence: Sequence[Evidence],
    sure: Collection[int],
) -> tuple[list[Piece], list[tuple[Piece, str]]]:
    """The pieces that can be kidney, and the others with the reason."""
    import SimpleITK as sitk

    scan = sitk.GetArrayViewFromImage(image)

    def hu_of(piece: Piece) -> NDArray[np.float32]:
        region = tuple(slice(s.start + o, s.stop + o) for s, o in zip(piece.box, start_zyx, strict=True))
        mask = (numbers[piece.box] == piece.number) & _IS_PARENCHYMA[codes[piece.box]]
        return np.asarray(scan[region][mask], np.float32)

    kept, removed = [], []
    values = [hu_of(piece) for piece in pieces]
    seen: list[float] = []
    if landmarks.overview is not None:
        shown = [kidney_share(piece.tissue_mm, landmarks.overview) >= SEEN_SHARE for piece in pieces]
        seen = [float(np.median(hu)) for hu, is_shown in zip(values, shown, strict=True) if is_shown and hu.size]
    for piece, hu in zip(pieces, values, strict=True):
        agreement = least_agreement(piece.tissue_mm, evidence)
        why = why_no_kidney(piece, hu, landmarks, seen, agreement, piece.number in sure)
        if why is None:
            kept.append(piece)
        else:
            removed.append((piece, why))
    return kept, removed


def _without_bridges(
    pieces: list[Piece],
    numbers: NDArray[np.int32],
    codes: NDArray[np.uint8],
    grid: VoxelGrid,
    midline: Midline | None,
    notes: list[str],
) -> list[Piece]:
    if midline is None:
        return pieces
    out: list[Piece] = []
    free = int(numbers.max()) + 1
    for piece in pieces:
        if cut_bridge(numbers, piece, grid, midline, free):
            notes.append("A thin bridge between the kidneys was cut.")
            out += [
                describe(numbers, codes, _IS_PARENCHYMA, _IS_SOLID, grid, n, piece.box) for n in (piece.number, free)
            ]
            free += 1
        else:
            out.append(piece)
    return sorted(out, key=lambda piece: -piece.volume_mm3)


def _write(
    ids: NDArray[np.uint8],
    numbers: NDArray[np.int32],
    codes: NDArray[np.uint8],
    kidney: Sided,
    voxel_mm3: float,
    clean: bool,
) -> None:
    """Write one kidney's ids, tidied if asked for, in place."""
    box = _union([piece.box for piece in kidney.group.pieces])
    mask = np.isin(numbers[box], [piece.number for piece in kidney.group.pieces])
    own = np.where(mask, codes[box], np.uint8(0))
    if clean:
        own = tidy(own, voxel_mm3)
    target = ids[box]
    np.copyto(target, _ids_of_codes(kidney.side)[own], where=(own > 0) & (target == 0))


def _write_rest(ids: NDArray[np.uint8], codes: NDArray[np.uint8], sided: list[Sided], grid: VoxelGrid) -> None:
    """Give every voxel that is left the side of the nearest kidney, in place."""
    from scipy.spatial import cKDTree

    index = np.argwhere((codes > 0) & (ids == 0))
    if len(index) == 0 or not sided:
        return
    points = [np.concatenate([kidney.group.surface_mm, kidney.group.centre_mm[None]]) for kidney in sided]
    owner = np.repeat(np.arange(len(sided)), [len(own) for own in points])
    _, nearest = cKDTree(np.concatenate(points)).query(grid.world(index))
    table = np.stack([_ids_of_codes(kidney.side) for kidney in sided])
    place = tuple(index.T)
    ids[place] = table[owner[nearest], codes[place]]


def _ids_of_codes(side: Side) -> NDArray[np.uint8]:
    return np.array([0, *(label_id(structure, side) for structure in _STRUCTURES)], dtype=np.uint8)


def _union(boxes: list[tuple[slice, slice, slice]]) -> tuple[slice, ...]:
    return tuple(slice(min(b[axis].start for b in boxes), max(b[axis].stop for b in boxes)) for axis in range(3))


def _says(piece: Piece | Group, what: str) -> str:
    return f"A piece of {piece.volume_mm3 / 1000:.1f} mL at {place_of(piece.centre_mm)} mm {what}."


def _empty_like(labels: sitk.Image) -> sitk.Image:
    import SimpleITK as sitk

    empty = sitk.Image(labels.GetSize(), sitk.sitkUInt8)
    empty.CopyInformation(labels)
    return empty
