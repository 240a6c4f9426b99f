"""InstanceNorm equals torch's own, forward and backward, and keeps its input's layout."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from KidneySegLib.networks.instance_norm import InstanceNorm  # noqa: E402
from Testing.networks.same_layer import check_same_answers  # noqa: E402


def _pair():
    mine, theirs = InstanceNorm(5), torch.nn.InstanceNorm3d(5, affine=True)
    state = {"weight": torch.randn(5), "bias": torch.randn(5)}
    mine.load_state_dict(state)
    theirs.load_state_dict(state)
    return mine, theirs


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last_3d])
def test_equals_torchs_own_forward_and_backward(layout):
    image = (3 * torch.randn(3, 5, 4, 6, 8) + 2).contiguous(memory_format=layout)
    answer, of_image, *_ = check_same_answers(*_pair(), image, torch.randn_like(image))
    assert answer.is_contiguous(memory_format=layout)
    assert of_image.is_contiguous(memory_format=layout)


def test_works_in_bfloat16():
    mine, theirs = _pair()
    image = torch.randn(2, 5, 4, 6, 8, requires_grad=True)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half = image.bfloat16()
        one, other = mine(half), theirs(half)
    assert one.dtype == torch.bfloat16
    assert torch.allclose(one.float(), other.float(), atol=0.05)
    one.float().square().sum().backward()
    assert image.grad.isfinite().all()


def test_evaluation_is_torchs_own():
    mine, theirs = _pair()
    image = torch.randn(2, 5, 4, 6, 8)
    assert torch.equal(mine.eval()(image), theirs.eval()(image))
