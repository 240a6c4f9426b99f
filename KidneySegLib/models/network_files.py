"""The files of one trained network: safetensors, and the OpenVINO graph converted from the same. Needs torch."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from KidneySegLib.errors import ModelError
from KidneySegLib.inference.openvino_runtime import load_openvino
from KidneySegLib.models.graph import split_concatenations

if TYPE_CHECKING:
    from torch import Tensor, nn

#: How far the converted graph's float32 logits may lie from torch's, relative to the largest logit. Sums in another
#: order differ by about 1e-5; float16 storage of the graph by about 1e-3 of each weight.
_TOLERANCE_FLOAT32 = 1e-3
_TOLERANCE_FLOAT16 = 3e-2


def load_network(name: str, arguments: Mapping[str, Any], state: Mapping[str, Tensor], where: str) -> nn.Module:
    """A network with its parameters in float32 on the processor, ready to answer.

    Args:
        name, arguments: as `networks.build_network` takes them.
        state: the parameters.
        where: the model, for messages.

    Raises:
        ModelError: the parameters do not fit it.
    """
    from KidneySegLib.networks import build_network
    from KidneySegLib.networks.weights import load_weights

    try:
        network: nn.Module = build_network(name, arguments)
        load_weights(network, state)
    except (RuntimeError, TypeError, ValueError, KeyError) as error:
        raise ModelError(
            f"{where}: the weights do not fit the network {name}: {error}. Import or train the model again."
        ) from error
    return network.eval()


def write_weights(path: Path, network: nn.Module, float16: bool) -> None:
    """Write a network's parameters as safetensors, in half the space where asked."""
    import torch
    from safetensors.torch import save_file

    kind = torch.float16 if float16 else torch.float32
    tensors = {
        key: (value.to(kind) if value.is_floating_point() else value).contiguous().clone()
        for key, value in network.state_dict().items()
    }
    save_file(tensors, str(path))
    path.chmod(0o644)  # safetensors lets only the owner read; a shared installation needs more.


def write_graph(
    path: Path, network: nn.Module, sample_shape: Sequence[int], input_shape: Sequence[int], float16: bool, where: str
) -> tuple[int, ...]:
    """Write a network as an OpenVINO graph (.xml, .bin), and check that the graph answers as the network does.

    Args:
        path: of the .xml.
        network: in float32 on the processor.
        sample_shape: of the random input that it is traced and checked with.
        input_shape: of the graph's input; -1 is free.
        float16: store parameters in half the space.
        where: the model, for messages.

    Returns:
        The shape of the network's answer to the sample.

    Raises:
        ModelError: the graph answers otherwise.
    """
    import torch

    openvino = load_openvino()
    sample = torch.randn(*sample_shape, generator=torch.Generator().manual_seed(0))
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch.jit.trace, which openvino.convert_model stands on, is deprecated.
        model = openvino.convert_model(network, example_input=sample, input=list(input_shape))
        expected = network(sample).numpy()
    split_concatenations(model)
    openvino.save_model(model, str(path), compress_to_fp16=float16)
    compiled = openvino.Core().compile_model(str(path), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    actual = compiled([sample.numpy()])[0]
    error = float(np.abs(actual - expected).max()) / max(1.0, float(np.abs(expected).max()))
    tolerance = _TOLERANCE_FLOAT16 if float16 else _TOLERANCE_FLOAT32
    if not error <= tolerance:  # also where it is no number
        raise ModelError(
            f"{where}: the OpenVINO graph differs from the torch network by {error:.2g} of the largest output; at most "
            f"{tolerance} was expected. Are the weights finite?"
        )
    return tuple(expected.shape)
