"""What an OpenVINO graph is spared before it is written: joined maps that only one convolution looks at."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from KidneySegLib.inference.openvino_runtime import load_openvino, put_in_place

if TYPE_CHECKING:
    import openvino

_CHANNEL_AXIS = 1


def split_concatenations(model: openvino.Model) -> int:
    """Put a sum of convolutions in place of each convolution of concatenated maps, in place.

    A convolution is linear in its input channels, so conv(concat(a, b)) = conv_a(a) + conv_b(b) with the weights cut
    where the maps were joined. The joined copy of a U-Net's skip and upsampled maps, its largest piece of memory, is
    never made; OpenVINO adds the second convolution onto the first one's answer as it goes.

    Args:
        model: with constant weights, not yet compressed. Maps that anything else looks at too stay joined.

    Returns:
        How many convolutions were split.
    """
    split = 0
    for convolution in model.get_ordered_ops():
        if convolution.get_type_name() != "Convolution":
            continue
        joined = convolution.input_value(0).get_node()
        weights = convolution.input_value(1).get_node()
        if joined.get_type_name() != "Concat" or weights.get_type_name() != "Constant":
            continue
        if joined.get_attributes()["axis"] != _CHANNEL_AXIS or len(joined.output(0).get_target_inputs()) != 1:
            continue
        put_in_place(convolution, _sum_of_convolutions(convolution, joined, weights.get_data()))
        split += 1
    model.validate_nodes_and_infer_types()
    return split


def _sum_of_convolutions(convolution: Any, joined: Any, weights: Any) -> Any:
    ops = load_openvino().opset13
    how = convolution.get_attributes()
    total, start = None, 0
    for number in range(joined.get_input_size()):
        maps = joined.input_value(number)
        stop = start + maps.get_partial_shape()[_CHANNEL_AXIS].get_length()
        part = ops.convolution(
            maps,
            ops.constant(np.ascontiguousarray(weights[:, start:stop])),
            how["strides"],
            how["pads_begin"],
            how["pads_end"],
            how["dilations"],
            how["auto_pad"],
        )
        total, start = part if total is None else ops.add(total, part), stop
    return total
