"""From probabilities to one kidney, and what a careful colleague would say about it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from KidneySegLib.ultrasound.network import UltrasoundNetwork
from KidneySegLib.ultrasound.preparation import Float32, Grey, Mask, network_input, place, unfit

#: A part smaller than this share of the view is no kidney (a kidney of 8 cm in a view of 20 cm covers 10 %).
MIN_SHARE = 0.005
#: A second part of this share of the largest is worth a word.
SECOND_SHARE = 0.3
#: A mask that shares more of its outline with the view's edge than this is cut by it.
CUT_SHARE = 0.05


@dataclass(frozen=True)
class Outline:
    """A kidney in one frame.

    Attributes:
        mask: (y, x), one part without holes; empty where none was found.
        confidence: mean probability within the mask, 0 to 1; None where it is empty.
        flags: keys of `flags.FLAGS`.
    """

    mask: Mask
    confidence: float | None
    flags: tuple[str, ...]


def outline_frames(frames: Grey, view: Mask, network: UltrasoundNetwork) -> list[Outline]:
    """The kidney in each frame (frame, y, x) of a picture or loop."""
    placement = place(view, network.bundle.size)
    outlines = []
    for frame in frames:
        given = network_input(frame, view, placement)
        probability = unfit(network.probabilities(given[None])[0, 0], placement)
        outlines.append(outline(probability, view, network.bundle.threshold))
    return outlines


def outline(probability: Float32, view: Mask, threshold: float = 0.5) -> Outline:
    """The largest part above a threshold within the view, its holes filled.

    Args:
        probability: (y, x), 0 to 1.
        view: (y, x).
        threshold: from which a pixel counts.
    """
    from scipy import ndimage

    found = (probability >= threshold) & view
    parts, _ = ndimage.label(found)
    sizes = np.bincount(parts.ravel())
    sizes[0] = 0
    if not sizes.any() or sizes.max() < MIN_SHARE * view.sum():
        return Outline(np.zeros_like(found), None, ("no_kidney",))
    largest = int(sizes.argmax())
    mask: Mask = ndimage.binary_fill_holes(parts == largest) & view
    flags = []
    others = np.delete(sizes, largest)
    if others.size and others.max() >= SECOND_SHARE * sizes[largest]:
        flags.append("us_second_region")
    if cut_by_view(mask, view):
        flags.append("us_kidney_cut_by_view")
    return Outline(mask, float(probability[mask].mean()), tuple(flags))


def cut_by_view(mask: Mask, view: Mask) -> bool:
    """Whether part of a mask's outline lies on the view's edge."""
    from scipy import ndimage

    edge = mask & ~ndimage.binary_erosion(mask)
    inner = ndimage.binary_erosion(view, iterations=2)
    return bool((edge & ~inner).sum() > CUT_SHARE * edge.sum())
