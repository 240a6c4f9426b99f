"""The one door to OpenVINO: its optional telemetry stays off, its import stays lazy."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

from KidneySegLib.errors import DependencyError, DeviceError
from KidneySegLib.inference.threads import thread_count

if TYPE_CHECKING:
    from KidneySegLib.inference.device import DeviceInfo


_PRECISION_HINTS = {"float32": "f32", "bfloat16": "bf16", "float16": "f16"}


def compile_options(device: DeviceInfo, precision: str) -> dict[str, str]:
    """With what a graph is compiled for a device: answers as soon as possible, on a CPU with `thread_count` threads."""
    options = {"INFERENCE_PRECISION_HINT": _PRECISION_HINTS[precision], "PERFORMANCE_HINT": "LATENCY"}
    if device.kind == "cpu":
        options["INFERENCE_NUM_THREADS"] = str(thread_count())
    return options


def load_openvino() -> Any:
    """The module ``openvino``, with its telemetry never imported.

    OpenVINO reports its own import to a server, unless the package ``openvino_telemetry`` cannot be imported: then
    it uses an inert stand-in. So that import is made to fail while OpenVINO loads. All of this program reaches
    OpenVINO through this function.

    Raises:
        DependencyError: if OpenVINO is not installed.
    """
    loaded = sys.modules.get("openvino")
    if isinstance(loaded, ModuleType) and hasattr(loaded, "Core"):
        _silence_loaded_telemetry()
        return loaded
    missing = object()
    before = sys.modules.get("openvino_telemetry", missing)
    sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
    try:
        import openvino
    except ImportError as error:
        raise DependencyError(
            f"OpenVINO, which runs networks on a CPU, could not be loaded: {error}. Install it: pip install openvino"
        ) from error
    finally:
        if before is missing:
            del sys.modules["openvino_telemetry"]
        else:
            sys.modules["openvino_telemetry"] = before  # type: ignore[assignment]
    _silence_loaded_telemetry()
    return openvino


def refusal(error: RuntimeError, device: str, precision: str) -> DeviceError:
    """What to tell the user where a device could not run a network, and what to choose instead.

    Args:
        error: what OpenVINO said.
        device: id of the device.
        precision: that it was asked to compute in.
    """
    if device != "cpu":
        advice = "Choose --device cpu."
    elif precision != "float32":
        advice = "Choose --precision float32."
    else:
        advice = "Import the model again; if that does not help, the processor is one that OpenVINO does not support."
    return DeviceError(f"OpenVINO could not run the network on {device}: {str(error).strip()[:500]}. {advice}")


def put_in_place(node: Any, new: Any) -> None:
    """Let a new node of a graph be read wherever another was, under its name."""
    new.set_friendly_name(node.get_friendly_name())
    for reader in node.output(0).get_target_inputs():
        reader.replace_source_output(new.output(0))


def _silence_loaded_telemetry() -> None:
    """Where someone else imported OpenVINO with its telemetry before us, make that one's consent 'no'."""
    telemetry = sys.modules.get("openvino_telemetry.utils.opt_in_checker")
    if telemetry is not None:
        declined = telemetry.ConsentCheckResult.DECLINED
        telemetry.OptInChecker.check = lambda *_args, **_options: declined
