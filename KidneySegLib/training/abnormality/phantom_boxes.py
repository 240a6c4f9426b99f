"""Training samples from the phantom: boxes round cysts and masses, round kidneys, and elsewhere in the body.

Imported by worker processes: no torch.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from KidneySegLib.training.phantom_samples import draw, grid_around, target_channels
from KidneySegLib.training.samples import Sample, as_hu

if TYPE_CHECKING:
    from KidneySegLib.phantom.scene import Scene

Size3 = tuple[int, int, int]
#: Half size from which a lesion may get a box of its own; smaller ones lie in the boxes of kidneys.
SMALLEST_CENTRED_MM = 5.0


@dataclass(frozen=True)
class AbnormalityBoxes:
    """Boxes of one phantom: one round each of its largest lesions, one round a kidney, sometimes one elsewhere.

    Targets are fractions of the structures named, in classes that do not overlap.

    Attributes:
        shape: of a box in voxels (z, y, x).
        spacing_mm: isotropic.
        structures: one channel of the targets each: ``parenchyma``, ``abnormality`` (cysts and masses together),
            ``cyst``, ``mass``.
        lesion_jitter_mm: how far a box's centre may lie from the lesion's, along each axis.
        kidney_jitter_mm: the same of a kidney's.
        most_lesions: boxes round lesions that a phantom gives at most.
        elsewhere_probability: of an additional box centred anywhere in the body.
        variety: range of the phantom's variety of HU, see `sample_scene`.
        variant_shares: how often a kind of patient is drawn, as shares of their sum; empty: the phantom's own shares.
        phase_shares: the same for contrast phases.
    """

    shape: Size3
    spacing_mm: float = 1.5
    structures: tuple[str, ...] = ("parenchyma", "abnormality")
    lesion_jitter_mm: float = 14.0
    kidney_jitter_mm: float = 24.0
    most_lesions: int = 2
    elsewhere_probability: float = 0.2
    variety: tuple[float, float] = (0.0, 0.7)
    variant_shares: Mapping[str, float] = field(default_factory=dict)
    phase_shares: Mapping[str, float] = field(default_factory=dict)

    def __call__(self, seed: int) -> Iterator[Sample]:
        from KidneySegLib.phantom.render import render
        from KidneySegLib.phantom.scene import sample_scene

        random = np.random.default_rng((seed, 4))
        variety = float(random.uniform(*self.variety))
        variant, phase = draw(random, self.variant_shares), draw(random, self.phase_shares)
        scene = sample_scene(seed, variety=variety, variant=variant, phase=phase)
        for centre in self._centres(scene, random):
            rendering = render(scene, grid_around(centre, self.shape, self.spacing_mm))
            targets = target_channels(rendering.fractions, self.structures, self.shape)
            yield Sample(as_hu(rendering.hu), targets, seed)

    def _centres(self, scene: Scene, random: np.random.Generator) -> list[npt.NDArray[np.float64]]:
        def near(centre_mm: tuple[float, float, float], jitter_mm: float) -> npt.NDArray[np.float64]:
            return np.asarray(centre_mm, np.float64) + random.uniform(-jitter_mm, jitter_mm, 3)

        lesions = [
            lesion
            for lesion in scene.lesions
            if lesion.kind != "stone" and max(lesion.half_size_mm) >= SMALLEST_CENTRED_MM
        ]
        lesions.sort(key=lambda lesion: -max(lesion.half_size_mm))
        centres = [near(lesion.centre_mm, self.lesion_jitter_mm) for lesion in lesions[: self.most_lesions]]
        if scene.kidneys:
            kidney = scene.kidneys[int(random.integers(len(scene.kidneys)))]
            centres.append(near(kidney.centre_mm, self.kidney_jitter_mm))
        if random.random() < self.elsewhere_probability or not centres:
            bounds = np.asarray(scene.body_bounds_mm(), np.float64)
            centres.append(random.uniform(*(bounds.mean(1) + s * 0.35 * np.ptp(bounds, axis=1) for s in (-1, 1))))
        return centres
