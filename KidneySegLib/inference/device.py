"""Which devices there are, found without loading torch or starting a graphics card."""

from __future__ import annotations

import ctypes
import os
import platform
import sys
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from KidneySegLib.errors import DependencyError, DeviceError
from KidneySegLib.inference.openvino_runtime import load_openvino

#: Kinds of devices, as typed after ``--device``.
DEVICE_KINDS = ("cpu", "cuda", "mps", "intel-gpu", "intel-npu")
PRECISIONS = ("auto", "float32", "bfloat16")
#: What OpenVINO calls them.
OPENVINO_NAMES = {"cpu": "CPU", "intel-gpu": "GPU", "intel-npu": "NPU"}


@dataclass(frozen=True)
class DeviceInfo:
    """A device that networks can run on.

    Attributes:
        name: for a person, the maker's name of it.
        kind: one of `DEVICE_KINDS`.
        memory_bytes: the device's memory (a processor's: the computer's); None if unknown.
        id: what to type after ``--device``; ``cuda:1`` for a second card.
        has_bfloat16: whether it computes in bfloat16 natively.
    """

    name: str
    kind: str
    memory_bytes: int | None
    id: str
    has_bfloat16: bool


def available_devices() -> tuple[DeviceInfo, ...]:
    """All devices that can be used now, the processor first.

    A CUDA card counts if the driver lists it and the installed torch is a CUDA build; torch itself is not imported.
    """
    return (cpu_device(), *_cuda_devices(), *_mps_devices(), *_intel_devices())


def choose_device(wanted: str = "auto") -> DeviceInfo:
    """The device for what a user typed.

    ``auto`` is the first CUDA card, else the processor: on Intel's graphics and on MPS nothing has been measured yet
    that would show them to be faster, so they run when asked for.

    Raises:
        DeviceError: if the device is unknown or absent; the message lists those present.
    """
    kind = wanted.partition(":")[0]
    if wanted == "auto":
        cards = _cuda_devices()
        return cards[0] if cards else cpu_device()
    if wanted == "cpu":
        return cpu_device()
    if kind not in DEVICE_KINDS:
        raise DeviceError(f"The device must be one of auto, {', '.join(DEVICE_KINDS)}, got '{wanted}'.")
    devices = available_devices()
    for device in devices:
        if wanted in (device.id, device.kind):
            return device
    raise DeviceError(
        f"The device '{wanted}' was not found. Present: {', '.join(d.id for d in devices)}.{_advice(kind)} "
        "Choose one of these, or auto."
    )


def choose_precision(wanted: str, device: DeviceInfo) -> str:
    """``float32`` or ``bfloat16`` (on Intel's accelerators ``float16``, their native one, for ``auto``).

    ``auto`` takes bfloat16 where the device computes in it natively: on two cores with AMX a 144x96x96 tile of a
    U-Net of 5.6 M parameters took 0.33 s in bfloat16 and 1.2 s in float32.

    Raises:
        DeviceError: for an unknown precision, or bfloat16 on a device without it.
    """
    if wanted not in PRECISIONS:
        raise DeviceError(f"The precision must be one of {', '.join(PRECISIONS)}, got '{wanted}'.")
    if wanted == "bfloat16" and not device.has_bfloat16:
        raise DeviceError(f"{device.name} ({device.id}) does not compute in bfloat16. Choose float32, or auto.")
    if wanted != "auto":
        return wanted
    if device.kind in ("intel-gpu", "intel-npu"):
        return "float16"
    return "bfloat16" if device.has_bfloat16 else "float32"


def cpu_device() -> DeviceInfo:
    """The processor."""
    name, has_bfloat16 = platform.processor() or platform.machine() or "processor", False
    try:
        core = load_openvino().Core()
        name = str(core.get_property("CPU", "FULL_DEVICE_NAME")).strip()
        # OpenVINO's own default hint is bf16 exactly where AMX or AVX512-BF16 does the work, not an emulation.
        default = core.get_property("CPU", "INFERENCE_PRECISION_HINT")
        has_bfloat16 = "bf" in getattr(default, "get_type_name", lambda: str(default))()
    except (DependencyError, RuntimeError):
        pass  # Still listed; running a network on it will say what is missing.
    return DeviceInfo(name, "cpu", _computer_memory(), "cpu", has_bfloat16)


def _computer_memory() -> int | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return _windows_memory()


def _windows_memory() -> int | None:
    if not hasattr(ctypes, "windll"):
        return None
    total_kib = ctypes.c_ulonglong()
    good = ctypes.windll.kernel32.GetPhysicallyInstalledSystemMemory(ctypes.byref(total_kib))
    return int(total_kib.value) * 1024 if good else None


def _torch_folder() -> Path | None:
    """Where torch is installed; it is looked up, not imported."""
    spec = find_spec("torch")
    return Path(spec.origin).parent if spec is not None and spec.origin else None


def _torch_has_cuda() -> bool:
    folder = _torch_folder()
    names = ("libtorch_cuda.so", "torch_cuda.dll")
    return folder is not None and any((folder / "lib" / name).exists() for name in names)


def _cuda_devices() -> tuple[DeviceInfo, ...]:
    if not _torch_has_cuda():
        return ()
    try:
        driver = ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    except OSError:
        return ()
    count = ctypes.c_int()
    if driver.cuInit(0) != 0 or driver.cuDeviceGetCount(ctypes.byref(count)) != 0:
        return ()
    return tuple(_cuda_device(driver, index) for index in range(count.value))


def _cuda_device(driver: ctypes.CDLL, index: int) -> DeviceInfo:
    handle, major, memory = ctypes.c_int(), ctypes.c_int(), ctypes.c_size_t()
    name = ctypes.create_string_buffer(256)
    driver.cuDeviceGet(ctypes.byref(handle), index)
    driver.cuDeviceGetName(name, len(name), handle)
    driver.cuDeviceTotalMem_v2(ctypes.byref(memory), handle)
    compute_capability_major = 75  # CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR
    driver.cuDeviceGetAttribute(ctypes.byref(major), compute_capability_major, handle)
    return DeviceInfo(
        name=name.value.decode(errors="replace"),
        kind="cuda",
        memory_bytes=int(memory.value),
        id=f"cuda:{index}",
        has_bfloat16=major.value >= 8,  # Ampere is the first with bfloat16 units.
    )


def _mps_devices() -> tuple[DeviceInfo, ...]:
    if (platform.system(), platform.machine()) != ("Darwin", "arm64") or _torch_folder() is None:
        return ()
    return (DeviceInfo("Apple GPU (Metal)", "mps", _computer_memory(), "mps", False),)


def _intel_devices() -> tuple[DeviceInfo, ...]:
    try:
        core = load_openvino().Core()
        present = core.available_devices
    except (DependencyError, RuntimeError):
        return ()
    found = []
    for kind, openvino_name in OPENVINO_NAMES.items():
        if kind == "cpu":
            continue
        for listed in present:
            if listed.partition(".")[0] == openvino_name:
                name = str(core.get_property(listed, "FULL_DEVICE_NAME"))
                found.append(DeviceInfo(name, kind, None, kind, False))
                break
    return tuple(found)


def _advice(kind: str) -> str:
    if kind == "cuda" and _torch_folder() is None:
        return " CUDA needs torch, which is not installed (pip install 'kidneyseg[gpu]')."
    if kind == "cuda" and not _torch_has_cuda():
        return " The installed torch is a build without CUDA."
    if kind == "mps":
        return " MPS needs a Mac with Apple silicon and torch."
    return ""
