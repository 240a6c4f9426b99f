"""The contrast phase of a scan, judged from the HU of aorta, cortex, medulla and collecting system.

Cortex and medulla can be told apart for half a minute only, while contrast reaches the cortex first. The thresholds
are those of bolus-tracked multi-detector CT (increase over baseline at the trigger + 5 to 30 s: aorta above 240,
cortex 195 to 217, cortex less medulla 110 to 140; from 45 s less than 30), lowered for slow injections. Diseased
kidneys take up less contrast, so the phase raises flags and never refuses a scan.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from KidneySegLib.ct.phase_samples import HuSamples, sample_labels, sample_overview
from KidneySegLib.progress import Progress

if TYPE_CHECKING:
    import SimpleITK as sitk

#: Below these, no contrast has arrived (blood 30 to 60 HU, kidney 30 to 50 HU unenhanced).
UNENHANCED_AORTA_HU = 80.0
UNENHANCED_KIDNEY_HU = 60.0
#: From here the aorta holds the bolus.
ARTERIAL_AORTA_HU = 150.0
#: From here only a bolus can explain the aorta, whatever the kidneys do (chronic kidney disease).
BOLUS_AORTA_HU = 200.0
#: Cortex less medulla from which the two are told apart, and below which they are one.
CORTICOMEDULLARY_HU = 40.0
EVEN_KIDNEY_HU = 25.0
#: Blood less than this many times as bright as cortex has lost its bolus. Kidneys are evenly bright soon after, and a
#: difference that is no larger than this may be a mass or fluid that was taken for medulla: on validation phantoms in
#: the nephrographic phase up to 48 HU were measured where there were 11.
LATE_AORTA = 1.3
LATE_DIFFERENCE_HU = 55.0
#: An evenly enhanced kidney has at least this.
ENHANCED_KIDNEY_HU = 100.0
#: Urine with excreted contrast: brighter than this, than cortex and than blood.
EXCRETED_HU = 200.0
EXCRETED_ABOVE_BLOOD_HU = 50.0


class Phase(str, Enum):
    """Contrast phase; ``ARTERIAL`` is the corticomedullary phase, in which cortex and medulla can be measured."""

    UNENHANCED = "unenhanced"
    ARTERIAL = "arterial"
    NEPHROGRAPHIC = "nephrographic"
    EXCRETORY = "excretory"
    UNCERTAIN = "uncertain"


_FLAG = {
    Phase.UNENHANCED: ("phase_unenhanced",),
    Phase.ARTERIAL: (),
    Phase.NEPHROGRAPHIC: ("phase_nephrographic",),
    Phase.EXCRETORY: ("phase_excretory",),
    Phase.UNCERTAIN: ("phase_uncertain",),
}


@dataclass(frozen=True)
class PhaseEstimate:
    """The phase and what it was judged from.

    Attributes:
        phase: best guess.
        aorta_hu, cortex_hu, medulla_hu, collecting_system_hu: robust medians, None where they could not be had.
        flags: keys of `KidneySegLib.flags.FLAGS`.
        reason: one sentence with the numbers, for a person.
    """

    phase: Phase
    aorta_hu: float | None
    cortex_hu: float | None
    medulla_hu: float | None
    collecting_system_hu: float | None
    flags: tuple[str, ...]
    reason: str


def estimate_phase(
    image: sitk.Image, labels: sitk.Image | None, overview: sitk.Image | None, progress: Progress | None = None
) -> PhaseEstimate:
    """Estimate the contrast phase from whatever masks there are.

    Args:
        image: 3-D scan in HU.
        labels: result ids 1 to 15 (`KidneySegLib.labels.LABELS`) on any part of the image's grid, or None.
        overview: the localiser's coarse map (`KidneySegLib.labels.OverviewLabel`) on its own grid, or None. Without
            it, the aorta is looked for in front of the spine.
        progress: is asked whether to stop.

    Returns:
        An estimate; ``Phase.UNCERTAIN`` with its flag where nothing can be said. Never an error for an odd scan.
    """
    progress = progress or Progress()
    samples = HuSamples()
    if overview is not None:
        samples = sample_overview(image, overview)
    progress.check()
    seen_in_overview = samples.aorta is not None
    if not seen_in_overview:
        from KidneySegLib.ct.aorta import find_aorta_hu

        samples = samples.with_aorta(find_aorta_hu(image))
    progress.check()
    if labels is not None:
        samples = sample_labels(image, labels, samples.aorta).or_else(samples)
    if not seen_in_overview and samples.kidney is not None and samples.kidney < UNENHANCED_KIDNEY_HU:
        # A bright guess beside kidneys without any contrast was bone.
        samples = samples.with_aorta(None)
    return classify(samples)


def classify(samples: HuSamples) -> PhaseEstimate:
    """The phase that HU samples speak for. Any of them may be missing."""
    phase = _phase(samples)
    flags = list(_FLAG[phase])
    difference = samples.corticomedullary
    # Whatever the phase is called: where cortex is hardly brighter than medulla, their border is not to be trusted.
    undecided = phase in (Phase.ARTERIAL, Phase.UNCERTAIN)
    late = samples.aorta is not None and samples.cortex is not None and samples.aorta < LATE_AORTA * samples.cortex
    if undecided and difference is not None and difference < (LATE_DIFFERENCE_HU if late else CORTICOMEDULLARY_HU):
        flags.append("low_corticomedullary_contrast")
    return PhaseEstimate(
        phase=phase,
        aorta_hu=samples.aorta,
        cortex_hu=samples.cortex,
        medulla_hu=samples.medulla,
        collecting_system_hu=samples.collecting,
        flags=tuple(flags),
        reason=_reason(phase, samples),
    )


def _phase(samples: HuSamples) -> Phase:
    aorta, kidney, difference = samples.aorta, samples.kidney, samples.corticomedullary
    no_blood = aorta is None or aorta < UNENHANCED_AORTA_HU
    no_kidney = kidney is None or kidney < UNENHANCED_KIDNEY_HU
    if no_blood and no_kidney and not (aorta is None and kidney is None):
        return Phase.UNENHANCED
    bolus = aorta is None or aorta >= ARTERIAL_AORTA_HU
    if bolus and difference is not None and difference >= CORTICOMEDULLARY_HU:
        return Phase.ARTERIAL
    excreted_hu = max(EXCRETED_HU, samples.cortex or 0.0, (aorta or 0.0) + EXCRETED_ABOVE_BLOOD_HU)
    if samples.collecting is not None and samples.collecting > excreted_hu:
        return Phase.EXCRETORY
    # A bolus brighter than the kidneys: early, or kidneys that take up little.
    if aorta is not None and aorta >= BOLUS_AORTA_HU and (kidney is None or aorta > kidney):
        return Phase.ARTERIAL
    if kidney is not None and kidney > ENHANCED_KIDNEY_HU:
        if difference is not None and difference < EVEN_KIDNEY_HU:
            return Phase.NEPHROGRAPHIC
        # Undivided: blood is brighter than the kidneys during the bolus, and no brighter later.
        if difference is None and aorta is not None and aorta < kidney:
            return Phase.NEPHROGRAPHIC
    return Phase.UNCERTAIN


def _reason(phase: Phase, samples: HuSamples) -> str:
    parts = [
        f"{name} {value:.0f} HU"
        for name, value in (
            ("aorta", samples.aorta),
            ("cortex", samples.cortex),
            ("medulla", samples.medulla),
            ("kidney", samples.kidney if samples.cortex is None else None),
            ("collecting system", samples.collecting),
        )
        if value is not None
    ]
    measured = ", ".join(parts) or "nothing could be measured"
    says = {
        Phase.UNENHANCED: "No contrast has arrived",
        Phase.ARTERIAL: "Arterial (corticomedullary) phase",
        Phase.NEPHROGRAPHIC: "Kidneys are evenly enhanced (nephrographic phase)",
        Phase.EXCRETORY: "The collecting system holds contrast (excretory phase)",
        Phase.UNCERTAIN: "The phase is uncertain",
    }[phase]
    return f"{says}: {measured}."
