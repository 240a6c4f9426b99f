"""What the machine can do: measured matrix and copy rates, and the work of a network."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

#: Large enough to leave the caches, small enough for a second.
_MATRIX = 2048
_COPY_BYTES = 512 * 2**20


def measure_limits(threads: int, device: str = "cpu") -> dict[str, float]:
    """Rates of large matrix products (float32 and bfloat16, TFLOP/s) and of copying (GB/s, read and write counted).

    On a CPU the better of torch and OpenVINO counts: torch's float32 product is MKL's, which is slow on AMD. A device
    that does not compute in bfloat16 has no rate in it.
    """
    import torch

    from KidneySegLib.inference.device import choose_device

    torch.set_num_threads(threads)
    rates = {}
    size = _MATRIX if device == "cpu" else 4 * _MATRIX
    for name in ("float32", "bfloat16") if choose_device(device).has_bfloat16 else ("float32",):
        a, b = (torch.randn(size, size, device=device).to(getattr(torch, name)) for _ in range(2))
        seconds = [_best(lambda a=a, b=b: a @ b, device)]
        if device == "cpu":
            seconds.append(_best(_openvino_product(size, name, threads), device))
        rates[f"matrix_{name}_tflops"] = 2 * size**3 / min(seconds) / 1e12
    source = torch.zeros(_COPY_BYTES // 4, device=device)
    target = torch.empty_like(source)
    rates["copy_gb_per_s"] = 2 * _COPY_BYTES / _best(lambda: target.copy_(source), device) / 1e9
    return rates


def _openvino_product(size: int, precision: str, threads: int) -> Callable[[], Any]:
    """A matrix times a constant one, as OpenVINO does it."""
    import numpy as np

    from KidneySegLib.inference.openvino_runtime import load_openvino

    openvino = load_openvino()
    random = np.random.default_rng(0)
    given, constant = (random.normal(size=(size, size)).astype(np.float32) for _ in range(2))
    operations = openvino.opset13
    parameter = operations.parameter([size, size], np.float32)
    model = openvino.Model([operations.matmul(parameter, operations.constant(constant), False, False)], [parameter])
    hint = {"float32": "f32", "bfloat16": "bf16"}[precision]
    options = {"INFERENCE_PRECISION_HINT": hint, "INFERENCE_NUM_THREADS": str(threads)}
    request = openvino.Core().compile_model(model, "CPU", options).create_infer_request()
    return lambda: request.infer([given], share_inputs=True, share_outputs=True)


def _best(work: Callable[[], Any], device: str, times: int = 5) -> float:
    import torch

    seconds = []
    for _ in range(times + 1):
        begin = time.perf_counter()
        work()
        if device.startswith("cuda"):
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - begin)
    return min(seconds[1:])


def convolution_flops(network: Any, patch: tuple[int, int, int]) -> float:
    """Floating-point operations of a network's convolutions for one tile, counted layer by layer."""
    import torch
    from torch import nn

    total = 0.0

    def count(layer: Any, given: Any, made: Any) -> None:
        nonlocal total
        kernel = float(torch.tensor(layer.weight.shape[2:]).prod())
        if isinstance(layer, nn.ConvTranspose3d):
            voxels = float(torch.tensor(given[0].shape[2:]).prod())
        else:
            voxels = float(torch.tensor(made.shape[2:]).prod())
        total += 2 * voxels * kernel * layer.in_channels * layer.out_channels

    hooks = [
        m.register_forward_hook(count) for m in network.modules() if isinstance(m, (nn.Conv3d, nn.ConvTranspose3d))
    ]
    with torch.device("meta"):
        given = torch.empty(1, 1, *patch)
    network.to("meta")(given)
    for hook in hooks:
        hook.remove()
    return total


def processor() -> dict[str, Any]:
    """Name of the processor, and whether it has AMX for bfloat16."""
    import platform
    from pathlib import Path

    from KidneySegLib.inference.device import cpu_device

    try:
        flags = Path("/proc/cpuinfo").read_text()
    except OSError:
        flags = ""
    device = cpu_device()
    return {
        "processor": device.name,
        "system": f"{platform.system()} {platform.machine()}",
        "amx_bf16": "amx_bf16" in flags,
        "avx512_bf16": "avx512_bf16" in flags,
        "memory_bytes": device.memory_bytes,
    }
