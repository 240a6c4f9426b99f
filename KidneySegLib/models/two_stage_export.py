"""Make a two-stage bundle: two networks, two graphs, one folder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from KidneySegLib.errors import ModelError
from KidneySegLib.files import file_sha256
from KidneySegLib.models.bundle import Bundle, BundleSpec, FoldFiles, manifest_of
from KidneySegLib.models.bundle_folder import check_folder_is_free, fresh_folder
from KidneySegLib.models.manifest import check_spec, parse_manifest, read_bundle
from KidneySegLib.models.model_json import write_manifest
from KidneySegLib.models.network_files import load_network, write_graph, write_weights

if TYPE_CHECKING:
    from torch import Tensor


def write_two_stage_bundle(
    folder: Path,
    spec: BundleSpec,
    first: Mapping[str, Tensor],
    second: Mapping[str, Tensor],
    *,
    replace: bool = False,
) -> Bundle:
    """Write a two-stage bundle, whole or not at all; parameters are stored in float16. Needs torch.

    Args:
        folder: the bundle's folder; must not exist unless ``replace``.
        spec: of the second stage, with `BundleSpec.two_stage`.
        first, second: parameters of the two networks.

    Raises:
        ModelError: if the spec is not valid, weights do not fit, a graph does not answer as its network, or the folder
            is taken.
    """
    where = f"model {spec.name}"
    check_spec(spec, where)
    record = spec.two_stage
    if record is None:
        raise ModelError(f"{where}: a two-stage bundle was expected to say so (two_stage), it does not.")
    check_folder_is_free(folder, replace)
    fold, channels = FoldFiles.for_fold(0), int(spec.network_arguments["in_channels"])
    files = (fold.weights, fold.graph, fold.graph_weights)
    with fresh_folder(folder) as fresh:
        _write(fresh, record.files, record.network, record.arguments, first, (1, 1, 8, 32, 32), where)
        _write(fresh, files, spec.network, spec.network_arguments, second, (1, channels, 32, 32), where)
        hashes = {name: file_sha256(fresh / name) for name in (*files, *record.files)}
        write_manifest(fresh, manifest_of(spec, (fold,), hashes), parse_manifest)
    return read_bundle(folder)


def _write(
    folder: Path,
    files: tuple[str, str, str],
    name: str,
    arguments: Mapping[str, Any],
    state: Mapping[str, Tensor],
    shape: tuple[int, ...],
    where: str,
) -> None:
    network = load_network(name, arguments, state, where)
    write_weights(folder / files[0], network, float16=True)
    free = (-1, shape[1], *(-1 for _ in shape[2:]))
    write_graph(folder / files[1], network, shape, free, True, f"{where}: {name}")
