"""Make an ultrasound bundle out of trained weights: safetensors, the OpenVINO graph of the same network, hashes."""

from __future__ import annotations

import json
import shutil
import tempfile
import warnings
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from KidneySegLib.errors import ModelError
from KidneySegLib.inference.openvino_runtime import load_openvino
from KidneySegLib.models.bundle import MANIFEST, NAME_PATTERN
from KidneySegLib.models.importing import put_in_place
from KidneySegLib.models.store import file_sha256
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

#: How far the graph's float32 logits may lie from torch's, relative to the largest; see `models.export`.
_TOLERANCE = {False: 1e-3, True: 3e-2}


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
    if not NAME_PATTERN.fullmatch(spec.name):
        raise ModelError(f"A model's name must be letters, digits, '.', '_' or '-', got '{spec.name}'.")
    folder = Path(folder)
    if folder.exists() and not (replace and ((folder / MANIFEST).is_file() or not any(folder.iterdir()))):
        raise ModelError(f"{folder} exists already. Choose another folder, or replace the model in it (replace=True).")
    folder.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=".bundle-", dir=folder.parent))
    try:
        fresh = staging / spec.name
        fresh.mkdir()
        network = load_network(spec, state_dict)
        _write_weights(fresh / WEIGHTS, network, float16)
        _write_graph(fresh / GRAPH, network, spec, float16)
        hashes = {name: file_sha256(fresh / name) for name in (WEIGHTS, GRAPH, GRAPH_WEIGHTS)}
        _write_manifest(fresh / MANIFEST, spec, hashes)
        put_in_place(fresh, folder, staging)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return read_ultrasound_bundle(folder)


def update_manifest(bundle: UltrasoundBundle, **changes: Any) -> UltrasoundBundle:
    """Change what a bundle says (its metrics, say) without touching its weights, and read it back.

    Raises:
        ModelError: if the result is not valid; the old manifest then stays.
    """
    values = {f.name: getattr(bundle, f.name) for f in fields(UltrasoundSpec)}
    fresh = bundle.path / (MANIFEST + ".new")
    _write_manifest(fresh, UltrasoundSpec(**{**values, **changes}), bundle.sha256)
    fresh.replace(bundle.path / MANIFEST)
    return read_ultrasound_bundle(bundle.path)


def load_network(spec: UltrasoundSpec, state: Mapping[str, Tensor]) -> nn.Module:
    """The spec's network with weights, ready to answer.

    Raises:
        ModelError: the weights do not fit it.
    """
    from KidneySegLib.networks import build_network

    try:
        network: nn.Module = build_network(
            spec.network, {**spec.network_arguments, "in_channels": spec.channels, "out_channels": len(spec.outputs)}
        )
        network.load_state_dict({k: v.detach().cpu().float() if v.is_floating_point() else v for k, v in state.items()})
    except (RuntimeError, TypeError, ValueError, KeyError) as error:
        raise ModelError(
            f"model {spec.name}: the weights do not fit the network {spec.network}: {error}. Import the model again."
        ) from error
    return network.eval()


def _write_manifest(path: Path, spec: UltrasoundSpec, hashes: Mapping[str, str]) -> None:
    text = json.dumps(manifest_of(spec, hashes), indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    parse_manifest(text, path.parent)
    path.write_text(text, encoding="utf-8")


def _write_weights(path: Path, network: nn.Module, float16: bool) -> None:
    import torch
    from safetensors.torch import save_file

    kind = torch.float16 if float16 else torch.float32
    tensors = {
        key: (value.to(kind) if value.is_floating_point() else value).contiguous().clone()
        for key, value in network.state_dict().items()
    }
    save_file(tensors, str(path))
    path.chmod(0o644)  # safetensors lets only the owner read; a shared installation needs more.


def _write_graph(path: Path, network: nn.Module, spec: UltrasoundSpec, float16: bool) -> None:
    import torch

    openvino = load_openvino()
    shape = (spec.channels, *spec.size)
    sample = torch.randn(2, *shape, generator=torch.Generator().manual_seed(0))
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch.jit.trace, which openvino.convert_model stands on, is deprecated.
        model = openvino.convert_model(network, example_input=sample, input=[-1, *shape])
        expected = network(sample).numpy()
    openvino.save_model(model, str(path), compress_to_fp16=float16)
    compiled = openvino.Core().compile_model(str(path), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    actual = compiled([sample.numpy()])[0]
    if expected.shape != (2, len(spec.outputs), *spec.size):
        raise ModelError(
            f"model {spec.name}: the network must give {len(spec.outputs)} outputs of its input's size, got shape "
            f"{expected.shape}."
        )
    error = float(np.abs(actual - expected).max()) / max(1.0, float(np.abs(expected).max()))
    if not error <= _TOLERANCE[float16]:  # also where it is no number
        raise ModelError(
            f"model {spec.name}: the OpenVINO graph differs from the torch network by {error:.2g} of the largest "
            f"output; at most {_TOLERANCE[float16]} was expected. Are the weights finite?"
        )
