"""Make an ultrasound bundle out of trained weights: safetensors, the OpenVINO graph of the same network, hashes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from KidneySegLib.errors import ModelError
from KidneySegLib.files import file_sha256
from KidneySegLib.models import network_files
from KidneySegLib.models.bundle_folder import check_folder_is_free, fresh_folder
from KidneySegLib.models.model_json import check_name, respecified, write_manifest
from KidneySegLib.ultrasound.bundle import (
    GRAPH,
    GRAPH_WEIGHTS,
    WEIGHTS,
    UltrasoundBundle,
    UltrasoundSpec,
    manifest_of,
    parse_manifest,
    read_ultrasound_bundle,
)

if TYPE_CHECKING:
    from torch import Tensor, nn


def write_ultrasound_bundle(
    folder: Path,
    spec: UltrasoundSpec,
    state_dict: Mapping[str, Tensor],
    *,
    float16: bool = False,
    replace: bool = False,
) -> UltrasoundBundle:
    """Write a bundle folder, whole or not at all. Needs torch.

    Args:
        folder: the bundle's folder; must not exist unless ``replace``.
        spec: what ``model.json`` says.
        state_dict: the network's parameters.
        float16: store parameters in half the space.
        replace: allow an existing bundle in ``folder``.

    Raises:
        ModelError: the weights do not fit the network, the graph does not answer like it, or the folder is taken.
    """
    check_name(spec.name)
    folder = Path(folder)
    check_folder_is_free(folder, replace)
    with fresh_folder(folder) as fresh:
        network = load_network(spec, state_dict)
        network_files.write_weights(fresh / WEIGHTS, network, float16)
        _write_graph(fresh / GRAPH, network, spec, float16)
        hashes = {name: file_sha256(fresh / name) for name in (WEIGHTS, GRAPH, GRAPH_WEIGHTS)}
        write_manifest(fresh, manifest_of(spec, hashes), parse_manifest)
    return read_ultrasound_bundle(folder)


def update_manifest(bundle: UltrasoundBundle, **changes: Any) -> UltrasoundBundle:
    """Change what a bundle says (its metrics, say) without touching its weights, and read it back.

    Raises:
        ModelError: if the result is not valid; the old manifest then stays.
    """
    spec = respecified(bundle, UltrasoundSpec, **changes)
    write_manifest(bundle.path, manifest_of(spec, bundle.sha256), parse_manifest)
    return read_ultrasound_bundle(bundle.path)


def load_network(spec: UltrasoundSpec, state: Mapping[str, Tensor]) -> nn.Module:
    """The spec's network with weights, ready to answer.

    Raises:
        ModelError: the weights do not fit it.
    """
    arguments = {**spec.network_arguments, "in_channels": spec.channels, "out_channels": len(spec.outputs)}
    return network_files.load_network(spec.network, arguments, state, f"model {spec.name}")


def _write_graph(path: Path, network: nn.Module, spec: UltrasoundSpec, float16: bool) -> None:
    given, where = (spec.channels, *spec.size), f"model {spec.name}"
    shape = network_files.write_graph(path, network, (2, *given), (-1, *given), float16, where)
    if shape != (2, len(spec.outputs), *spec.size):
        raise ModelError(
            f"{where}: the network must give {len(spec.outputs)} outputs of its input's size, got shape {shape}."
        )
