"""Iodine in the body after an injection: a linear compartment model, in the spirit of Bae's whole-body model.

Blood runs arm vein -> right heart -> lungs -> left heart -> aorta -> organs in parallel -> veins -> right heart; each
part is a well-mixed volume or a chain of them (a chain of n equal volumes delays and disperses a bolus as a
gamma-variate does). Kidneys filter: what leaves the cortex's vessels goes on through proximal tubules (cortex), loops
(medulla), distal tubules (cortex), collecting ducts (medulla) and the collecting system, and water leaves on the way.
Volumes are blood-equivalent mL (interstitium counts as the blood that would hold as much iodine).

Constants are physiological where a textbook has them (flows, blood and organ volumes, glomerular filtration) and
otherwise tuned so that the curves meet the published figures that ``Testing/phantom/test_contrast.py`` lists.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]

#: Step of the solution in seconds; the fastest compartment empties in about 1 s.
STEP_S = 0.5
#: The curves end here.
END_S = 900.0
#: HU of 1 mg of iodine in 1 mL, by tube voltage in kV. 25-26 at 120 kV is the usual figure.
HU_PER_MG_ML = {80: 42.0, 100: 32.0, 120: 25.5, 140: 21.5}


@dataclass(frozen=True)
class Injection:
    """A contrast injection followed by saline.

    Attributes:
        volume_ml: contrast medium injected.
        rate_ml_s: injection rate.
        iodine_mg_ml: concentration of the medium.
    """

    volume_ml: float
    rate_ml_s: float
    iodine_mg_ml: float

    @property
    def duration_s(self) -> float:
        return self.volume_ml / self.rate_ml_s

    @property
    def iodine_mg(self) -> float:
        return self.volume_ml * self.iodine_mg_ml


@dataclass(frozen=True)
class Patient:
    """What of a patient moves the curves.

    Attributes:
        weight_kg: scales blood and organ volumes.
        cardiac_output_ml_s: 6 L/min is 100 mL/s.
        ckd: severity of chronic kidney disease, 0 (none) to 1 (end stage): less flow, less filtration, slower tubules.
    """

    weight_kg: float = 70.0
    cardiac_output_ml_s: float = 110.0
    ckd: float = 0.0

    @property
    def egfr(self) -> float:
        """Filtration in mL/min/1.73 m2 that goes with the severity: 105 down to 8."""
        return float(105.0 * (8.0 / 105.0) ** self.ckd)


@dataclass(frozen=True)
class Curves:
    """Concentrations over time.

    Attributes:
        seconds: times after the start of the injection.
        mg_ml: by name of a space, mg iodine per mL of it. Names of vessels are blood, other names are whole tissue.
    """

    seconds: FloatArray
    mg_ml: dict[str, FloatArray]

    def at(self, space: str, seconds: float) -> float:
        """Concentration in mg/mL at a time; the ends hold beyond the ends."""
        return float(np.interp(seconds, self.seconds, self.mg_ml[space]))

    def first_time_above(self, space: str, mg_ml: float) -> float | None:
        """When a concentration is first exceeded, or None: how bolus tracking triggers."""
        above = np.flatnonzero(self.mg_ml[space] > mg_ml)
        return float(self.seconds[above[0]]) if above.size else None


class _Network:
    """Compartments and the flows between them, as one matrix."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.volumes_ml: list[float] = []
        self.rates: list[tuple[int, int | None, float]] = []

    def add(self, name: str, volume_ml: float) -> str:
        self.names.append(name)
        self.volumes_ml.append(volume_ml)
        return name

    def flow(self, source: str, target: str | None, ml_s: float) -> None:
        """Blood from one compartment to the next; to None it leaves the body."""
        index = self.names.index(source)
        self.rates.append((index, None if target is None else self.names.index(target), ml_s / self.volumes_ml[index]))

    def exchange(self, first: str, second: str, ml_s: float) -> None:
        self.flow(first, second, ml_s)
        self.flow(second, first, ml_s)

    def matrix(self) -> FloatArray:
        """A of d(amount)/dt = A amount, 1/s."""
        a = np.zeros((len(self.names), len(self.names)))
        for source, target, rate in self.rates:
            a[source, source] -= rate
            if target is not None:
                a[target, source] += rate
        return a


#: Fractions of the cardiac output.
_FLOW = {"kidneys": 0.19, "gut": 0.155, "spleen": 0.035, "pancreas": 0.015, "hepatic_artery": 0.065, "lower": 0.20}
#: mL a kilogram of body weight.
_CORTEX_ML_KG, _MEDULLA_ML_KG = 2.9, 1.25
#: Part of renal cortex and medulla that fills with blood at once (vessels and quick interstitium); tuned.
_CORTEX_BLOOD, _MEDULLA_BLOOD = 0.55, 0.38
#: Part of the iodine in renal blood that stays in the tubules in one passage; tuned. (Glomeruli filter 0.12 of whole
#: blood; lower here because the quick interstitium above takes part of it.)
_FILTERED = 0.065
#: Part of the renal flow that goes on through the vasa recta; tuned.
_MEDULLA_FLOW = 0.115
#: Mean times in s in proximal tubule, loop, distal tubule, collecting duct; tuned.
_PROXIMAL_S, _LOOP_S, _DISTAL_S, _DUCT_S = 34.0, 25.0, 115.0, 75.0
#: mL of renal pelvis and calyces of both sides, and urine made in mL/s.
_PELVIS_ML, _URINE_ML_S = 12.0, 0.03
#: mL a kilogram from right heart to aorta, and in how many links.
_HEART_LUNG_ML_KG, _HEART_LUNG_LINKS = 15.0, 6
#: Exchange of upper body, lower body and gut with their interstitium, mL/s a kilogram; tuned.
_UPPER_EXCHANGE, _LOWER_EXCHANGE, _GUT_EXCHANGE = 0.52, 0.12, 0.21


def _kidney_ml(patient: Patient) -> tuple[float, float]:
    """Cortex and medulla of both kidneys."""
    return (
        _CORTEX_ML_KG * patient.weight_kg * (1 - 0.45 * patient.ckd),
        _MEDULLA_ML_KG * patient.weight_kg * (1 - 0.3 * patient.ckd),
    )


def _build(patient: Patient) -> _Network:
    kg = patient.weight_kg
    q = patient.cardiac_output_ml_s
    ckd = patient.ckd
    filtration = patient.egfr / 105.0
    network = _Network()
    add, flow = network.add, network.flow

    # Compartments: name, volume in mL.
    add("arm_1", 8.0)
    add("arm_2", 8.0)
    links = [add(f"lung_{i}", _HEART_LUNG_ML_KG * kg / _HEART_LUNG_LINKS) for i in range(_HEART_LUNG_LINKS)]
    add("aorta", 1.6 * kg)
    add("renal_artery", 0.35 * kg)
    cortex_ml, medulla_ml = _kidney_ml(patient)
    # Sick kidneys lose capillaries as well as tissue, and flow more than both: less contrast, and later.
    add("cortex_blood", _CORTEX_BLOOD * (1 - 0.5 * ckd) * cortex_ml)
    add("medulla_blood", _MEDULLA_BLOOD * (1 - 0.25 * ckd) * medulla_ml)
    add("renal_vein", 0.6 * kg)
    slow = 1.0 + 0.8 * ckd
    for name in ("proximal_1", "proximal_2", "loop_1", "loop_2", "distal", "duct_1", "duct_2"):
        add(name, 1.0)
    add("pelvis", _PELVIS_ML)
    gut = [add("gut_1", 2.1 * kg), add("gut_2", 2.6 * kg)]
    add("gut_interstitium", 25.0 * kg)
    add("spleen", 1.0 * kg)
    add("pancreas", 0.42 * kg)
    add("portal_vein", 1.2 * kg)
    liver = [add("liver_1", 4.6 * kg), add("liver_2", 4.6 * kg)]
    upper = [add("upper_1", 4.5 * kg), add("upper_2", 4.5 * kg)]
    add("upper_interstitium", 110.0 * kg)
    lower = [add(f"lower_{i}", 6.0 * kg) for i in (1, 2, 3)]
    add("lower_interstitium", 90.0 * kg)
    add("cava_infrarenal", 1.6 * kg)
    add("cava_suprarenal", 1.4 * kg)

    # Arm to aorta.
    arm_ml_s = 4.0  # with the saline push; the arm's own venous return is part of the upper body
    flow("arm_1", "arm_2", arm_ml_s)
    flow("arm_2", links[0], arm_ml_s)
    for here, there in zip(links, [*links[1:], "aorta"], strict=True):
        flow(here, there, q)

    # Kidneys: blood.
    renal = _FLOW["kidneys"] * q * (1 - 0.8 * ckd)
    medullary = _MEDULLA_FLOW * renal
    filtered = _FILTERED * _FLOW["kidneys"] * q * filtration
    flow("aorta", "renal_artery", renal)
    flow("renal_artery", "cortex_blood", renal)
    flow("cortex_blood", "proximal_1", filtered)
    flow("cortex_blood", "medulla_blood", medullary)
    flow("cortex_blood", "renal_vein", max(renal - filtered - medullary, 0.2 * renal))
    flow("medulla_blood", "renal_vein", medullary)
    # Water returns at once, iodine stays in the tubules: the venous flow is the arterial one.
    flow("renal_vein", "cava_suprarenal", renal)
    # Kidneys: tubules hold amounts (volume 1), so a rate is one over a mean time.
    for source, target, mean_s in (
        ("proximal_1", "proximal_2", _PROXIMAL_S / 2),
        ("proximal_2", "loop_1", _PROXIMAL_S / 2),
        ("loop_1", "loop_2", _LOOP_S / 2),
        ("loop_2", "distal", _LOOP_S / 2),
        ("distal", "duct_1", _DISTAL_S),
        ("duct_1", "duct_2", _DUCT_S / 2),
        ("duct_2", "pelvis", _DUCT_S / 2),
    ):
        flow(source, target, 1.0 / (mean_s * slow))
    flow("pelvis", None, _URINE_ML_S * (0.4 + 0.6 * filtration))

    # Gut, spleen, pancreas -> portal vein -> liver.
    flow("aorta", gut[0], _FLOW["gut"] * q)
    flow(gut[0], gut[1], _FLOW["gut"] * q)
    flow(gut[1], "portal_vein", _FLOW["gut"] * q)
    network.exchange(gut[0], "gut_interstitium", _GUT_EXCHANGE * kg)
    for organ in ("spleen", "pancreas"):
        flow("aorta", organ, _FLOW[organ] * q)
        flow(organ, "portal_vein", _FLOW[organ] * q)
    portal = (_FLOW["gut"] + _FLOW["spleen"] + _FLOW["pancreas"]) * q
    hepatic = portal + _FLOW["hepatic_artery"] * q
    flow("portal_vein", liver[0], portal)
    flow("aorta", liver[0], _FLOW["hepatic_artery"] * q)
    flow(liver[0], liver[1], hepatic)
    flow(liver[1], links[0], hepatic)

    # Legs and pelvis -> infrarenal cava; head, arms, chest wall -> superior cava.
    legs = _FLOW["lower"] * q
    for here, there in zip(["aorta", *lower], [*lower, "cava_infrarenal"], strict=True):
        flow(here, there, legs)
    network.exchange(lower[1], "lower_interstitium", _LOWER_EXCHANGE * kg)
    flow("cava_infrarenal", "cava_suprarenal", legs)
    flow("cava_suprarenal", links[0], legs + renal)
    rest = q - renal - hepatic - legs
    for here, there in zip(["aorta", *upper], [*upper, links[0]], strict=True):
        flow(here, there, rest)
    network.exchange(upper[1], "upper_interstitium", _UPPER_EXCHANGE * kg)
    return network


@lru_cache(maxsize=16)
def simulate(patient: Patient, injection: Injection) -> Curves:
    """Iodine over time in vessels and organs.

    Returns:
        Curves from 0 to `END_S`. Vessels: aorta, renal_artery, renal_vein, cava_infrarenal, cava_suprarenal,
        portal_vein, right_heart, left_heart. Tissues: cortex, medulla, liver, spleen, pancreas, bowel_wall, muscle,
        collecting_system (urine).

    Raises:
        ValueError: for an injection or a patient with nothing in it.
    """
    if min(injection.volume_ml, injection.rate_ml_s, injection.iodine_mg_ml) <= 0:
        raise ValueError(f"injection must have positive volume, rate and concentration, got {injection}")
    if patient.weight_kg <= 0 or patient.cardiac_output_ml_s <= 0 or not 0 <= patient.ckd <= 1:
        raise ValueError(f"patient must have positive weight and output and ckd of 0 to 1, got {patient}")
    from scipy.linalg import expm

    network = _build(patient)
    size = len(network.names)
    # The input as one more row, so that one exponential holds both decay and steady inflow.
    augmented = np.zeros((size + 1, size + 1))
    augmented[:size, :size] = network.matrix()
    augmented[0, size] = 1.0
    step = expm(augmented * STEP_S)
    decay, inflow = step[:size, :size], step[:size, size]
    seconds = np.arange(0.0, END_S + STEP_S, STEP_S)
    amounts = np.zeros((seconds.size, size))
    rate = injection.rate_ml_s * injection.iodine_mg_ml
    for i in range(1, seconds.size):
        running = np.clip((injection.duration_s - seconds[i - 1]) / STEP_S, 0.0, 1.0)
        amounts[i] = decay @ amounts[i - 1] + inflow * (rate * running)

    def blood(name: str) -> FloatArray:
        index = network.names.index(name)
        return np.asarray(amounts[:, index] / network.volumes_ml[index])

    def amount(*names: str) -> FloatArray:
        return np.asarray(sum(amounts[:, network.names.index(name)] for name in names))

    cortex_ml, medulla_ml = _kidney_ml(patient)
    curves = {name: blood(name) for name in ("aorta", "renal_artery", "renal_vein", "cava_infrarenal")}
    curves["cava_suprarenal"] = blood("cava_suprarenal")
    curves["portal_vein"] = blood("portal_vein")
    curves["right_heart"] = blood("lung_0")
    curves["left_heart"] = blood(f"lung_{_HEART_LUNG_LINKS - 1}")
    curves["cortex"] = amount("cortex_blood", "proximal_1", "proximal_2", "distal") / cortex_ml
    curves["medulla"] = amount("medulla_blood", "loop_1", "loop_2", "duct_1", "duct_2") / medulla_ml
    curves["collecting_system"] = blood("pelvis")
    # Tissues: the blood-equivalent part of a mL of organ.
    curves["liver"] = 0.38 * 0.5 * (blood("liver_1") + blood("liver_2"))
    curves["spleen"] = 0.42 * blood("spleen")
    curves["pancreas"] = 0.32 * blood("pancreas")
    curves["bowel_wall"] = 0.30 * 0.5 * (blood("gut_1") + blood("gut_2"))
    curves["muscle"] = 0.06 * blood("lower_2") + 0.12 * blood("lower_interstitium")
    return Curves(seconds.astype(np.float64), curves)
