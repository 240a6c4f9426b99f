"""Upsampling equals torch's own transposed convolution, forward and backward."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from KidneySegLib.networks.upsampling import Upsampling  # noqa: E402


def _pair(stride, bias):
    mine = Upsampling(6, 4, stride, bias=bias)
    theirs = torch.nn.ConvTranspose3d(6, 4, stride, stride, bias=bias)
    theirs.load_state_dict(mine.state_dict())
    return mine, theirs


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last_3d])
@pytest.mark.parametrize(("stride", "bias"), [((2, 2, 2), True), ((1, 2, 2), False), ((2, 1, 3), True)])
def test_equals_torchs_own_forward_and_backward(stride, bias, layout):
    image = torch.randn(2, 6, 3, 4, 5).contiguous(memory_format=layout)
    results = []
    for layer in _pair(stride, bias):
        leaf = image.clone().requires_grad_()
        output = layer(leaf)
        output.backward(torch.linspace(-1, 1, output.numel()).view(output.shape))
        results.append((output.detach(), leaf.grad, *(p.grad for p in layer.parameters())))
    for one, other in zip(*results, strict=True):
        assert one.shape == other.shape
        assert torch.allclose(one, other, atol=1e-4)


def test_keeps_channels_last():
    mine, _ = _pair((2, 2, 2), True)
    image = torch.randn(2, 6, 3, 4, 5).contiguous(memory_format=torch.channels_last_3d)
    assert mine(image).is_contiguous(memory_format=torch.channels_last_3d)


def test_works_in_bfloat16():
    mine, theirs = _pair((2, 2, 2), True)
    image = torch.randn(2, 6, 3, 4, 5, requires_grad=True)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        one, other = mine(image), theirs(image)
    assert one.dtype == torch.bfloat16
    assert torch.allclose(one.float(), other.float(), atol=0.05)
    one.float().square().sum().backward()
    assert image.grad.isfinite().all()
    assert mine.weight.grad.dtype == torch.float32


def test_evaluation_is_torchs_own():
    mine, theirs = _pair((1, 2, 2), True)
    image = torch.randn(2, 6, 3, 4, 5)
    assert torch.equal(mine.eval()(image), theirs.eval()(image))
    assert mine.eval()(image, output_size=[3, 8, 10]).shape == (2, 4, 3, 8, 10)
