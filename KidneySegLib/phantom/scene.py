"""A scene: one synthetic patient at one moment after contrast injection, free of any grid."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from KidneySegLib.labels import Side
from KidneySegLib.phantom.appearance import sample_appearance
from KidneySegLib.phantom.body import Body, sample_body
from KidneySegLib.phantom.bowel import Loop, sample_bowel
from KidneySegLib.phantom.contrast import Enhancement, sample_enhancement
from KidneySegLib.phantom.fields import Field
from KidneySegLib.phantom.kidney import Kidney, sample_kidney
from KidneySegLib.phantom.lesions import Lesion, sample_lesion
from KidneySegLib.phantom.shapes import rotation
from KidneySegLib.phantom.vessels import Vessels, sample_vessels

#: Kinds of patient with their share when none is asked for.
VARIANT_SHARES: dict[str, float] = {
    "normal": 0.34,
    "small_kidney": 0.05,
    "malrotated": 0.05,
    "low_kidney": 0.05,
    "single": 0.05,
    "fused": 0.04,
    "transplant": 0.04,
    "atrophic": 0.10,
    "cysts": 0.08,
    "large_cysts": 0.04,
    "mass": 0.07,
    "large_mass": 0.03,
    "stones": 0.03,
    "hydronephrosis": 0.05,
    "displaced": 0.02,
}
VARIANTS: tuple[str, ...] = tuple(VARIANT_SHARES)
#: Shares of contrast phases when none is asked for: arterial is the program's own, the rest must be survived.
PHASE_SHARES: dict[str, float] = {"arterial": 0.66, "nephrographic": 0.16, "unenhanced": 0.13, "excretory": 0.05}


@dataclass(frozen=True)
class Scene:
    """All that is needed to render one patient on any grid, and what is true of them.

    World coordinates are LPS in mm; the origin is the middle of the second lumbar vertebra.

    Attributes:
        seed, variant, variety: what the scene was sampled with.
        enhancement: contrast phase and tissue HU before variety.
        hu: paint values by name.
        kidneys: one entry a kidney; a fused kidney is two entries with side unsided.
        lesions: cysts, masses and stones.
        warp: displacement fields (x, y, z) that bend the whole anatomy.
        ckd: 0 healthy to 1 end-stage.
    """

    seed: int
    variant: str
    variety: float
    ckd: float
    body: Body
    enhancement: Enhancement
    hu: Mapping[str, float]
    kidneys: tuple[Kidney, ...]
    lesions: tuple[Lesion, ...]
    bowel: tuple[Loop, ...]
    vessels: Vessels
    warp: tuple[Field, Field, Field]
    organ_seed: int

    @property
    def phase(self) -> str:
        return self.enhancement.phase

    @property
    def cortex_visible(self) -> bool:
        """Whether cortex is brighter than medulla by enough to be told apart."""
        return self.hu["cortex"] - self.hu["medulla"] >= 25.0

    def body_bounds_mm(self) -> tuple[tuple[float, float], tuple[float, float], tuple[float, float]]:
        """Box ((x0, x1), (y0, y1), (z0, z1)) in mm that holds the trunk."""
        return self.body.bounds_mm()


def _place(
    rng: np.random.Generator, body: Body, side: Side, low_mm: float, rotation_deg: float
) -> tuple[tuple[float, float, float], NDArray[np.float64]]:
    """Centre and axes of a kidney in the loin: beside the psoas, upper pole inwards and back, hilum to the front."""
    sign = 1.0 if side is Side.LEFT else -1.0
    lateral = body.vertebra_half[0] + float(rng.uniform(28, 46)) + 0.05 * (body.half_width - 120) + 0.22 * low_mm
    centre = (
        sign * lateral,
        float(rng.uniform(-20, 12)) - 0.25 * low_mm,
        float(rng.normal(8 if side is Side.LEFT else -6, 13)) - low_mm,
    )
    tilt = float(rng.uniform(4, 26))
    turn = rotation_deg if rotation_deg else float(rng.uniform(5, 58))
    # For a left kidney: u points left and back by `turn`, w points up and leans to the spine by `tilt`.
    axes = rotation(turn, 0, 0)
    lean = rotation(0, float(rng.uniform(-4, 22)), 0) @ rotation(0, 0, -tilt)
    axes = axes @ lean
    if side is Side.RIGHT:
        axes = axes * np.array([-1.0, 1.0, 1.0])
    return centre, axes


def sample_scene(seed: int, *, variant: str | None = None, phase: str | None = None, variety: float = 0.5) -> Scene:
    """A random patient; the same seed and arguments give the same patient.

    Args:
        seed: any integer from 0.
        variant: one of `VARIANTS`, or None to draw one.
        phase: contrast phase, or None to draw one.
        variety: 0 keeps HU to the physics of contrast; 1 moves them well beyond the plausible.

    Raises:
        ValueError: for an unknown variant or phase.
    """
    if variant is not None and variant not in VARIANT_SHARES:
        raise ValueError(f"variant must be one of {', '.join(VARIANTS)}; got {variant!r}")
    rng = np.random.default_rng([seed, 20261121])

    def uniform(low: float, high: float) -> float:
        return float(rng.uniform(low, high))

    drawn = str(
        rng.choice(list(VARIANT_SHARES), p=np.array(list(VARIANT_SHARES.values())) / sum(VARIANT_SHARES.values()))
    )
    variant = variant or drawn
    drawn_phase = str(rng.choice(list(PHASE_SHARES), p=list(PHASE_SHARES.values())))
    phase = phase or drawn_phase
    body = sample_body(rng)
    ckd = 0.0
    if variant == "atrophic":
        ckd = uniform(0.35, 1.0)
    elif rng.random() < 0.2:
        ckd = uniform(0.05, 0.4)

    kidneys: list[Kidney] = []
    sides = [Side.RIGHT, Side.LEFT]
    missing = Side.RIGHT if rng.random() < 0.5 else Side.LEFT
    chosen = int(rng.integers(2))
    scale = uniform(0.86, 1.1) * (body.half_width / 150) ** 0.25
    for index, side in enumerate(sides):
        if variant == "single" and side is missing:
            continue
        if variant == "transplant" and rng.random() < 0.3:
            continue
        low = uniform(25, 85) if variant == "low_kidney" and index == chosen else 0.0
        turn = uniform(-110, 150) if variant == "malrotated" and (index == chosen or rng.random() < 0.3) else 0.0
        size = scale * uniform(0.93, 1.07)
        if variant == "single":
            size *= uniform(1.0, 1.2)
        if variant == "small_kidney" and index == chosen:
            size *= uniform(0.5, 0.8)
        severity = ckd if variant != "transplant" else uniform(0.5, 1.0)
        hydronephrosis = (
            uniform(0.15, 1.0) if variant == "hydronephrosis" and (index == chosen or rng.random() < 0.3) else 0.0
        )
        centre, axes = _place(rng, body, side, low, turn)
        if variant == "displaced" and index == chosen:
            centre = (
                centre[0] + uniform(-12, 18) * np.sign(centre[0]),
                centre[1] - uniform(5, 45),
                centre[2] - uniform(0, 50),
            )
        kidneys.append(sample_kidney(rng, side, centre, axes, size=size, ckd=severity, hydronephrosis=hydronephrosis))
    if variant == "fused":
        kidneys = _fuse(rng, kidneys, body)
    if variant == "transplant":
        sign = 1.0 if rng.random() < 0.5 else -1.0
        centre = (sign * uniform(62, 88), body.centre_y - uniform(0, 30), uniform(-175, -120))
        axes = rotation(uniform(-180, 180), uniform(-30, 30), uniform(-30, 30))
        graft = sample_kidney(rng, Side.UNSIDED, centre, axes, size=scale, ckd=uniform(0, 0.3))
        kidneys.append(replace(graft, perirenal_mm=uniform(-1, 5)))

    lesions = tuple(_sample_lesions(rng, variant, kidneys, chosen))
    enhancement = sample_enhancement(rng, phase, ckd)
    hu = sample_appearance(rng, enhancement, variety)
    if variant == "atrophic":
        hu["medulla"] = hu["medulla"] + (hu["cortex"] - hu["medulla"]) * uniform(0, 0.4) * ckd
    return Scene(
        seed=seed,
        variant=variant,
        variety=variety,
        ckd=ckd,
        body=body,
        enhancement=enhancement,
        hu=hu,
        kidneys=tuple(kidneys),
        lesions=lesions,
        bowel=sample_bowel(rng, body),
        vessels=sample_vessels(rng, body, kidneys),
        warp=(
            Field(int(rng.integers(2**31)), uniform(45, 80), uniform(1, 4.5)),
            Field(int(rng.integers(2**31)), uniform(45, 80), uniform(1, 4.5)),
            Field(int(rng.integers(2**31)), uniform(45, 80), uniform(1, 4.5)),
        ),
        organ_seed=int(rng.integers(2**31)),
    )


def _fuse(rng: np.random.Generator, kidneys: list[Kidney], body: Body) -> list[Kidney]:
    """A horseshoe kidney: both low, lower poles turned in, joined by a bridge in front of the great vessels."""
    fused = []
    drop = float(rng.uniform(20, 50))
    meeting = (0.0, -body.vertebra_half[1] - float(rng.uniform(28, 40)), float(rng.uniform(-75, -50)) - drop * 0.3)
    radius = float(rng.uniform(8, 15))
    for kidney in kidneys:
        sign = 1.0 if kidney.centre_mm[0] > 0 else -1.0
        axes = rotation(float(rng.uniform(-75, -20)), float(rng.uniform(-15, 10)), float(rng.uniform(8, 28)))
        if sign < 0:
            axes = axes * np.array([-1.0, 1.0, 1.0])
        x, y, z = kidney.centre_mm
        fused.append(
            replace(
                kidney,
                side=Side.UNSIDED,
                axes=axes,
                centre_mm=(x * 0.95, y - 14, z - drop),
                isthmus_to_mm=meeting,
                isthmus_radius_mm=radius,
            )
        )
    return fused


def _sample_lesions(rng: np.random.Generator, variant: str, kidneys: list[Kidney], chosen: int) -> list[Lesion]:
    lesions: list[Lesion] = []
    if not kidneys:
        return lesions

    def add(kind: str, low: float, high: float, depth: float, index: int | None = None) -> None:
        which = int(rng.integers(len(kidneys))) if index is None else index % len(kidneys)
        lesions.append(sample_lesion(rng, kidneys[which], which, kind, float(rng.uniform(low, high)), depth))

    def cyst_kind() -> str:
        return "cyst" if rng.random() < 0.8 else "hyperdense_cyst"

    background = {"cysts": 0, "large_cysts": 1}.get(variant, 0.35)
    for _ in range(int(rng.poisson(background))):
        add(cyst_kind(), 2, 9, float(rng.uniform(0, 1)))
    if variant == "cysts":
        for _ in range(int(rng.integers(1, 9))):
            add(cyst_kind(), 3, 18, float(rng.uniform(0, 1)))
    elif variant == "large_cysts":
        for _ in range(int(rng.integers(1, 3))):
            add(cyst_kind(), 20, 48, float(rng.uniform(0, 0.35)), chosen)
    elif variant == "mass":
        add("mass", 6, 26, float(rng.uniform(0, 0.9)), chosen)
    elif variant == "large_mass":
        add("mass", 26, 55, float(rng.uniform(0, 0.4)), chosen)
    elif variant == "stones":
        for _ in range(int(rng.integers(1, 5))):
            add("stone", 1.5, 7, 0.7)
    elif rng.random() < 0.06:
        add("stone", 1, 4, 0.7)
    return lesions
