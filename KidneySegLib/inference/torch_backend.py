"""Networks on torch: CUDA, MPS, and the CPU as the plain reference."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from KidneySegLib.errors import DependencyError, DeviceError, ModelError
from KidneySegLib.inference.backend import OutOfDeviceMemoryError
from KidneySegLib.inference.device import DeviceInfo
from KidneySegLib.inference.threads import thread_count
from KidneySegLib.inference.tiling import Float32, OnTile, TilePlan, accumulate, mirror_combinations
from KidneySegLib.models.bundle import Bundle
from KidneySegLib.models.store import verify_files

if TYPE_CHECKING:
    from torch import Tensor, nn

#: Tiles a call on a graphics card. Two fill a large card's units at 128^3; the memory ladder halves it where needed.
_CUDA_BATCH_SIZE = 2


class TorchBackend:
    """The bundle's networks as torch modules on a device. See `backend.Backend`.

    Raises:
        DependencyError: if torch is not installed.
        ModelError: if the weights differ from their hash or do not fit the network.
        DeviceError: if torch cannot use the device.
    """

    name = "torch"

    def __init__(self, bundle: Bundle, device: DeviceInfo, precision: str) -> None:
        try:
            import torch
        except ImportError as error:
            raise DependencyError(
                f"torch, which runs the networks on {device.id}, could not be loaded: {error}. "
                "Install it (pip install 'kidneyseg[gpu]') or choose --device cpu."
            ) from error
        self.device = device.id
        self.precision = precision
        self.has_own_memory = device.kind == "cuda"
        self.batch_size = _CUDA_BATCH_SIZE if device.kind == "cuda" else 1
        self._channels = bundle.channels
        self._dtype = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}[precision]
        if device.kind == "cpu":
            torch.set_num_threads(thread_count())
        if device.kind == "cuda" and not torch.cuda.is_available():
            raise DeviceError(
                "torch cannot use the graphics card (torch.cuda.is_available() is false): a CUDA build of torch and a "
                "driver that fits it are needed. Choose --device cpu meanwhile."
            )
        self._torch_device = torch.device(device.id)
        verify_files(bundle, [fold.weights for fold in bundle.folds])
        try:
            self._networks = [self._load(bundle, fold.weights) for fold in bundle.folds]
        except torch.OutOfMemoryError as error:
            raise OutOfDeviceMemoryError(str(error)) from error

    def _load(self, bundle: Bundle, weights: str) -> nn.Module:
        import torch
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        from KidneySegLib.networks import build_network
        from KidneySegLib.networks.weights import load_weights

        try:
            state = load_file(str(bundle.path / weights))
            network: nn.Module = build_network(bundle.network, bundle.network_arguments)
            load_weights(network, state)
        except torch.OutOfMemoryError:
            raise
        except (SafetensorError, RuntimeError, TypeError, ValueError) as error:
            raise ModelError(
                f"The weights {weights} of the model {bundle.name} do not fit its network {bundle.network}: {error}. "
                "Import the model again."
            ) from error
        layout = torch.channels_last_3d if self._torch_device.type != "mps" else torch.contiguous_format
        placed: Any = network.eval().to(device=self._torch_device, dtype=self._dtype)
        placed.to(memory_format=layout)  # Which torch declares this keyword depends on its version.
        return network

    def _forward(self, tiles: Tensor) -> Tensor:
        """Mean float32 logits of the folds for (n, 1, z, y, x) tiles on the device."""
        tiles = tiles.to(self._dtype)
        total: Tensor = self._networks[0](tiles).float()
        for network in self._networks[1:]:
            total += network(tiles).float()
        return total / len(self._networks) if len(self._networks) > 1 else total

    def _predict(self, tiles: Float32) -> Float32:
        import torch

        given = torch.from_numpy(np.ascontiguousarray(tiles)).to(self._torch_device)
        result: Float32 = self._forward(given).cpu().numpy()
        return result

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
        """See `backend.Backend.logits`."""
        import torch

        try:
            with torch.inference_mode(), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                if accumulate_on_host or not self.has_own_memory:
                    return accumulate(
                        volume,
                        plan,
                        self._channels,
                        self._predict,
                        batch_size=batch_size,
                        mirror_axes=mirror_axes,
                        on_tile=on_tile,
                    )
                return self._accumulate_on_device(volume, plan, batch_size, mirror_axes, on_tile)
        except RuntimeError as error:  # torch.OutOfMemoryError is one; MPS and cuDNN raise plain ones.
            if isinstance(error, torch.OutOfMemoryError) or "out of memory" in str(error).lower():
                self.rest()
                raise OutOfDeviceMemoryError(str(error)) from error
            raise

    def _accumulate_on_device(
        self, volume: Float32, plan: TilePlan, batch_size: int, mirror_axes: Sequence[int], on_tile: OnTile
    ) -> Float32:
        import torch

        device = self._torch_device
        given = torch.from_numpy(np.ascontiguousarray(volume)).to(device)
        out = torch.zeros((self._channels, *plan.shape), device=device)
        wz, wy, wx = (torch.from_numpy(w).to(device) for w in plan.weights())
        weight = wz[:, None, None] * wy[:, None] * wx
        every = (slice(None),)
        windows = list(plan.windows())
        flips = [tuple(2 + axis for axis in axes) for axes in mirror_combinations(mirror_axes)]
        for begin in range(0, len(windows), batch_size):
            group = windows[begin : begin + batch_size]
            tiles = torch.stack([given[plan.seen(w)] for w in group])[:, None]
            logits = self._forward(tiles)
            for axes in flips[1:]:
                logits += self._forward(tiles.flip(axes)).flip(axes)
            logits /= len(flips)
            for window, part in zip(group, logits, strict=True):
                out[every + window] += part * weight
            on_tile(begin + len(group), len(windows))
        for axis, total in enumerate(plan.weight_sums()):
            shape = [1, 1, 1, 1]
            shape[1 + axis] = -1
            out /= torch.from_numpy(total).to(device).reshape(shape)
        result: Float32 = out.cpu().numpy()
        return result

    def rest(self) -> None:
        """See `backend.Backend.rest`: what torch keeps of the card's memory is given back to other programs."""
        import torch

        if self._torch_device.type == "cuda":
            torch.cuda.empty_cache()
        elif self._torch_device.type == "mps":
            torch.mps.empty_cache()
