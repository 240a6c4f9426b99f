"""Network architectures: torch modules only, one architecture a file, named as in their papers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn


def _unet3d(**arguments: Any) -> nn.Module:
    from KidneySegLib.networks.unet3d import UNet3D

    return UNet3D(**arguments)


def _multires_unet3d(**arguments: Any) -> nn.Module:
    from KidneySegLib.networks.multires_unet3d import MultiResUNet3D

    return MultiResUNet3D(**arguments)


def _plain_conv_unet(**arguments: Any) -> nn.Module:
    from KidneySegLib.networks.plain_conv_unet import PlainConvUNet

    return PlainConvUNet(**arguments)


def _residual_encoder_unet(**arguments: Any) -> nn.Module:
    from KidneySegLib.networks.residual_encoder_unet import ResidualEncoderUNet

    return ResidualEncoderUNet(**arguments)


def _deeplabv3plus(**arguments: Any) -> nn.Module:
    from KidneySegLib.networks.deeplabv3plus import DeepLabV3Plus

    return DeepLabV3Plus(**arguments)


def _linknet(**arguments: Any) -> nn.Module:
    from KidneySegLib.networks.linknet import LinkNet

    return LinkNet(**arguments)


def _triple_concat(**arguments: Any) -> nn.Module:
    from KidneySegLib.networks.triple_concat import TripleConcat

    return TripleConcat(**arguments)


def _unetplusplus(**arguments: Any) -> nn.Module:
    from KidneySegLib.networks.unetplusplus import UNetPlusPlus

    return UNetPlusPlus(**arguments)


def _vnet2d3d(**arguments: Any) -> nn.Module:
    from KidneySegLib.networks.vnet2d3d import VNet2D3D

    return VNet2D3D(**arguments)


_NETWORKS: dict[str, Callable[..., nn.Module]] = {
    "UNet3D": _unet3d,
    "MultiResUNet3D": _multires_unet3d,
    "PlainConvUNet": _plain_conv_unet,
    "ResidualEncoderUNet": _residual_encoder_unet,
    "DeepLabV3Plus": _deeplabv3plus,
    "LinkNet": _linknet,
    "TripleConcat": _triple_concat,
    "UNetPlusPlus": _unetplusplus,
    "VNet2D3D": _vnet2d3d,
}

#: Names that `build_network` knows.
NETWORK_NAMES: tuple[str, ...] = tuple(_NETWORKS)


def build_network(name: str, arguments: Mapping[str, Any]) -> nn.Module:
    """Make a network with fresh weights from what a bundle's ``model.json`` says.

    Args:
        name: one of `NETWORK_NAMES`.
        arguments: keyword arguments of the network's class; lists, as JSON gives them, are as good as tuples.

    Raises:
        ValueError: for an unknown name or a value that the network refuses.
        TypeError: for an argument that the network does not have.
    """
    if name not in _NETWORKS:
        raise ValueError(f"network must be one of {', '.join(NETWORK_NAMES)}, got {name!r}")
    return _NETWORKS[name](**arguments)
