"""PlainConvUNet and ResidualEncoderUNet against the networks that nnU-Net itself builds."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")
unet = pytest.importorskip("dynamic_network_architectures.architectures.unet")

from KidneySegLib.models.nnunet_checkpoint import unique_state  # noqa: E402
from KidneySegLib.networks import build_network  # noqa: E402

ISOTROPIC = {"features_per_stage": [4, 8, 12], "kernel_sizes": [[3, 3, 3]] * 3, "strides": [[1, 1, 1], [2, 2, 2], 2]}
ANISOTROPIC = {
    "features_per_stage": [4, 6, 8],
    "kernel_sizes": [[1, 3, 3], [1, 3, 3], [3, 3, 3]],
    "strides": [[1, 1, 1], [1, 2, 2], [2, 2, 2]],
}


def theirs(kind: str, shape: dict, blocks: dict, norm: type = torch.nn.InstanceNorm3d, first: bool = False):
    extra = {"nonlin_first": first} if kind == "PlainConvUNet" else {}
    network = getattr(unet, kind)(
        input_channels=1,
        num_classes=3,
        n_stages=len(shape["features_per_stage"]),
        conv_op=torch.nn.Conv3d,
        conv_bias=True,
        norm_op=norm,
        norm_op_kwargs={"eps": 1e-5, "affine": True},
        nonlin=torch.nn.LeakyReLU,
        nonlin_kwargs={"inplace": True},
        deep_supervision=False,
        **{
            k: [([x] * 3 if isinstance(x, int) and k != "features_per_stage" else x) for x in v]
            for k, v in shape.items()
        },
        **blocks,
        **extra,
    )
    generator = torch.Generator().manual_seed(1)
    for value in network.state_dict().values():
        if value.is_floating_point():
            value.copy_(torch.rand(value.shape, generator=generator) * 0.4 + (0.3 if value.ndim == 1 else -0.2))
    return network.eval()


@pytest.mark.parametrize("shape", [ISOTROPIC, ANISOTROPIC])
@pytest.mark.parametrize(
    ("kind", "blocks"),
    [
        ("PlainConvUNet", {"n_conv_per_stage": [2, 2, 1], "n_conv_per_stage_decoder": [2, 1]}),
        ("ResidualEncoderUNet", {"n_blocks_per_stage": [1, 2, 3], "n_conv_per_stage_decoder": [1, 1]}),
    ],
)
def test_weights_of_nnunet_load_by_name_and_give_its_logits(shape, kind, blocks):
    reference = theirs(kind, shape, blocks)
    ours = build_network(kind, {"num_classes": 3, **shape, **blocks})
    state = unique_state(reference.state_dict())
    assert ours.state_dict().keys() == state.keys()
    ours.load_state_dict(state)
    image = torch.randn(1, 1, 8, 16, 16, generator=torch.Generator().manual_seed(2))
    with torch.inference_mode():
        torch.testing.assert_close(ours.eval()(image), reference(image), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("first", [False, True])
def test_batch_normalisation_and_the_order_of_activation(first):
    blocks = {"n_conv_per_stage": 2, "n_conv_per_stage_decoder": 2}
    shape = {**ISOTROPIC, "features_per_stage": [4, 4, 4]}
    reference = theirs("PlainConvUNet", shape, blocks, torch.nn.BatchNorm3d, first)
    options = {"num_classes": 3, "normalisation": "batch", "activation_first": first}
    ours = build_network("PlainConvUNet", {**shape, **blocks, **options})
    ours.load_state_dict(unique_state(reference.state_dict()))
    image = torch.randn(1, 1, 8, 8, 8)
    with torch.inference_mode():
        torch.testing.assert_close(ours.eval()(image), reference(image), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("kind", "millions"), [("PlainConvUNet", 31.20), ("ResidualEncoderUNet", 102.35)])
def test_parameter_counts_of_the_default_plans(kind, millions):
    with torch.device("meta"):
        network = build_network(kind, {"num_classes": 3})
    assert sum(p.numel() for p in network.parameters()) / 1e6 == pytest.approx(millions, abs=0.2)
    assert network.divisor == (32, 32, 32)


def test_deep_supervision_gives_coarser_logits_while_training():
    network = build_network("PlainConvUNet", {**ISOTROPIC, "deep_supervision": True})
    image = torch.randn(1, 1, 8, 8, 8)
    assert [tuple(o.shape[2:]) for o in network.train()(image)] == [(8, 8, 8), (4, 4, 4)]
    assert network.eval()(image).shape == (1, 2, 8, 8, 8)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kernel_sizes": 2}, "odd"),
        ({"strides": [1, 2]}, "each of 3 resolutions, got 2"),
        ({"normalisation": "group"}, "one of instance"),
        ({"activation": "gelu"}, "one of leaky_relu"),
        ({"n_conv_per_stage": [2, 0, 2]}, "positive integers"),
    ],
)
def test_arguments_that_make_no_network_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        build_network("PlainConvUNet", {**ISOTROPIC, **change})
