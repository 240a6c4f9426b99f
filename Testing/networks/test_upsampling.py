"""Upsampling equals torch's own transposed convolution, forward and backward."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from KidneySegLib.networks.upsampling import Upsampling  # noqa: E402
from Testing.networks.same_layer import check_learns_in_bfloat16, check_same_answers  # noqa: E402


def _pair(stride, bias):
    mine = Upsampling(6, 4, stride, bias=bias)
    theirs = torch.nn.ConvTranspose3d(6, 4, stride, stride, bias=bias)
    theirs.load_state_dict(mine.state_dict())
    return mine, theirs


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last_3d])
@pytest.mark.parametrize(("stride", "bias"), [((2, 2, 2), True), ((1, 2, 2), False), ((2, 1, 3), True)])
def test_equals_torchs_own_forward_and_backward(stride, bias, layout):
    image = torch.randn(2, 6, 3, 4, 5).contiguous(memory_format=layout)
    check_same_answers(*_pair(stride, bias), image)


def test_keeps_channels_last():
    mine, _ = _pair((2, 2, 2), True)
    image = torch.randn(2, 6, 3, 4, 5).contiguous(memory_format=torch.channels_last_3d)
    assert mine(image).is_contiguous(memory_format=torch.channels_last_3d)


def test_works_in_bfloat16():
    check_learns_in_bfloat16(*_pair((2, 2, 2), True), torch.randn(2, 6, 3, 4, 5, requires_grad=True))


def test_evaluation_is_torchs_own():
    mine, theirs = _pair((1, 2, 2), True)
    image = torch.randn(2, 6, 3, 4, 5)
    assert torch.equal(mine.eval()(image), theirs.eval()(image))
    assert mine.eval()(image, output_size=[3, 8, 10]).shape == (2, 4, 3, 8, 10)
