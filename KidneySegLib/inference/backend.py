"""The small protocol that runs a network on tiles, and its two makers: OpenVINO and torch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from KidneySegLib.errors import DeviceError
from KidneySegLib.inference.device import DeviceInfo
from KidneySegLib.inference.tiling import Float32, OnTile, TilePlan
from KidneySegLib.models.bundle import Bundle


class OutOfDeviceMemoryError(Exception):
    """A backend ran out of its device's memory; the `memory_ladder` catches it and steps down."""


class Backend(Protocol):
    """A network on a device.

    Attributes:
        name: ``openvino`` or ``torch``.
        device: the device's id, as the user types it.
        precision: ``float32``, ``bfloat16`` or ``float16``: what the network computes in.
        batch_size: tiles a call that suit the device.
        has_own_memory: whether the device's memory is not the computer's, so that accumulating on the host helps.
    """

    name: str
    device: str
    precision: str
    batch_size: int
    has_own_memory: bool

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
        """Logits (channels, z, y, x) of a normalised volume (z, y, x) of ``plan.shape`` and its margin; folds are
        averaged.

        Raises:
            OutOfDeviceMemoryError: if the device's memory does not suffice.
        """
        ...

    def rest(self) -> None:
        """Give back what memory the network's maps take; the next call of `logits` takes it again."""
        ...


#: Makes a backend of a bundle on a device in a precision; tests give their own.
BackendMaker = Callable[[Bundle, DeviceInfo, str], Backend]


def make_backend(bundle: Bundle, device: DeviceInfo, precision: str) -> Backend:
    """OpenVINO for processors and Intel's accelerators, torch for CUDA and MPS."""
    if device.kind in ("cuda", "mps"):
        from KidneySegLib.inference.torch_backend import TorchBackend

        return TorchBackend(bundle, device, precision)
    from KidneySegLib.inference.openvino_backend import OpenVinoBackend

    return OpenVinoBackend(bundle, device, precision)


def make_torch_backend(bundle: Bundle, device: DeviceInfo, precision: str) -> Backend:
    """Torch on any device that it knows: the plain reference that OpenVINO is held against."""
    if device.kind not in ("cpu", "cuda", "mps"):
        raise DeviceError(f"torch runs on cpu, cuda or mps here, got {device.kind}. Choose one of them.")
    from KidneySegLib.inference.torch_backend import TorchBackend

    return TorchBackend(bundle, device, precision)
