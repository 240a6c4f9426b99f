"""UNet++ and the 2D-3D V-net: sizes as published, pruning, and independence of a slab's neighbours in a batch."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from KidneySegLib.networks import build_network  # noqa: E402
from KidneySegLib.networks.unetplusplus import UNetPlusPlus  # noqa: E402
from KidneySegLib.networks.vnet2d3d import VNet2D3D  # noqa: E402

LIGHT = (4, 8, 8, 8, 8)


def count(module) -> int:  # type: ignore[no-untyped-def]
    return sum(p.numel() for p in module.parameters())


@pytest.mark.parametrize(("given", "out", "expected"), [(1, 1, 9_041_700), (1, 3, 9_041_964), (3, 3, 9_042_540)])
def test_unetplusplus_has_the_published_number_of_parameters(given: int, out: int, expected: int) -> None:
    with torch.device("meta"):
        assert count(UNetPlusPlus(given, out)) == expected


def test_deep_supervision_gives_four_heads_in_training_and_one_in_evaluation() -> None:
    network = UNetPlusPlus(3, 3, LIGHT)
    image = torch.randn(2, 3, 32, 48)
    heads = network(image)
    assert [tuple(h.shape) for h in heads] == [(2, 3, 32, 48)] * 4
    network.eval()
    assert torch.equal(network(image), network.all_heads(image)[3])


def test_pruned_network_answers_as_its_head_and_computes_nothing_deeper() -> None:
    torch.manual_seed(0)
    whole = UNetPlusPlus(3, 2, LIGHT).eval()
    pruned = UNetPlusPlus(3, 2, LIGHT, head=2).eval()
    pruned.load_state_dict(whole.state_dict())
    image = torch.randn(1, 3, 32, 32)
    expected = whole.all_heads(image)[1]
    with torch.no_grad():
        for key in ("x40", "x30", "x04"):
            for parameter in pruned.nodes[key].parameters():
                parameter.fill_(float("nan"))
    assert torch.equal(pruned(image), expected)


def test_average_of_the_heads() -> None:
    network = UNetPlusPlus(1, 2, LIGHT, head="average").eval()
    image = torch.randn(1, 1, 16, 16)
    assert torch.allclose(network(image), torch.stack(network.all_heads(image)).mean(0))


@pytest.mark.parametrize("head", ["first", 0, 5])
def test_a_head_that_is_not_there_is_refused(head: str | int) -> None:
    with pytest.raises(ValueError, match="head must be"):
        UNetPlusPlus(1, 1, LIGHT, head=head)


def test_unetplusplus_refuses_sizes_that_do_not_halve() -> None:
    with pytest.raises(ValueError, match="multiples of 16"):
        UNetPlusPlus(1, 1, LIGHT)(torch.zeros(1, 1, 24, 32))


def test_vnet_gives_logits_of_the_slab_s_size() -> None:
    network = build_network("VNet2D3D", {"width": 2})
    assert tuple(network(torch.randn(2, 1, 8, 32, 48)).shape) == (2, 2, 8, 32, 48)
    with pytest.raises(ValueError, match="multiples of"):
        network(torch.zeros(1, 1, 6, 32, 32))


def test_vnet_has_the_channels_of_figure_1() -> None:
    with torch.device("meta"):
        network = VNet2D3D()
    shapes = {name: tuple(m.weight.shape[:2]) for name, m in network.named_modules() if hasattr(m, "kernel_size")}
    assert shapes["plane.first.convolution"] == (32, 4)
    assert shapes["level1.first.convolution"] == (64, 32)
    assert shapes["down1.convolution"] == (128, 64)
    assert shapes["level3.second.convolution"] == (256, 256)
    assert shapes["up2.convolution"] == (256, 128)
    assert shapes["head"] == (32, 2)


def test_in_evaluation_a_slab_s_answer_does_not_depend_on_the_batch() -> None:
    torch.manual_seed(0)
    network = VNet2D3D(width=2)
    for _ in range(3):
        network(torch.randn(4, 1, 4, 16, 16))  # Running statistics.
    network.eval()
    slabs = torch.randn(2, 1, 4, 16, 16)
    slabs[1] *= 100
    together = network(slabs)
    assert torch.allclose(together[:1], network(slabs[:1]), atol=1e-5)


def test_both_are_known_by_name() -> None:
    assert isinstance(
        build_network("UNetPlusPlus", {"in_channels": 3, "out_channels": 3, "filters": LIGHT}), UNetPlusPlus
    )
