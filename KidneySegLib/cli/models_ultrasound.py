"""What ``kidneyseg models`` says of models for ultrasound."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from KidneySegLib.progress import Progress

if TYPE_CHECKING:
    from KidneySegLib.ultrasound.bundle import UltrasoundBundle


def list_rows() -> list[tuple[str, str, str, str, str]]:
    """Rows of ``kidneyseg models list``."""
    from KidneySegLib.ultrasound.store import is_embedded, list_ultrasound_bundles

    return [
        (b.name, b.version, "embedded" if is_embedded(b) else "yours", b.licence, f"{b.title} [ultrasound]")
        for b in list_ultrasound_bundles()
    ]


def show(name: str) -> bool:
    """Print all that an ultrasound model says about itself; False where the name is none's."""
    from KidneySegLib.ultrasound.bundle import read_ultrasound_bundle
    from KidneySegLib.ultrasound.store import ultrasound_folder

    folder = ultrasound_folder(name)
    if folder is None:
        return False
    bundle = read_ultrasound_bundle(folder)
    facts = {
        "name": bundle.name,
        "version": bundle.version,
        "title": bundle.title,
        "licence": bundle.licence,
        "citation": bundle.citation,
        "intended use": bundle.intended_use,
        "task": "2-D ultrasound (kidneyseg ultrasound segment)",
        "demonstration": "yes: it has seen no patient" if bundle.demonstration else "no",
        "folder": str(bundle.path),
        "network": f"{bundle.network} {json.dumps(dict(bundle.network_arguments))}",
        "outputs": ", ".join(bundle.outputs),
        "input": f"{bundle.size[1]} x {bundle.size[0]} pixels, {bundle.channels} channels",
    }
    for key, fact in facts.items():
        print(f"{key:<13} {fact}")
    for key, record in (("training", bundle.training), ("metrics", bundle.metrics), ("sha-256", bundle.sha256)):
        print(f"{key:<13} {json.dumps(dict(record), indent=2, ensure_ascii=False, default=str)}")
    return True


def verify(names: list[str], progress: Progress) -> list[str]:
    """Verify the ultrasound models among some names (none: all of them) and give the names that are of others."""
    from KidneySegLib.ultrasound.bundle import read_ultrasound_bundle
    from KidneySegLib.ultrasound.store import list_ultrasound_bundles, ultrasound_folder, verify_ultrasound_bundle

    folders = {name: ultrasound_folder(name) for name in names}
    found = [read_ultrasound_bundle(folder) for folder in folders.values() if folder is not None]
    for bundle in found if names else list_ultrasound_bundles():
        verify_ultrasound_bundle(bundle, progress=progress)
        print(f"{bundle.name} {bundle.version}: {len(bundle.sha256)} files are as they were made")
    return [name for name, folder in folders.items() if folder is None]


def import_if_ultrasound(source: Path, name: str | None, replace: bool, progress: Progress) -> UltrasoundBundle | None:
    """Import a source if it is an ultrasound bundle; None if it is something else."""
    from KidneySegLib.models.importing import peek_manifest
    from KidneySegLib.ultrasound.bundle import is_ultrasound_manifest
    from KidneySegLib.ultrasound.store import import_ultrasound_bundle

    if not is_ultrasound_manifest(peek_manifest(source)):
        return None
    return import_ultrasound_bundle(source, name, replace, progress)
