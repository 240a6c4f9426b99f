"""HU of every tissue at a moment after a contrast injection, for a sampled patient and injection protocol.

HU = unenhanced HU + iodine of `circulation.simulate` times HU per mg/mL at the tube voltage, times a personal factor.
The curves are held against published figures in ``Testing/phantom/test_contrast.py``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from KidneySegLib.phantom.circulation import HU_PER_MG_ML, Curves, Injection, Patient, simulate

#: Phases that can be asked for, and how often each comes when none is asked for.
PHASES = {"arterial": 0.60, "nephrographic": 0.20, "unenhanced": 0.12, "excretory": 0.08}

#: Bolus tracking starts its clock when the aorta has risen by this much ...
TRIGGER_HU = 50.0
#: ... and the monitor, which looks every second or two and needs a moment to compute, has noticed.
TRIGGER_LATENCY_S = 5.0

#: A cortex this much brighter than medulla makes a scan corticomedullary; less than the second makes it nephrographic.
ARTERIAL_CONTRAST_HU, NEPHROGRAPHIC_CONTRAST_HU = 45.0, 25.0

#: Seconds after the trigger (arterial) or the start of the injection: the parts of a phase, with their shares.
_ARTERIAL_WINDOWS_S = ((0.20, 3.0, 12.0), (0.60, 12.0, 30.0), (0.20, 30.0, 42.0))
_NEPHROGRAPHIC_WINDOW_S = (65.0, 130.0)
_EXCRETORY_WINDOW_S = (240.0, 880.0)

#: Unenhanced HU at 120 kV: mean, SD between patients. Kidney 30-50 as published; others are textbook values.
_UNENHANCED: dict[str, tuple[float, float]] = {
    "blood": (42.0, 4.5),
    "cortex": (36.0, 3.5),
    "collecting_system": (6.0, 4.0),
    "liver": (57.0, 7.0),
    "spleen": (48.0, 4.0),
    "pancreas": (38.0, 8.0),
    "bowel_wall": (38.0, 6.0),
    "stomach_wall": (38.0, 6.0),
    "muscle": (55.0, 6.0),
    "fat": (-103.0, 7.0),
    "gall_bladder": (9.0, 6.0),
    "bladder": (5.0, 4.0),
    "lung": (-845.0, 40.0),
    "bone_cortex": (950.0, 180.0),
    "bone_spongy": (165.0, 60.0),
    "disc": (85.0, 14.0),
    "adrenal": (26.0, 9.0),
    "myocardium": (45.0, 4.0),
    "skin": (25.0, 12.0),
    "cyst": (6.0, 5.0),
    "mass": (36.0, 5.0),
    "csf": (12.0, 5.0),
    "cartilage": (110.0, 20.0),
    "uterus": (48.0, 6.0),
    "prostate": (42.0, 6.0),
    "lymph_node": (40.0, 6.0),
}
#: Tissues that are blood of a vessel of `Curves`, with the part of its peak that is seen (laminar flow, motion).
_BLOOD = {
    "aorta": ("aorta", 1.0),
    "renal_artery": ("renal_artery", 0.97),
    "cava_infrarenal": ("cava_infrarenal", 1.0),
    "cava_suprarenal": ("cava_suprarenal", 1.0),
    "renal_vein": ("renal_vein", 0.92),
    "portal_vein": ("portal_vein", 1.0),
    "left_heart": ("left_heart", 1.0),
    "right_heart": ("right_heart", 0.9),
}
#: Tissues: unenhanced entry, space of `Curves`, factor, SD of the personal factor.
_TISSUE = {
    "cortex": ("cortex", "cortex", 1.0, 0.06),
    "medulla": ("cortex", "medulla", 1.0, 0.07),
    "collecting_system": ("collecting_system", "collecting_system", 1.0, 0.35),
    "liver": ("liver", "liver", 1.0, 0.10),
    "spleen": ("spleen", "spleen", 1.0, 0.10),
    "pancreas": ("pancreas", "pancreas", 1.0, 0.15),
    "bowel_wall": ("bowel_wall", "bowel_wall", 1.15, 0.20),
    "stomach_wall": ("stomach_wall", "bowel_wall", 1.0, 0.25),
    "muscle": ("muscle", "muscle", 1.0, 0.15),
    "adrenal": ("adrenal", "pancreas", 0.75, 0.20),
    "myocardium": ("myocardium", "pancreas", 1.2, 0.10),
    "skin": ("skin", "muscle", 1.0, 0.2),
    "bone_spongy": ("bone_spongy", "muscle", 0.8, 0.2),
    "mass_hypervascular": ("mass", "cortex", 0.75, 0.30),
    "mass_hypovascular": ("mass", "muscle", 2.6, 0.35),
    "uterus": ("uterus", "bowel_wall", 1.0, 0.25),
    "prostate": ("prostate", "muscle", 1.8, 0.25),
    "lymph_node": ("lymph_node", "muscle", 2.2, 0.25),
}
#: Tissues that take no contrast.
_PLAIN = ("fat", "gall_bladder", "lung", "bone_cortex", "disc", "cyst", "csf", "cartilage")
#: Calcium brightens at low voltage, as iodine does, by these factors.
_BONE_FACTOR = {80: 1.45, 100: 1.18, 120: 1.0, 140: 0.92}
#: Iodine in urine: dense layers saturate the scanner anyway.
_URINE_MAX_HU = 2600.0

#: Names that `Enhancement.hu` knows.
TISSUES: tuple[str, ...] = (*_BLOOD, *_TISSUE, *_PLAIN, "bladder", "heart")


@dataclass(frozen=True)
class Enhancement:
    """HU of the tissues of one patient at one moment.

    Attributes:
        phase: unenhanced, arterial, nephrographic or excretory.
        seconds_after_injection: after the start of the injection; None if nothing was injected.
        seconds_after_trigger: after bolus tracking's trigger; None if nothing was injected.
        values: mean HU by tissue name.
        kvp: tube voltage in kV.
        ckd: severity of kidney disease that the kidneys' curves were made with, 0 to 1.
        patient, injection: what the curves were made from; injection is None in an unenhanced scan.
        unenhanced: HU without contrast by the same names.
        personal: factor on a tissue's enhancement by the same names.
    """

    phase: str
    seconds_after_injection: float | None
    seconds_after_trigger: float | None
    values: Mapping[str, float]
    kvp: int
    ckd: float
    patient: Patient
    injection: Injection | None
    unenhanced: Mapping[str, float]
    personal: Mapping[str, float]

    def hu(self, tissue: str) -> float:
        """Mean HU of a tissue.

        Raises:
            KeyError: for a name that is not in `TISSUES`.
        """
        if tissue not in self.values:
            raise KeyError(f"tissue must be one of {', '.join(sorted(self.values))}; got {tissue!r}")
        return self.values[tissue]

    @property
    def corticomedullary_contrast_hu(self) -> float:
        return self.values["cortex"] - self.values["medulla"]

    def for_kidney(self, ckd: float) -> Enhancement:
        """The same patient and moment with kidneys of another severity: for one diseased kidney of two."""
        if self.injection is None or self.seconds_after_injection is None:
            return replace(self, ckd=ckd)
        curves = simulate(replace(self.patient, ckd=float(ckd)), self.injection)
        values = dict(self.values)
        kidney = _values(curves, self.seconds_after_injection, self.kvp, self.unenhanced, self.personal)
        for tissue in ("cortex", "medulla", "collecting_system", "renal_vein"):
            values[tissue] = kidney[tissue]
        return replace(self, values=values, ckd=float(ckd))


def sample_patient(rng: np.random.Generator, ckd: float = 0.0) -> Patient:
    """A patient's weight and cardiac output (which grows with size; some hearts are weak)."""
    weight = float(np.clip(rng.normal(74.0, 14.0), 45.0, 125.0))
    per_kg = float(np.clip(rng.normal(1.42, 0.22), 0.8, 2.0))
    return Patient(round(weight, 1), round(per_kg * weight * (70.0 / weight) ** 0.3, 1), float(ckd))


def sample_injection(rng: np.random.Generator, weight_kg: float) -> Injection:
    """An injection as clinics give it: 300-400 mg/mL, 1.0-2.0 mL/kg (60-150 mL), 2.5-5 mL/s."""
    iodine = float(rng.choice([300.0, 320.0, 350.0, 370.0, 400.0], p=[0.25, 0.15, 0.3, 0.2, 0.1]))
    per_kg = rng.uniform(380.0, 600.0) / iodine
    volume = float(np.clip(per_kg * weight_kg, 60.0, 150.0))
    rate = float(rng.choice([2.5, 3.0, 3.5, 4.0, 5.0], p=[0.15, 0.25, 0.2, 0.25, 0.15]))
    return Injection(round(volume), rate, iodine)


def trigger_s(curves: Curves, kvp: int = 120) -> float:
    """When bolus tracking would start its clock, in s after the start of the injection."""
    crossed = curves.first_time_above("aorta", TRIGGER_HU / HU_PER_MG_ML[kvp])
    # An injection too small to trigger is scanned by the clock, as a radiographer would.
    return 25.0 if crossed is None else crossed + TRIGGER_LATENCY_S


def sample_enhancement(rng: np.random.Generator, phase: str | None = None, ckd: float = 0.0) -> Enhancement:
    """A patient, an injection and a moment, and the HU that follow.

    Args:
        rng: source of all randomness.
        phase: a key of `PHASES`, or None to draw one. Arterial runs from early arterial to late corticomedullary.
        ckd: severity of kidney disease, 0 (none) to 1 (end stage). The moment is chosen as for healthy kidneys, since
            radiographers time the aorta; so sick kidneys may show little corticomedullary contrast at it.

    Raises:
        ValueError: for an unknown phase or a severity outside 0 to 1.
    """
    if phase is None:
        phase = str(rng.choice(list(PHASES), p=list(PHASES.values())))
    if phase not in PHASES:
        raise ValueError(f"phase must be one of {', '.join(PHASES)}; got {phase!r}")
    if not 0.0 <= ckd <= 1.0:
        raise ValueError(f"ckd must be 0 to 1, got {ckd}")
    kvp, healthy, unenhanced, personal = _sample_body(rng)
    patient = replace(healthy, ckd=float(ckd))
    if phase == "unenhanced":
        values = _values(None, 0.0, kvp, unenhanced, personal)
        return Enhancement(phase, None, None, values, kvp, float(ckd), patient, None, unenhanced, personal)

    for attempt in range(200):
        if attempt and attempt % 20 == 0:  # A circulation too slow or too quick for this phase: another patient.
            kvp, healthy, unenhanced, personal = _sample_body(rng)
            patient = replace(healthy, ckd=float(ckd))
        injection = sample_injection(rng, healthy.weight_kg)
        curves = simulate(healthy, injection)
        start = trigger_s(curves, kvp)
        seconds = _sample_seconds(rng, phase, start)
        values = _values(curves, seconds, kvp, unenhanced, personal)
        if _belongs(phase, values):
            break
    values = _values(simulate(patient, injection), seconds, kvp, unenhanced, personal)
    return Enhancement(
        phase, seconds, seconds - start, values, kvp, float(ckd), patient, injection, unenhanced, personal
    )


def _sample_body(rng: np.random.Generator) -> tuple[int, Patient, dict[str, float], dict[str, float]]:
    """Tube voltage in kV, a healthy patient, unenhanced HU, and personal factors on enhancement."""
    kvp = int(rng.choice([80, 100, 120, 140], p=[0.05, 0.25, 0.65, 0.05]))
    healthy = sample_patient(rng)
    unenhanced = _sample_unenhanced(rng, kvp)
    personal = {name: float(np.exp(rng.normal(0.0, sd))) for name, (_, _, _, sd) in _TISSUE.items()}
    return kvp, healthy, unenhanced, personal


def _sample_seconds(rng: np.random.Generator, phase: str, trigger: float) -> float:
    if phase == "arterial":
        shares = [share for share, _, _ in _ARTERIAL_WINDOWS_S]
        _, low, high = _ARTERIAL_WINDOWS_S[int(rng.choice(len(shares), p=shares))]
        return trigger + float(rng.uniform(low, high))
    return float(rng.uniform(*(_NEPHROGRAPHIC_WINDOW_S if phase == "nephrographic" else _EXCRETORY_WINDOW_S)))


def _belongs(phase: str, values: Mapping[str, float]) -> bool:
    """Whether healthy kidneys look as the phase's name says, by the thresholds of the phase check."""
    contrast = values["cortex"] - values["medulla"]
    if phase == "arterial":
        return contrast >= ARTERIAL_CONTRAST_HU and values["aorta"] >= 150.0
    if phase == "nephrographic":
        return abs(contrast) <= NEPHROGRAPHIC_CONTRAST_HU and values["collecting_system"] < 150.0
    return values["collecting_system"] > 200.0 and values["collecting_system"] > values["cortex"]


def _sample_unenhanced(rng: np.random.Generator, kvp: int) -> dict[str, float]:
    drawn = {
        name: float(np.clip(rng.normal(mean, sd), mean - 2.5 * sd, mean + 2.5 * sd))
        for name, (mean, sd) in _UNENHANCED.items()
    }
    if rng.random() < 0.18:  # fatty liver
        drawn["liver"] = float(rng.uniform(0.0, 42.0))
    if rng.random() < 0.15:  # fatty pancreas of old age
        drawn["pancreas"] = float(rng.uniform(-30.0, 20.0))
    drawn["medulla"] = drawn["cortex"] + float(rng.normal(1.0, 1.5))
    drawn["bone_spongy"] = max(drawn["bone_spongy"], 50.0)
    for name in ("bone_cortex", "bone_spongy"):
        drawn[name] *= _BONE_FACTOR[kvp]
    return drawn


def _values(
    curves: Curves | None,
    seconds: float,
    kvp: int,
    unenhanced: Mapping[str, float],
    personal: Mapping[str, float],
) -> dict[str, float]:
    def added(space: str) -> float:
        return 0.0 if curves is None else HU_PER_MG_ML[kvp] * curves.at(space, seconds)

    values = {name: unenhanced["blood"] + part * added(space) for name, (space, part) in _BLOOD.items()}
    for name, (base, space, part, _) in _TISSUE.items():
        base = "medulla" if name == "medulla" else base
        values[name] = unenhanced[base] + part * personal[name] * added(space)
    values["collecting_system"] = min(values["collecting_system"], _URINE_MAX_HU)
    values.update({name: unenhanced[name] for name in _PLAIN})
    # The bladder fills late and is dilute.
    values["bladder"] = unenhanced["bladder"] + 0.12 * max(values["collecting_system"] - 200.0, 0.0)
    values["heart"] = 0.35 * (values["left_heart"] + values["right_heart"]) + 0.3 * values["myocardium"]
    return values
