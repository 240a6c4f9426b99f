"""Networks on OpenVINO: processors, and Intel's graphics and neural units."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from KidneySegLib.errors import ModelError
from KidneySegLib.inference.backend import OutOfDeviceMemoryError
from KidneySegLib.inference.device import OPENVINO_NAMES, DeviceInfo
from KidneySegLib.inference.exact_normalisation import normalise_exactly
from KidneySegLib.inference.heap import give_back_freed
from KidneySegLib.inference.openvino_runtime import compile_options, load_openvino, refusal
from KidneySegLib.inference.three_products import split_convolutions, three_products_pay
from KidneySegLib.inference.tiling import Float32, OnTile, TilePlan, accumulate
from KidneySegLib.models.bundle import Bundle
from KidneySegLib.models.store import verify_files

#: What OpenVINO's messages say when memory runs out.
_MEMORY_WORDS = ("out of memory", "out_of_resources", "out_of_host_memory", "mem_object", "exceeded max size")


class OpenVinoBackend:
    """The bundle's graph, compiled for a device. See `backend.Backend`.

    On a processor the graph keeps free tile sizes where the bundle's tiles fit the kidney. Where they all have the
    patch's size, it is compiled for that, and takes a sixth less memory. The graph compiler of Intel's graphics and
    neural units is at its best (or works only) with fixed sizes, so there each tile shape is compiled once.

    Where tiles all have the patch's size, as nnU-Net's have, float32 on a processor answers like torch: normalisations
    are written out (`exact_normalisation`), and with AMX convolutions are sums of bfloat16 products
    (`three_products`). Smaller tiles lose less, and the larger graph would take a second more to compile.

    Raises:
        ModelError: if a file differs from its hash or cannot be read as a graph.
        DeviceError: if the device refuses the network.
    """

    name = "openvino"
    batch_size = 1

    def __init__(self, bundle: Bundle, device: DeviceInfo, precision: str) -> None:
        openvino = load_openvino()
        self.device = device.id
        self.precision = precision
        self.has_own_memory = False
        self._channels = bundle.channels
        self._free_sizes = device.kind == "cpu" and bundle.flexible_tiles
        self._target = OPENVINO_NAMES[device.kind]
        verify_files(bundle, [name for fold in bundle.folds for name in (fold.graph, fold.graph_weights)])
        self._core = openvino.Core()
        self._options = compile_options(device, precision)
        try:
            self._graphs = [
                self._core.read_model(str(bundle.path / fold.graph), str(bundle.path / fold.graph_weights))
                for fold in bundle.folds
            ]
        except RuntimeError as error:
            raise ModelError(
                f"The network of the model {bundle.name} could not be read: {error}. Import the model again."
            ) from error
        if device.kind == "cpu" and precision == "float32" and not bundle.flexible_tiles:
            for graph in self._graphs:
                normalise_exactly(graph)
                if three_products_pay():
                    split_convolutions(self._core, graph)
        self._compiled: dict[tuple[int, ...], list[Any]] = {}
        if device.kind == "cpu":
            tile = tuple(n + 2 * m for n, m in zip(bundle.patch_size, bundle.margin, strict=True))
            self._requests(() if self._free_sizes else (1, 1, *tile))

    def _requests(self, shape: tuple[int, ...]) -> list[Any]:
        """One inference request a fold, for tiles of a shape (empty: any)."""
        if shape not in self._compiled:
            requests = []
            for graph in self._graphs:
                fixed = graph
                if shape:
                    fixed = graph.clone()
                    fixed.reshape(list(shape))
                try:
                    requests.append(self._core.compile_model(fixed, self._target, self._options).create_infer_request())
                except RuntimeError as error:
                    raise _explained(error, self.device, self.precision) from error
            self._compiled[shape] = requests
        return self._compiled[shape]

    def _predict(self, tiles: Float32) -> Float32:
        requests = self._requests(() if self._free_sizes else tiles.shape)
        total: Float32 | None = None
        for request in requests:
            try:
                logits = request.infer([tiles], share_inputs=True, share_outputs=True)[0]
            except RuntimeError as error:
                raise _explained(error, self.device, self.precision) from error
            if total is None:
                # The request's own buffer, overwritten by the next tile: used up before that, or copied for a sum.
                total = logits if len(requests) == 1 else np.array(logits, dtype=np.float32)
            else:
                total += logits
        assert total is not None
        if len(requests) > 1:
            total /= len(requests)
        return total

    def logits(
        self,
        volume: Float32,
        plan: TilePlan,
        *,
        batch_size: int,
        accumulate_on_host: bool,
        mirror_axes: Sequence[int],
        on_tile: OnTile,
    ) -> Float32:
        """See `backend.Backend.logits`. Accumulation is always on the host."""
        give_back_freed()
        return accumulate(
            volume,
            plan,
            self._channels,
            self._predict,
            batch_size=batch_size,
            mirror_axes=mirror_axes,
            on_tile=on_tile,
        )

    def rest(self) -> None:
        """See `backend.Backend.rest`; on processors, whose memory the rest of the road needs."""
        if self.device != "cpu":
            return
        for requests in self._compiled.values():
            for request in requests:
                request.get_compiled_model().release_memory()
        give_back_freed()


def _explained(error: RuntimeError, device: str, precision: str) -> Exception:
    if any(words in str(error).lower() for words in _MEMORY_WORDS):
        return OutOfDeviceMemoryError(str(error))
    return refusal(error, device, precision)
