"""From nnU-Net's ``plans.json`` to a bundle's network, patch, normalisation and resampling.

Both forms are read: that of nnU-Net 2.5 and later (``architecture``) and the older one (``UNet_class_name``), which
TotalSegmentator's weights have. What this program could not follow exactly is refused by name.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from KidneySegLib.errors import ModelError
from KidneySegLib.models.bundle import Normalisation, Size, SpacingMm
from KidneySegLib.models.nnunet_record import Resampling

_NORMALISATIONS = {
    "CTNormalization": "ct",
    "ZScoreNormalization": "z_score",
    "RescaleTo01Normalization": "rescale_to_0_1",
    "NoNormalization": "none",
}
#: nnU-Net's readers, and how the array lies that they give.
_READERS = {
    "SimpleITKIO": "stored",
    "NibabelIO": "stored",
    "NibabelIOWithReorient": "RAS",
    "SimpleITKIOWithReorient": "RAS",
}
_RESAMPLING = "resample_data_or_seg_to_shape"
#: Where CT values are not limited: beyond every HU.
_ANY_HU = 1e5


@dataclass(frozen=True)
class Plan:
    """What is needed of one configuration of a plans file; triples in the order of nnU-Net's transposed axes.

    Attributes:
        network: name that `networks.build_network` knows.
        arguments: of that network, but for its number of outputs.
        outputs_argument: name of the argument that takes the number of outputs.
    """

    network: str
    arguments: Mapping[str, Any]
    outputs_argument: str
    spacing_mm: SpacingMm
    patch_size: Size
    size_multiple: Size
    scheme: str
    normalisation: Normalisation
    inside_mask: bool
    data: Resampling
    logits: Resampling
    transpose: tuple[int, int, int]
    orientation: str


def read_plan(plans: Mapping[str, Any], configuration: str, where: str) -> Plan:
    """Read one configuration of a plans file.

    Raises:
        ModelError: if something is missing, or is of a kind that this program does not follow.
    """
    try:
        return _read(plans, configuration, where)
    except (KeyError, TypeError, ValueError, IndexError, AttributeError, OverflowError) as error:
        raise ModelError(
            f"{where} is not a plans file of nnU-Net v2 as expected: {type(error).__name__} {error!s:.200}. Give the "
            "folder of a model that nnU-Net v2 trained."
        ) from error


def _read(plans: Mapping[str, Any], name: str, where: str) -> Plan:
    c = _configuration(plans, name, where)
    patch = [int(v) for v in c["patch_size"]]
    spacing = [float(v) for v in c["spacing"]]
    if len(patch) != 3 or len(spacing) != 3:
        raise ModelError(
            f"{where}: the configuration {name} is not three-dimensional. Give a 3d_fullres or 3d_lowres model."
        )
    if c.get("previous_stage"):
        raise ModelError(
            f"{where}: the configuration {name} is the second stage of a cascade, which needs {c['previous_stage']} "
            "before it. Give a model of one stage."
        )
    schemes, masks = list(c["normalization_schemes"]), list(c["use_mask_for_norm"])
    if len(schemes) != 1:
        raise ModelError(f"{where}: the model needs {len(schemes)} images a case; one CT is what this program has.")
    if schemes[0] not in _NORMALISATIONS:
        raise ModelError(
            f"{where}: the normalisation must be one of {', '.join(_NORMALISATIONS)}, got {schemes[0]!r:.60}."
        )
    reader = str(plans.get("image_reader_writer", "SimpleITKIO"))
    if reader not in _READERS:
        raise ModelError(f"{where}: images must be read with one of {', '.join(_READERS)}, got {reader:.60}.")
    network, arguments, outputs_argument = _network(c, where)
    strides = arguments["strides"]
    multiple = [math.prod(int(s if isinstance(s, int) else s[axis]) for s in strides) for axis in range(3)]
    dataset = str(plans.get("dataset_name", ""))
    return Plan(
        network=network,
        arguments=arguments,
        outputs_argument=outputs_argument,
        spacing_mm=(spacing[0], spacing[1], spacing[2]),
        patch_size=(patch[0], patch[1], patch[2]),
        size_multiple=(multiple[0], multiple[1], multiple[2]),
        scheme=_NORMALISATIONS[schemes[0]],
        normalisation=_normalisation(plans, _NORMALISATIONS[schemes[0]]),
        inside_mask=bool(masks[0]),
        data=_resampling(c, "data", 3, where),
        logits=_resampling(c, "probabilities", 1, where),
        transpose=_transpose(plans),
        # TotalSegmentator turns every scan before nnU-Net sees it, which its plans do not tell.
        orientation="RAS" if "totalsegmentator" in dataset.lower() else _READERS[reader],
    )


def _configuration(plans: Mapping[str, Any], name: str, where: str) -> dict[str, Any]:
    """A configuration with what it inherits."""
    configurations = plans["configurations"]
    chain = []
    while True:
        if name not in configurations or name in chain:
            raise ModelError(f"{where} has no usable configuration {name!r:.60}; it has {', '.join(configurations)}.")
        chain.append(name)
        parent = configurations[name].get("inherits_from")
        if parent is None:
            break
        name = parent
    merged: dict[str, Any] = {}
    for part in reversed(chain):
        merged.update(configurations[part])
    return merged


def _transpose(plans: Mapping[str, Any]) -> tuple[int, int, int]:
    a, b, c = (int(v) for v in plans.get("transpose_forward", (0, 1, 2)))
    return a, b, c


def _normalisation(plans: Mapping[str, Any], scheme: str) -> Normalisation:
    if scheme != "ct":
        return Normalisation(-_ANY_HU, _ANY_HU, 0.0, 1.0)
    key = "foreground_intensity_properties_per_channel"
    properties = plans[key if key in plans else "foreground_intensity_properties_by_modality"]["0"]
    return Normalisation(
        low_hu=float(properties["percentile_00_5"]),
        high_hu=float(properties["percentile_99_5"]),
        mean_hu=float(properties["mean"]),
        standard_deviation_hu=max(float(properties["std"]), 1e-3),
    )


def _resampling(c: Mapping[str, Any], what: str, order: int, where: str) -> Resampling:
    function = c.get(f"resampling_fn_{what}", _RESAMPLING)
    if function != _RESAMPLING:
        raise ModelError(f"{where}: {what} must be resampled with {_RESAMPLING}, got {function!r:.60}.")
    given = c.get(f"resampling_fn_{what}_kwargs", {})
    separate = given.get("force_separate_z", False if not given else None)
    return Resampling(
        int(given.get("order", order)), int(given.get("order_z", 0)), None if separate is None else bool(separate)
    )


def _network(c: Mapping[str, Any], where: str) -> tuple[str, dict[str, Any], str]:
    if "architecture" not in c:
        return _old_network(c, where)
    architecture = c["architecture"]
    path = str(architecture["network_class_name"])
    kind, given = path.rpartition(".")[2], dict(architecture["arch_kwargs"])
    if kind == "UNet3D":
        return kind, _own_arguments(given), "out_channels"
    if kind not in ("PlainConvUNet", "ResidualEncoderUNet"):
        raise ModelError(
            f"{where}: the network must be PlainConvUNet, ResidualEncoderUNet or UNet3D, got {path!r:.120}."
        )
    blocks = "n_conv_per_stage" if kind == "PlainConvUNet" else "n_blocks_per_stage"
    count = int(given.pop("n_stages"))
    features = given.pop("features_per_stage")
    arguments: dict[str, Any] = {
        "input_channels": 1,
        "features_per_stage": [features] * count if isinstance(features, int) else list(features),
        "kernel_sizes": _per_stage(given.pop("kernel_sizes"), count),
        "strides": _per_stage(given.pop("strides"), count),
        blocks: given.pop(blocks),
        "n_conv_per_stage_decoder": given.pop("n_conv_per_stage_decoder"),
        "conv_bias": bool(given.pop("conv_bias", False)),
        **_layers(given, where),
    }
    if given.get("stem_channels") is not None:
        arguments["stem_channels"] = int(given["stem_channels"])
    # Dropout does nothing when predicting; deep supervision has its heads in the weights either way.
    known = {"conv_op", "dropout_op", "dropout_op_kwargs", "deep_supervision", "stem_channels"}
    others = sorted(key for key, value in given.items() if key not in known and value is not None)
    if not str(given.get("conv_op", "Conv3d")).endswith("Conv3d") or others:
        raise ModelError(f"{where}: the network {path} has unknown arguments: {', '.join(others) or 'conv_op'}.")
    return kind, arguments, "num_classes"


def _layers(given: dict[str, Any], where: str) -> dict[str, Any]:
    """Normalisation and activation, taken out of the arguments."""
    norm, norm_options = given.pop("norm_op", None), given.pop("norm_op_kwargs", None) or {}
    nonlin, options = given.pop("nonlin", None), given.pop("nonlin_kwargs", None) or {}
    norms = {"InstanceNorm3d": "instance", "BatchNorm3d": "batch", "None": "none"}
    activations = {"LeakyReLU": "leaky_relu", "ReLU": "relu"}
    norm_name, nonlin_name = str(norm).rpartition(".")[2], str(nonlin).rpartition(".")[2]
    # Both are given their scale and shift by nnU-Net; torch's own default is without for instance normalisation.
    affine = norm_options.get("affine", norm_name == "BatchNorm3d")
    if norm_name not in norms or nonlin_name not in activations or (norm is not None and not affine):
        raise ModelError(f"{where}: layers of {norm} ({norm_options}) and {nonlin} are not known to this program.")
    return {
        "normalisation": norms[norm_name],
        "norm_eps": float(norm_options.get("eps", 1e-5)),
        "activation": activations[nonlin_name],
        "negative_slope": float(options.get("negative_slope", 0.01)),
        "activation_first": bool(given.pop("nonlin_first", False)),
    }


def _own_arguments(given: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments of `networks.unet3d.UNet3D`, the network of Luo and Li, as the recipe writes them to plans."""
    arguments = {key: value for key, value in given.items() if key not in ("deep_supervision", "n_stages")}
    features = list(arguments.get("features", (16, 32, 64, 128, 256)))
    return {
        **arguments,
        "in_channels": 1,
        "features": features,
        "strides": arguments.get("strides") or [1] + [2] * (len(features) - 1),
    }


def _old_network(c: Mapping[str, Any], where: str) -> tuple[str, dict[str, Any], str]:
    """The network of a configuration in the form of nnU-Net before 2.5."""
    kind = str(c["UNet_class_name"])
    if kind not in ("PlainConvUNet", "ResidualEncoderUNet"):
        raise ModelError(f"{where}: the network must be PlainConvUNet or ResidualEncoderUNet, got {kind!r:.120}.")
    convolutions = list(c["n_conv_per_stage_encoder"])
    base, most = int(c["UNet_base_num_features"]), int(c["unet_max_num_features"])
    arguments = {
        "input_channels": 1,
        "features_per_stage": [min(base * 2**level, most) for level in range(len(convolutions))],
        "kernel_sizes": _per_stage(c["conv_kernel_sizes"], len(convolutions)),
        "strides": _per_stage(c["pool_op_kernel_sizes"], len(convolutions)),
        "n_conv_per_stage" if kind == "PlainConvUNet" else "n_blocks_per_stage": convolutions,
        "n_conv_per_stage_decoder": list(c["n_conv_per_stage_decoder"]),
        "conv_bias": True,
        "normalisation": "instance",
        "norm_eps": 1e-5,
        "activation": "leaky_relu",
        "negative_slope": 0.01,
        "activation_first": False,
    }
    return kind, arguments, "num_classes"


def _per_stage(value: int | Sequence[Any], count: int) -> list[Any]:
    return [value] * count if isinstance(value, int) else [v if isinstance(v, int) else list(v) for v in value]
