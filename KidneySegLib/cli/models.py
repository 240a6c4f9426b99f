"""``kidneyseg models``: list, show, verify, import and remove model bundles."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from KidneySegLib.cli import options as shared
from KidneySegLib.progress import CancelToken, Progress

if TYPE_CHECKING:
    from KidneySegLib.models import Bundle

_TEXT = """\
A model is a folder (a "bundle") with its description, its weights and the SHA-256 of each file.
Models that ship with the program lie in Resources/models; yours in $KIDNEYSEG_HOME/models
(default: this computer's folder for user data).
"""
_EXAMPLES = """\
  kidneyseg models list
  kidneyseg models show kidneyseg-arterial
  kidneyseg models verify
  kidneyseg models import my-bundle.zip --name our-hospital-1
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

    action = actions.add_parser("import", help="copy a bundle (folder or zip file) to your models")
    action.add_argument("source", type=Path, metavar="SOURCE", help="bundle folder, or zip file of one")
    action.add_argument("--name", metavar="N", help="another name for it (default: its own)")
    action.add_argument("--replace", action="store_true", help="replace a model of yours that has this name")
    shared.add_quiet(action)
    action.set_defaults(run=run_import)

    action = actions.add_parser("remove", help="delete one of your models")
    action.add_argument("model", metavar="MODEL", help="its name")
    action.set_defaults(run=run_remove)


def run_list(options: argparse.Namespace, token: CancelToken) -> None:
    from KidneySegLib import models
    from KidneySegLib.cli.terminal import print_table

    bundles = models.list_bundles()
    if not bundles:
        print("There are no models. Install KidneySeg again, or import one: kidneyseg models import SOURCE")
        return
    rows = [(b.name, b.version, "embedded" if models.is_embedded(b) else "yours", b.licence, b.title) for b in bundles]
    print_table(("model", "version", "from", "licence", "title"), rows, numbers=False)


def run_show(options: argparse.Namespace, token: CancelToken) -> None:
    from KidneySegLib import models

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
    }
    for name, fact in facts.items():
        print(f"{name:<13} {fact}")
    for name, record in (("training", bundle.training), ("metrics", bundle.metrics), ("sha-256", bundle.sha256)):
        print(f"{name:<13} {json.dumps(dict(record), indent=2, ensure_ascii=False, default=str)}")


def run_verify(options: argparse.Namespace, token: CancelToken) -> None:
    from KidneySegLib import models

    bundles: tuple[Bundle, ...] = tuple(models.find_bundle(name) for name in options.model) or models.list_bundles()
    for bundle in bundles:
        models.verify_bundle(bundle, Progress(None, token))
        print(f"{bundle.name} {bundle.version}: {len(bundle.sha256)} files are as they were made")


def run_import(options: argparse.Namespace, token: CancelToken) -> None:
    from KidneySegLib import models
    from KidneySegLib.cli.terminal import shown_progress

    with shown_progress(token, quiet=options.quiet) as progress:
        bundle = models.import_bundle(options.source, name=options.name, replace=options.replace, progress=progress)
    print(f"Imported {bundle.name} {bundle.version} to {bundle.path}")
    print(f"Use it with: kidneyseg segment INPUT -o OUT --model {bundle.name}")


def run_remove(options: argparse.Namespace, token: CancelToken) -> None:
    from KidneySegLib import models

    print(f"Removed {models.remove_bundle(options.model)}")
