"""Abnormality made cyst or mass: literal components with known HU, and the road through `assign_kidneys`."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk

from KidneySegLib.labels import ABNORMALITY_LABEL
from KidneySegLib.postprocessing.abnormality import LARGE_MM3, plausible_abnormality
from KidneySegLib.postprocessing.cyst_or_mass import FLAG, attenuation_of, split_abnormality

SPACING = (1.0, 1.0, 1.0)
SHAPE = (40, 40, 60)


def ball(centre: tuple[float, ...], radius: float, shape: tuple[int, ...] = SHAPE) -> np.ndarray:
    axes = np.meshgrid(*(np.arange(n) for n in shape), indexing="ij")
    return sum((a - c) ** 2 for a, c in zip(axes, centre, strict=True)) <= radius**2


def noisy(value: float, seed: int = 0, deviation: float = 20.0) -> np.ndarray:
    return value + np.random.default_rng(seed).normal(0, deviation, SHAPE)


MASK = ball((20, 20, 20), 9)


@pytest.mark.parametrize(
    ("name", "hu", "cyst"),
    [
        ("water in noise", noisy(5), True),
        ("proteinaceous, still benign", noisy(25), True),
        ("hyperdense", noisy(60), False),
        ("enhancing", noisy(110), False),
        ("fluid with an enhancing nodule", np.where(ball((20, 20, 24), 4), 90, noisy(5)), False),
        ("necrotic, with a thick enhancing wall", np.where(ball((20, 20, 20), 6), 15, noisy(100)), False),
        ("fluid with a small stone at its edge", np.where(ball((20, 20, 28), 1), 900, noisy(5)), True),
    ],
)
def test_the_rule(name: str, hu: np.ndarray, cyst: bool) -> None:
    found = attenuation_of(MASK, hu, SPACING)
    assert found.is_cyst is cyst, (name, found)


def test_bright_surroundings_do_not_make_a_cyst_bright() -> None:
    hu = np.where(MASK, 5.0, 250.0)
    found = attenuation_of(MASK, hu, SPACING)
    assert (found.mean_hu, found.bright_share) == (5.0, 0.0)


def test_only_what_hangs_on_a_kidney_or_is_large_stays() -> None:
    kidney = ball((20, 20, 12), 8)
    touching, near, far, speck = ball((20, 20, 22), 4), ball((20, 32, 12), 2), ball((20, 20, 50), 5), kidney & False
    speck[20, 20, 21] = False
    speck[5, 20, 20] = True
    abnormal = touching | near | far | speck
    kept = plausible_abnormality(abnormal, kidney, SPACING)
    assert (kept == (touching | near)).all()
    # Ten times the voxel: the far one is 0.5 L and stays for that alone.
    assert far.sum() * 1000 > LARGE_MM3
    assert (plausible_abnormality(far, kidney & False, (10.0, 10.0, 10.0)) == far).all()
    assert not plausible_abnormality(abnormal & False, kidney, SPACING).any()


def test_what_is_thinner_than_three_millimetres_in_the_slice_goes() -> None:
    kidney = np.zeros((6, 12, 12), bool)
    kidney[:, :4] = True
    column, bar = kidney & False, kidney & False
    column[:, 4:6, 2:4] = True  # 1 mm by 1 mm in the plane, 30 mm through the slices.
    bar[2, 4, 6:12] = True  # 3 mm long.
    kept = plausible_abnormality(column | bar, kidney, (5.0, 0.5, 0.5))
    assert (kept == bar).all()
    diagonal = kidney & False
    diagonal[2, [4, 5, 6, 7, 8], [1, 2, 3, 4, 5]] = True  # 2.5 mm a side, but 3.3 mm across.
    assert (plausible_abnormality(diagonal, kidney, (5.0, 0.5, 0.5)) == diagonal).all()


def images() -> tuple[sitk.Image, sitk.Image]:
    labels = np.zeros(SHAPE, np.uint8)
    labels[ball((20, 20, 14), 10)] = 1
    hu = np.full(SHAPE, -80.0)
    hu[labels == 1] = 140
    for centre, value in (((20, 32, 14), 8.0), ((20, 20, 27), 95.0), ((20, 6, 52), 5.0)):
        labels[ball(centre, 5)] = ABNORMALITY_LABEL
        hu[ball(centre, 5)] = value
    scan = sitk.GetImageFromArray(hu.astype(np.int16))
    scan.SetOrigin((3.0, -40.0, 12.0))
    part = sitk.GetImageFromArray(labels[5:])
    part.SetOrigin((3.0, -40.0, 17.0))
    return part, scan


def test_components_become_cyst_and_mass_where_they_lie() -> None:
    part, scan = images()
    split, flags, notes = split_abnormality(part, scan)
    values = sitk.GetArrayFromImage(split)
    assert flags == (FLAG,)
    assert notes == ("0.5 mL of abnormality away from the kidneys were removed.",)
    assert set(np.unique(values)) == {0, 1, 3, 4}
    assert (values == 3)[15, 34, 14]
    assert (values == 4)[15, 20, 29]
    assert split.GetOrigin() == part.GetOrigin()
    before = sitk.GetArrayFromImage(part)
    assert ((values == 1) == (before == 1)).all()


def test_without_abnormality_nothing_is_done() -> None:
    labels = sitk.GetImageFromArray((np.indices((4, 4, 4)).sum(axis=0) % 3).astype(np.uint8))
    scan = sitk.Image(4, 4, 4, sitk.sitkInt16)
    assert split_abnormality(labels, scan) == (labels, (), ())
    empty = sitk.Image(4, 4, 4, sitk.sitkUInt8)
    assert split_abnormality(empty, scan)[1] == ()
