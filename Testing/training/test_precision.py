"""Which numbers a network learns in, by device and by what is faster."""

from __future__ import annotations

import time

import pytest

torch = pytest.importorskip("torch")

from KidneySegLib.training.precision import autocast, faster_in_bfloat16  # noqa: E402


def _product(device: str = "cpu", *, bfloat16: bool = True) -> object:
    with autocast(torch.device(device), bfloat16=bfloat16):
        return (torch.ones(4, 4) @ torch.ones(4, 4)).dtype


def test_a_processor_learns_in_bfloat16_unless_told_otherwise() -> None:
    assert _product() is torch.bfloat16
    assert _product(bfloat16=False) is torch.float32


def test_other_devices_learn_in_float32() -> None:
    assert _product("mps") is torch.float32


@pytest.mark.parametrize("slow", [True, False])
def test_a_processor_tries_which_is_faster(slow: bool) -> None:
    def step(bfloat16: bool) -> None:
        time.sleep(0.05 if bfloat16 is slow else 0)

    assert faster_in_bfloat16(torch.device("cpu"), step) is not slow


@pytest.mark.parametrize(("device", "expected"), [("cuda", True), ("mps", False)])
def test_on_other_devices_nothing_is_tried(device: str, expected: bool) -> None:
    def step(bfloat16: bool) -> None:
        raise AssertionError("a step was run")

    assert faster_in_bfloat16(torch.device(device), step) is expected
