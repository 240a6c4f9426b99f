"""``kidneyseg models public`` and ``models download``: weights of others, and how to get them."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from KidneySegLib.cli import options as shared
from KidneySegLib.progress import CancelToken

_DOWNLOAD_TEXT = (
    "Fetch a model file after showing its size and licence and asking. A broken download goes on where it stopped; "
    "the file is compared with the SHA-256 and stored in $KIDNEYSEG_HOME/downloads, where you can delete it. Import it "
    "with 'kidneyseg models import FILE'."
)


def add_public(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    action = actions.add_parser("public", help="which public weights fit, their licence and where to get them")
    action.add_argument("model", metavar="NAME", nargs="?", help="all about one of them")
    action.set_defaults(run=run_public)

    action = actions.add_parser("download", help="fetch a model file from the web", description=_DOWNLOAD_TEXT)
    action.add_argument("url", metavar="URL", help="address of the file, from its makers' page")
    action.add_argument("--sha256", required=True, metavar="HEX", help="SHA-256 that the file must have")
    action.add_argument("--licence", metavar="TEXT", help="the licence, as its makers' page states it")
    action.add_argument("-y", "--yes", action="store_true", help="do not ask")
    shared.add_quiet(action)
    action.set_defaults(run=run_download)


def run_public(options: argparse.Namespace, token: CancelToken) -> None:
    from KidneySegLib.cli.terminal import print_table
    from KidneySegLib.errors import ModelError
    from KidneySegLib.models.public import public_models

    table = public_models()
    if options.model is None:
        rows = [(m.name, "yes" if m.fits else "no", ", ".join(m.finds), m.licence, m.source) for m in table]
        print_table(("model", "fits", "finds", "licence", "where"), rows, numbers=False)
        print("More about one: kidneyseg models public NAME. Nothing of this was fetched from the web.")
        return
    model = next((m for m in table if m.name == options.model), None)
    if model is None:
        raise ModelError(f"'{options.model}' is not in the table of public models: {', '.join(m.name for m in table)}.")
    facts = {
        "name": model.name,
        "title": model.title,
        "finds": ", ".join(model.finds),
        "fits": "yes" if model.fits else "no",
        "licence": model.licence,
        "where": model.source,
        "file": model.url or "see there",
        "import with": model.how or "cannot be imported",
        "citation": model.citation or "see there",
        "remarks": model.remarks,
    }
    for name, fact in facts.items():
        print(f"{name:<13} {fact}")


def run_download(options: argparse.Namespace, token: CancelToken) -> None:
    from KidneySegLib.cli.terminal import shown_progress
    from KidneySegLib.models.download import download, downloads_dir, look_up
    from KidneySegLib.models.public import public_model_at

    offer = look_up(options.url)
    known = public_model_at(options.url)
    licence = options.licence or (known.licence if known else "not stated; look at its makers' page")
    size = f"{offer.size_bytes / 1e6:.1f} MB" if offer.size_bytes is not None else "unknown"
    print(f"file     {offer.name}")
    print(f"from     {offer.url}")
    print(f"size     {size}{'' if offer.resumable else ' (cannot be resumed if it breaks off)'}")
    print(f"licence  {licence}")
    print(f"to       {downloads_dir()}")
    if not options.yes and not _agreed():
        print("Nothing was fetched.")
        return
    with shown_progress(token, quiet=options.quiet) as progress:
        path: Path = download(options.url, options.sha256, progress)
    print(f"Stored {path}; its SHA-256 is as expected. Delete it when you do not need it any more.")
    print(f"Import it with: kidneyseg models import {path}")


def _agreed() -> bool:
    if not sys.stdin.isatty():
        print("There is nobody to ask here; say --yes to fetch it.")
        return False
    return input("Fetch it? [y/N] ").strip().lower() in ("y", "yes")
