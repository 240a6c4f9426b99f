"""The loop of correcting and re-training on a hospital that the shipped model was not made for (`shifted_domain`).

    python Testing/benchmarks/correction_loop.py OUT
    python Testing/benchmarks/correction_loop.py OUT --resume          after a break

makes the phantoms (once), segments ten with the model, plants more errors in what it found and files that in a data set
as ``kidneyseg dataset add`` does. `annotator` then opens these cases in the panel, corrects them perfectly (to the
truth) and adds them. Six more cases are held out. ``kidneyseg train finetune`` learns from the data set, and it is
said how much of the gap to a Dice of 1 was closed on the held-out cases. The original domain are the first six arterial
cases of `held_out_phantoms`.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from annotator import READER
from held_out_phantoms import cases_of
from shifted_domain import CORRECTED_SEEDS, HELD_OUT_SEEDS, case_folder, write_shifted

from KidneySegLib.cli.train_finetune import rows
from KidneySegLib.ct import read_ct
from KidneySegLib.export.dataset import Addition, DataSet, Split, Status
from KidneySegLib.phantom.output import write_case
from KidneySegLib.pipeline import load_engine, segment_case
from KidneySegLib.progress import Progress, ProgressEvent
from KidneySegLib.training.finetune.judge import means
from KidneySegLib.training.finetune.run import finetune
from KidneySegLib.training.finetune.settings import load_settings

ORIGINAL_CASES = 6
TRUTHS_NAME = "truths.json"
MISSING_POLE_MM = 12.0
LUMP_RADIUS_MM = 10.0


def make_data_set(output: Path, model: str) -> DataSet:
    """All cases of the hospital: the held-out ones with the truth, the others to be corrected."""
    data_set = DataSet.create(output / "dataset")
    engine = load_engine(model)
    known = {"name": engine.bundle.name, "version": engine.bundle.version, "sha256": engine.bundle.digest}
    truths = {}
    for seed in (*HELD_OUT_SEEDS, *CORRECTED_SEEDS):
        folder = case_folder(output / "cases", seed)
        if not (folder / "facts.json").exists():
            write_shifted(folder, seed)
        scan = read_ct(folder / "ct.nii.gz")
        case = data_set.find(scan)
        if case is None:
            result = segment_case(scan, output / "automatic" / folder.name, engine=engine)
            if seed in HELD_OUT_SEEDS:
                truth = sitk.ReadImage(str(folder / "labels.nii.gz"))
                told = Addition(READER, model=known, split=Split.TEST)
                case = data_set.add(scan, truth, told, automatic=result.labels).case
            else:
                wrong = plant_errors(result.labels)
                told = Addition("", Status.UNREVIEWED, model=known, split=Split.TRAIN)
                case = data_set.add(scan, wrong, told, automatic=wrong).case
        if seed in CORRECTED_SEEDS:
            truths[case.case_id] = str((folder / "labels.nii.gz").resolve())
    (output / TRUTHS_NAME).write_text(json.dumps(truths, indent=1) + "\n", encoding="utf-8")
    return data_set


def plant_errors(labels: sitk.Image) -> sitk.Image:
    """Labels with errors as models make them: the left kidney's lower pole missing, a lump beside the right kidney, and
    cortex and medulla exchanged in its middle.

    Args:
        labels: ids of `labels.LABELS`; a kidney that is not there gets no errors.
    """
    voxels = sitk.GetArrayFromImage(labels)
    spacing_mm = labels.GetSpacing()[::-1]
    left, right = np.isin(voxels, (3, 4)), np.isin(voxels, (1, 2))
    if left.any():
        lowest = int(np.flatnonzero(left.any(axis=(1, 2)))[0])
        pole = left.copy()
        pole[lowest + round(MISSING_POLE_MM / spacing_mm[0]) :] = False
        voxels[pole] = 0
    if right.any():
        points = np.argwhere(right)
        z, y, _x = (round(float(v)) for v in points.mean(axis=0))
        voxels[z] = np.where(right[z], 3 - voxels[z], voxels[z])
        offsets = (np.indices(voxels.shape).T - (z, y, int(points[:, 2].min()))).T
        distance_mm = np.sqrt(sum((o * mm) ** 2 for o, mm in zip(offsets, spacing_mm, strict=True)))
        voxels[(distance_mm < LUMP_RADIUS_MM) & (voxels == 0)] = 1
    wrong = sitk.GetImageFromArray(voxels)
    wrong.CopyInformation(labels)
    return wrong


def correct_in_panel(data_set: DataSet, truths: Path) -> None:
    """Let `annotator` correct what nobody has reviewed; a process of its own, because it becomes a Slicer.

    Raises:
        SystemExit: if it fails, or the data set does not hold the truth afterwards.
    """
    subprocess.run(
        [sys.executable, str(Path(__file__).with_name("annotator.py")), str(data_set.folder), str(truths)], check=True
    )
    for case_id, path in json.loads(truths.read_text(encoding="utf-8")).items():
        revision = data_set.case(case_id).best
        stored = sitk.GetArrayFromImage(revision.labels())
        if not np.array_equal(stored, sitk.GetArrayFromImage(sitk.ReadImage(path))):
            raise SystemExit(f"{case_id}: the data set does not hold what was painted")
        print(f"{case_id}: {revision.changed_voxels} voxels corrected by {revision.reader}", flush=True)


def make_original(folder: Path) -> Path:
    """Phantoms as the shipped model was made for."""
    arterial = [case for case in cases_of("test") if case.phase == "arterial"][:ORIGINAL_CASES]
    for case in arterial:
        if not (folder / case.name / "truth.json").exists():
            write_case(folder / case.name, case.seed, case.variant, phase=case.phase, robust=case.robust)
    return folder


def _print(event: ProgressEvent) -> None:
    print(f"{event.stage:9s} {event.fraction:6.1%}  {event.message}", flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path)
    parser.add_argument("--from", dest="model", default="kidneyseg-arterial", help="model to begin with")
    parser.add_argument("--steps", type=int, help="of training (default: the recipe's)")
    parser.add_argument("--phantoms", type=int, help="mixed in (default: the recipe's)")
    parser.add_argument("--all-folds", action="store_true", help="train each of the model's networks, not the first")
    parser.add_argument("--resume", action="store_true")
    options = parser.parse_args(arguments)
    settings = load_settings()
    given = {"steps": options.steps, "phantoms": options.phantoms}
    settings = replace(settings, **{key: value for key, value in given.items() if value is not None})
    data_set = make_data_set(options.output, options.model)
    correct_in_panel(data_set, options.output / TRUTHS_NAME)
    result = finetune(
        options.model,
        data_set.folder,
        options.output / "run",
        settings=settings,
        first_fold_only=not options.all_folds,
        original=make_original(options.output / "original"),
        resume=options.resume,
        progress=Progress(_print),
    )
    judgement = result.judgement
    for row in rows(judgement):
        print("  ".join(f"{cell:>18s}" for cell in row))
    before, after = means(judgement.held_out_before), means(judgement.held_out_after)
    for structure in ("parenchyma", "cortex"):
        low, high = before[f"{structure}_dice"], after[f"{structure}_dice"]
        assert low is not None
        assert high is not None
        print(f"{structure}: {(high - low) / (1 - low):.0%} of the gap to 1 closed on held-out shifted cases")
    print(f"refused: {judgement.refused}" if judgement.refused else "accepted")
    (options.output / "loop.json").write_text(json.dumps(judgement.content(), indent=1) + "\n", encoding="utf-8")
    return 2 if judgement.refused else 0


if __name__ == "__main__":
    sys.exit(main())
