"""A convolution of joined maps and the sum of convolutions in its place give the same answer."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from torch import nn

from KidneySegLib.inference.openvino_runtime import load_openvino
from KidneySegLib.models.graph import split_concatenations
from KidneySegLib.networks import build_network


def converted(network: nn.Module, shape: tuple[int, ...]):
    sample = torch.randn(*shape, generator=torch.Generator().manual_seed(1))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # As in `network_files.write_graph`.
        return load_openvino().convert_model(network.eval(), example_input=sample), sample.numpy()


def answer(model, given: np.ndarray, precision: str = "f32") -> np.ndarray:
    compiled = load_openvino().Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": precision})
    return np.array(compiled([given])[0])


def kinds(model) -> list[str]:
    return [node.get_type_name() for node in model.get_ordered_ops()]


class _Joined(nn.Module):
    """Three maps of different widths are joined and looked at, by one convolution or by something else too."""

    def __init__(self, *, looked_at_twice: bool) -> None:
        super().__init__()
        self.parts = nn.ModuleList([nn.Conv3d(1, n, 1) for n in (1, 2, 5)])
        self.look = nn.Conv3d(8, 3, 3, stride=2, padding=1)
        self.twice = looked_at_twice

    def forward(self, maps):
        joined = torch.cat([part(maps) for part in self.parts], dim=1)
        seen = self.look(joined)
        return seen + joined.mean() if self.twice else seen


@pytest.mark.parametrize(
    ("name", "arguments", "shape", "count"),
    [
        ("UNet3D", {"in_channels": 1, "out_channels": 2, "features": [4, 8, 8]}, (1, 1, 16, 16, 16), 2),
        ("UNetPlusPlus", {"in_channels": 3, "out_channels": 3, "filters": [4, 4, 8, 8, 8]}, (1, 3, 16, 16), 10),
    ],
)
def test_networks_answer_as_before(name: str, arguments: dict, shape: tuple[int, ...], count: int) -> None:
    torch.manual_seed(0)
    model, given = converted(build_network(name, arguments), shape)
    before = answer(model, given)
    joins = kinds(model).count("Concat")
    assert split_concatenations(model) == count
    assert kinds(model).count("Concat") < joins
    np.testing.assert_allclose(answer(model, given), before, atol=1e-5)


@pytest.mark.parametrize("twice", [False, True])
def test_three_maps_stride_and_bias_are_split_unless_something_else_looks_at_them(twice: bool) -> None:
    torch.manual_seed(0)
    model, given = converted(_Joined(looked_at_twice=twice), (1, 1, 6, 5, 7))
    before = answer(model, given)
    assert split_concatenations(model) == (0 if twice else 1)
    assert ("Concat" in kinds(model)) is twice
    after = answer(model, given)
    if twice:
        np.testing.assert_array_equal(after, before)
    else:
        np.testing.assert_allclose(after, before, atol=1e-5)


def test_joined_along_another_axis_is_left() -> None:
    class Stacked(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.look = nn.Conv3d(1, 2, 3, padding=1)

        def forward(self, maps):
            return self.look(torch.cat([maps, 2 * maps], dim=2))

    model, given = converted(Stacked(), (1, 1, 4, 4, 4))
    before = answer(model, given)
    assert split_concatenations(model) == 0
    np.testing.assert_array_equal(answer(model, given), before)
