"""The loop of correcting and re-training on a hospital that the shipped model was not made for (`shifted_domain`).

    python Testing/benchmarks/correction_loop.py OUT
    python Testing/benchmarks/correction_loop.py OUT --resume          after a break

makes the phantoms (once), segments ten with the model, files the corrected labels with the automatic ones in a data set
as ``kidneyseg dataset add`` does (a script corrects perfectly: the truth), six more cases as held-out ones, runs
``kidneyseg train finetune`` and says how much of the gap to a Dice of 1 was closed on the held-out cases. The original
domain are the first six arterial cases of `held_out_phantoms`.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import SimpleITK as sitk
from held_out_phantoms import cases_of
from shifted_domain import CORRECTED_SEEDS, HELD_OUT_SEEDS, case_folder, write_shifted

from KidneySegLib.cli.train_finetune import rows
from KidneySegLib.ct import read_ct
from KidneySegLib.export.dataset import Addition, DataSet, Split
from KidneySegLib.phantom.output import write_case
from KidneySegLib.pipeline import load_engine, segment_case
from KidneySegLib.progress import Progress, ProgressEvent
from KidneySegLib.training.finetune.judge import means
from KidneySegLib.training.finetune.run import finetune
from KidneySegLib.training.finetune.settings import load_settings

ORIGINAL_CASES = 6


def make_data_set(output: Path, model: str) -> DataSet:
    """All cases of the hospital, corrected."""
    data_set = DataSet.create(output / "dataset")
    engine = load_engine(model)
    for seed in (*HELD_OUT_SEEDS, *CORRECTED_SEEDS):
        folder = case_folder(output / "cases", seed)
        if not (folder / "facts.json").exists():
            write_shifted(folder, seed)
        scan = read_ct(folder / "ct.nii.gz")
        if data_set.find(scan) is not None:
            continue
        result = segment_case(scan, output / "automatic" / folder.name, engine=engine)
        told = Addition(
            reader="script",
            model={"name": engine.bundle.name, "version": engine.bundle.version, "sha256": engine.bundle.digest},
            split=Split.TEST if seed in HELD_OUT_SEEDS else Split.TRAIN,
        )
        truth = sitk.ReadImage(str(folder / "labels.nii.gz"))
        added = data_set.add(scan, truth, told, automatic=result.labels)
        print(f"{folder.name}: {added.revision.changed_voxels} voxels corrected", flush=True)
    return data_set


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
