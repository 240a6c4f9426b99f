"""MultiResUNet3D: sizes, the context's geometry, spatial dropout, and one road with UNet3D's weights."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from KidneySegLib.networks import build_network  # noqa: E402
from KidneySegLib.networks.multires_unet3d import MultiResUNet3D  # noqa: E402
from KidneySegLib.networks.unet3d import UNet3D  # noqa: E402

SMALL = {
    "out_channels": 3,
    "features": [4, 6, 8, 8],
    "context_features": [3, 5],
    "context_factor": 4,
    "margin": [8, 4, 12],
    "normalisation": "none",
}


def small(**changes):
    torch.manual_seed(1)
    return build_network("MultiResUNet3D", {**SMALL, **changes})


def test_the_output_is_the_centre_of_the_wide_patch():
    network = small().eval()
    # 32 + 16, 32 + 8, 24 + 24: multiples of 8 (context: factor 4, one pooling).
    assert network(torch.randn(2, 1, 48, 40, 48)).shape == (2, 3, 32, 32, 24)


def test_in_training_the_context_answers_for_the_whole_wide_patch():
    network = small(deep_supervision=True).train()
    fine, coarse = network(torch.randn(1, 1, 32, 24, 40))
    assert fine.shape == (1, 3, 16, 16, 16)
    assert coarse.shape == (1, 3, 8, 6, 10)
    assert isinstance(network.eval()(torch.randn(1, 1, 32, 24, 40)), torch.Tensor)


def test_the_margin_is_seen_through_the_context_only():
    network = small().eval()
    image = torch.randn(1, 1, 48, 40, 48)
    changed = image.clone()
    changed[:, :, :8] += 3.0
    with torch.no_grad():
        assert (network(image) - network(changed)).abs().max() > 1e-6
        stage = network.decoder[network.joint][0]
        # The context's channels are the last inputs of the stage that it joins.
        stage.weight[:, -3:] = 0
        assert torch.equal(network(image), network(changed))


def test_the_context_lies_where_its_centre_is():
    """A bright block in the fine patch lights up the same place of the context's features, to the voxel."""
    network = small(margin=8).eval()
    seen = {}
    network.decoder[network.joint].register_forward_hook(lambda _m, given, _o: seen.update(joint=given[0]))

    class Identity(torch.nn.Module):
        def forward(self, image):
            return image.expand(-1, 3, -1, -1, -1)

    network._maps, full = None, network._maps
    network._maps = lambda net, image, context=None: (
        Identity()(image) if net is network.context else full(net, image, context)
    )
    image = torch.zeros(1, 1, 48, 48, 48)
    image[:, :, 8 + 12 : 8 + 16, 8 + 4 : 8 + 8, 8 + 20 : 8 + 24] = 1.0
    network(image)
    context = seen["joint"][0, -1]
    assert context.shape == (8, 8, 8)
    assert context[3, 1, 5] == 1
    assert context.sum() == 1


def test_without_context_and_dropout_it_is_the_plain_network():
    torch.manual_seed(2)
    plain = UNet3D(1, 3, features=(4, 6, 8), normalisation="instance", activation="leaky_relu").eval()
    same = MultiResUNet3D(1, 3, features=(4, 6, 8), context_features=(), margin=0, dropout=0.0).eval()
    same.load_state_dict(plain.state_dict())
    image = torch.randn(1, 1, 8, 12, 16)
    assert torch.equal(plain(image), same(image))


def test_spatial_dropout_drops_whole_channels_and_only_while_training():
    network = small(dropout=0.5, context_features=[], margin=0).train()
    seen = []
    network.dropout.register_forward_hook(lambda _m, _i, out: seen.append(out))
    network(torch.rand(1, 1, 16, 16, 16) + 1)
    silent = [(maps == 0).flatten(2).all(dim=2) for maps in seen]
    partly = [(maps == 0).flatten(2).any(dim=2) for maps in seen]
    assert any(s.any() for s in silent)
    assert not all(s.all() for s in silent)
    assert len(seen) == 5  # Three coarser encoder stages, two decoder stages below the finest.
    assert all(s.shape == p.shape for s, p in zip(silent, partly, strict=True))
    network.eval()
    image = torch.rand(1, 1, 16, 16, 16)
    assert torch.equal(network(image), network(image))


def test_both_paths_learn_from_the_fine_answer():
    network = small().train()
    network(torch.randn(1, 1, 32, 24, 40)).square().mean().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"margin": 6}, "multiple of context_factor"),
        ({"context_factor": 3}, "power of 2"),
        ({"context_factor": 8}, "power of 2"),
        ({"context_features": []}, "margin must be 0"),
        ({"dropout": 1.0}, "dropout"),
    ],
)
def test_arguments_that_make_no_network(changes, message):
    with pytest.raises(ValueError, match=message):
        small(**changes)


@pytest.mark.parametrize("size", [(28, 24, 40), (16, 24, 40), (32, 24, 36)])
def test_a_size_that_does_not_fit_is_refused(size):
    with pytest.raises(ValueError, match="input sizes"):
        small()(torch.randn(1, 1, *size))
