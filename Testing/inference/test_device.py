"""Devices are found without torch, and wrong choices are explained."""

from __future__ import annotations

import subprocess
import sys

import pytest

from KidneySegLib.errors import DeviceError, KidneySegError
from KidneySegLib.inference import device
from KidneySegLib.inference.device import DeviceInfo, available_devices, choose_device, choose_precision
from KidneySegLib.inference.threads import thread_count

PLAIN_CPU = DeviceInfo("Old processor", "cpu", None, "cpu", False)
NEW_CPU = DeviceInfo("New processor", "cpu", None, "cpu", True)
NPU = DeviceInfo("NPU", "intel-npu", None, "intel-npu", False)
CARD = DeviceInfo("Card", "cuda", 8 << 30, "cuda:0", True)


def test_the_processor_is_always_there() -> None:
    first = available_devices()[0]
    assert (first.kind, first.id) == ("cpu", "cpu")
    assert first.memory_bytes is not None
    assert first.memory_bytes > 2**28
    assert choose_device("cpu") == first


def test_auto_prefers_a_cuda_card(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "_cuda_devices", lambda: (CARD,))
    assert choose_device("auto") == CARD
    assert choose_device("cuda") == CARD
    monkeypatch.setattr(device, "_cuda_devices", lambda: ())
    assert choose_device("auto").kind == "cpu"
    with pytest.raises(DeviceError, match="Present: cpu"):
        choose_device("cuda")


def test_unknown_devices_are_listed() -> None:
    with pytest.raises(DeviceError, match="auto, cpu, cuda, mps, intel-gpu, intel-npu, got 'gpu'"):
        choose_device("gpu")


@pytest.mark.parametrize(
    ("wanted", "where", "expected"),
    [
        ("auto", NEW_CPU, "bfloat16"),
        ("auto", PLAIN_CPU, "float32"),
        ("auto", NPU, "float16"),
        ("float32", NEW_CPU, "float32"),
        ("bfloat16", CARD, "bfloat16"),
    ],
)
def test_precision(wanted: str, where: DeviceInfo, expected: str) -> None:
    assert choose_precision(wanted, where) == expected


def test_precision_that_the_device_lacks_is_refused() -> None:
    with pytest.raises(DeviceError, match="does not compute in bfloat16"):
        choose_precision("bfloat16", PLAIN_CPU)
    with pytest.raises(DeviceError, match="got 'int8'"):
        choose_precision("int8", NEW_CPU)


def test_looking_for_devices_imports_neither_torch_nor_telemetry() -> None:
    code = (
        "import sys; from KidneySegLib.inference import available_devices, choose_device; "
        "available_devices(); choose_device('auto'); "
        "print(sorted(m for m in sys.modules if m == 'torch' or m.startswith('openvino_telemetry')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_threads_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KIDNEYSEG_THREADS", "3")
    assert thread_count() == 3
    monkeypatch.delenv("KIDNEYSEG_THREADS")
    assert thread_count() >= 1
    monkeypatch.setenv("KIDNEYSEG_THREADS", "many")
    with pytest.raises(KidneySegError, match="KIDNEYSEG_THREADS"):
        thread_count()
