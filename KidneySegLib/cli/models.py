"""``kidneyseg models``: list, show, verify, import and remove model bundles, and where to get those of others."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from KidneySegLib.cli import models_public, models_ultrasound
from KidneySegLib.cli import options as shared
from KidneySegLib.progress import CancelToken, Progress

if TYPE_CHECKING:
    from KidneySegLib.models import Bundle

_TEXT = """\
A model is a folder (a "bundle") with its description, its weights and the SHA-256 of each file.
Models that ship with the program lie in Resources/models; yours in $KIDNEYSEG_HOME/models
(default: this computer's folder for user data). Trained nnU-Net v2 models can be imported as they are; importing them
needs torch, running them does not.
"""
_EXAMPLES = """\
  kidneyseg models list
  kidneyseg models show kidneyseg-arterial
  kidneyseg models verify
  kidneyseg models import my-bundle.zip --name our-hospital-1
  kidneyseg models import nnUNet_results/Dataset001_KIDNEYS --name ours --map nephro=parenchyma
  kidneyseg models import PARENCHYMA.zip --cortex CORTEX.zip --name two-models
  kidneyseg models import nnUNet_results/Dataset002_LESIONS --ensemble-with kidneyseg-abnormality --name both
  kidneyseg models public
"""


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = shared.add_command(commands, "models", "list, show, verify, import or remove models", _TEXT, _EXAMPLES)
    actions = parser.add_subparsers(title="actions", metavar="ACTION", dest="action", required=True)

    action = actions.add_parser("list", help="all models, yours and embedded ones")
    action.set_defaults(run=run_list)

    action = actions.add_parser("show", help="all that a model says about itself")
    action.add_argument("model", metavar="MODEL", help="name or folder")
    action.set_defaults(run=run_show)

    action = actions.add_parser("verify", help="compare a model's files with their SHA-256")
    action.add_argument("model", metavar="MODEL", nargs="*", help="names or folders (default: all models)")
    action.set_defaults(run=run_verify)

    action = actions.add_parser("import", help="add a bundle or a trained nnU-Net v2 model to your models")
    action.add_argument("source", type=Path, metavar="SOURCE", help="bundle or nnU-Net model: folder or zip file")
    action.add_argument("--name", metavar="N", help="another name for it (default: its own)")
    action.add_argument("--replace", action="store_true", help="replace a model of yours that has this name")
    group = action.add_argument_group("models of nnU-Net")
    group.add_argument(
        "--map",
        action="append",
        default=[],
        type=_mapping,
        metavar="THEIRS=OURS",
        help="what a label means: parenchyma, cortex, medulla, cyst, mass, abnormality (cyst or mass), kidney_left, "
        "kidney_right or background",
    )
    group.add_argument("--folds", metavar="0,1", help="take these folds only (default: all, averaged)")
    group.add_argument("--checkpoint", choices=("final", "best", "latest"), help="default: final, or else best")
    group.add_argument("--licence", metavar="TEXT", help="its licence, where its files do not tell")
    together = group.add_mutually_exclusive_group()
    together.add_argument("--cortex", type=Path, metavar="SOURCE", help="a second model that finds the cortex in it")
    together.add_argument(
        "--ensemble-with",
        metavar="MODEL",
        help="one of your models that finds the same, such as kidneyseg-abnormality: probabilities are averaged",
    )
    shared.add_quiet(action)
    action.set_defaults(run=run_import)

    models_public.add_public(actions)

    action = actions.add_parser("remove", help="delete one of your models")
    action.add_argument("model", metavar="MODEL", help="its name")
    action.set_defaults(run=run_remove)


def _mapping(text: str) -> tuple[str, str]:
    theirs, _, ours = text.rpartition("=")
    if not theirs or not ours:
        raise argparse.ArgumentTypeError(f"'{text}' must be THEIRS=OURS, such as nephro=parenchyma")
    return theirs, ours


def run_list(options: argparse.Namespace, token: CancelToken) -> None:
    from KidneySegLib import models
    from KidneySegLib.cli.terminal import print_table

    bundles = models.list_bundles()
    if not bundles and not models_ultrasound.list_rows():
        print("There are no models. Install KidneySeg again, or import one: kidneyseg models import SOURCE")
        return
    rows = [(b.name, b.version, "embedded" if models.is_embedded(b) else "yours", b.licence, b.title) for b in bundles]
    rows.extend(models_ultrasound.list_rows())
    print_table(("model", "version", "from", "licence", "title"), rows, numbers=False)


def run_show(options: argparse.Namespace, token: CancelToken) -> None:
    from KidneySegLib import models

    if models_ultrasound.show(options.model):
        return
    bundle = models.find_bundle(options.model)
    facts = {
        "name": bundle.name,
        "version": bundle.version,
        "title": bundle.title,
        "licence": bundle.licence,
        "citation": bundle.citation,
        "intended use": bundle.intended_use,
        "folder": str(bundle.path),
        "network": f"{bundle.network} {json.dumps(dict(bundle.network_arguments))}",
        "outputs": f"{', '.join(bundle.outputs)} ({bundle.activation})",
        "voxel size": f"{' x '.join(f'{mm:g}' for mm in bundle.spacing_mm)} mm (z, y, x)",
        "patch": f"{' x '.join(map(str, bundle.patch_size))} voxels (z, y, x)",
        "localiser": bundle.localiser or "none",
        "cysts and masses": _lesions_of(bundle),
        "cortex border": _cortex_border_of(bundle),
    }
    if bundle.nnunet is not None:
        names, meanings = bundle.nnunet.labels, bundle.nnunet.structures
        facts["labels"] = ", ".join(f"{id} {names[id]} = {meanings.get(id, 'background')}" for id in sorted(names))
        facts["folds"] = str(len(bundle.folds))
        facts["mirroring"] = f"axes {', '.join(map(str, bundle.mirror_axes))}" if bundle.mirror else "off"
    if bundle.partner is not None:
        role = "averaged with" if bundle.is_ensemble else "cortex by"
        facts[role] = f"{bundle.partner.name}: {bundle.partner.title} ({bundle.partner.licence})"
    for name, fact in facts.items():
        print(f"{name:<13} {fact}")
    for name, record in (
        ("origin", bundle.origin),
        ("training", bundle.training),
        ("metrics", bundle.metrics),
        ("sha-256", bundle.sha256),
    ):
        if name == "origin" and not record:
            continue
        print(f"{name:<13} {json.dumps(dict(record), indent=2, ensure_ascii=False, default=str)}")


def _lesions_of(bundle: Bundle) -> str:
    if not bundle.finds_lesions:
        return "not found"
    if bundle.lesions is None:
        return "shown"
    limits = bundle.lesions
    sure = "" if limits.least_sure_mm is None else f", {limits.least_sure_mm:g} mm where the network is sure"
    return f"shown with --lesions, from {limits.least_mm:g} mm on{sure}"


def _cortex_border_of(bundle: Bundle) -> str:
    border = bundle.cortex_border
    if border is None:
        return "as the network has it"
    shift = "" if not border.prior_shift else f"; the network's logit of cortex shifted by {border.prior_shift:+g}"
    return f"by the scan's brightness, where cortex is {border.least_contrast_hu:g} HU brighter than medulla{shift}"


def run_verify(options: argparse.Namespace, token: CancelToken) -> None:
    from KidneySegLib import models

    others = models_ultrasound.verify(options.model, Progress(None, token))
    bundles: tuple[Bundle, ...] = tuple(models.find_bundle(name) for name in others)
    if not options.model:
        bundles = models.list_bundles()
    for bundle in bundles:
        models.verify_bundle(bundle, Progress(None, token))
        print(f"{bundle.name} {bundle.version}: {len(bundle.sha256)} files are as they were made")


def run_import(options: argparse.Namespace, token: CancelToken) -> None:
    from KidneySegLib.cli.terminal import shown_progress

    with shown_progress(token, quiet=options.quiet) as progress:
        flat = models_ultrasound.import_if_ultrasound(
            options.source.expanduser(), options.name, options.replace, progress
        )
        if flat is None:
            bundle = _import(options, progress)
    if flat is not None:
        print(f"Imported {flat.name} {flat.version} to {flat.path}")
        print(f"Use it with: kidneyseg ultrasound segment IMAGE -o OUT --model {flat.name}")
        return
    print(f"Imported {bundle.name} {bundle.version} to {bundle.path}")
    theirs = bundle.partner if bundle.is_ensemble else bundle
    if theirs is not None and theirs.nnunet is not None:
        print(f"Licence: {bundle.licence}")
        for id, structure in sorted(theirs.nnunet.structures.items()):
            if id:
                print(f"Label {id} ({theirs.nnunet.labels[id]}) counts as {structure}")
    print(f"Use it with: kidneyseg segment INPUT -o OUT --model {bundle.name}")


def _import(options: argparse.Namespace, progress: Progress) -> Bundle:
    from KidneySegLib import models
    from KidneySegLib.errors import ModelError
    from KidneySegLib.models.nnunet_folder import is_nnunet

    source = options.source.expanduser()
    label_map = dict(options.map)
    if options.cortex is not None or options.ensemble_with is not None:
        if options.folds or options.checkpoint or options.licence:
            raise ModelError(
                "--folds, --checkpoint and --licence are for one model. Import each of a pair by itself first, then "
                "pair the two folders in your models."
            )
        return _import_two(source, options, label_map, progress)
    if is_nnunet(source):
        from KidneySegLib.models.nnunet import import_nnunet

        return import_nnunet(
            source,
            options.name,
            replace=options.replace,
            label_map=label_map,
            folds=[fold.strip() for fold in options.folds.split(",")] if options.folds else None,
            checkpoint=options.checkpoint,
            licence=options.licence,
            progress=progress,
        )
    if label_map or options.folds or options.checkpoint or options.licence:
        raise ModelError(
            f"--map, --folds, --checkpoint and --licence are for models of nnU-Net (a folder or zip with dataset.json, "
            f"plans.json and fold_0), and {source} is none."
        )
    return models.import_bundle(source, name=options.name, replace=options.replace, progress=progress)


def _import_two(source: Path, options: argparse.Namespace, label_map: dict[str, str], progress: Progress) -> Bundle:
    if options.cortex is not None:
        from KidneySegLib.models.nnunet_pair import pair_bundles

        return pair_bundles(
            source, options.cortex, options.name, replace=options.replace, label_map=label_map, progress=progress
        )
    from KidneySegLib.models.nnunet_ensemble import ensemble_bundles

    return ensemble_bundles(
        options.ensemble_with,
        source,
        options.name,
        replace=options.replace,
        label_map=label_map,
        progress=progress,
    )


def run_remove(options: argparse.Namespace, token: CancelToken) -> None:
    from KidneySegLib import models

    print(f"Removed {models.remove_bundle(options.model)}")
