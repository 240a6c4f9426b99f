"""The two networks of a two-stage bundle, ready on a device: OpenVINO, or torch on CUDA and MPS."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from KidneySegLib.errors import ModelError
from KidneySegLib.inference.device import OPENVINO_NAMES, DeviceInfo, choose_precision
from KidneySegLib.inference.openvino_runtime import compile_options, load_openvino, refusal
from KidneySegLib.inference.tiling import Float32
from KidneySegLib.models.bundle import Bundle
from KidneySegLib.models.store import verify_files

#: Logits of a batch.
Run = Callable[[Float32], Float32]


class TwoStageNetworks:
    """Both networks, kept between cases.

    Args:
        bundle: a two-stage bundle.
        device: where they run.
        precision: ``auto``, ``float32`` or ``bfloat16``.
        mirror: ``auto`` (as the bundle says), ``on`` or ``off``.

    Attributes:
        mirror_axes: that each stage's looks are mirrored along (0 z, 1 y, 2 x).
        first: logits (N, 2, z, y, x) of slabs (N, 1, z, y, x).
        second: logits (N, outputs, y, x) of slices (N, 3, y, x).

    Raises:
        ModelError: a file differs from its hash or cannot be read.
        DeviceError: the device refuses a network.
    """

    def __init__(self, bundle: Bundle, device: DeviceInfo, precision: str, mirror: str) -> None:
        record, fold = bundle.two_stage, bundle.folds[0]
        assert record is not None
        self.bundle = bundle
        self.mirror_axes = bundle.axes_mirrored(mirror)
        self.device = device.id
        self.precision = choose_precision(precision, device)
        self.backend = "torch" if device.kind in ("cuda", "mps") else "openvino"
        self.first: Run
        self.second: Run
        if self.backend == "torch":
            self.first = self._torch(record.weights, record.network, record.arguments)
            self.second = self._torch(fold.weights, bundle.network, bundle.network_arguments)
        else:
            self.first = self._openvino(record.graph, record.graph_weights, device)
            self.second = self._openvino(fold.graph, fold.graph_weights, device)

    def _openvino(self, graph: str, weights: str, device: DeviceInfo) -> Run:
        folder = self.bundle.path
        verify_files(self.bundle, [graph, weights])
        core = load_openvino().Core()
        options = compile_options(device, self.precision)
        try:
            read = core.read_model(str(folder / graph), str(folder / weights))
        except RuntimeError as error:
            raise ModelError(
                f"The network {graph} of the model {self.bundle.name} could not be read: {error}. Import it again."
            ) from error
        compiled: dict[tuple[int, ...], Any] = {}

        def run(batch: Float32) -> Float32:
            shape = () if device.kind == "cpu" else batch.shape
            try:
                if shape not in compiled:
                    fixed = read
                    if shape:  # These units' compilers want fixed sizes.
                        fixed = read.clone()
                        fixed.reshape(list(shape))
                    model = core.compile_model(fixed, OPENVINO_NAMES[device.kind], options)
                    compiled[shape] = model.create_infer_request()
                return np.array(compiled[shape].infer([batch])[0], dtype=np.float32)
            except RuntimeError as error:
                raise refusal(error, self.device, self.precision) from error

        return run

    def _torch(self, weights: str, name: str, arguments: Mapping[str, Any]) -> Run:
        import torch
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        from KidneySegLib.networks import build_network
        from KidneySegLib.networks.weights import load_weights

        verify_files(self.bundle, [weights])
        dtype = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}[self.precision]
        place = torch.device(self.device)
        try:
            network: Any = build_network(name, arguments)
            state = load_file(str(self.bundle.path / weights))
            load_weights(network, state)
        except (SafetensorError, RuntimeError, TypeError, ValueError) as error:
            raise ModelError(
                f"The weights {weights} do not fit the network {name}: {error}. Import it again."
            ) from error
        network = network.eval().to(device=place, dtype=dtype)

        def run(batch: Float32) -> Float32:
            with torch.inference_mode():
                result: Float32 = network(torch.from_numpy(batch).to(place, dtype)).float().cpu().numpy()
            return result

        return run
