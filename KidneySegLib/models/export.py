"""Make a bundle out of trained weights: safetensors, the OpenVINO graph converted from the same network, hashes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from KidneySegLib.errors import ModelError
from KidneySegLib.files import file_sha256
from KidneySegLib.models.bundle import FILE_PATTERN, MANIFEST, Bundle, BundleSpec, FoldFiles, manifest_of
from KidneySegLib.models.bundle_folder import check_folder_is_free, fresh_folder
from KidneySegLib.models.manifest import check_spec, parse_manifest, read_bundle
from KidneySegLib.models.model_json import check_name, respecified, write_manifest
from KidneySegLib.models.network_files import load_network, write_graph, write_weights

if TYPE_CHECKING:
    from torch import Tensor, nn


def write_bundle(
    folder: Path,
    spec: BundleSpec,
    state_dict: Mapping[str, Tensor] | Sequence[Mapping[str, Tensor]],
    *,
    float16: bool = False,
    replace: bool = False,
    extra_files: Mapping[str, bytes] | None = None,
    on_fold: Callable[[int, int], None] = lambda _done, _count: None,
) -> Bundle:
    """Write a bundle folder, whole or not at all. Needs torch.

    The graph is converted with free batch and tile sizes: OpenVINO runs it as fast as one of fixed sizes (measured
    on a U-Net of 5.6 M parameters: 0.33 s a tile either way), and a new tile shape needs no new compilation.

    Args:
        folder: the bundle's folder, which takes the name of the bundle as a rule; must not exist unless ``replace``.
        spec: what ``model.json`` says.
        state_dict: the network's parameters, or one such mapping a fold.
        float16: store parameters in half the space; both backends still compute in their own precision.
        replace: allow an existing bundle in ``folder``.
        extra_files: more files to store and hash, a licence text say: plain name to content.
        on_fold: told (folds written, folds in all); may raise to cancel.

    Returns:
        The bundle as read back.

    Raises:
        ModelError: if the spec is not valid, the weights do not fit the network, the converted graph does not
            answer like the torch network, or the folder is taken.
    """
    where = f"model {spec.name}"
    check_name(spec.name)
    check_spec(spec, where)
    folder = Path(folder)
    check_folder_is_free(folder, replace)
    states = [state_dict] if isinstance(state_dict, Mapping) else list(state_dict)
    if not states:
        raise ModelError(f"{where}: at least one set of weights was expected, got none.")
    folds = tuple(FoldFiles.for_fold(index) for index in range(len(states)))
    names = [name for f in folds for name in (f.weights, f.graph, f.graph_weights)]
    with fresh_folder(folder) as fresh:
        for number, (files, state) in enumerate(zip(folds, states, strict=True)):
            on_fold(number, len(states))
            network = load_network(spec.network, spec.network_arguments, state, where)
            write_weights(fresh / files.weights, network, float16)
            _write_graph(fresh / files.graph, network, spec, float16)
        for name, content in (extra_files or {}).items():
            if not FILE_PATTERN.fullmatch(name) or name in [*names, MANIFEST]:
                raise ModelError(f"{where}: an extra file must have a plain, free name, got {name!r}.")
            (fresh / name).write_bytes(content)
            names.append(name)
        hashes = {name: file_sha256(fresh / name) for name in names}
        write_manifest(fresh, manifest_of(spec, folds, hashes), parse_manifest)
    return read_bundle(folder)


def update_manifest(bundle: Bundle, **changes: object) -> Bundle:
    """Change what a bundle says (its metrics, say) without touching its weights, and read it back.

    Args:
        bundle: a bundle on disk.
        changes: attributes of `BundleSpec` with their new values.

    Raises:
        ModelError: if the result is not valid; the old manifest then stays.
    """
    spec = respecified(bundle, BundleSpec, **changes)
    check_spec(spec, f"model {spec.name}")
    write_manifest(bundle.path, manifest_of(spec, bundle.folds, bundle.sha256), parse_manifest)
    return read_bundle(bundle.path)


def _write_graph(path: Path, network: nn.Module, spec: BundleSpec, float16: bool) -> None:
    # Twice the smallest tile: a graph traced at one voxel a side would lose instance normalisation's meaning.
    answered = [2 * m for m in spec.size_multiple]
    seen = [n + 2 * m for n, m in zip(answered, spec.margin, strict=True)]
    where = f"model {spec.name}"
    shape = write_graph(path, network, (1, 1, *seen), (-1, 1, -1, -1, -1), float16, where)
    if shape != (1, spec.channels, *answered):
        raise ModelError(
            f"{where}: the network must give {spec.channels} outputs of its input's size less the margin, got shape "
            f"{shape}."
        )
