"""Make a bundle out of trained weights: safetensors, the OpenVINO graph converted from the same network, hashes."""

from __future__ import annotations

import json
import math
import shutil
import tempfile
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from KidneySegLib.errors import ModelError
from KidneySegLib.inference.openvino_runtime import load_openvino
from KidneySegLib.models.bundle import (
    FILE_PATTERN,
    MANIFEST,
    NAME_PATTERN,
    Bundle,
    BundleSpec,
    FoldFiles,
    manifest_of,
)
from KidneySegLib.models.importing import put_in_place
from KidneySegLib.models.manifest import check_spec, parse_manifest, read_bundle
from KidneySegLib.models.store import file_sha256

if TYPE_CHECKING:
    from torch import Tensor, nn

#: How far the converted graph's float32 logits may lie from torch's, relative to the largest logit. Sums in another
#: order differ by about 1e-5; float16 storage of the graph by about 1e-3 of each weight.
_TOLERANCE_FLOAT32 = 1e-3
_TOLERANCE_FLOAT16 = 3e-2


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
    if not NAME_PATTERN.fullmatch(spec.name):
        raise ModelError(f"A model's name must be letters, digits, '.', '_' or '-', got '{spec.name}'.")
    check_spec(spec, where)
    folder = Path(folder)
    if folder.exists() and not (replace and ((folder / MANIFEST).is_file() or not any(folder.iterdir()))):
        raise ModelError(f"{folder} exists already. Choose another folder, or replace the model in it (replace=True).")
    states = [state_dict] if isinstance(state_dict, Mapping) else list(state_dict)
    if not states:
        raise ModelError(f"{where}: at least one set of weights was expected, got none.")
    folder.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=".bundle-", dir=folder.parent))
    try:
        fresh = staging / spec.name
        fresh.mkdir()
        folds = tuple(FoldFiles.for_fold(index) for index in range(len(states)))
        names = [name for f in folds for name in (f.weights, f.graph, f.graph_weights)]
        for number, (files, state) in enumerate(zip(folds, states, strict=True)):
            on_fold(number, len(states))
            network = _load_network(spec, state, where)
            _write_weights(fresh / files.weights, network, float16)
            _write_graph(fresh / files.graph, network, spec, float16)
        for name, content in (extra_files or {}).items():
            if not FILE_PATTERN.fullmatch(name) or name in [*names, MANIFEST]:
                raise ModelError(f"{where}: an extra file must have a plain, free name, got {name!r}.")
            (fresh / name).write_bytes(content)
            names.append(name)
        manifest = manifest_of(spec, folds, {name: file_sha256(fresh / name) for name in names})
        text = json.dumps(manifest, indent=1, ensure_ascii=False) + "\n"
        parse_manifest(text, fresh)
        (fresh / MANIFEST).write_text(text, encoding="utf-8")
        put_in_place(fresh, folder, staging)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return read_bundle(folder)


def update_manifest(bundle: Bundle, **changes: object) -> Bundle:
    """Change what a bundle says (its metrics, say) without touching its weights, and read it back.

    Args:
        bundle: a bundle on disk.
        changes: attributes of `BundleSpec` with their new values.

    Raises:
        ModelError: if the result is not valid; the old manifest then stays.
    """
    values = {f.name: getattr(bundle, f.name) for f in fields(BundleSpec)}
    spec = BundleSpec(**{**values, **changes})
    check_spec(spec, f"model {spec.name}")
    text = json.dumps(manifest_of(spec, bundle.folds, bundle.sha256), indent=1, ensure_ascii=False) + "\n"
    parse_manifest(text, bundle.path)
    fresh = bundle.path / (MANIFEST + ".new")
    fresh.write_text(text, encoding="utf-8")
    fresh.replace(bundle.path / MANIFEST)
    return read_bundle(bundle.path)


def _load_network(spec: BundleSpec, state: Mapping[str, Tensor], where: str) -> nn.Module:
    from KidneySegLib.networks import build_network

    try:
        network: nn.Module = build_network(spec.network, spec.network_arguments)
        network.load_state_dict({key: value.detach().float().cpu() for key, value in state.items()})
    except (RuntimeError, TypeError, ValueError, KeyError) as error:
        raise ModelError(f"{where}: the weights do not fit the network {spec.network}: {error}") from error
    return network.eval()


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


def _write_graph(path: Path, network: nn.Module, spec: BundleSpec, float16: bool) -> None:
    import torch

    openvino = load_openvino()
    # Twice the smallest tile: a graph traced at one voxel a side would lose instance normalisation's meaning.
    answered = [2 * m for m in spec.size_multiple]
    seen = [n + 2 * m for n, m in zip(answered, spec.margin, strict=True)]
    sample = torch.randn(1, 1, *seen, generator=torch.Generator().manual_seed(0))
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch.jit.trace, which openvino.convert_model stands on, is deprecated.
        model = openvino.convert_model(network, example_input=sample, input=[-1, 1, -1, -1, -1])
        expected = network(sample).numpy()
    openvino.save_model(model, str(path), compress_to_fp16=float16)
    compiled = openvino.Core().compile_model(str(path), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    actual = compiled([sample.numpy()])[0]
    if expected.shape != (1, spec.channels, *answered):
        raise ModelError(
            f"model {spec.name}: the network must give {spec.channels} outputs of its input's "
            f"size less the margin, got shape {expected.shape}."
        )
    scale = max(1.0, float(np.abs(expected).max()))
    error = float(np.abs(actual - expected).max()) / scale
    tolerance = _TOLERANCE_FLOAT16 if float16 else _TOLERANCE_FLOAT32
    if not error <= tolerance or not math.isfinite(error):
        raise ModelError(
            f"model {spec.name}: the OpenVINO graph differs from the torch network by {error:.2g} of the largest "
            f"output; at most {tolerance} was expected. Are the weights finite?"
        )
