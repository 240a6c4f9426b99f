"""``kidneyseg train two-stage``: kidneys and masses after Zhu et al. (KiTS19)."""

from __future__ import annotations

import argparse
from pathlib import Path

from KidneySegLib.cli import options as shared
from KidneySegLib.errors import InputError
from KidneySegLib.progress import CancelToken

SUMMARY = "kidneys and masses in two stages (Zhu et al., KiTS19), on phantoms or KiTS"
_TEXT = """\
Train the two-stage system of Zhu et al. (KiTS19): a 2D-3D V-net finds kidney and mass as one foreground, a 2-D UNet++
tells kidney from mass inside it. Cortex is not told from medulla.

Without DATASET it learns from synthetic phantoms, and cysts too, with a recipe for a processor. DATASET is a folder in
KiTS' layout (case_00000/imaging.nii.gz and segmentation.nii.gz: 1 kidney, 2 tumour, 3 cyst); its recipe is the paper's,
for a graphics card, and leaves cysts within the kidney. Both recipes (KidneySegLib/training/two_stage/*.json) may be
copied and changed (--config); kits.json says whose each choice is.

OUT gets first/ and second/ (checkpoint, log.csv, log.png), samples/, record.json and bundles/. Ctrl-C leaves a
checkpoint; --resume goes on from it.
"""
_EXAMPLES = """\
  kidneyseg train two-stage -o runs/two-stage
  kidneyseg train two-stage -o runs/two-stage --resume --minutes 60 180
  kidneyseg train two-stage kits19/data -o runs/kits --device cuda
  kidneyseg segment scan.nii.gz -o results --model runs/two-stage/bundles/two-stage-phantom
"""


def add_recipe(recipes: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the recipe to those of ``kidneyseg train``."""
    recipe = shared.add_command(recipes, "two-stage", SUMMARY, _TEXT, _EXAMPLES)
    recipe.add_argument("dataset", type=Path, nargs="?", metavar="DATASET", help="folder in KiTS' layout")
    shared.add_output(recipe, "folder of the run")
    recipe.add_argument("--config", type=Path, metavar="FILE", help="another recipe (JSON)")
    recipe.add_argument("--name", metavar="NAME", help="of the model")
    recipe.add_argument("--minutes", type=float, nargs=2, metavar=("FIRST", "SECOND"), help="for each stage")
    recipe.add_argument("--steps", type=shared.count, nargs=2, metavar=("FIRST", "SECOND"), help="for each stage")
    recipe.add_argument("--device", choices=("auto", "cpu", "cuda", "mps"), default="auto")
    recipe.add_argument("--workers", type=shared.seed, default=1, metavar="N", help="processes that make slabs")
    recipe.add_argument("--resume", action="store_true", help="go on where an interrupted run in OUT stopped")
    shared.add_quiet(recipe)
    recipe.set_defaults(run=run)


def run(options: argparse.Namespace, token: CancelToken) -> None:
    shared.need_torch()
    import dataclasses

    from KidneySegLib.cli.terminal import shown_progress
    from KidneySegLib.models.bundle import NAME_PATTERN
    from KidneySegLib.training.two_stage.config import changed, load_config
    from KidneySegLib.training.two_stage.run import train_two_stage

    config = load_config(options.config or ("phantom" if options.dataset is None else "kits"))
    for number, stage in enumerate(("first", "second")):
        for name in ("minutes", "steps"):
            if getattr(options, name) is not None:
                config = changed(config, stage, **{name: getattr(options, name)[number]})
    if options.name:
        if not NAME_PATTERN.fullmatch(options.name):
            raise InputError(f"A model's name must be letters, digits, '.', '_' or '-', got '{options.name}'.")
        config = dataclasses.replace(config, bundle=options.name)
    with shown_progress(token, quiet=options.quiet) as progress:
        bundle = train_two_stage(
            options.dataset,
            options.output,
            config,
            device=options.device,
            resume=options.resume,
            workers=options.workers,
            progress=progress,
        )
    print(f"{bundle.name} {bundle.version}: {bundle.path}")
