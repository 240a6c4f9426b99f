"""Parameters that do not fit a network: said in a line, and the network stays as it was."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from KidneySegLib.networks import build_network  # noqa: E402
from KidneySegLib.networks.weights import load_weights  # noqa: E402


def _network(width: int) -> torch.nn.Module:
    torch.manual_seed(width)
    return build_network("VNet2D3D", {"in_channels": 1, "out_channels": 2, "width": width})


def test_weights_of_the_same_network_are_taken() -> None:
    given, network = _network(2), _network(2)
    weights = {name: torch.rand_like(v) if v.is_floating_point() else v for name, v in given.state_dict().items()}
    load_weights(network, weights)
    assert all(torch.equal(value, weights[name]) for name, value in network.state_dict().items())
    # torch lets the count of batches be missing.
    load_weights(network, {name: v for name, v in weights.items() if not name.endswith("num_batches_tracked")})


def test_half_the_precision_goes_into_a_network_that_keeps_its_own() -> None:
    given, network = _network(2), _network(2)
    weights = {name: (v + 1).half() if v.is_floating_point() else v for name, v in given.state_dict().items()}
    load_weights(network, weights)
    for name, value in network.state_dict().items():
        assert value.dtype == given.state_dict()[name].dtype
        assert torch.equal(value, weights[name].to(value.dtype))


def test_another_width_is_said_in_a_line() -> None:
    network = _network(2)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    with pytest.raises(ValueError, match=r"plane.* must be \(2, .*\), got \(3, .*\) \(and \d+ more\)") as caught:
        load_weights(network, _network(3).state_dict())
    assert len(str(caught.value)) < 200
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


@pytest.mark.parametrize(("change", "message"), [("drop", "^head.bias is missing$"), ("add", "^extra is not known$")])
def test_what_is_missing_or_not_known_is_named(change: str, message: str) -> None:
    weights = dict(_network(2).state_dict())
    if change == "drop":
        del weights["head.bias"]
    else:
        weights["extra"] = torch.zeros(1)
    with pytest.raises(ValueError, match=message):
        load_weights(_network(2), weights)
