"""Which numbers a network learns in, by device and processor."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from KidneySegLib.training.precision import autocast  # noqa: E402


def _product(device: str = "cpu", *, needs_amx: bool = False) -> object:
    with autocast(torch.device(device), needs_amx=needs_amx):
        return (torch.ones(4, 4) @ torch.ones(4, 4)).dtype


def test_a_processor_learns_in_bfloat16() -> None:
    assert _product() is torch.bfloat16


@pytest.mark.parametrize(("amx", "expected"), [(True, torch.bfloat16), (False, torch.float32)])
def test_what_needs_amx_learns_in_float32_without_it(
    monkeypatch: pytest.MonkeyPatch, amx: bool, expected: object
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"amx_bf16": amx}, raising=False)
    assert _product(needs_amx=True) is expected


def test_other_devices_learn_in_float32() -> None:
    assert _product("mps") is torch.float32
