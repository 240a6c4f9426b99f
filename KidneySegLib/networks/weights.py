"""Parameters into a network, with a message that can be read where they do not fit."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn


def load_weights(network: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Give a network its parameters and running statistics.

    torch names every one that does not fit, hundreds for a network of another width; this names the first.

    Args:
        network: keeps its device and its precision.
        weights: on any device, in any precision.

    Raises:
        ValueError: if some are missing, unknown, or of another shape; the network is then as it was.
    """
    own = network.state_dict()
    # A count of training batches may be left out, as torch allows too.
    wrong = [f"{name} is missing" for name in own if name not in weights and not name.endswith("num_batches_tracked")]
    wrong += [f"{name} is not known" for name in weights if name not in own]
    wrong += [
        f"{name} must be {tuple(own[name].shape)}, got {tuple(given.shape)}"
        for name, given in weights.items()
        if name in own and own[name].shape != given.shape
    ]
    if wrong:
        more = f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else ""
        raise ValueError(wrong[0] + more)
    network.load_state_dict(dict(weights))
