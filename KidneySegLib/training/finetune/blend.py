"""A way back: weights between a model's old ones and those that it learnt.

On the straight line between a network and the same network after fine-tuning, what was learnt comes in sooner than what
was known goes ("robust fine-tuning", Wortsman et al. 2022, arXiv:2109.01903).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .judge import Figures, dice_changes


@dataclass(frozen=True)
class Trial:
    """How much one share of the new weights forgets.

    Attributes:
        share: of the new weights, 0 to 1.
        loss_points: what the mean Dice of the structure that lost most fell by on phantoms, in hundredths.
    """

    share: float
    loss_points: float


def blended(old: Mapping[str, Any], new: Mapping[str, Any], share: float) -> dict[str, Any]:
    """Weights on the line between two sets of the same network's: ``share`` 0 gives the old ones, 1 the new ones."""
    return {name: (1 - share) * old[name].float() + share * value.float() for name, value in new.items()}


def choose_share(
    shares: Sequence[float], before: Sequence[Figures], after: Callable[[float], Sequence[Figures]], allowed: float
) -> tuple[float, tuple[Trial, ...]]:
    """The largest share of the new weights that forgets no more than is allowed; the smallest if none does.

    Args:
        shares: to try.
        before: figures of the old weights on phantoms that nothing was learnt from.
        after: the same of a share.
        allowed: loss in points of Dice.

    Returns:
        The share, and what was tried.
    """
    trials: list[Trial] = []
    for share in sorted(shares, reverse=True):
        trials.append(Trial(share, _loss_points(before, after(share))))
        if trials[-1].loss_points <= allowed:
            break
    return trials[-1].share, tuple(trials)


def _loss_points(before: Sequence[Figures], after: Sequence[Figures]) -> float:
    losses = [100 * (old - new) for _, old, new in dice_changes(before, after, together=False)]
    return max([0.0, *losses])
