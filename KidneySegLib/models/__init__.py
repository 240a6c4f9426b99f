"""Model bundles: what they say, where they lie, how they come in and how they are made.

Importing this package needs the standard library alone. Only `write_bundle` needs torch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from KidneySegLib.models.bundle import Bundle, BundleSpec, FoldFiles, Normalisation
from KidneySegLib.models.importing import import_bundle
from KidneySegLib.models.manifest import read_bundle
from KidneySegLib.models.store import (
    DEFAULT_MODEL,
    find_bundle,
    find_localiser,
    is_embedded,
    list_bundles,
    remove_bundle,
    verify_bundle,
)

if TYPE_CHECKING:
    from torch import Tensor

__all__ = [
    "DEFAULT_MODEL",
    "Bundle",
    "BundleSpec",
    "FoldFiles",
    "Normalisation",
    "find_bundle",
    "find_localiser",
    "import_bundle",
    "is_embedded",
    "list_bundles",
    "read_bundle",
    "remove_bundle",
    "verify_bundle",
    "write_bundle",
]


def write_bundle(
    folder: Path,
    spec: BundleSpec,
    state_dict: Mapping[str, Tensor] | Sequence[Mapping[str, Tensor]],
    *,
    float16: bool = False,
    replace: bool = False,
) -> Bundle:
    """Make a bundle folder out of trained weights; see `models.export.write_bundle`."""
    from KidneySegLib.models.export import write_bundle as write

    return write(folder, spec, state_dict, float16=float16, replace=replace)
