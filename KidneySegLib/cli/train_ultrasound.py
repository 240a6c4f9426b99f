"""``kidneyseg train ultrasound``: the triple concatenated model on outlined pictures."""

from __future__ import annotations

import argparse
from pathlib import Path

from KidneySegLib.cli import options as shared
from KidneySegLib.progress import CancelToken

SUMMARY = "the triple concatenated model on your own outlined ultrasound pictures"
_TEXT = """\
Train the ensemble of Shtaiyat and Younes (two DeepLabV3+ and a LinkNet, fused) on outlined 2-D ultrasound pictures, and
test it on patients that it has not seen. Adam, learning rate 0.001, 100 epochs; split by patient as in the paper
(57 % training, 12 % validation, 31 % test).

DATASET is a folder with images/ and masks/ (pictures of the same name; what is not 0 is kidney), or pictures with a
table of VIA polygons, such as the Open Kidney Ultrasound Data Set as it comes (regions "Capsule"; choose a reader's
table with --annotations). patients.csv (filename, patient) says whose pictures belong together.

OUT gets split.json, log.csv, log.png, checkpoint.pt, test/ (scores, confusion matrices), record.json and bundles/.
Ctrl-C leaves a checkpoint; --resume goes on from it.
"""
_EXAMPLES = """\
  kidneyseg train ultrasound pictures -o runs/ultrasound
  kidneyseg train ultrasound open-kidney --annotations open-kidney/reviewed_labels_1.csv --imagenet weights -o runs/okd
  kidneyseg ultrasound segment kidney.png --model runs/okd/bundles/kidneyseg-ultrasound -o results
"""


def add_recipe(recipes: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the recipe to those of ``kidneyseg train``."""
    recipe = shared.add_command(recipes, "ultrasound", SUMMARY, _TEXT, _EXAMPLES)
    recipe.add_argument("dataset", type=Path, metavar="DATASET", help="folder of outlined pictures")
    shared.add_output(recipe, "folder of the run")
    recipe.add_argument("--annotations", type=Path, metavar="CSV", help="which table of VIA polygons")
    recipe.add_argument(
        "--imagenet", type=Path, metavar="DIR", help="start from torchvision's ResNet weights in this folder"
    )
    recipe.add_argument("--config", type=Path, metavar="FILE", help="another recipe (JSON; default: the shipped one)")
    recipe.add_argument("--demonstration", action="store_true", help="the light recipe that made the shipped model")
    recipe.add_argument("--epochs", type=shared.count, metavar="N", help="instead of the recipe's")
    recipe.add_argument("--name", metavar="N", help="of the model")
    recipe.add_argument("--device", choices=("auto", "cpu", "cuda", "mps"), default="auto")
    recipe.add_argument("--resume", action="store_true", help="go on where an interrupted run in OUT stopped")
    shared.add_quiet(recipe)
    recipe.set_defaults(run=run)


def run(options: argparse.Namespace, token: CancelToken) -> None:
    from KidneySegLib.errors import InputError

    shared.need_torch()
    from KidneySegLib.cli.terminal import shown_progress
    from KidneySegLib.training.ultrasound.config import DEMONSTRATION_CONFIG
    from KidneySegLib.training.ultrasound.recipe import train_ultrasound

    if options.demonstration and options.config is not None:
        raise InputError("--demonstration is a recipe of its own: leave out --config.")
    with shown_progress(token, quiet=options.quiet) as progress:
        bundle = train_ultrasound(
            options.dataset,
            options.output,
            config_file=DEMONSTRATION_CONFIG if options.demonstration else options.config,
            annotations=options.annotations,
            imagenet=options.imagenet,
            device=options.device,
            epochs=options.epochs,
            name=options.name,
            resume=options.resume,
            progress=progress,
        )
    for key, value in bundle.metrics.get("test", {}).items():
        print(f"test {key}: {value}")
    print(f"{bundle.name} {bundle.version}: {bundle.path}")
