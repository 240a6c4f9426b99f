"""Slabs of whole slices from the phantom. Imported by worker processes: no torch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np

from KidneySegLib.training.phantom_samples import draw, sum_fractions
from KidneySegLib.training.samples import Sample, as_fraction, as_hu

Size3 = tuple[int, int, int]
SpacingMm = tuple[float, float, float]
#: Structures of a rendering that each class of the network is made of; with a class of their own cysts leave the
#: kidney's.
_STRUCTURES = {"kidney": ("parenchyma", "cyst"), "cyst": ("cyst",), "mass": ("mass",)}


def structures_of(classes: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
    """What each class holds: cysts belong to the kidney unless there is a class for them."""
    return {
        name: tuple(s for s in _STRUCTURES[name] if name == "cyst" or s != "cyst" or "cyst" not in classes)
        for name in classes
    }


@dataclass(frozen=True)
class PhantomSlabs:
    """One slab of a phantom's trunk a seed, mostly at the height of its kidneys.

    Attributes:
        shape: of a slab in voxels (z, y, x).
        spacing_mm: (z, y, x).
        classes: of the targets: ``kidney``, ``mass`` and, if they are told apart, ``cyst``.
        jitter_mm: how far along z a slab's centre may lie from a kidney's or lesion's.
        elsewhere_probability: of a slab at any height of the body.
        variety: range of the phantom's variety of HU, see `sample_scene`.
        variant_shares, phase_shares: how often a kind of patient, and a contrast phase, is drawn; empty: the phantom's.
    """

    shape: Size3
    spacing_mm: SpacingMm
    classes: tuple[str, ...] = ("kidney", "mass")
    jitter_mm: float = 40.0
    elsewhere_probability: float = 0.2
    variety: tuple[float, float] = (0.0, 0.6)
    variant_shares: Mapping[str, float] = field(default_factory=dict)
    phase_shares: Mapping[str, float] = field(default_factory=dict)

    def __call__(self, seed: int) -> Iterator[Sample]:
        from KidneySegLib.phantom.grid import Grid
        from KidneySegLib.phantom.render import render
        from KidneySegLib.phantom.scene import sample_scene

        random = np.random.default_rng((seed, 4))
        variant, phase = draw(random, self.variant_shares), draw(random, self.phase_shares)
        scene = sample_scene(seed, variety=float(random.uniform(*self.variety)), variant=variant, phase=phase)
        bounds = np.asarray(scene.body_bounds_mm(), np.float64)
        centre = bounds.mean(axis=1)
        centre[:2] += random.uniform(-12, 12, 2)
        heights = [k.centre_mm[2] for k in scene.kidneys] + [le.centre_mm[2] for le in scene.lesions]
        if not heights or random.random() < self.elsewhere_probability:
            centre[2] = random.uniform(bounds[2, 0], bounds[2, 1])
        else:
            centre[2] = random.choice(heights) + random.uniform(-self.jitter_mm, self.jitter_mm)
        half_mm_xyz = (np.array(self.shape[::-1]) - 1) / 2 * np.array(self.spacing_mm[::-1])
        x, y, z = (float(v) for v in centre - half_mm_xyz)
        rendering = render(scene, Grid(shape_zyx=self.shape, spacing_mm_zyx=self.spacing_mm, origin_mm_xyz=(x, y, z)))
        hu = as_hu(rendering.hu)
        fractions = rendering.fractions
        targets = np.stack(
            [as_fraction(sum_fractions(fractions, parts, self.shape)) for parts in structures_of(self.classes).values()]
        )
        # Above and below the body there is no scan.
        height_mm = z + np.arange(self.shape[0]) * self.spacing_mm[0]
        outside = (height_mm < bounds[2, 0]) | (height_mm > bounds[2, 1])
        hu[outside], targets[:, outside] = -1024, 0
        yield Sample(hu, targets, seed)
