"""``kidneyseg train``: recipes that make models."""

from __future__ import annotations

import argparse
from pathlib import Path

from KidneySegLib.cli import options as shared
from KidneySegLib.cli import train_abnormality, train_finetune, train_luo_li, train_two_stage, train_ultrasound
from KidneySegLib.progress import CancelToken

_TEXT = """\
Train a model. Recipes:

  embedded     the model that ships with the program: a localiser and a fine network, both trained only on the
               synthetic phantom. OUT gets a folder for each network (checkpoint, log.csv, log.png) and bundles/.
  finetune     a model goes on learning from the corrected cases of a data set, and is judged before and after.
  luo-li-2025  the nnU-Net protocol of Luo and Li (2025) on your own labelled scans: parenchyma and cortex, five-fold
               cross-validation, the best folds registered as one model.
  abnormality  parenchyma, cysts and masses after Humpire Mamani et al. (2023), on phantoms or on labelled scans.
  two-stage    kidneys and masses after Zhu et al. (KiTS19), on phantoms or on a folder in KiTS' layout.
  ultrasound   the triple concatenated model on your own outlined ultrasound pictures.

Needs the training extra: pip install 'kidneyseg[train]' (in a checkout: make setup-dev).
"""
_EXAMPLES = """\
  kidneyseg train embedded -o runs/first
  kidneyseg train embedded -o runs/first --resume
  kidneyseg models import runs/first/bundles/kidneyseg-arterial --name mine
"""
_EMBEDDED_TEXT = """\
Train the embedded model on the phantom alone, on a CPU or a GPU. The recipe is a file
(KidneySegLib/training/embedded.json; a changed copy goes with --config). Ctrl-C leaves a checkpoint; --resume
goes on from it.
"""
_EMBEDDED_EXAMPLES = """\
  kidneyseg train embedded -o runs/first
  kidneyseg train embedded -o runs/first --resume --device cuda
"""


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = shared.add_command(commands, "train", "train a model", _TEXT, _EXAMPLES)
    recipes = parser.add_subparsers(title="recipes", metavar="RECIPE", dest="recipe", required=True)
    recipe = shared.add_command(
        recipes, "embedded", "the model that ships with the program", _EMBEDDED_TEXT, _EMBEDDED_EXAMPLES
    )
    shared.add_output(recipe, "folder of the run")
    recipe.add_argument("--config", type=Path, metavar="FILE", help="another recipe (JSON; default: the shipped one)")
    recipe.add_argument("--device", choices=("auto", "cpu", "cuda", "mps"), default="auto")
    recipe.add_argument("--workers", type=shared.count, metavar="N", help="processes that make phantoms")
    recipe.add_argument("--resume", action="store_true", help="go on where an interrupted run in OUT stopped")
    shared.add_quiet(recipe)
    recipe.set_defaults(run=run_embedded)
    train_abnormality.add_recipe(recipes)
    train_finetune.add_recipe(recipes)
    train_luo_li.add_recipe(recipes)
    train_two_stage.add_recipe(recipes)
    train_ultrasound.add_recipe(recipes)


def run_embedded(options: argparse.Namespace, token: CancelToken) -> None:
    shared.need_torch()
    from KidneySegLib.cli.terminal import shown_progress
    from KidneySegLib.training.embedded import train_embedded

    with shown_progress(token, quiet=options.quiet) as progress:
        bundles = train_embedded(
            options.config,
            options.output,
            device=options.device,
            resume=options.resume,
            workers=options.workers,
            progress=progress,
        )
    for bundle in bundles:
        print(f"{bundle.name} {bundle.version}: {bundle.path}")
