"""ResNet, DeepLabV3+, LinkNet and the triple concatenated model: sizes as published, names as torchvision's."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

from KidneySegLib.networks import build_network  # noqa: E402
from KidneySegLib.networks.deeplabv3plus import DeepLabV3Plus  # noqa: E402
from KidneySegLib.networks.linknet import LinkNet  # noqa: E402
from KidneySegLib.networks.resnet import ResNetEncoder, load_imagenet_weights  # noqa: E402
from KidneySegLib.networks.triple_concat import TripleConcat  # noqa: E402

LIGHT = {"deeplab_depths": (18, 18), "width": 4, "decoder_channels": 8, "low_level_channels": 4}


def count(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def on_meta(make):  # type: ignore[no-untyped-def]
    """Parameters without memory: their number is all that is wanted."""
    with torch.device("meta"):
        return make()


@pytest.mark.parametrize(
    ("depth", "channels", "expected"),
    [
        (18, 3, 12_329_297),
        (18, 1, 12_323_025),
        (34, 3, 22_437_457),
        (50, 3, 26_677_585),
        (152, 3, 61_313_361),
        (152, 1, 61_307_089),
    ],
)
def test_deeplab_has_the_known_number_of_parameters(depth: int, channels: int, expected: int) -> None:
    assert count(on_meta(lambda: DeepLabV3Plus(channels, 1, depth))) == expected


@pytest.mark.parametrize(
    ("depth", "channels", "expected"), [(18, 3, 11_663_777), (18, 1, 11_657_505), (34, 3, 21_771_937)]
)
def test_linknet_has_the_known_number_of_parameters(depth: int, channels: int, expected: int) -> None:
    assert count(on_meta(lambda: LinkNet(channels, 1, depth))) == expected


def test_the_paper_s_ensemble_has_85_million_parameters_and_28_to_fuse_them() -> None:
    model = on_meta_triple()
    assert sum(count(member) for member in model.members) == 85_306_435
    assert count(model.fusion) == 28


def on_meta_triple() -> TripleConcat:
    with torch.device("meta"):
        return TripleConcat(3, 1)


@pytest.mark.parametrize(("depth", "expected"), [(18, 11_176_512), (152, 58_143_808)])
def test_the_encoder_is_a_resnet_without_its_classifier(depth: int, expected: int) -> None:
    assert count(on_meta(lambda: ResNetEncoder(depth))) == expected


def test_names_are_torchvision_s() -> None:
    names = set(on_meta(lambda: ResNetEncoder(18)).state_dict())
    # As torchvision.models.resnet18().state_dict() lists them, fc left out: 120 of its 122.
    assert {"conv1.weight", "bn1.running_mean", "layer1.0.conv1.weight", "layer1.1.bn2.num_batches_tracked"} <= names
    assert {"layer2.0.downsample.0.weight", "layer2.0.downsample.1.bias", "layer4.1.conv2.weight"} <= names
    assert "layer1.0.downsample.0.weight" not in names
    assert len(names) == 120
    deep = on_meta(lambda: ResNetEncoder(152)).state_dict()
    assert tuple(deep["layer1.0.downsample.0.weight"].shape) == (256, 64, 1, 1)
    assert tuple(deep["layer3.35.conv3.weight"].shape) == (1024, 256, 1, 1)


def test_imagenet_weights_of_three_channels_serve_a_grey_picture() -> None:
    torch.manual_seed(0)
    colour, grey = ResNetEncoder(18, 3, width=8).eval(), ResNetEncoder(18, 1, width=8).eval()
    weights = {**colour.state_dict(), "fc.weight": torch.zeros(1000, 64), "fc.bias": torch.zeros(1000)}
    load_imagenet_weights(grey, weights)
    picture = torch.randn(1, 1, 64, 64)
    with torch.no_grad():
        for one, other in zip(grey(picture), colour(picture.expand(-1, 3, -1, -1)), strict=True):
            torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


def test_weights_of_another_network_are_refused() -> None:
    with pytest.raises(ValueError, match="ResNet-18"):
        load_imagenet_weights(ResNetEncoder(18, width=8), ResNetEncoder(34, width=8).state_dict())


def test_the_dilated_encoder_stops_at_a_sixteenth_and_keeps_its_weights() -> None:
    plain, dilated = ResNetEncoder(18, 1, 8), ResNetEncoder(18, 1, 8, output_stride=16)
    dilated.load_state_dict(plain.state_dict())
    picture = torch.zeros(1, 1, 64, 96)
    assert [tuple(m.shape[2:]) for m in plain(picture)] == [(32, 48), (16, 24), (8, 12), (4, 6), (2, 3)]
    assert [tuple(m.shape[2:]) for m in dilated(picture)] == [(32, 48), (16, 24), (8, 12), (4, 6), (4, 6)]


@pytest.mark.parametrize("name", ["DeepLabV3Plus", "LinkNet", "TripleConcat"])
def test_logits_have_the_picture_s_size(name: str) -> None:
    arguments = LIGHT if name == "TripleConcat" else {"width": 4}
    network = build_network(name, {**arguments, "in_channels": 1, "out_channels": 2}).eval()
    with torch.no_grad():
        assert tuple(network(torch.zeros(1, 1, 64, 96)).shape) == (1, 2, 64, 96)


def test_before_training_the_fusion_is_the_mean() -> None:
    torch.manual_seed(0)
    network = TripleConcat(1, 1, **LIGHT).eval()
    picture = torch.randn(1, 1, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(network(picture), torch.stack(network.member_logits(picture)).mean(dim=0))


def test_every_parameter_gets_a_gradient() -> None:
    torch.manual_seed(0)
    network = TripleConcat(1, 1, **LIGHT)
    network(torch.randn(2, 1, 64, 64)).square().mean().backward()
    assert [name for name, p in network.named_parameters() if p.grad is None] == []


@pytest.mark.parametrize("network", [LinkNet(1, 1, width=4), TripleConcat(1, 1, **LIGHT), DeepLabV3Plus(1, 1, width=4)])
def test_a_size_that_does_not_fit_is_refused(network: nn.Module) -> None:
    with pytest.raises(ValueError, match=f"multiples of {network.divisor}"):
        network(torch.zeros(1, 1, 64, 65))


@pytest.mark.parametrize("arguments", [{"depth": 19}, {"width": 2}, {"output_stride": 8}, {"in_channels": 0}])
def test_an_encoder_that_does_not_exist_is_refused(arguments: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="must be"):
        ResNetEncoder(**arguments)
