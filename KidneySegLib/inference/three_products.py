"""float32 convolutions as three of bfloat16 each, for processors that multiply bfloat16 matrices in one step (AMX).

A float32 number is, to 16 of its 24 bits, the sum of two bfloat16 numbers: what rounding it gives, and the rounded
rest. Of the four products of two such sums the last is smaller than what was rounded away, so

    convolution(x, w) = convolution(x1, w1) + convolution(x1, w2) + convolution(x2, w1)

with errors of some 1e-5 of the answers' spread (bfloat16 alone: 4e-3), added up in float32 by the processor itself.
Three such convolutions take less time than one in float32, whose units are up to seven times slower. The method: Henry,
Tang and Heinecke 2019, Leveraging the bfloat16 artificial intelligence datatype for higher-precision computations,
arXiv:1904.06376.

OpenVINO's convolutions answer in the type that they are given. The processor's plugin also knows convolutions with
another type for their answers, which it makes in its own passes; its extension lets them be read from a description.
How these are called depends on the version, so `three_products_pay` tries one before any network is changed.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from KidneySegLib.inference.device import cpu_device
from KidneySegLib.inference.openvino_runtime import compile_options, load_openvino, put_in_place
from KidneySegLib.inference.tiling import Float32
from KidneySegLib.inference.timing import seconds_in_turn

if TYPE_CHECKING:
    import openvino

#: Fewer channels do not fill AMX's tiles.
_LEAST_CHANNELS = 16
#: Where an input is used in fewer products than this (kernel's voxels times channels made), splitting it costs what
#: three products gain.
_LEAST_PRODUCTS = 800
#: Of the convolution that is tried; and how often at most, unless so much time has gone.
_CHANNELS_TRIED, _SIZE_TRIED, _TURNS, _MOST_SECONDS = 64, (8, 40, 40), 5, 0.5
#: How far answers may differ, as a share of their spread: far above what three products do, far below bfloat16.
_MOST_DIFFERENCE = 2e-4
_PLUGINS = ("libopenvino_intel_cpu_plugin.so", "openvino_intel_cpu_plugin.dll", "libopenvino_intel_cpu_plugin.dylib")


@functools.cache
def three_products_pay() -> bool:
    """Whether this OpenVINO makes float32 of bfloat16 products on this processor's AMX, and that is faster.

    One small convolution is tried both ways, once a process (some 0.3 s where there is AMX): it must run on AMX, answer
    like float32's, and take less time. Alone on its processor it takes half as long; beside neighbours on the same
    machine who use AMX too, as long or longer.
    """
    openvino = load_openvino()
    core = openvino.Core()
    if "BF16" not in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        return False
    random = np.random.default_rng(0)
    given = random.normal(size=(1, _CHANNELS_TRIED, *_SIZE_TRIED)).astype(np.float32)
    weights = random.normal(size=(_CHANNELS_TRIED, _CHANNELS_TRIED, 3, 3, 3)).astype(np.float32)

    def network() -> Any:
        maps, ones = openvino.opset13.parameter(list(given.shape), np.float32), [1, 1, 1]
        return openvino.Model([openvino.opset13.convolution(maps, weights, ones, ones, ones, ones)], [maps], "one")

    plain, split = network(), network()
    options = compile_options(cpu_device(), "float32")
    try:
        if split_convolutions(core, split) != 1:
            return False
        compiled = core.compile_model(split, "CPU", options)
        kinds = [node.get_rt_info()["primitiveType"].value for node in compiled.get_runtime_model().get_ordered_ops()]
        if not any("amx" in kind for kind in kinds):
            return False
        requests = [m.create_infer_request() for m in (core.compile_model(plain, "CPU", options), compiled)]
        expected, found = (np.array(request.infer([given])[0]) for request in requests)
    except RuntimeError:
        return False
    if np.abs(found - expected).max() > _MOST_DIFFERENCE * expected.std():
        return False
    works = [functools.partial(request.infer, [given]) for request in requests]
    plain_seconds, split_seconds = seconds_in_turn(works, _TURNS, _MOST_SECONDS)
    return split_seconds < plain_seconds


def split_convolutions(core: openvino.Core, model: openvino.Model) -> int:
    """Put the sum of three bfloat16 convolutions in place of each float32 convolution with constant weights, in place.

    Args:
        core: gets the extension of the processor's plugin.
        model: float32; weights may be kept in half precision. Convolutions that are too small to gain stay.

    Returns:
        How many convolutions were replaced.

    Raises:
        RuntimeError: if this OpenVINO's plugin has no such extension. The model may be changed in part: throw it away.
    """
    core.add_extension(str(_plugin()))
    ops = load_openvino().opset13
    replaced = 0
    halves: dict[tuple[str, int], tuple[Any, Any]] = {}
    for convolution in model.get_ordered_ops():
        if convolution.get_type_name() != "Convolution":
            continue
        weights = _constant(convolution.input_value(1).get_node())
        if weights is None or weights.shape[1] < _LEAST_CHANNELS or weights[:, 0].size < _LEAST_PRODUCTS:
            continue
        maps = convolution.input_value(0)
        place = (maps.get_node().get_name(), maps.get_index())
        if place not in halves:
            halves[place] = _halves(maps)
        first, rest = halves[place]
        weights_first, weights_rest = (_bfloat16_constant(part) for part in rounded_and_rest(weights))
        products = [
            _convolution(core, convolution, *pair)
            for pair in ((first, weights_rest), (rest, weights_first), (first, weights_first))
        ]
        # One chain of sums, so that each convolution adds itself onto what is there.
        answer, others = _sum_that_reads(convolution)
        put_in_place(answer, functools.reduce(ops.add, [*others, *products]))
        replaced += 1
    model.validate_nodes_and_infer_types()
    return replaced


def _plugin() -> Path:
    """The library of OpenVINO's plugin for processors, which is an extension too."""
    folder = Path(load_openvino().__file__).parent / "libs"
    for name in _PLUGINS:
        if (folder / name).is_file():
            return folder / name
    raise RuntimeError(f"expected OpenVINO's plugin for processors in {folder}, found none of {', '.join(_PLUGINS)}")


def rounded_and_rest(values: Float32) -> tuple[Float32, Float32]:
    """What rounding to bfloat16 gives, and the rest that is missing, rounded too; both as float32."""
    first = _rounded(values)
    return first, _rounded(values - first)


def _rounded(values: Float32) -> Float32:
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    # To the nearest, ties to even: what lies below the sixteen bits that are kept is added up to half of their last.
    even = (bits >> np.uint32(16)) & np.uint32(1)
    return ((bits + np.uint32(0x7FFF) + even) & np.uint32(0xFFFF0000)).view(np.float32)


def _bfloat16_constant(rounded: Float32) -> Any:
    openvino = load_openvino()
    tensor = openvino.Tensor(openvino.Type.bf16, list(rounded.shape))
    upper = (rounded.view(np.uint32) >> np.uint32(16)).astype(np.uint16)
    tensor.data[:] = upper.view(tensor.data.dtype)
    return openvino.opset13.constant(tensor)


def _sum_that_reads(convolution: Any) -> tuple[Any, list[Any]]:
    """The sum of maps that alone reads a convolution, and what else it adds; without one, the convolution itself."""
    readers = list(convolution.output(0).get_target_inputs())
    if len(readers) == 1 and readers[0].get_node().get_type_name() == "Add":
        other = readers[0].get_node().input_value(1 - readers[0].get_index())
        if other.get_partial_shape() == convolution.output(0).get_partial_shape():
            return readers[0].get_node(), [other]
    return convolution, []


def _halves(maps: Any) -> tuple[Any, Any]:
    """Maps as bfloat16, and what that leaves out as bfloat16."""
    ops = load_openvino().opset13
    first = ops.convert(maps, "bf16")
    return first, ops.convert(ops.subtract(maps, ops.convert(first, "f32")), "bf16")


def _constant(node: Any) -> Float32 | None:
    """A node's constant values as float32, unpacked where they are kept in half precision; None: not constant."""
    if node.get_type_name() == "Convert":
        node = node.input_value(0).get_node()
    if node.get_type_name() != "Constant":
        return None
    values: Float32 = np.asarray(node.get_data(), np.float32)
    return values


def _convolution(core: openvino.Core, like: Any, maps: Any, weights: Any) -> Any:
    """A convolution like another one, of bfloat16 maps and weights, that answers in float32."""
    how = like.get_attributes()
    axes = len(how["strides"])
    size = weights.get_output_shape(0)
    lists = {name: ", ".join(map(str, how[name])) for name in ("strides", "dilations", "pads_begin", "pads_end")}
    given = ["?", size[1], *["?"] * axes]
    made = core.read_model(
        _DESCRIPTION.format(
            maps=",".join(map(str, given)),
            weights=",".join(map(str, size)),
            auto_pad=how["auto_pad"],
            ports="".join(_port(n, s, "BF16") for n, s in ((0, given), (1, size))),
            answer=_port(2, ["?", size[0], *["?"] * axes], "FP32"),
            **lists,
        ).encode()
    )
    node = next(n for n in made.get_ordered_ops() if n.get_type_name() == "Convolution")
    node.input(0).replace_source_output(maps.output(0))
    node.input(1).replace_source_output(weights.output(0))
    return node


def _port(number: int, sizes: Sequence[object], precision: str) -> str:
    dims = "".join(f"<dim>{-1 if size == '?' else size}</dim>" for size in sizes)
    return f'<port id="{number}" precision="{precision}">{dims}</port>'


_DESCRIPTION = """<?xml version="1.0"?>
<net name="one" version="11"><layers>
<layer id="0" name="maps" type="Parameter" version="opset1"><data shape="{maps}" element_type="bf16"/>
<output><port id="0" precision="BF16"/></output></layer>
<layer id="1" name="weights" type="Parameter" version="opset1"><data shape="{weights}" element_type="bf16"/>
<output><port id="0" precision="BF16"/></output></layer>
<layer id="2" name="convolution" type="Convolution" version="type_relaxed_opset1">
<data type_relax="true" input_data_types="" output_data_types="f32" strides="{strides}" dilations="{dilations}"
 pads_begin="{pads_begin}" pads_end="{pads_end}" auto_pad="{auto_pad}"/>
<input>{ports}</input><output>{answer}</output></layer>
<layer id="3" name="answer" type="Result" version="opset1"><input><port id="0" precision="FP32"/></input></layer>
</layers><edges>
<edge from-layer="0" from-port="0" to-layer="2" to-port="0"/>
<edge from-layer="1" from-port="0" to-layer="2" to-port="1"/>
<edge from-layer="2" from-port="2" to-layer="3" to-port="0"/>
</edges></net>"""
