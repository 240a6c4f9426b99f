"""OpenVINO answers like torch, which is the plain reference."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from analytic_bundles import spec

from KidneySegLib.errors import DeviceError, ModelError
from KidneySegLib.inference.backend import make_backend, make_torch_backend
from KidneySegLib.inference.device import DeviceInfo, cpu_device
from KidneySegLib.inference.openvino_backend import OpenVinoBackend
from KidneySegLib.inference.openvino_runtime import refusal
from KidneySegLib.inference.tiling import TilePlan, plan_tiles
from KidneySegLib.inference.torch_backend import TorchBackend
from KidneySegLib.models import Bundle, write_bundle
from KidneySegLib.networks import build_network

ARGUMENTS = {
    "in_channels": 1,
    "out_channels": 2,
    "features": [4, 8, 16],
    "strides": [1, [1, 2, 2], 2],
    "kernel_sizes": [[1, 3, 3], 3, 3],
    "normalisation": "instance",
    "downsampling": "strided_conv",
    "activation": "leaky_relu",
}


def state(seed: int) -> dict[str, torch.Tensor]:
    torch.manual_seed(seed)
    return build_network("UNet3D", ARGUMENTS).state_dict()


@pytest.fixture(scope="module")
def two_folds(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    folder = tmp_path_factory.mktemp("folds") / "two"
    made = spec("two", network_arguments=ARGUMENTS, size_multiple=(2, 4, 4), patch_size=(16, 16, 16))
    return write_bundle(folder, made, [state(1), state(2)])


def run(backend, volume: np.ndarray, plan: TilePlan, mirror_axes=(), batch_size: int = 1) -> np.ndarray:
    return backend.logits(
        volume,
        plan,
        batch_size=batch_size,
        accumulate_on_host=False,
        mirror_axes=mirror_axes,
        on_tile=lambda _done, _count: None,
    )


@pytest.fixture(scope="module")
def case() -> tuple[np.ndarray, TilePlan]:
    volume = np.random.default_rng(3).normal(size=(20, 24, 28)).astype(np.float32)
    return volume, plan_tiles((20, 24, 28), (16, 16, 16))


@pytest.fixture(scope="module")
def expected(two_folds: Bundle, case) -> np.ndarray:
    """The plain reference in float32."""
    return run(make_torch_backend(two_folds, cpu_device(), "float32"), *case)


def test_the_reference_is_the_mean_of_the_folds_on_one_tile(two_folds: Bundle) -> None:
    tile = np.random.default_rng(4).normal(size=(16, 16, 16)).astype(np.float32)
    networks = []
    for seed in (1, 2):
        networks.append(build_network("UNet3D", ARGUMENTS).eval())
        networks[-1].load_state_dict(state(seed))
    with torch.no_grad():
        mean = sum(network(torch.from_numpy(tile)[None, None]) for network in networks)[0].numpy() / 2
    got = run(make_torch_backend(two_folds, cpu_device(), "float32"), tile, plan_tiles((16, 16, 16), (16, 16, 16)))
    np.testing.assert_allclose(got, mean, atol=1e-5)


@pytest.mark.parametrize("mirror_axes", [(), (0, 2)])
def test_openvino_equals_torch_in_float32(two_folds: Bundle, case, mirror_axes) -> None:
    ours = run(make_backend(two_folds, cpu_device(), "float32"), *case, mirror_axes, batch_size=2)
    theirs = run(make_torch_backend(two_folds, cpu_device(), "float32"), *case, mirror_axes)
    assert np.abs(theirs).max() > 0.5
    np.testing.assert_allclose(ours, theirs, atol=1e-4)


def test_bfloat16_stays_near_float32(two_folds: Bundle, case, expected: np.ndarray) -> None:
    device = cpu_device()
    if not device.has_bfloat16:
        pytest.skip("this processor has no bfloat16 units")
    got = run(make_backend(two_folds, device, "bfloat16"), *case)
    error = np.abs(got - expected)
    assert error.max() > 0.0
    # bfloat16 keeps 8 bits.
    assert error.mean() < 0.01 * np.abs(expected).max()


def test_accumulating_on_the_device_changes_nothing(two_folds: Bundle, case) -> None:
    backend = TorchBackend(two_folds, cpu_device(), "float32")
    with torch.inference_mode():
        on_device = backend._accumulate_on_device(*case, 3, (1,), lambda _done, _count: None)
    np.testing.assert_allclose(on_device, run(backend, *case, (1,)), atol=1e-5)


def test_tiles_of_another_shape_need_no_other_bundle(two_folds: Bundle) -> None:
    backend = make_backend(two_folds, cpu_device(), "float32")
    reference = make_torch_backend(two_folds, cpu_device(), "float32")
    for shape in ((8, 16, 12), (16, 8, 8), (8, 16, 12)):
        volume = np.random.default_rng(5).normal(size=shape).astype(np.float32)
        plan = plan_tiles(shape, shape)
        np.testing.assert_allclose(run(backend, volume, plan), run(reference, volume, plan), atol=1e-4)


@pytest.mark.parametrize("make", [make_backend, make_torch_backend])
def test_after_a_rest_the_answer_is_the_same(two_folds: Bundle, case, make) -> None:
    backend = make(two_folds, cpu_device(), "float32")
    before = run(backend, *case).copy()
    backend.rest()
    np.testing.assert_array_equal(run(backend, *case), before)


def test_a_rest_gives_memory_back(tmp_path: Path) -> None:
    """In a process of its own: maps of 40 MB and more are there after an answer, and not after the rest."""
    code = """
import sys
import numpy as np, torch
from pathlib import Path
import analytic_bundles
from KidneySegLib.inference.backend import make_backend
from KidneySegLib.inference.device import cpu_device
from KidneySegLib.inference.tiling import plan_tiles
from KidneySegLib.models import write_bundle
from KidneySegLib.networks import build_network
arguments = {"in_channels": 1, "out_channels": 2, "features": [16, 16], "normalisation": "instance"}
spec = analytic_bundles.spec("b", network_arguments=arguments)
bundle = write_bundle(Path(sys.argv[1]) / "b", spec, build_network("UNet3D", arguments).state_dict())
backend = make_backend(bundle, cpu_device(), "float32")
def resident():
    text = Path("/proc/self/status").read_text()
    return int(text.split("VmRSS:")[1].split()[0]) / 1024
size = (96, 96, 96)
backend.logits(np.zeros(size, np.float32), plan_tiles(size, size), batch_size=1, accumulate_on_host=False,
               mirror_axes=(), on_tile=lambda _done, _count: None)
before = resident()
backend.rest()
print(before - resident())
"""
    if not Path("/proc/self/status").is_file():
        pytest.skip("resident memory is read from /proc")
    paths = os.pathsep.join([*sys.path, str(Path(__file__).parent)])
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)],
        env={**os.environ, "PYTHONPATH": paths},
        capture_output=True,
        text=True,
        check=True,
    )
    assert float(done.stdout.split()[-1]) > 40


@pytest.mark.parametrize("make", [make_backend, make_torch_backend])
def test_changed_files_are_refused(two_folds: Bundle, tmp_path: Path, make) -> None:
    import shutil

    from KidneySegLib.models import read_bundle

    folder = tmp_path / "copy"
    shutil.copytree(two_folds.path, folder)
    for name in ("network_1.bin", "weights_1.safetensors"):
        data = bytearray((folder / name).read_bytes())
        data[-1] ^= 1
        (folder / name).write_bytes(data)
    with pytest.raises(ModelError, match="damaged or was changed"):
        make(read_bundle(folder), cpu_device(), "float32")


def test_torch_refuses_devices_that_it_does_not_know(two_folds: Bundle) -> None:
    with pytest.raises(DeviceError, match="intel-npu"):
        make_torch_backend(two_folds, DeviceInfo("NPU", "intel-npu", None, "intel-npu", False), "float32")


@pytest.mark.parametrize(
    ("device", "precision", "advice"),
    [
        ("intel-gpu", "float16", "Choose --device cpu."),
        ("cpu", "bfloat16", "Choose --precision float32."),
        ("cpu", "float32", "Import the model again"),
    ],
)
def test_a_refusal_advises_what_was_not_chosen_already(device: str, precision: str, advice: str) -> None:
    said = str(refusal(RuntimeError(" no primitive\n"), device, precision))
    assert said.startswith(f"OpenVINO could not run the network on {device}: no primitive. ")
    assert advice in said


def test_openvino_names_a_device_that_it_cannot_use(two_folds: Bundle) -> None:
    backend = OpenVinoBackend(two_folds, DeviceInfo("NPU", "intel-npu", None, "intel-npu", False), "float16")
    with pytest.raises(DeviceError, match="Choose --device cpu"):
        run(backend, np.zeros((16, 16, 16), np.float32), plan_tiles((16, 16, 16), (16, 16, 16)))
