"""A parenchyma model and a cortex model, trained apart, made into one bundle: cortex counts inside the parenchyma."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from KidneySegLib.errors import ModelError
from KidneySegLib.models.bundle import MANIFEST, Bundle, BundleSpec, FoldFiles, manifest_of
from KidneySegLib.models.bundle_folder import fresh_folder
from KidneySegLib.models.importing import check_name_is_free
from KidneySegLib.models.manifest import parse_manifest, read_bundle
from KidneySegLib.models.model_json import check_name, respecified, write_manifest
from KidneySegLib.models.nnunet import import_nnunet
from KidneySegLib.models.store import verify_bundle
from KidneySegLib.progress import Progress
from KidneySegLib.resources import user_models_dir

#: What the partner's files are called after: ``cortex_weights.safetensors`` and so on.
_PREFIX = "cortex_"


def pair_bundles(
    parenchyma: Path,
    cortex: Path,
    name: str | None = None,
    *,
    replace: bool = False,
    label_map: Mapping[str, str] | None = None,
    cortex_label_map: Mapping[str, str] | None = None,
    folder: Path | None = None,
    progress: Progress = Progress(),
) -> Bundle:
    """Make one bundle of two models among the user's models, whole or not at all.

    Each may be an nnU-Net v2 model (folder or zip; needs torch) or a bundle folder made from one. Their plans may
    differ: each looks at the scan in its own way.

    Args:
        parenchyma: finds parenchyma (and cysts or masses, perhaps), no cortex.
        cortex: finds cortex; what else it finds is left out.
        name: of the new bundle; default the parenchyma model's.
        replace: allow an existing model of that name.
        label_map, cortex_label_map: see `nnunet.import_nnunet`.
        folder: where to write the bundle; default among the user's models.
        progress: told about both; may cancel.

    Raises:
        DependencyError, ModelError: see `nnunet.import_nnunet`; also where the two make no pair.
    """
    return join_bundles(
        parenchyma,
        cortex,
        _paired,
        _PREFIX,
        name,
        replace=replace,
        label_maps=(label_map, cortex_label_map),
        folder=folder,
        progress=progress,
    )


def join_bundles(
    first: Path,
    second: Path,
    join: Callable[[Bundle, Bundle, str | None], BundleSpec],
    prefix: str,
    name: str | None,
    *,
    replace: bool,
    label_maps: tuple[Mapping[str, str] | None, Mapping[str, str] | None],
    folder: Path | None,
    progress: Progress,
) -> Bundle:
    """Make one bundle of two models, the second as the first's `BundleSpec.partner`, whole or not at all.

    Args:
        first, second: an nnU-Net v2 model (folder or zip; needs torch) or a bundle folder.
        join: the bundle's spec of the two and of ``name``; refuses what does not go together.
        prefix: put before the names of the second's files.
        label_maps: see `nnunet.import_nnunet`, for each.

    Raises:
        DependencyError, ModelError: see `nnunet.import_nnunet`; also what ``join`` raises.
    """
    if name is not None:
        check_name(name)
    place = user_models_dir() if folder is None else folder.parent
    place.mkdir(parents=True, exist_ok=True)
    try:
        with tempfile.TemporaryDirectory(prefix=".parts-", dir=place, ignore_cleanup_errors=True) as parts:
            one = _bundle_of(first, Path(parts) / "first", label_maps[0], progress)
            two = _bundle_of(second, Path(parts) / "second", label_maps[1], progress)
            spec = join(one, two, name)
            target = folder or place / spec.name
            if folder is None:
                check_name_is_free(spec.name, replace)
            elif folder.exists() and not replace:
                raise ModelError(f"{folder} exists already. Choose another folder, or replace it (replace=True).")
            with fresh_folder(target, ".pair-") as fresh:
                hashes = _copied(one, fresh, "") | _copied(two, fresh, prefix)
                write_manifest(fresh, manifest_of(spec, one.folds, hashes), parse_manifest)
                verify_bundle(read_bundle(fresh), progress)
    except OSError as error:
        raise ModelError(f"The models {first} and {second} could not be made into one: {error}") from error
    return read_bundle(target)


def joined_spec(first: Bundle, second: Bundle, prefix: str, **changes: Any) -> BundleSpec:
    """The first's spec with the second, whose files have a prefix, as its partner, and other changes."""
    folds = tuple(FoldFiles(prefix + f.weights, prefix + f.graph, prefix + f.graph_weights) for f in second.folds)
    return respecified(first, BundleSpec, partner=replace(second, folds=folds, localiser=None), **changes)


def _bundle_of(source: Path, folder: Path, label_map: Mapping[str, str] | None, progress: Progress) -> Bundle:
    source = Path(source).expanduser()
    if (source / MANIFEST).is_file():
        bundle = read_bundle(source)
        verify_bundle(bundle, progress)
        return bundle
    return import_nnunet(source, label_map=label_map, folder=folder, progress=progress)


def _check_pair(parenchyma: Bundle, cortex: Bundle) -> None:
    for bundle in (parenchyma, cortex):
        if bundle.nnunet is None or bundle.partner is not None:
            raise ModelError(f"{bundle.name} is no single model made from nnU-Net's, so it cannot be one of a pair.")
    if "parenchyma" not in parenchyma.outputs or "cortex" in parenchyma.outputs:
        raise ModelError(
            f"The first of a pair must find parenchyma and no cortex, but it finds {', '.join(parenchyma.outputs)}."
        )
    if "cortex" not in cortex.outputs:
        raise ModelError(f"The second of a pair must find cortex, but it finds {', '.join(cortex.outputs)}.")
    assert parenchyma.nnunet is not None
    assert cortex.nnunet is not None
    if (max(parenchyma.nnunet.labels) + 1) * (max(cortex.nnunet.labels) + 1) > 256:
        raise ModelError("The two models have too many labels together for one label map (256).")


def _paired(first: Bundle, second: Bundle, name: str | None) -> BundleSpec:
    _check_pair(first, second)
    licence = first.licence if first.licence == second.licence else f"{first.licence}; cortex: {second.licence}"
    title = f"{first.title}; cortex: {second.title}"[:250]
    return joined_spec(first, second, _PREFIX, name=name or first.name, licence=licence, title=title)


def _copied(bundle: Bundle, folder: Path, prefix: str) -> dict[str, str]:
    """Copy a bundle's files; their SHA-256 by their new names."""
    for name in bundle.sha256:
        shutil.copyfile(bundle.path / name, folder / (prefix + name))
    return {prefix + name: digest for name, digest in bundle.sha256.items()}
