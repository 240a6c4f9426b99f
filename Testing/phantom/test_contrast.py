"""The contrast model against published figures.

Bolus-tracked MDCT of the kidneys (2 mL/kg of 300 mg/mL at 4 mL/s, increase over baseline): renal artery 240-288 HU at
5-15 s after the trigger, cortex 195-217 at its plateau with a peak at 25 s, medulla 145 at 55 s, cortex minus medulla
110-140 in the corticomedullary phase and under 30 from 45 s on. CT angiography of kidney donors: aorta 464 +- 58,
renal artery 435 +- 48, renal vein 277 +- 29 HU. Unenhanced kidney 30-50 HU. Hypervascular renal cell carcinoma: 173 +-
45 HU in the corticomedullary phase, 149 +- 34 in the nephrographic, 98 +- 36 in the excretory (doi:10.5301/uj.5000256);
homogeneous papillary carcinoma: 32-100, 18-91 and 18-73 HU (AJR's study of 114 papillary tumours in two hospitals).
"""

from __future__ import annotations

import numpy as np
import pytest

from KidneySegLib.phantom.circulation import HU_PER_MG_ML, Injection, Patient, simulate
from KidneySegLib.phantom.contrast import PHASES, TISSUES, sample_enhancement, trigger_s

TRACKED = simulate(Patient(70.0, 110.0), Injection(140.0, 4.0, 300.0))
TRIGGER_S = trigger_s(TRACKED)
HU = HU_PER_MG_ML[120]


def tracked(space: str, after_trigger_s: float) -> float:
    return HU * TRACKED.at(space, TRIGGER_S + after_trigger_s)


def test_renal_artery_after_the_trigger() -> None:
    for seconds in (5, 10, 15):
        assert 215 <= tracked("renal_artery", seconds) <= 320


def test_cortex_plateau_and_peak() -> None:
    plateau = np.mean([tracked("cortex", t) for t in range(15, 36)])
    assert 190 <= plateau <= 225
    peak_s = TRACKED.seconds[:240][TRACKED.mg_ml["cortex"][:240].argmax()] - TRIGGER_S
    assert peak_s == pytest.approx(25, abs=8)


def test_medulla_rises_to_its_plateau_at_55_s() -> None:
    assert tracked("medulla", 55) == pytest.approx(145, abs=10)
    assert tracked("medulla", 20) < 90
    assert tracked("medulla", 10) < tracked("medulla", 30) < tracked("medulla", 50)


def test_corticomedullary_contrast() -> None:
    for seconds in (15, 20, 25, 30):
        assert 100 <= tracked("cortex", seconds) - tracked("medulla", seconds) <= 140
    for seconds in (47, 60, 90, 120):
        assert tracked("cortex", seconds) - tracked("medulla", seconds) < 30


def test_donor_angiography_peaks() -> None:
    curves = simulate(Patient(70.0, 100.0), Injection(100.0, 5.0, 370.0))
    aorta = HU * curves.mg_ml["aorta"] + 42
    assert aorta.max() == pytest.approx(464, abs=58)
    assert 0.97 * HU * curves.mg_ml["renal_artery"].max() + 42 == pytest.approx(435, abs=60)
    # One scan of an angiogram is timed on the aorta: the vein is read at that moment, not at its own peak.
    at_aortic_peak = HU * curves.mg_ml["renal_vein"][aorta.argmax()] + 42
    assert at_aortic_peak == pytest.approx(277, abs=58)


def test_abdominal_organs_at_their_usual_times() -> None:
    seconds = TRACKED.seconds
    liver, portal = TRACKED.mg_ml["liver"], TRACKED.mg_ml["portal_vein"]
    assert 45 <= HU * liver.max() <= 80
    assert 55 <= seconds[liver.argmax()] <= 80
    assert 130 <= HU * portal.max() <= 210
    assert 45 <= seconds[portal.argmax()] <= 75
    # The infrarenal cava fills last: mixing artefacts of the arterial phase come from that.
    assert tracked("cava_infrarenal", 20) < 0.25 * tracked("renal_vein", 20)


def test_what_passes_the_heart_is_what_was_injected() -> None:
    # Stewart and Hamilton: dose = output x area under the arterial curve, before the iodine comes round again.
    curves = simulate(Patient(70.0, 110.0), Injection(10.0, 5.0, 300.0))
    first_pass = curves.seconds <= 22
    dose_mg = 110.0 * curves.mg_ml["left_heart"][first_pass].sum() * 0.5
    assert dose_mg == pytest.approx(3000.0, rel=0.12)


def test_kidney_disease_lowers_and_delays_the_cortex() -> None:
    injection = Injection(100.0, 3.0, 350.0)
    contrasts, peaks = [], []
    for ckd in (0.0, 0.5, 1.0):
        curves = simulate(Patient(70.0, 100.0, ckd), injection)
        early = curves.seconds < 90
        contrasts.append(HU * (curves.mg_ml["cortex"] - curves.mg_ml["medulla"])[early].max())
        peaks.append(HU * curves.mg_ml["cortex"][early].max())
    assert contrasts[0] > contrasts[1] > contrasts[2]
    assert contrasts[2] < 0.75 * contrasts[0]
    assert peaks[0] > peaks[1] > peaks[2]


def test_slower_injection_gives_less() -> None:
    fast = simulate(Patient(), Injection(90.0, 5.0, 350.0)).mg_ml["cortex"].max()
    slow = simulate(Patient(), Injection(90.0, 2.5, 350.0))
    assert slow.mg_ml["cortex"][slow.seconds < 90].max() < fast


@pytest.mark.parametrize("phase", PHASES)
def test_sampled_phases_look_like_their_names(phase: str) -> None:
    for seed in range(12):
        e = sample_enhancement(np.random.default_rng(seed), phase)
        assert e.phase == phase
        contrast = e.hu("cortex") - e.hu("medulla")
        if phase == "unenhanced":
            assert e.seconds_after_injection is None
            assert 27 <= e.hu("cortex") <= 50
            assert abs(contrast) < 6
            assert e.hu("aorta") < 60
        elif phase == "arterial":
            assert e.hu("aorta") >= 150
            assert contrast >= 45
            assert e.hu("collecting_system") < 60
        elif phase == "nephrographic":
            assert abs(contrast) <= 25
            assert min(e.hu("cortex"), e.hu("medulla")) > 100
        else:
            assert e.hu("collecting_system") > max(200, e.hu("cortex"))


@pytest.mark.parametrize(
    ("phase", "hypervascular", "hypovascular"),
    [("arterial", (173, 45), (32, 100)), ("nephrographic", (149, 34), (18, 91)), ("excretory", (98, 36), (18, 73))],
)
def test_tumours_take_contrast_as_tumours_do(
    phase: str, hypervascular: tuple[float, float], hypovascular: tuple[float, float]
) -> None:
    drawn = [sample_enhancement(np.random.default_rng(seed), phase) for seed in range(40)]
    mean, sd = hypervascular
    assert np.mean([e.hu("mass_hypervascular") for e in drawn]) == pytest.approx(mean, abs=sd)
    low, high = hypovascular
    assert low <= np.mean([e.hu("mass_hypovascular") for e in drawn]) <= high
    # In the nephrographic phase a tumour is darker than the kidney round it: that is why it is scanned.
    if phase == "nephrographic":
        darker = [e.hu("mass_hypervascular") < min(e.hu("cortex"), e.hu("medulla")) for e in drawn]
        assert np.mean(darker) > 0.75


def test_same_seed_same_values_and_every_tissue_is_there() -> None:
    first, second = (sample_enhancement(np.random.default_rng(5)) for _ in range(2))
    assert first == second
    assert set(first.values) == set(TISSUES)
    for name in ("aorta", "cava_suprarenal", "cortex", "medulla", "collecting_system", "liver", "fat", "lung", "skin"):
        assert np.isfinite(first.hu(name))


def test_one_sick_kidney_leaves_the_rest_of_the_patient_alone() -> None:
    e = sample_enhancement(np.random.default_rng(3), "arterial")
    sick = e.for_kidney(0.9)
    assert sick.hu("cortex") < e.hu("cortex") - 15
    assert sick.hu("aorta") == e.hu("aorta")
    assert e.for_kidney(0.0).values == e.values


def test_what_is_refused() -> None:
    with pytest.raises(ValueError, match="phase must be one of"):
        sample_enhancement(np.random.default_rng(0), "venous")
    with pytest.raises(ValueError, match="ckd"):
        sample_enhancement(np.random.default_rng(0), ckd=2.0)
    with pytest.raises(KeyError, match="tissue must be one of"):
        sample_enhancement(np.random.default_rng(0)).hu("ketchup")
    with pytest.raises(ValueError, match="positive"):
        simulate(Patient(), Injection(0.0, 4.0, 300.0))
