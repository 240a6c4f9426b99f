"""UNet3D: sizes known from the literature, geometry of its output, options."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from KidneySegLib.networks import NETWORK_NAMES, build_network  # noqa: E402
from KidneySegLib.networks.unet3d import UNet3D  # noqa: E402


def _parameters_in_millions(network: torch.nn.Module) -> float:
    return sum(p.numel() for p in network.parameters()) / 1e6


@pytest.mark.parametrize(
    ("features", "millions"),
    [((32, 64, 128, 256, 512), 22.58), ((32, 64, 128, 256, 320), 16.55), ((16, 32, 64, 128, 256), 5.65)],
)
@pytest.mark.parametrize("normalisation", ["none", "instance", "batch"])
def test_parameter_counts_are_those_of_the_published_variants(features, millions, normalisation):
    with torch.device("meta"):
        network = UNet3D(1, 1, features=features, normalisation=normalisation)
    assert _parameters_in_millions(network) == pytest.approx(millions, abs=0.01)


def test_the_default_is_the_plain_network_of_five_resolutions():
    with torch.device("meta"):
        network = UNet3D()
    assert network.divisor == (16, 16, 16)
    assert _parameters_in_millions(network) == pytest.approx(5.65, abs=0.01)
    assert not any(isinstance(m, torch.nn.InstanceNorm3d | torch.nn.BatchNorm3d) for m in network.modules())
    assert sum(isinstance(m, torch.nn.MaxPool3d) for m in network.modules()) == 4


@pytest.mark.parametrize("downsampling", ["max_pool", "strided_conv"])
@pytest.mark.parametrize("normalisation", ["none", "batch", "instance"])
@pytest.mark.parametrize("activation", ["relu", "leaky_relu"])
def test_output_has_the_size_of_the_input(downsampling, normalisation, activation):
    network = UNet3D(
        1, 3, features=(2, 3, 4), normalisation=normalisation, downsampling=downsampling, activation=activation
    )
    assert network(torch.randn(2, 1, 8, 12, 16)).shape == (2, 3, 8, 12, 16)


def test_anisotropic_strides_and_kernels():
    network = UNet3D(1, 1, features=(2, 3, 4), strides=[1, [1, 2, 2], [2, 2, 2]], kernel_sizes=[[1, 3, 3], 3, 3])
    assert network.divisor == (2, 4, 4)
    assert network(torch.randn(1, 1, 6, 8, 4)).shape == (1, 1, 6, 8, 4)
    assert network.encoder[0][0].weight.shape == (2, 1, 1, 3, 3)


def test_a_kernel_of_one_slice_never_mixes_slices():
    network = UNet3D(1, 1, features=(2, 3), strides=[1, (1, 2, 2)], kernel_sizes=[(1, 3, 3), (1, 3, 3)]).eval()
    image = torch.randn(1, 1, 3, 4, 4)
    changed = image.clone()
    changed[:, :, 2] += 5
    with torch.no_grad():
        before, after = network(image), network(changed)
    assert torch.equal(before[:, :, :2], after[:, :, :2])
    assert not torch.equal(before[:, :, 2], after[:, :, 2])


def test_deep_supervision_adds_coarser_logits_only_while_training():
    network = UNet3D(1, 2, features=(2, 3, 4, 5), deep_supervision=True)
    outputs = network(torch.randn(1, 1, 16, 16, 8))
    assert [tuple(o.shape[2:]) for o in outputs] == [(16, 16, 8), (8, 8, 4), (4, 4, 2)]
    assert network.eval()(torch.randn(1, 1, 16, 16, 8)).shape == (1, 2, 16, 16, 8)


def test_weights_without_auxiliary_heads_fit_the_plain_network_and_give_the_same_logits():
    deep = UNet3D(1, 2, features=(2, 3, 4), deep_supervision=True).eval()
    plain = UNet3D(1, 2, features=(2, 3, 4)).eval()
    plain.load_state_dict({k: v for k, v in deep.state_dict().items() if not k.startswith("auxiliary_heads.")})
    image = torch.randn(1, 1, 8, 8, 8)
    with torch.no_grad():
        assert torch.equal(deep(image), plain(image))


def test_every_parameter_learns():
    network = UNet3D(1, 1, features=(2, 3, 4), normalisation="instance", deep_supervision=True)
    sum(o.square().mean() for o in network(torch.randn(1, 1, 16, 16, 16))).backward()
    assert all(p.grad is not None for p in network.parameters())


def test_a_size_that_does_not_divide_is_named():
    with pytest.raises(ValueError, match=r"multiples of \(4, 4, 4\), got \(8, 8, 6\)"):
        UNet3D(1, 1, features=(2, 3, 4))(torch.zeros(1, 1, 8, 8, 6))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"features": (8,)}, "at least two resolutions"),
        ({"normalisation": "layer"}, "normalisation must be one of none, batch, instance"),
        ({"downsampling": "average"}, "downsampling must be one of"),
        ({"activation": "gelu"}, "activation must be one of"),
        ({"strides": (2, 2, 2, 2, 2)}, "first stride must be 1"),
        ({"strides": (1, 2)}, "one entry for each of 5"),
        ({"kernel_sizes": (3, 3, 3, 3, 2)}, "must be odd"),
        ({"strides": (1, 2, 2, 2, (2, 2))}, "three of them"),
    ],
)
def test_refuses_what_makes_no_network(arguments, message):
    with pytest.raises(ValueError, match=message):
        UNet3D(**arguments)


def test_build_network_takes_what_json_gives():
    arguments = {"in_channels": 1, "out_channels": 2, "features": [2, 3], "strides": [1, [1, 2, 2]]}
    network = build_network("UNet3D", arguments)
    assert network(torch.zeros(1, 1, 1, 4, 4)).shape == (1, 2, 1, 4, 4)
    assert "UNet3D" in NETWORK_NAMES


def test_build_network_names_the_choices():
    with pytest.raises(ValueError, match=r"one of UNet3D, .*got 'VNet'"):
        build_network("VNet", {})
