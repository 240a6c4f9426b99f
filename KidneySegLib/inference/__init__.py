"""Inference: a model bundle and a scan in, label maps on the scan's own voxels out.

The order of work: `device` choice, `localiser` at low resolution, `regions` round the kidneys, `resampling` onto the
network's `grid`, `tiling`, a `backend` (OpenVINO or torch), `labelling`, and back. `engine` ties it together.
"""

from __future__ import annotations

from KidneySegLib.inference.device import DeviceInfo, available_devices, choose_device, choose_precision
from KidneySegLib.inference.engine import Engine, EngineResult

__all__ = ["DeviceInfo", "Engine", "EngineResult", "available_devices", "choose_device", "choose_precision"]
