"""Training samples from the phantom: 1 mm boxes round kidneys, and coarse whole bodies.

Imported by worker processes: no torch.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from KidneySegLib.training.samples import Sample, as_fraction, as_hu

Size3 = tuple[int, int, int]
#: Sides as the phantom's fractions name them.
_SIDES = ("right", "left", "unsided")
#: What makes up a structure that the phantom does not know by its own name: the abnormality of Humpire Mamani et al.
COMPOUNDS = {"abnormality": ("cyst", "mass")}
#: Half size of a lesion that may get a box of its own.
LARGE_LESION_MM = 15.0


def grid_around(centre_mm_xyz: npt.NDArray[np.float64], shape_zyx: Size3, spacing_mm: float) -> Any:
    from KidneySegLib.phantom.grid import Grid

    half_mm_xyz = (np.array(shape_zyx[::-1]) - 1) / 2 * spacing_mm
    origin = tuple(float(v) for v in centre_mm_xyz - half_mm_xyz)
    return Grid(shape_zyx=shape_zyx, spacing_mm_zyx=(spacing_mm,) * 3, origin_mm_xyz=(origin[0], origin[1], origin[2]))


def sum_fractions(
    fractions: Mapping[str, npt.NDArray[np.float32]], structures: Iterable[str], shape: Size3
) -> npt.NDArray[np.float32]:
    """How much of each voxel (z, y, x) some structures of a rendering fill, on all sides together."""
    total = np.zeros(shape, np.float32)
    for structure in structures:
        for side in _SIDES:
            if f"{side}_{structure}" in fractions:
                total += fractions[f"{side}_{structure}"]
    return np.minimum(total, 1.0)


def target_channels(
    fractions: Mapping[str, npt.NDArray[np.float32]], names: Iterable[str], shape: Size3
) -> npt.NDArray[np.uint8]:
    """Training targets (channel, z, y, x) of a rendering, one for each structure or entry of `COMPOUNDS` named."""
    return np.stack([as_fraction(sum_fractions(fractions, COMPOUNDS.get(name, (name,)), shape)) for name in names])


def draw(random: np.random.Generator, shares: Mapping[str, float]) -> str | None:
    """A key drawn by its share, or None where there are none to draw from."""
    if not shares:
        return None
    weights = np.array(list(shares.values()), np.float64)
    return str(random.choice(list(shares), p=weights / weights.sum()))


@dataclass(frozen=True)
class KidneyBoxes:
    """A box round each kidney of a phantom and the bridge of fused ones, and sometimes one round a large lesion or
    anywhere in its body.

    Targets are fractions of the structures named, of whichever kidneys reach into the box.

    Attributes:
        shape: of a box in voxels (z, y, x).
        spacing_mm: isotropic.
        jitter_mm: how far a box's centre may lie from the kidney's, along each axis.
        elsewhere_probability: of an additional box centred anywhere in the body.
        variety: range of the phantom's variety of HU, see `sample_scene`.
        structures: one channel of the targets each, keys of a rendering's fractions without their side, or of
            `COMPOUNDS`.
        variant_shares: how often a kind of patient is drawn, as shares of their sum; empty: the phantom's own shares.
        phase_shares: the same for contrast phases.
        lesion_probability: of an additional box centred on a cyst or mass of `LARGE_LESION_MM` and more.
    """

    shape: Size3
    spacing_mm: float = 1.0
    jitter_mm: float = 40.0
    elsewhere_probability: float = 0.5
    variety: tuple[float, float] = (0.0, 1.0)
    structures: tuple[str, ...] = ("parenchyma", "cortex")
    variant_shares: Mapping[str, float] = field(default_factory=dict)
    phase_shares: Mapping[str, float] = field(default_factory=dict)
    lesion_probability: float = 0.0

    def __call__(self, seed: int) -> Iterator[Sample]:
        from KidneySegLib.phantom.render import render
        from KidneySegLib.phantom.scene import sample_scene

        random = np.random.default_rng((seed, 1))
        variety = float(random.uniform(*self.variety))
        choice = np.random.default_rng((seed, 3))
        variant, phase = draw(choice, self.variant_shares), draw(choice, self.phase_shares)
        scene = sample_scene(seed, variety=variety, variant=variant, phase=phase)
        centres = [
            np.asarray(kidney.centre_mm, np.float64) + random.uniform(-self.jitter_mm, self.jitter_mm, 3)
            for kidney in scene.kidneys
        ]
        if random.random() < self.elsewhere_probability or not centres:
            bounds = np.asarray(scene.body_bounds_mm(), np.float64)
            centres.append(random.uniform(*(bounds.mean(1) + s * 0.35 * np.ptp(bounds, axis=1) for s in (-1, 1))))
        for lesion in scene.lesions:
            if max(lesion.half_size_mm) >= LARGE_LESION_MM and choice.random() < self.lesion_probability:
                centres.append(np.asarray(lesion.centre_mm) + choice.uniform(-self.jitter_mm, self.jitter_mm, 3))
        meeting = next((kidney.isthmus_to_mm for kidney in scene.kidneys if kidney.isthmus_to_mm is not None), None)
        if meeting is not None:
            centres.append(np.asarray(meeting) + choice.uniform(-self.jitter_mm, self.jitter_mm, 3))
        for centre in centres:
            rendering = render(scene, grid_around(centre, self.shape, self.spacing_mm))
            targets = target_channels(rendering.fractions, self.structures, self.shape)
            yield Sample(as_hu(rendering.hu), targets, seed, float(scene.cortex_visible))


@dataclass(frozen=True)
class WholeBodies:
    """A phantom's whole body, coarsely. The target is one channel of ``OverviewLabel`` ids.

    Attributes:
        shape: in voxels (z, y, x); a longer body is cut at a random height.
        spacing_mm: isotropic.
        jitter_mm: how far the body's centre may lie from the middle, in the plane of a slice.
        variety: range of the phantom's variety of HU, see `sample_scene`.
        variant_shares, phase_shares: as for `KidneyBoxes`.
    """

    shape: Size3
    spacing_mm: float = 4.0
    jitter_mm: float = 30.0
    variety: tuple[float, float] = (0.0, 1.0)
    variant_shares: Mapping[str, float] = field(default_factory=dict)
    phase_shares: Mapping[str, float] = field(default_factory=dict)

    def __call__(self, seed: int) -> Iterator[Sample]:
        from KidneySegLib.phantom.render import render
        from KidneySegLib.phantom.scene import sample_scene

        random = np.random.default_rng((seed, 2))
        variety = float(random.uniform(*self.variety))
        choice = np.random.default_rng((seed, 3))
        variant, phase = draw(choice, self.variant_shares), draw(choice, self.phase_shares)
        scene = sample_scene(seed, variety=variety, variant=variant, phase=phase)
        bounds = np.asarray(scene.body_bounds_mm(), np.float64)
        centre = bounds.mean(axis=1)
        centre[:2] += random.uniform(-self.jitter_mm, self.jitter_mm, 2)
        spare_mm = max(0.0, float(np.ptp(bounds[2])) - self.shape[0] * self.spacing_mm)
        centre[2] += random.uniform(-0.5, 0.5) * spare_mm
        rendering = render(scene, grid_around(centre, self.shape, self.spacing_mm))
        hu = as_hu(rendering.hu)
        targets = np.asarray(rendering.tissue, np.uint8).copy()
        # Above and below the body there is no scan: air, and nothing to find.
        z_mm = centre[2] + (np.arange(self.shape[0]) - (self.shape[0] - 1) / 2) * self.spacing_mm
        outside = (z_mm < bounds[2, 0]) | (z_mm > bounds[2, 1])
        hu[outside], targets[outside] = -1024, 0
        yield Sample(hu, targets[None], seed)
