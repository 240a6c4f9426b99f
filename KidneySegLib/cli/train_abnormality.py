"""``kidneyseg train abnormality``: parenchyma and abnormality after Humpire Mamani et al. (2023)."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from KidneySegLib.cli import options as shared
from KidneySegLib.errors import InputError
from KidneySegLib.progress import CancelToken

if TYPE_CHECKING:
    from KidneySegLib.training.abnormality.config import AbnormalityRecipe

SUMMARY = "cysts and masses: the multi-resolution 3-D U-Net of Humpire Mamani et al. (2023)"
_ADDITIONS = ("multi-resolution", "task-augmentation", "top-k", "spatial-dropout")
_TEXT = """\
Train renal parenchyma and abnormality (cysts and masses) with the 3-D U-Net of Humpire Mamani et al. (2023) and its
four additions: multi-resolution path, task-specific augmentation, top-k loss, spatial dropout.

Without DATASET it learns from phantoms made on the fly. DATASET is a folder in the layout of Zenodo 8014290: CASE.mha
and CASE_segmentations.mha (1 kidney, 2 abnormality); every tenth case is held out for validation.

The recipe is a file (KidneySegLib/training/abnormality/abnormality.json) that says for each choice whether the paper
states it; a changed copy goes with --config. OUT gets checkpoint, log.csv, log.png, record.json and bundles/. With
--ablation OUT gets a folder for each variant, ablation.csv, and the table is printed; its recipe is ablation.json
beside that one, with voxels of 3 mm. Give it --workers 0 for the same phantoms throughout. Ctrl-C leaves a checkpoint;
--resume goes on from it.
"""
_EXAMPLES = """\
  kidneyseg train abnormality -o runs/abnormality
  kidneyseg train abnormality zenodo-8014290 -o runs/abnormality --device cuda
  kidneyseg train abnormality -o runs/ablation --ablation --workers 0
  kidneyseg train abnormality -o runs/plain --without multi-resolution top-k
  kidneyseg models import runs/abnormality/bundles/kidneyseg-abnormality --name abnormality
"""


def add_recipe(recipes: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the recipe to those of ``kidneyseg train``."""
    recipe = shared.add_command(recipes, "abnormality", SUMMARY, _TEXT, _EXAMPLES)
    recipe.add_argument("dataset", type=Path, nargs="?", metavar="DATASET", help="labelled scans (default: phantoms)")
    shared.add_output(recipe, "folder of the run")
    recipe.add_argument("--config", type=Path, metavar="FILE", help="another recipe (JSON)")
    recipe.add_argument("--without", choices=_ADDITIONS, nargs="+", default=[], help="additions to leave out")
    recipe.add_argument("--ablation", action="store_true", help="train all variants and print the table")
    recipe.add_argument("--separate", action="store_true", help="outputs for cyst and mass apart (phantoms only)")
    recipe.add_argument("--minutes", type=float, metavar="M", help="of training, each variant")
    recipe.add_argument("--steps", type=shared.count, metavar="N", help="of training, each variant")
    recipe.add_argument("--device", choices=("auto", "cpu", "cuda", "mps"), default="auto")
    recipe.add_argument("--workers", type=shared.seed, metavar="N", help="processes that make samples")
    recipe.add_argument("--resume", action="store_true", help="go on where an interrupted run in OUT stopped")
    shared.add_quiet(recipe)
    recipe.set_defaults(run=run)


def recipe_of(options: argparse.Namespace) -> AbnormalityRecipe:
    """The recipe with what the command line changes.

    Raises:
        InputError: if the budget is not positive.
    """
    from KidneySegLib.training.abnormality.config import ABLATION_RECIPE, load_recipe
    from KidneySegLib.training.abnormality.run import with_budget

    if options.minutes is not None and options.minutes <= 0:
        raise InputError(f"--minutes must be more than 0, got {options.minutes}. Give another number.")
    recipe = with_budget(
        load_recipe(options.config or (ABLATION_RECIPE if options.ablation else None)), options.minutes, options.steps
    )
    if options.separate:
        recipe = replace(recipe, separate_cyst_and_mass=True)
    return recipe.switched(**{name.replace("-", "_"): False for name in options.without})


def run(options: argparse.Namespace, token: CancelToken) -> None:
    from KidneySegLib.cli.terminal import print_table, shown_progress

    shared.need_torch()
    from KidneySegLib.training.abnormality.ablation import run_ablation, table_of
    from KidneySegLib.training.abnormality.run import BUNDLES_FOLDER, export_variant, train_variant

    recipe = recipe_of(options)
    output: Path = options.output
    with shown_progress(token, quiet=options.quiet) as progress:
        given: dict[str, Any] = {
            "dataset": options.dataset,
            "device": options.device,
            "resume": options.resume,
            "workers": options.workers,
            "progress": progress,
        }
        rows = run_ablation(recipe, output, **given) if options.ablation else None
        if rows is None:
            train_variant(recipe, output, **given)
    if rows is not None:
        heads, cells = table_of(rows)
        print_table(("variant", *heads), [[row.name, *line] for row, line in zip(rows, cells, strict=True)])
        return
    bundle = export_variant(recipe, output, output / BUNDLES_FOLDER / recipe.training.bundle)
    print(f"{bundle.name} {bundle.version}: {bundle.path}")
