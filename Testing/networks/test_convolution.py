"""Convolution equals torch's own, forward and backward, whatever its kernel and the image's layout."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from KidneySegLib.networks.convolution import Convolution  # noqa: E402
from Testing.networks.same_layer import check_learns_in_bfloat16, check_same_answers  # noqa: E402

SHAPES = [  # kernel, stride, padding
    ((1, 3, 3), (1, 1, 1), (0, 1, 1)),
    ((1, 3, 5), (1, 2, 1), (0, 1, 2)),
    ((1, 3, 3), (2, 2, 2), (0, 1, 1)),
    ((1, 3, 3), (1, 1, 1), (1, 1, 1)),
    ((1, 1, 1), (1, 1, 1), (0, 0, 0)),
    ((3, 3, 3), (1, 2, 2), (1, 1, 1)),
]


def _pair(kernel, stride, padding, bias):
    mine = Convolution(3, 5, kernel, stride, padding, bias=bias)
    theirs = torch.nn.Conv3d(3, 5, kernel, stride, padding, bias=bias)
    theirs.load_state_dict(mine.state_dict())
    return mine, theirs


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last_3d])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(("kernel", "stride", "padding"), SHAPES)
def test_equals_torchs_own_forward_and_backward(kernel, stride, padding, bias, layout):
    image = torch.randn(2, 3, 4, 7, 6).contiguous(memory_format=layout)
    check_same_answers(*_pair(kernel, stride, padding, bias), image)


@pytest.mark.parametrize("count", [1, 2])
def test_keeps_channels_last(count):
    mine, _ = _pair(*SHAPES[0], True)
    image = torch.randn(count, 3, 4, 7, 6).contiguous(memory_format=torch.channels_last_3d)
    assert mine(image).is_contiguous(memory_format=torch.channels_last_3d)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last_3d])
def test_only_flat_kernels_that_learn_go_by_slice(monkeypatch, layout):
    ways = []
    own = torch.nn.Conv3d.forward
    monkeypatch.setattr(torch.nn.Conv3d, "forward", lambda self, x: ways.append("torch") or own(self, x))
    image = torch.randn(2, 3, 4, 7, 6).contiguous(memory_format=layout)

    def way(layer):
        ways.clear()
        layer(image)
        return ways[:]

    flat, solid = (_pair(*shape, True)[0] for shape in (SHAPES[0], SHAPES[-1]))
    assert way(flat) == ([] if layout is torch.channels_last_3d else ["torch"])
    assert way(solid) == ["torch"]
    with torch.no_grad():
        assert way(flat) == ["torch"]
    assert way(flat.eval()) == ["torch"]


def test_works_in_bfloat16():
    image = torch.randn(2, 3, 4, 7, 6).contiguous(memory_format=torch.channels_last_3d).requires_grad_()
    check_learns_in_bfloat16(*_pair(*SHAPES[0], True), image)
