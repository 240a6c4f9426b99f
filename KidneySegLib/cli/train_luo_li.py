"""``kidneyseg train luo-li-2025``: the protocol of Luo and Li (2025) on one's own labelled scans."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from KidneySegLib.cli import options as shared
from KidneySegLib.progress import CancelToken

if TYPE_CHECKING:
    from KidneySegLib.training.luo_li.settings import LuoLiSettings

SUMMARY = "Luo and Li's nnU-Net protocol on your own labelled scans"
_TEXT = """\
Train renal parenchyma and cortex by the protocol of Luo and Li (2025) through nnU-Net, and register the result as one
model. Needs a graphics card for more than a try: the protocol is 2 structures x 5 folds x 200 epochs.

DATASET is a folder with a folder for each patient, in it the scan (ct.nii.gz, or a DICOM series) and its labels:
labels.nii.gz with the ids of segmentation.nii.gz, a .seg.nrrd of 3D Slicer, or the two masks parenchyma.nii.gz and
cortex.nii.gz. A data set of `kidneyseg dataset`, the output of `kidneyseg phantom`, and a data set of nnU-Net
(training ids) will do, too.

--patients is a CSV with a row for each case_id, and its group (any names), or egfr (mL/min/1.73 m2), or creatinine,
creatinine_unit, age and sex, from which the paper's four groups follow. Held-out cases are drawn, and the five folds
balanced, within each group. Further columns, if wished: split (train or test), patient_id (for patients with several
scans).

OUT gets nnU-Net's folders (raw, preprocessed, results), splits.json, kept/ (the two models that were kept, for nnU-Net
itself), record.json (Dice of every fold and case, settings, commit, hash of the data, and for each choice whether the
paper states it), test_cases.csv (the held-out cases, for `kidneyseg batch`) and nnunet.log. Ctrl-C leaves what
--resume goes on from.
"""
_EXAMPLES = """\
  kidneyseg train luo-li-2025 cases --patients patients.csv -o runs/luo-li --name our-hospital
  kidneyseg train luo-li-2025 cases -o runs/luo-li --resume
  kidneyseg train luo-li-2025 phantoms -o runs/try --epochs 2 --iterations 10 --folds 0 --patch 32 64 64
  kidneyseg segment scan.nii.gz -o results --model our-hospital
  kidneyseg batch runs/luo-li/test_cases.csv -o held-out --model our-hospital
  kidneyseg evaluate --prediction held-out/cases --reference-labels training --groups patients.csv -o tables \\
      --reference runs/luo-li/nnUNet_raw/Dataset501_LuoLiParenchyma/labelsTs
"""


def add_recipe(recipes: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the recipe to those of ``kidneyseg train``."""
    recipe = shared.add_command(recipes, "luo-li-2025", SUMMARY, _TEXT, _EXAMPLES)
    recipe.add_argument("dataset", type=Path, metavar="DATASET", help="folder of cases with labels")
    shared.add_output(recipe, "folder of the run")
    recipe.add_argument("--patients", type=Path, metavar="CSV", help="groups of the cases")
    recipe.add_argument(
        "--labels",
        choices=("kidneyseg", "training"),
        help="ids of the label maps: those of segmentation.nii.gz (default), or 1 medulla, 2 cortex (nnU-Net data set)",
    )
    recipe.add_argument("--name", default="luo-li-2025", help="of the model (default: luo-li-2025)")
    recipe.add_argument("--replace", action="store_true", help="allow a model of that name")
    recipe.add_argument("--resume", action="store_true", help="go on where an interrupted run in OUT stopped")
    machine = recipe.add_argument_group("machine")
    machine.add_argument("--device", choices=("auto", "cpu", "cuda", "mps"), default="auto")
    machine.add_argument("--gpus", type=shared.count, default=1, metavar="N", help="NVIDIA cards: 1 or 2")
    machine.add_argument("--processes", type=shared.count, metavar="N", help="that preprocess and validate")
    machine.add_argument("--loaders", type=shared.seed, metavar="N", help="processes that load patches; 0: none")
    protocol = recipe.add_argument_group("changes to the protocol (the paper's, or as its recipe says)")
    protocol.add_argument("--epochs", type=shared.count, metavar="N", help="of each fold (default: 200)")
    protocol.add_argument("--iterations", type=shared.count, metavar="N", help="steps of an epoch (default: 250)")
    protocol.add_argument("--validation-iterations", type=shared.count, metavar="N", help="default: 50")
    protocol.add_argument(
        "--folds", type=shared.seed, nargs="+", metavar="K", help="which of the five to train (default: 0 1 2 3 4)"
    )
    protocol.add_argument(
        "--patch", type=shared.count, nargs=3, metavar=("Z", "Y", "X"), help="multiples of 16 (default: nnU-Net's)"
    )
    protocol.add_argument("--width", type=shared.count, metavar="N", help="channels at full resolution (default: 32)")
    protocol.add_argument(
        "--test-fraction", type=float, metavar="F", help="of each group that is held out (default: 0.375)"
    )
    protocol.add_argument("--seed", type=shared.seed, metavar="S", help="of the split and the weights (default: 2025)")
    shared.add_quiet(recipe)
    recipe.set_defaults(run=run)


def run(options: argparse.Namespace, token: CancelToken) -> None:
    from KidneySegLib.cli.terminal import print_table, shown_progress
    from KidneySegLib.training.luo_li.run import train_luo_li

    with shown_progress(token, quiet=options.quiet) as progress:
        result = train_luo_li(
            options.dataset,
            options.output,
            patients=options.patients,
            scheme=options.labels,
            settings=settings_of(options),
            name=options.name,
            replace=options.replace,
            device=options.device,
            gpus=options.gpus,
            processes=options.processes,
            loaders=options.loaders,
            resume=options.resume,
            progress=progress,
        )
    rows = [
        [structure, str(score.fold), _shown(score.dice), "kept" if score.fold == result.kept_folds[structure] else ""]
        for structure, scores in result.scores.items()
        for score in scores
    ]
    print_table(("structure", "fold", "validation Dice", ""), rows)
    for note in result.record["notes"]:
        print(note)
    print(f"{result.bundle.name}: {result.bundle.path}")


def settings_of(options: argparse.Namespace) -> LuoLiSettings:
    """The protocol with what the command line changes."""
    from KidneySegLib.training.luo_li.settings import LuoLiSettings

    names = ("epochs", "iterations", "validation_iterations", "folds", "patch", "width", "test_fraction", "seed")
    given = {name: getattr(options, name) for name in names}
    changes: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in given.items() if value is not None
    }
    return LuoLiSettings(**changes)


def _shown(dice: float | None) -> str:
    return "-" if dice is None else f"{dice:.4f}"
