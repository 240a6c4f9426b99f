"""An ultrasound bundle made ready on a device: OpenVINO on processors and Intel's units, torch on CUDA and MPS."""

from __future__ import annotations

from typing import Any

import numpy as np

from KidneySegLib.errors import DependencyError, DeviceError, ModelError
from KidneySegLib.inference.device import OPENVINO_NAMES, DeviceInfo, choose_device, choose_precision
from KidneySegLib.inference.tiling import predict_mirrored
from KidneySegLib.ultrasound.bundle import GRAPH, GRAPH_WEIGHTS, WEIGHTS, UltrasoundBundle
from KidneySegLib.ultrasound.preparation import Float32
from KidneySegLib.ultrasound.store import verify_ultrasound_bundle

#: The axis of pictures (N, channels, y, x) that mirroring turns round, counted as `predict_mirrored` does.
_LEFT_RIGHT = (1,)


class UltrasoundNetwork:
    """A loaded network; kept between pictures.

    Args:
        bundle: what to load.
        device: ``auto``, ``cpu``, ``cuda``, ``mps``, ``intel-gpu`` or ``intel-npu``.
        precision: ``auto``, ``float32`` or ``bfloat16``.
        mirror: average with what the network says of the mirror image, which training shows it as often. Our choice,
            not the paper's; it takes twice the time.

    Attributes:
        bundle: the same.
        device: where it runs.
        precision: what it computes in.
        backend: ``openvino`` or ``torch``.

    Raises:
        ModelError: a file differs from its hash, or cannot be read.
        DeviceError: the device is absent, or refuses the network.
    """

    def __init__(
        self, bundle: UltrasoundBundle, device: str = "auto", precision: str = "auto", mirror: bool = True
    ) -> None:
        chosen = choose_device(device)
        self.bundle = bundle
        self._mirror = mirror
        self.device = chosen.id
        self.precision = choose_precision(precision, chosen)
        self.backend = "torch" if chosen.kind in ("cuda", "mps") else "openvino"
        self._run: Any = _torch(bundle, chosen, self.precision) if self.backend == "torch" else _openvino(
            bundle, chosen, self.precision
        )  # fmt: skip

    def probabilities(self, pictures: Float32) -> Float32:
        """Probabilities (pictures, outputs, y, x) of prepared pictures (pictures, y, x) of the bundle's size."""
        given = np.repeat(pictures[:, None], self.bundle.channels, axis=1)
        return predict_mirrored(given, self._one_look, _LEFT_RIGHT if self._mirror else ())

    def _one_look(self, given: Float32) -> Float32:
        logits: Float32 = self._run(np.ascontiguousarray(given, dtype=np.float32))
        return np.asarray(1 / (1 + np.exp(-np.clip(logits, -60, 60))), dtype=np.float32)


def _openvino(bundle: UltrasoundBundle, device: DeviceInfo, precision: str) -> Any:
    from KidneySegLib.inference.openvino_runtime import compile_options, load_openvino

    verify_ultrasound_bundle(bundle, (GRAPH, GRAPH_WEIGHTS))
    core = load_openvino().Core()
    options = compile_options(device, precision)
    try:
        graph = core.read_model(str(bundle.path / GRAPH), str(bundle.path / GRAPH_WEIGHTS))
    except RuntimeError as error:
        raise ModelError(
            f"The network of the model {bundle.name} could not be read: {error}. Import the model again."
        ) from error
    if device.kind != "cpu":
        graph.reshape([1, bundle.channels, *bundle.size])  # these units' compilers want fixed sizes
    try:
        request = core.compile_model(graph, OPENVINO_NAMES[device.kind], options).create_infer_request()
    except RuntimeError as error:
        raise DeviceError(
            f"OpenVINO could not load the network on {device.id}: {error}. Choose --device cpu."
        ) from error

    def run(pictures: Float32) -> Float32:
        # One at a time: a processor gains nothing from more, and memory stays small for long loops.
        return np.concatenate([np.array(request.infer([one[None]])[0], dtype=np.float32) for one in pictures])

    return run


def _torch(bundle: UltrasoundBundle, device: DeviceInfo, precision: str) -> Any:
    try:
        import torch
        from safetensors import SafetensorError
        from safetensors.torch import load_file
    except ImportError as error:
        raise DependencyError(
            f"torch, which runs the network on {device.id}, could not be loaded: {error}. Install it "
            "(pip install 'kidneyseg[gpu]') or choose --device cpu."
        ) from error
    from KidneySegLib.ultrasound.export import load_network

    verify_ultrasound_bundle(bundle, (WEIGHTS,))
    try:
        state = load_file(str(bundle.path / WEIGHTS))
    except SafetensorError as error:
        raise ModelError(
            f"The weights of the model {bundle.name} could not be read: {error}. Import it again."
        ) from error
    dtype = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}[precision]
    place = torch.device(device.id)
    network: Any = load_network(bundle, state).to(device=place, dtype=dtype)

    def run(pictures: Float32) -> Float32:
        with torch.inference_mode():
            parts = [network(one.to(place, dtype)).float().cpu() for one in torch.from_numpy(pictures).split(8)]
        result: Float32 = torch.cat(parts).numpy()
        return result

    return run
