"""A float32 convolution and the sum of three bfloat16 convolutions in its place give the same answer."""

from __future__ import annotations

import platform
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from KidneySegLib.inference import three_products
from KidneySegLib.inference.openvino_runtime import load_openvino
from KidneySegLib.inference.three_products import rounded_and_rest, split_convolutions, three_products_pay
from KidneySegLib.models.graph import split_concatenations
from KidneySegLib.networks import build_network
from Testing.models.test_graph import answer, converted

#: As a share of the answers' spread: float32's own rounding, three products, bfloat16.
SAME, THREE_PRODUCTS, BFLOAT16 = 2e-6, 3e-4, 3e-3

needs_bfloat16 = pytest.mark.skipif(
    "BF16" not in load_openvino().Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"),
    reason="this processor has no instructions for bfloat16: three products are never taken on it",
)


def difference(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.abs(one - other).max() / other.std())


def test_rounding_is_to_the_nearest_ties_to_even() -> None:
    values = np.float32([1, 1 + 2**-9, 1 + 2**-8, 1 + 3 * 2**-8, -(1 + 3 * 2**-8), 0, 2**-140])
    first, rest = rounded_and_rest(values)
    np.testing.assert_array_equal(first, np.float32([1, 1, 1, 1 + 2**-6, -(1 + 2**-6), 0, 0]))
    np.testing.assert_array_equal(rest[:6], np.float32([0, 2**-9, 2**-8, -(2**-8), 2**-8, 0]))


@given(st.lists(st.floats(-(2.0**100), 2.0**100, width=32), min_size=1, max_size=20))
def test_two_bfloat16_numbers_keep_sixteen_bits(values: list[float]) -> None:
    given_values = np.float32(values)
    first, rest = rounded_and_rest(given_values)
    for part in (first, rest):
        assert not (part.view(np.uint32) & 0xFFFF).any()
    left = np.abs(given_values.astype(np.float64) - first - rest)
    # What is smaller than 2**-133 has fewer bits.
    assert (left <= np.maximum(np.abs(given_values.astype(np.float64)) * 2.0**-16, 2.0**-133)).all()


@needs_bfloat16
@pytest.mark.parametrize("free_sizes", [False, True])
@pytest.mark.parametrize(
    ("name", "arguments", "shape", "replaced"),
    [
        # Two at each of the lower two resolutions, three on the way up; 16 channels are too few products.
        ("UNet3D", {"in_channels": 1, "out_channels": 2, "features": [16, 32, 48]}, (1, 1, 8, 16, 12), 7),
        # Two at each of four resolutions; six nodes between them, whose first looks at two to four maps.
        ("UNetPlusPlus", {"in_channels": 3, "out_channels": 3, "filters": [16, 96, 96, 96, 96]}, (1, 3, 32, 16), 30),
    ],
)
def test_networks_answer_as_before(
    name: str, arguments: dict, shape: tuple[int, ...], replaced: int, free_sizes: bool
) -> None:
    torch.manual_seed(0)
    core = load_openvino().Core()
    model, maps = converted(build_network(name, arguments), shape)
    split_concatenations(model)
    model.reshape([*shape[:2], *[-1] * (len(shape) - 2)] if free_sizes else list(shape))
    before, coarse = answer(model, maps), answer(model, maps, "bf16")
    assert split_convolutions(core, model) == replaced
    assert difference(coarse, before) > BFLOAT16
    assert difference(answer(model, maps), before) < THREE_PRODUCTS


class _Read(nn.Module):
    """One convolution whose answer is read once, twice, added to itself, to another or to a constant."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.widen = nn.Conv3d(1, 32, 1)
        self.look = nn.Conv3d(32, 48, 3, stride=2, padding=1, bias=how == "bias")
        self.other = nn.Conv3d(32, 48, 3, stride=2, padding=1, bias=False)
        self.how = how

    def forward(self, maps):
        wide = self.widen(maps)
        seen = self.look(wide)
        if self.how == "twice":
            return seen * torch.sigmoid(seen)
        if self.how == "itself":
            return seen + seen
        if self.how == "other":
            return torch.relu(seen + self.other(wide))
        return seen


@needs_bfloat16
@pytest.mark.parametrize("how", ["once", "bias", "twice", "itself", "other"])
def test_whoever_reads_a_convolution_reads_the_sum(how: str) -> None:
    torch.manual_seed(0)
    core = load_openvino().Core()
    model, maps = converted(_Read(how), (1, 1, 6, 5, 7))
    before = answer(model, maps)
    assert split_convolutions(core, model) == (2 if how == "other" else 1)
    after = answer(model, maps)
    assert SAME < difference(after, before) < THREE_PRODUCTS


@needs_bfloat16
def test_half_precision_weights_are_unpacked(tmp_path: Path) -> None:
    torch.manual_seed(0)
    openvino = load_openvino()
    core = openvino.Core()
    model, maps = converted(_Read("once"), (1, 1, 6, 5, 7))
    openvino.save_model(model, str(tmp_path / "half.xml"), compress_to_fp16=True)
    packed = core.read_model(str(tmp_path / "half.xml"))
    before = answer(packed, maps)
    assert split_convolutions(core, packed) == 1
    assert difference(answer(packed, maps), before) < THREE_PRODUCTS


def test_weights_that_are_computed_are_left() -> None:
    openvino = load_openvino()
    ops = openvino.opset13
    maps, weights = ops.parameter([1, 32, 4, 4, 4], np.float32), ops.parameter([32, 32, 3, 3, 3], np.float32)
    ones = [1, 1, 1]
    model = openvino.Model([ops.convolution(maps, weights, ones, ones, ones, ones)], [maps, weights], "computed")
    assert split_convolutions(openvino.Core(), model) == 0


@pytest.fixture
def asked_anew():
    three_products_pay.cache_clear()
    yield
    three_products_pay.cache_clear()


#: None: this system does not tell.
amx = "amx_bf16" in Path("/proc/cpuinfo").read_text() if platform.system() == "Linux" else None
needs_amx = pytest.mark.skipif(
    not amx, reason="this processor has no AMX, or nothing tells: three products may not be taken on it"
)


@pytest.mark.skipif(amx is not False, reason="this processor has AMX, or nothing tells")
def test_without_amx_they_are_never_taken(asked_anew) -> None:
    assert not three_products_pay()


@needs_amx
@pytest.mark.parametrize("plain_seconds", [0.9, 1.1])
def test_with_amx_they_are_taken_where_they_are_faster(
    plain_seconds: float, asked_anew, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(three_products, "seconds_in_turn", lambda *_: [plain_seconds, 1.0])
    assert three_products_pay() is (plain_seconds > 1)


@pytest.fixture
def faster(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(three_products, "seconds_in_turn", lambda *_: [2.0, 1.0])


def test_an_openvino_without_the_extension_keeps_float32(asked_anew, faster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(three_products, "_PLUGINS", ("another_name.so",))
    assert not three_products_pay()


def test_another_name_of_the_operation_keeps_float32(asked_anew, faster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(three_products, "_DESCRIPTION", three_products._DESCRIPTION.replace("type_relaxed_", "other_"))
    assert not three_products_pay()


def test_answers_in_bfloat16_are_found_out(asked_anew, faster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(three_products, "rounded_and_rest", lambda v: (rounded_and_rest(v)[0], np.zeros_like(v)))
    assert not three_products_pay()
