"""Where to look for kidneys: what any pass of a mirrored localiser holds for one; its labels are the plain pass's."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk

from KidneySegLib.inference.grid import frame_of
from KidneySegLib.inference.localiser import localise
from KidneySegLib.labels import OverviewLabel
from KidneySegLib.models import find_bundle
from KidneySegLib.progress import Progress

SHAPE = (16, 16, 32)


def network(*kidneys: tuple[int, int, int], passes: int = 2) -> Any:
    """A localiser whose passes each see one voxel of kidney, and whose second pass calls all else liver."""
    bundle = find_bundle("kidneyseg-localiser")

    def looks(volume: np.ndarray, _tile: object, on_network: Callable[[float, str], None]) -> list[np.ndarray]:
        assert volume.shape == SHAPE
        on_network(1.0, "")
        found = []
        for number, place in enumerate(kidneys[:passes]):
            values = np.zeros((len(bundle.outputs), *SHAPE), np.float32)
            values[bundle.outputs.index("background" if number == 0 else "liver")] = 0.6
            values[(bundle.outputs.index("kidney"), *place)] = 0.4
            found.append(values)
        return found

    return SimpleNamespace(
        bundle=bundle,
        passes_per_tile=passes,
        passes=lambda *given: (None, looks(*given)),
        probabilities=lambda *given: looks(*given)[0],
    )


@pytest.fixture
def scan() -> sitk.Image:
    image = sitk.GetImageFromArray(np.full(SHAPE, 40, np.int16))
    image.SetSpacing((5.0, 5.0, 5.0))
    return image


def test_what_one_pass_alone_calls_kidney_is_looked_at(scan: sitk.Image) -> None:
    overview = localise(network((8, 8, 8), (4, 4, 24)), scan, frame_of(scan), Progress())
    assert [tuple(int(v) for v in place) for place in np.argwhere(overview.kidney)] == [(4, 4, 24), (8, 8, 8)]
    assert not (overview.labels == OverviewLabel.LIVER).any()


def test_a_localiser_without_mirroring_has_one_pass(scan: sitk.Image) -> None:
    overview = localise(network((8, 8, 8), (4, 4, 24), passes=1), scan, frame_of(scan), Progress())
    assert [tuple(int(v) for v in place) for place in np.argwhere(overview.kidney)] == [(8, 8, 8)]


def test_the_shipped_localiser_looks_in_a_mirror_too() -> None:
    bundle = find_bundle("kidneyseg-localiser")
    assert (bundle.mirror, bundle.mirror_axes) == (True, (2,))
