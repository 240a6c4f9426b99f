"""`consensus_cohort`: readers' files or folders to a folder of consensus maps with tables of agreement."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from KidneySegLib import __version__
from KidneySegLib.errors import InputError, KidneySegError
from KidneySegLib.evaluation.agreement import ICC_BY, Icc
from KidneySegLib.evaluation.consensus import Consensus, consensus
from KidneySegLib.evaluation.csv_cells import Cell, csv_text, rounded
from KidneySegLib.evaluation.evaluate import check_output
from KidneySegLib.evaluation.maps import read_map
from KidneySegLib.evaluation.metrics import EMPTY_RULE, metrics
from KidneySegLib.evaluation.pairing import find_maps, listed
from KidneySegLib.evaluation.readers import CONSENSUS, PairScore, reader_scores, volume_icc
from KidneySegLib.evaluation.statistics import summarise
from KidneySegLib.evaluation.voting import RULES
from KidneySegLib.export.label_maps import on_whole_grid, write_image
from KidneySegLib.export.provenance import provenance_text
from KidneySegLib.export.results_folder import PROVENANCE, new_results_folder
from KidneySegLib.labels import LABELS
from KidneySegLib.measurement.read_labels import SCHEMES
from KidneySegLib.measurement.seg_nrrd import is_seg_nrrd
from KidneySegLib.progress import Progress

if TYPE_CHECKING:
    import SimpleITK as sitk

FORMAT = "kidneyseg-consensus"
LABELS_NAME, DISAGREEMENT_NAME = "labels.nii.gz", "disagreement.nii.gz"


@dataclass
class ConsensusRun:
    """A finished consensus of a cohort.

    Attributes:
        folder: where its files lie.
        readers: their names.
        done: cases that were combined.
        failed: the others, with reasons.
        scores: pairs of readers, and readers against the consensus.
        icc: of the readers' volumes, by structure.
        disagreeing_ml: by case, volume in which not all readers gave the same label.
        tied_voxels: by case.
        performance: by case, what STAPLE says of the readers.
        notes: sentences about what could not be done.
    """

    folder: Path
    readers: tuple[str, ...]
    done: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    scores: list[PairScore] = field(default_factory=list)
    icc: dict[str, Icc] = field(default_factory=dict)
    disagreeing_ml: dict[str, float] = field(default_factory=dict)
    tied_voxels: dict[str, int] = field(default_factory=dict)
    performance: dict[str, dict[str, tuple[tuple[float, float], ...]]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def consensus_cohort(
    readers: Sequence[Path],
    output: Path,
    *,
    method: str = "intersection",
    ties: str = "exclude",
    labels: str = "kidneyseg",
    surfaces: bool = True,
    progress: Progress = Progress(),
) -> ConsensusRun:
    """Combine readers' masks case by case; a case that fails stops no other.

    Writes for each case ``CASE/labels.nii.gz`` (in the readers' own ids) and ``CASE/disagreement.nii.gz`` (how many
    readers differ from a voxel's most frequent label), and ``pairs.csv``, ``readers.csv``, ``slices.csv``,
    ``consensus.json``. The folder can be given to ``kidneyseg evaluate --reference`` as it is.

    Args:
        readers: a file each (one case), or a folder each (cases of the same names).
        output: folder; an older consensus is replaced as a whole.
        method, ties: as for `consensus.consensus`.
        labels: key of `measurement.SCHEMES`.
        surfaces: with distances between surfaces in the tables of agreement.
        progress: stage ``score``.

    Raises:
        InputError: fewer than two readers, or not one case could be combined.
        OutputError: the output is not ours or cannot be written.
    """
    if len(readers) < 2:
        raise InputError(f"A consensus needs at least two readers, got {len(readers)}.")
    check_output(output, FORMAT, *readers)
    names = _names(readers)
    cases, notes = _cases(readers, names)
    run = ConsensusRun(Path(output), names, notes=notes)
    created = datetime.now(timezone.utc).isoformat(timespec="seconds")
    slices: list[list[Cell]] = []
    with new_results_folder(output) as place:
        for number, (case_id, paths) in enumerate(cases.items()):
            progress.report("score", number / len(cases), case_id)
            try:
                masks = _read(paths, names, labels)
                agreed = consensus(masks, method, ties=ties, names=names)
            except KidneySegError as error:
                run.failed[case_id] = str(error)
                continue
            (place / case_id).mkdir()
            write_image(_in_scheme(agreed.labels, labels), place / case_id / LABELS_NAME)
            write_image(agreed.disagreement, place / case_id / DISAGREEMENT_NAME)
            run.done.append(case_id)
            run.scores += reader_scores(case_id, names, masks, agreed.labels, surfaces=surfaces)
            slices += _take(run, case_id, agreed)
        if not run.done:
            case_id, why = next(iter(run.failed.items()))
            raise InputError(f"No case could be combined. {case_id}: {why}")
        run.icc = volume_icc(run.scores, names)
        texts = {
            "pairs.csv": _pairs_csv(run, surfaces),
            "readers.csv": _readers_csv(run, surfaces),
            "slices.csv": csv_text(["case_id", "slice", "disagreeing_ml"], slices),
            "consensus.json": provenance_text(_facts(run, method, ties, labels, surfaces, created)),
            PROVENANCE: provenance_text({"format": FORMAT, "version": __version__, "created": created}),
        }
        for name, text in texts.items():
            (place / name).write_bytes(text.encode("utf-8"))
    progress.report("score", 1.0)
    return run


def _take(run: ConsensusRun, case_id: str, agreed: Consensus) -> list[list[Cell]]:
    """Note what a case says; its rows of ``slices.csv``, the slices that differ most first."""
    import SimpleITK as sitk

    voxel_ml = float(np.prod(agreed.labels.GetSpacing())) / 1000
    differing = (sitk.GetArrayViewFromImage(agreed.disagreement) > 0).sum(axis=(1, 2))
    run.disagreeing_ml[case_id] = float(differing.sum() * voxel_ml)
    run.tied_voxels[case_id] = agreed.tied_voxels
    run.performance[case_id] = agreed.performance
    run.notes += [f"{case_id}: {note}" for note in agreed.notes]
    order = sorted(np.flatnonzero(differing), key=lambda index: (-differing[index], index))
    return [[case_id, int(index), rounded(float(differing[index] * voxel_ml), 3)] for index in order]


def _names(readers: Sequence[Path]) -> tuple[str, ...]:
    """Short names that differ: of the file or folder, with its parent's where two are the same."""
    short = [path.name.split(".")[0] if path.is_file() else path.resolve().name for path in readers]
    if len(set(short)) < len(short):
        short = [f"{path.resolve().parent.name}/{name}" for path, name in zip(readers, short, strict=True)]
    if len(set(short)) < len(short):
        short = [f"{number} {name}" for number, name in enumerate(short, 1)]
    return tuple(short)


def _cases(readers: Sequence[Path], names: Sequence[str]) -> tuple[dict[str, list[Path]], list[str]]:
    """Cases that all readers have, with the paths; notes about the others."""
    found = [find_maps(path) for path in readers]
    if all(path.is_file() for path in readers):
        stems = {next(iter(maps)) for maps in found}
        name = stems.pop() if len(stems) == 1 else CONSENSUS
        return {name: list(readers)}, []
    shared = [name for name in found[0] if all(name in maps for maps in found)]
    notes = []
    for maps, name in zip(found, names, strict=True):
        others = tuple(sorted({case for other in found for case in other} - set(maps)))
        if others:
            notes.append(f"{name} lacks {listed(others)}; these cases were left out.")
    if not shared:
        raise InputError(f"No case is there from every reader. {' '.join(notes)} Give folders with the same names.")
    return {name: [maps[name] for maps in found] for name in shared}, notes


def _read(paths: Sequence[Path], names: Sequence[str], labels: str) -> list[sitk.Image]:
    masks = []
    for path, name in zip(paths, names, strict=True):
        try:
            masks.append(read_map(path, labels))
        except KidneySegError as error:
            raise InputError(f"{name}: {error}") from error
    # 3D Slicer saves the part of the grid that holds segments; it is set back into the grid of a reader's whole map.
    whole = next((mask for mask, path in zip(masks, paths, strict=True) if not is_seg_nrrd(path)), None)
    if whole is not None:
        for index, path in enumerate(paths):
            if is_seg_nrrd(path) and masks[index].GetSize() != whole.GetSize():
                try:
                    masks[index] = on_whole_grid(masks[index], whole)
                except InputError:
                    continue  # consensus() says how the grids differ
    return masks


def _in_scheme(image: sitk.Image, scheme: str) -> sitk.Image:
    """A map of our ids in the ids that the readers used."""
    import SimpleITK as sitk

    if scheme == "kidneyseg":
        return image
    back = np.zeros(256, np.uint8)
    for theirs, ours in SCHEMES[scheme].items():
        back[ours] = theirs
    out = sitk.GetImageFromArray(back[sitk.GetArrayViewFromImage(image)])
    out.CopyInformation(image)
    return out


def _columns(surfaces: bool) -> list[tuple[str, int]]:
    wanted = ["dice", "jaccard", *(["hd95_mm", "assd_mm"] if surfaces else [])]
    return [(metric.key, metric.decimals) for metric in metrics() if metric.key in wanted]


def _pairs_csv(run: ConsensusRun, surfaces: bool) -> str:
    """``pairs.csv``: a row a case, structure and pair of readers."""
    columns = _columns(surfaces)
    rows: list[list[Cell]] = [
        [
            pair.case_id,
            pair.score.structure,
            pair.first,
            pair.second,
            *(rounded(pair.score.values[key], decimals) for key, decimals in columns),
            rounded(pair.score.values["reference_ml"], 3),
            rounded(pair.score.values["prediction_ml"], 3),
        ]
        for pair in run.scores
        if pair.first != CONSENSUS
    ]
    header = [
        "case_id",
        "structure",
        "reader_1",
        "reader_2",
        *(key for key, _ in columns),
        "reader_1_ml",
        "reader_2_ml",
    ]
    return csv_text(header, rows)


def _readers_csv(run: ConsensusRun, surfaces: bool) -> str:
    """``readers.csv``: a row a case, structure and reader, against the consensus."""
    columns = _columns(surfaces)
    rows: list[list[Cell]] = []
    for pair in run.scores:
        if pair.first != CONSENSUS:
            continue
        sensitivity, specificity = _told(run, pair)
        rows.append(
            [
                pair.case_id,
                pair.score.structure,
                pair.second,
                *(rounded(pair.score.values[key], decimals) for key, decimals in columns),
                rounded(pair.score.values["prediction_ml"], 3),
                rounded(pair.score.values["reference_ml"], 3),
                rounded(sensitivity, 5),
                rounded(specificity, 5),
            ]
        )
    header = ["case_id", "structure", "reader", *(key for key, _ in columns), "reader_ml", "consensus_ml"]
    return csv_text([*header, "staple_sensitivity", "staple_specificity"], rows)


def _told(run: ConsensusRun, pair: PairScore) -> tuple[float | None, float | None]:
    """What STAPLE says of a reader in a structure; of one without sides where no side has it."""
    told, structure = run.performance.get(pair.case_id, {}), pair.score.structure
    sided = any(f"{side}_{structure}" in told for side in ("right", "left"))
    found = told.get(structure, () if sided else told.get(f"unsided_{structure}", ()))
    # Readers who do not divide a side have no say in its cortex, so whose number is whose is not told then.
    return found[run.readers.index(pair.second)] if len(found) == len(run.readers) else (None, None)


def _facts(run: ConsensusRun, method: str, ties: str, labels: str, surfaces: bool, created: str) -> dict[str, Any]:
    pairs: dict[str, dict[str, Any]] = {}
    for structure in dict.fromkeys(pair.score.structure for pair in run.scores):
        found = [pair for pair in run.scores if pair.score.structure == structure]
        pairs[structure] = {
            "pairs_of_readers": {key: summarise(_of(found, key, False)) for key, _ in _columns(surfaces)},
            "readers_and_consensus": {key: summarise(_of(found, key, True)) for key, _ in _columns(surfaces)},
            "volume_icc": run.icc.get(structure),
        }
    return {
        "format": FORMAT,
        "version": __version__,
        "created": created,
        "method": method,
        "rule": RULES[method],
        "ties": ties,
        "labels": labels,
        "ids": {label.id: label.key for label in LABELS} if labels == "kidneyseg" else SCHEMES[labels],
        "readers": run.readers,
        "cases": run.done,
        "failed": run.failed,
        "notes": run.notes,
        "agreement": pairs,
        "disagreeing_ml": run.disagreeing_ml,
        "tied_voxels": run.tied_voxels,
        "staple": run.performance,
        "empty_masks": EMPTY_RULE,
        "implementations": {metric.key: metric.implementation for metric in metrics()} | {"icc": ICC_BY},
    }


def _of(pairs: Sequence[PairScore], key: str, with_consensus: bool) -> list[float | None]:
    return [pair.score.values[key] for pair in pairs if (pair.first == CONSENSUS) == with_consensus]
