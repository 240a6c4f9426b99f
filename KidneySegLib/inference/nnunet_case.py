"""One scan through a bundle made from nnU-Net's: what nnU-Net's own predictor gives, and what it means here."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from KidneySegLib.inference.grid import Box, size3
from KidneySegLib.inference.localiser import Overview
from KidneySegLib.inference.network import ReadyNetwork
from KidneySegLib.inference.nnunet_labels import Ids, ids_on_scan, training_table
from KidneySegLib.inference.nnunet_near import ids_near_kidneys
from KidneySegLib.inference.nnunet_scan import prepare
from KidneySegLib.labels import TrainingLabel
from KidneySegLib.models.bundle import BundleSpec
from KidneySegLib.progress import Progress

if TYPE_CHECKING:
    import SimpleITK as sitk

#: Kept round what was found, so that what follows sees its surroundings.
RESULT_MARGIN_MM = 10.0

Timed = Callable[[str], AbstractContextManager[None]]


def find_labels(
    networks: tuple[ReadyNetwork, ...],
    image: sitk.Image,
    timed: Timed,
    progress: Progress,
    overview: Overview | None = None,
) -> tuple[sitk.Image, sitk.Image, tuple[int, int, int]]:
    """Training labels and the network's own labels of a scan.

    Args:
        networks: of the bundle, and of its partner where it has one.
        image: the scan, in HU.
        timed: measures the stages preprocess, network and resample.
        progress: told about them; may cancel.
        overview: where the kidneys are: only their surroundings are looked at, with the model's own patch; None: the
            whole scan, as nnU-Net does it.

    Returns:
        training labels and the own labels (ids of `raw_table`), uint8, on the same part of the scan's grid: what is not
        background, with a margin; the whole grid where nothing was found. Then the (x, y, z) index of its first voxel.
    """
    found = []
    for number, network in enumerate(networks):

        def report(stage: str, fraction: float, message: str = "", done: int = number) -> None:
            progress.report(stage, (done + fraction) / len(networks), message)

        if overview is None:
            found.append(_ids(network, image, timed, report))
        else:
            found.append(ids_near_kidneys(network, image, overview, timed, report))
    with timed("resample"):
        size = size3(reversed(image.GetSize()))
        places = [part[1] for part in found if part is not None]
        whole = Box((0, 0, 0), size)
        if places:
            whole = places[0]
            for place in places[1:]:
                whole = whole.union(place)
            margins = [math.ceil(RESULT_MARGIN_MM / s) for s in reversed(image.GetSpacing())]
            whole = Box(
                size3(max(0, a - m) for a, m in zip(whole.start, margins, strict=True)),
                size3(min(n, b + m) for b, m, n in zip(whole.stop, margins, size, strict=True)),
            )
        own = [_pasted(part, whole) for part in found]
        specs = [network.bundle for network in networks]
        labels, raw = _combined(specs, own)
        index = size3(reversed(whole.start))
        return _placed(labels, image, index), _placed(raw, image, index), index


def raw_table(spec: BundleSpec) -> dict[int, str]:
    """Names of the ids in a bundle's own label map; with a partner, an id says what both found."""
    assert spec.nnunet is not None
    if spec.partner is None or spec.partner.nnunet is None:
        return dict(sorted(spec.nnunet.labels.items()))
    step = _step(spec)
    return {
        a + step * b: " + ".join(n for n in (name if a else "", other if b else "") if n) or "background"
        for b, other in sorted(spec.partner.nnunet.labels.items())
        for a, name in sorted(spec.nnunet.labels.items())
    }


def _step(spec: BundleSpec) -> int:
    """What a partner's id is multiplied with."""
    assert spec.nnunet is not None
    return max(spec.nnunet.labels) + 1


def _ids(network: ReadyNetwork, image: sitk.Image, timed: Timed, report: Callable[..., None]) -> tuple[Ids, Box] | None:
    spec = network.bundle
    with timed("preprocess"):
        report("preprocess", 0.0)
        scan = prepare(image, spec, lambda fraction: report("preprocess", fraction))
    with timed("network"):
        logits = network.logits(
            scan.volume, spec.patch_size, lambda fraction, message: report("network", fraction, message)
        )
    with timed("resample"):
        return ids_on_scan(logits, scan, spec, lambda fraction: report("resample", fraction))


def _pasted(part: tuple[Ids, Box] | None, whole: Box) -> Ids:
    array = np.zeros(whole.shape, dtype=np.uint8)
    if part is not None:
        array[part[1].within(whole)] = part[0]
    return array


def _combined(specs: Sequence[BundleSpec], own: list[Ids]) -> tuple[Ids, Ids]:
    """Training labels and raw ids; of a pair, cortex counts inside the parenchyma."""
    tables = [training_table(spec.nnunet) for spec in specs if spec.nnunet is not None]
    labels: Ids = tables[0][own[0]]
    if len(own) == 1:
        return labels, own[0]
    cortex: NDArray[np.bool_] = tables[1][own[1]] == TrainingLabel.CORTEX
    labels[cortex & (labels == TrainingLabel.MEDULLA)] = TrainingLabel.CORTEX
    raw: Ids = own[0] + np.uint8(_step(specs[0])) * own[1]
    return labels, raw


def _placed(array: Ids, image: sitk.Image, index: tuple[int, int, int]) -> sitk.Image:
    import SimpleITK as sitk

    placed = sitk.GetImageFromArray(array)
    placed.SetSpacing(image.GetSpacing())
    placed.SetDirection(image.GetDirection())
    placed.SetOrigin(image.TransformIndexToPhysicalPoint(index))
    return placed
