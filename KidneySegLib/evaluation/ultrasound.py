"""Masks of kidneys on ultrasound pictures against reference masks, with the paper's five metrics.

Accuracy, precision, recall, Jaccard index and F1 score are computed for each picture from its own pixel counts and
given as mean +- sample SD over pictures (Shtaiyat and Younes); confusion matrices sum the pixels of all pictures. The
rule for empty masks is that of `evaluation.overlap`, and pictures without a kidney are counted by themselves.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from KidneySegLib.errors import InputError
from KidneySegLib.evaluation.csv_cells import Cell, csv_text, rounded
from KidneySegLib.evaluation.overlap import Overlap
from KidneySegLib.evaluation.statistics import Summary, summarise
from KidneySegLib.progress import Progress

Mask = npt.NDArray[np.bool_]
Pair = tuple[str, Mask, Mask]

#: The paper's metrics, in its order: key of the files, heading, attribute of `Overlap`.
METRICS = (
    ("accuracy", "Accuracy", "accuracy"),
    ("precision", "Precision", "precision"),
    ("recall", "Recall", "recall"),
    ("jaccard", "Jaccard", "jaccard"),
    ("f1", "F1 score", "dice"),
)
FORMAT = "kidneyseg-ultrasound-evaluation"
_MASKS = ".png"
_IN_RESULTS = ("mask.png", "segmentation.nii.gz")


@dataclass(frozen=True)
class PictureScore:
    """One picture: its name and pixel counts."""

    name: str
    overlap: Overlap

    def value(self, key: str) -> float | None:
        """A metric of `METRICS`, 0 to 1; None where it is not defined."""
        attribute = next(attribute for known, _, attribute in METRICS if known == key)
        result: float | None = getattr(self.overlap, attribute)
        return result


@dataclass(frozen=True)
class UltrasoundEvaluation:
    """A finished evaluation.

    Attributes:
        scores: one a picture.
        folder: where its files lie.
        missing: names that only one of the two sides has.
    """

    scores: tuple[PictureScore, ...]
    folder: Path
    missing: tuple[str, ...] = ()

    def summary(self, key: str) -> Summary:
        """Mean and SD of a metric over the pictures with a kidney in the reference."""
        return summarise(s.value(key) for s in self.scores if s.overlap.tp + s.overlap.fn)

    @property
    def pixels(self) -> Overlap:
        """Counts of all pictures together."""
        counts = [s.overlap for s in self.scores]
        return Overlap(*(sum(getattr(c, key) for c in counts) for key in ("tp", "fp", "fn", "tn")))

    @property
    def pictures(self) -> Overlap:
        """Pictures with and without a kidney, in reference and prediction."""
        truth = [bool(s.overlap.tp + s.overlap.fn) for s in self.scores]
        found = [bool(s.overlap.tp + s.overlap.fp) for s in self.scores]
        pairs = list(zip(truth, found, strict=True))
        kinds = ((True, True), (False, True), (True, False), (False, False))
        return Overlap(*(pairs.count(kind) for kind in kinds))

    @property
    def text(self) -> str:
        """What the terminal says."""
        with_kidney = self.pictures.tp + self.pictures.fn
        lines = [f"Scored {len(self.scores)} pictures, {with_kidney} of them with a kidney; mean +- SD over these"]
        for key, heading, _ in METRICS:
            lines.append(f"  {heading:<10} {_percent(self.summary(key))}")
        empty = self.pictures.fp + self.pictures.tn
        if empty:
            lines.append(f"Pictures without a kidney: {self.pictures.tn} of {empty} left empty")
        if self.pictures.fn:
            lines.append(f"Kidneys not found at all: {self.pictures.fn}")
        if self.missing:
            lines.append(f"note: {len(self.missing)} names are on one side only: {', '.join(self.missing[:5])}")
        lines.append(f"Files: {self.folder} (scores.csv, summary.csv, confusion_pixels.png, confusion_pictures.png)")
        return "\n".join(lines)


def evaluate_ultrasound(
    prediction: Path, reference: Path, output: Path, *, progress: Progress = Progress()
) -> UltrasoundEvaluation:
    """Score a folder of masks against a folder of reference masks and write tables and confusion matrices.

    Args:
        prediction: masks NAME.png (what is not 0 is kidney), or results folders NAME/ of `kidneyseg ultrasound
        segment`.
        reference: masks NAME.png, a data set with ``masks/``, or a table of VIA polygons (a CSV file).
        output: folder for the files; an older evaluation is replaced as a whole.
        progress: stage ``score``.

    Raises:
        InputError: no picture is on both sides, or two masks do not have one size.
        OutputError: the output is not ours or cannot be written.
    """
    from KidneySegLib.evaluation.evaluate import check_output

    check_output(output, FORMAT, prediction, reference)
    found, truth = _masks(prediction), _references(reference)
    names = sorted(found.keys() & truth.keys())
    if not names:
        raise InputError(
            f"No mask in {prediction} has the name of one in {reference}. Masks are NAME.png, or NAME/ with mask.png."
        )

    def pairs() -> Iterable[Pair]:
        for index, name in enumerate(names):
            progress.report("score", index / len(names), name)
            mask = _read(found[name])
            yield name, mask, truth[name](mask.shape)
        progress.report("score", 1.0)

    return evaluate_masks(pairs(), output, missing=tuple(sorted(found.keys() ^ truth.keys())))


def evaluate_masks(pairs: Iterable[Pair], output: Path, *, missing: tuple[str, ...] = ()) -> UltrasoundEvaluation:
    """Score masks (name, prediction, reference), each pair of one shape (y, x), and write the files.

    Raises:
        InputError: two masks do not have one size.
        OutputError: the output is not ours or cannot be written.
    """
    scores = tuple(PictureScore(name, count(found, truth, name)) for name, found, truth in pairs)
    done = UltrasoundEvaluation(scores, output, missing)
    _write(done)
    return done


def count(found: Mask, truth: Mask, name: str = "picture") -> Overlap:
    """Pixel counts of two masks (y, x).

    Raises:
        InputError: they do not have one size.
    """
    if found.shape != truth.shape:
        raise InputError(
            f"{name}: the predicted mask is {found.shape[1]} x {found.shape[0]} pixels, the reference "
            f"{truth.shape[1]} x {truth.shape[0]}. Both must lie on the picture's own pixels."
        )
    tp, fp, fn = int((found & truth).sum()), int((found & ~truth).sum()), int((~found & truth).sum())
    return Overlap(tp, fp, fn, found.size - tp - fp - fn)


def summary_of(done: UltrasoundEvaluation) -> dict[str, Any]:
    """What goes into ``evaluation.json`` and a bundle's metrics: means and SDs in percent, and counts."""
    facts: dict[str, Any] = {"pictures": len(done.scores), "with_kidney": done.pictures.tp + done.pictures.fn}
    for key, _, _ in METRICS:
        summary = done.summary(key)
        facts[key] = {
            "mean_percent": None if summary.mean is None else round(100 * summary.mean, 2),
            "sd_percent": None if summary.sd is None else round(100 * summary.sd, 2),
        }
    facts["kidneys_missed"] = done.pictures.fn
    facts["empty_pictures"] = done.pictures.fp + done.pictures.tn
    facts["false_kidneys"] = done.pictures.fp
    return facts


def _percent(summary: Summary) -> str:
    if summary.mean is None:
        return "not defined"
    spread = f" +- {100 * summary.sd:.2f}" if summary.sd is not None else ""
    return f"{100 * summary.mean:.2f}{spread} %  (lowest {100 * (summary.minimum or 0):.2f})"


def _masks(folder: Path) -> dict[str, Path]:
    if not folder.is_dir():
        raise InputError(f"{folder} is no folder. Give a folder of masks NAME.png or of results NAME/.")
    source = folder / "masks" if (folder / "masks").is_dir() else folder
    found = {path.stem: path for path in sorted(source.glob(f"*{_MASKS}"))}
    for place in sorted(path for path in source.iterdir() if path.is_dir()):
        for name in _IN_RESULTS:
            if (place / name).is_file():
                found.setdefault(place.name, place / name)
                break
    return found


def _references(reference: Path) -> dict[str, Any]:
    """By name: a function that gives the reference mask for a shape."""
    from KidneySegLib.ultrasound.via import CAPSULE, is_via_csv, read_via_csv

    if reference.is_file():
        if not is_via_csv(reference):
            raise InputError(f"{reference} is no table of VIA polygons. Give such a table, or a folder of masks.")
        drawn = {
            Path(name).stem: one
            for name, one in read_via_csv(reference).items()
            if any(region.anatomy == CAPSULE for region in one.regions)
        }
        return {name: (lambda shape, one=one: one.mask(CAPSULE, shape)) for name, one in drawn.items()}
    return {name: (lambda shape, path=path: _read(path)) for name, path in _masks(reference).items()}


def _read(path: Path) -> Mask:
    if path.suffix == ".png":
        from KidneySegLib.ultrasound.masks import read_mask

        return read_mask(path)
    import SimpleITK as sitk

    try:
        values = sitk.GetArrayFromImage(sitk.ReadImage(str(path)))
    except RuntimeError as error:
        raise InputError(f"{path} cannot be read: {error}. Run kidneyseg ultrasound segment again.") from error
    if values.ndim == 3 and len(values) == 1:
        values = values[0]
    if values.ndim != 2:
        raise InputError(f"{path} holds {len(values)} frames. Evaluation takes single pictures.")
    return np.asarray(values != 0)


def _write(done: UltrasoundEvaluation) -> None:
    from KidneySegLib.evaluation.ultrasound_pictures import draw_confusion
    from KidneySegLib.export.provenance import provenance_text
    from KidneySegLib.export.results_folder import PROVENANCE, new_results_folder

    keys = [key for key, _, _ in METRICS]
    rows: list[list[Cell]] = [
        [s.name, *(rounded(s.value(key), 5) for key in keys), s.overlap.tp, s.overlap.fp, s.overlap.fn, s.overlap.tn]
        for s in done.scores
    ]
    summaries: list[list[Cell]] = []
    for key in keys:
        s = done.summary(key)
        described = (s.mean, s.sd, s.median, s.minimum, s.maximum)
        summaries.append([key, s.n, *(rounded(value, 5) for value in described)])
    facts = {"format": FORMAT, "task": "ultrasound", **summary_of(done), "missing": list(done.missing)}
    with new_results_folder(done.folder) as place:
        (place / "scores.csv").write_text(csv_text(["picture", *keys, "tp", "fp", "fn", "tn"], rows), encoding="utf-8")
        header = ["metric", "n", "mean", "sd", "median", "minimum", "maximum"]
        (place / "summary.csv").write_text(csv_text(header, summaries), encoding="utf-8")
        draw_confusion(done.pixels, "Pixels of all pictures", "kidney", "background").save(
            place / "confusion_pixels.png"
        )
        draw_confusion(done.pictures, "Pictures", "with kidney", "without").save(place / "confusion_pictures.png")
        (place / PROVENANCE).write_text(provenance_text(facts), encoding="utf-8")
