"""``kidneyseg train finetune``: a model goes on learning from corrected cases."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from KidneySegLib.cli import options as shared
from KidneySegLib.errors import ModelError
from KidneySegLib.progress import CancelToken

if TYPE_CHECKING:
    from KidneySegLib.training.finetune.judge import Judgement

SUMMARY = "a model goes on learning from your corrected cases"
_TEXT = """\
Let a model go on learning from the accepted cases of a data set (kidneyseg dataset), with phantoms mixed in so that
nothing is forgotten. Held-out cases of the data set are never learnt from: on them, and on phantoms, the model before
and after is compared through the whole pipeline.

The new model lies in OUT/bundles, with the figures in its model.json. If it is worse on the held-out cases, or lost
more than half a point of Dice on the phantoms, or nothing was held out, it is refused: it lies in OUT/rejected, is not
registered, and the command ends with status 2. Ctrl-C leaves a checkpoint that --resume goes on from.
"""
_EXAMPLES = """\
  kidneyseg train finetune --from kidneyseg-arterial our-kidneys -o runs/ours --name our-hospital
  kidneyseg train finetune --from our-hospital our-kidneys -o runs/next --name our-hospital --replace
  kidneyseg train finetune --from kidneyseg-arterial our-kidneys -o runs/ours --resume
"""


def add_recipe(recipes: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the recipe to those of ``kidneyseg train``."""
    recipe = shared.add_command(recipes, "finetune", SUMMARY, _TEXT, _EXAMPLES)
    recipe.add_argument("dataset", type=Path, metavar="DATASET", help="data set of corrected cases")
    recipe.add_argument(
        "--from", dest="model", required=True, metavar="BUNDLE", help="model to begin with: name or folder"
    )
    shared.add_output(recipe, "folder of the run")
    recipe.add_argument("--name", help="register the model under this name, if it is no worse")
    recipe.add_argument("--replace", action="store_true", help="allow a model of that name")
    recipe.add_argument("--resume", action="store_true", help="go on where an interrupted run in OUT stopped")
    recipe.add_argument(
        "--readers",
        default="newest",
        metavar="WHO",
        help="whose labels: newest (default), consensus[:majority|intersection|staple], or the name of a reader",
    )
    recipe.add_argument("--config", type=Path, metavar="FILE", help="another recipe (JSON; default: the shipped one)")
    recipe.add_argument("--steps", type=shared.count, metavar="N", help="of training (default: as the recipe says)")
    recipe.add_argument("--phantoms", type=shared.count, metavar="N", help="that are mixed in")
    recipe.add_argument(
        "--first-fold", action="store_true", help="train the first of a model's networks; the new model has one"
    )
    recipe.add_argument(
        "--original", type=Path, metavar="FOLDER", help="phantoms (kidneyseg phantom) on which it must not get worse"
    )
    recipe.add_argument("--device", choices=("auto", "cpu", "cuda", "mps"), default="auto")
    shared.add_quiet(recipe)
    recipe.set_defaults(run=run)


def run(options: argparse.Namespace, token: CancelToken) -> None:
    shared.need_torch()
    from KidneySegLib.cli.terminal import print_table, shown_progress
    from KidneySegLib.training.finetune.run import finetune
    from KidneySegLib.training.finetune.settings import load_settings

    settings = load_settings(options.config)
    given = {"steps": options.steps, "phantoms": options.phantoms}
    settings = replace(settings, **{key: value for key, value in given.items() if value is not None})
    with shown_progress(token, quiet=options.quiet) as progress:
        result = finetune(
            options.model,
            options.dataset,
            options.output,
            readers=options.readers,
            settings=settings,
            name=options.name,
            replace=options.replace,
            first_fold_only=options.first_fold,
            original=options.original,
            device=options.device,
            resume=options.resume,
            progress=progress,
        )
    header = ("cases", "n", "Dice parenchyma", "Dice cortex", "volume error parenchyma %", "volume error cortex %")
    print_table(header, rows(result.judgement))
    for note in result.judgement.notes:
        print(note)
    print(f"{result.bundle.name}: {result.bundle.path}")
    if result.judgement.refused:
        raise ModelError(
            f"The new model was refused: {result.judgement.refused}. It was not registered. Correct more cases, or "
            "change the recipe (--config)."
        )
    if result.registered is not None:
        print(f"registered as {result.registered.name}: {result.registered.path}")


def rows(judgement: Judgement) -> list[tuple[str, ...]]:
    """Before and after, as the table shows them."""
    from KidneySegLib.training.finetune.judge import means

    table = []
    for name in ("held_out_before", "held_out_after", "original_before", "original_after"):
        found = means(getattr(judgement, name))
        cells = [
            _shown(found["parenchyma_dice"], 4),
            _shown(found["cortex_dice"], 4),
            _shown(found["parenchyma_abs_error_percent"], 1),
            _shown(found["cortex_abs_error_percent"], 1),
        ]
        table.append((name.replace("held_out", "held-out").replace("_", ", "), str(found["cases"]), *cells))
    return table


def _shown(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"
