"""Make a two-stage bundle: two networks, two graphs, one folder."""

from __future__ import annotations

import json
import shutil
import tempfile
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from KidneySegLib.errors import ModelError
from KidneySegLib.inference.openvino_runtime import load_openvino
from KidneySegLib.models.bundle import MANIFEST, Bundle, BundleSpec, FoldFiles, manifest_of
from KidneySegLib.models.importing import put_in_place
from KidneySegLib.models.manifest import check_spec, parse_manifest, read_bundle
from KidneySegLib.models.store import file_sha256

if TYPE_CHECKING:
    from torch import Tensor, nn

#: As for other bundles: sums in another order, and weights stored in float16.
_TOLERANCE = 3e-2


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
    if folder.exists() and not (replace and (folder / MANIFEST).is_file()):
        raise ModelError(f"{folder} exists already. Choose another folder, or replace the model in it (replace=True).")
    folder.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=".bundle-", dir=folder.parent))
    try:
        fresh = staging / spec.name
        fresh.mkdir()
        fold = FoldFiles.for_fold(0)
        _write(fresh, record.files, record.network, record.arguments, first, (1, 1, 8, 32, 32), where)
        files = (fold.weights, fold.graph, fold.graph_weights)
        _write(fresh, files, spec.network, spec.network_arguments, second, (1, 3, 32, 32), where)
        hashes = {name: file_sha256(fresh / name) for name in (*files, *record.files)}
        text = json.dumps(manifest_of(spec, (fold,), hashes), indent=1, ensure_ascii=False) + "\n"
        parse_manifest(text, fresh)
        (fresh / MANIFEST).write_text(text, encoding="utf-8")
        put_in_place(fresh, folder, staging)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
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
    import torch
    from safetensors.torch import save_file

    from KidneySegLib.networks import build_network

    try:
        network: nn.Module = build_network(name, arguments)
        network.load_state_dict({k: v.detach().cpu().float() if v.is_floating_point() else v for k, v in state.items()})
    except (RuntimeError, TypeError, ValueError, KeyError) as error:
        raise ModelError(f"{where}: the weights do not fit the network {name}: {error}") from error
    network.eval()
    tensors = {
        k: (v.half() if v.is_floating_point() else v).contiguous().clone() for k, v in network.state_dict().items()
    }
    save_file(tensors, str(folder / files[0]))
    (folder / files[0]).chmod(0o644)  # safetensors lets only the owner read.
    openvino = load_openvino()
    sample = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    free = [-1, shape[1], *(-1 for _ in shape[2:])]
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch.jit.trace is deprecated.
        graph = openvino.convert_model(network, example_input=sample, input=free)
        expected = network(sample).numpy()
    openvino.save_model(graph, str(folder / files[1]), compress_to_fp16=True)
    compiled = openvino.Core().compile_model(str(folder / files[1]), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    difference = float(np.abs(compiled([sample.numpy()])[0] - expected).max()) / max(1.0, float(np.abs(expected).max()))
    if not difference <= _TOLERANCE:  # Also where it is no number.
        raise ModelError(
            f"{where}: the OpenVINO graph of {name} differs from the torch network by {difference:.2g} of the largest "
            f"output; at most {_TOLERANCE} was expected. Are the weights finite?"
        )
