"""Sides on the phantom's anatomy, from its own truth without sides: the answer is the truth with sides."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk

from KidneySegLib.labels import LABELS, STRUCTURE_OF_TRAINING_LABEL
from KidneySegLib.phantom.grid import Grid
from KidneySegLib.phantom.render import render
from KidneySegLib.phantom.scene import sample_scene
from KidneySegLib.phantom.truth import majority_labels
from KidneySegLib.postprocessing import assign_kidneys
from Testing.postprocessing.patient import result_of

SPACING_ZYX = (6.0, 4.0, 4.0)


@pytest.mark.parametrize(("variant", "seed"), [("low_kidney", 1), ("single", 1), ("fused", 1), ("transplant", 3)])
@pytest.mark.parametrize("with_localiser", [False, True])
def test_every_voxel_has_its_true_side(variant: str, seed: int, with_localiser: bool) -> None:
    scene = sample_scene(seed, variant=variant)
    low, high = zip(*scene.body_bounds_mm(), strict=True)
    shape = tuple(int((b - a) / mm) for a, b, mm in zip(low[::-1], high[::-1], SPACING_ZYX, strict=True))
    rendering = render(scene, Grid(shape, SPACING_ZYX, low))
    truth = majority_labels(rendering.fractions, shape)
    training = {structure: label.value for label, structure in STRUCTURE_OF_TRAINING_LABEL.items()}
    unsided = np.zeros(16, dtype=np.uint8)
    for label in LABELS[:12]:
        unsided[label.id] = training[label.structure]

    def image_of(values: np.ndarray) -> sitk.Image:
        image = sitk.GetImageFromArray(values)
        image.SetSpacing(SPACING_ZYX[::-1])
        image.SetOrigin(low)
        return image

    overview = image_of(rendering.tissue.astype(np.uint8)) if with_localiser else None
    kidneys = assign_kidneys(result_of(image_of(unsided[truth]), overview), image_of(rendering.hu.astype(np.int16)))
    assert kidneys.midline == ("spine" if with_localiser else "bone")
    found = sitk.GetArrayFromImage(kidneys.labels)
    side_of = np.array([0, *(1 + ("right", "left", "unsided").index(label.side.value) for label in LABELS)])
    inside = truth > 0
    assert np.mean(side_of[found[inside]] == side_of[truth[inside]]) > 0.998
