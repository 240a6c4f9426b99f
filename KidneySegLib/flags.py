"""The one table of flags: what a careful colleague would say about a case.

A flag is a key in the ``flags`` column of ``volumes.csv`` (joined by ``;``), a severity and an English sentence.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum


class Severity(str, Enum):
    INFO = "info"
    WARNING = "warning"
    CRITICAL = "critical"


@dataclass(frozen=True)
class Flag:
    """One row of the table: ``key`` goes into files, ``sentence`` is read by a person."""

    key: str
    severity: Severity
    sentence: str


_I, _W, _C = Severity.INFO, Severity.WARNING, Severity.CRITICAL

# fmt: off
FLAGS: dict[str, Flag] = {
    flag.key: flag
    for flag in (
        # The scan as it was read.
        Flag("resampled_irregular_slices", _W, "Slices were not evenly spaced; the scan was resampled to a regular grid."),
        Flag("gantry_tilt_corrected", _W, "The gantry was tilted; the scan was resampled to an upright grid."),
        Flag("missing_slices_interpolated", _W, "A few slices are missing; the gap was filled by interpolation."),
        Flag("duplicate_slices_dropped", _W, "Several slices lay at the same position; one of each was kept."),
        Flag("mixed_slices_dropped", _W, "The series held pictures of another size or orientation; they were left out."),
        Flag("slices_thick_for_cortex", _W, "Slices are thicker than 5 mm: cortex and medulla are uncertain."),
        Flag("pixels_coarse_for_cortex", _W, "Pixels are larger than 1.5 mm: cortex and medulla are uncertain."),
        Flag("hu_clipped", _I, "The scan's HU range is clipped; volumes are not affected."),
        # Contrast phase.
        Flag("phase_unenhanced", _W, "The scan looks unenhanced: cortex and medulla cannot be told apart."),
        Flag("phase_nephrographic", _W, "The scan looks nephrographic: cortex and medulla are hardly distinguishable."),
        Flag("phase_excretory", _W, "The scan looks excretory: cortex and medulla are hardly distinguishable."),
        Flag("phase_uncertain", _W, "The contrast phase could not be determined: check the cortex by eye."),
        Flag("low_corticomedullary_contrast", _W, "Cortex is hardly brighter than medulla: their boundary is uncertain."),
        # Kidneys.
        Flag("no_kidney", _C, "No kidney was found."),
        Flag("one_kidney", _W, "Only one kidney was found."),
        Flag("more_than_two_kidneys", _W, "More than two separate kidneys were found."),
        Flag(
            "kidney_not_counted",
            _W,
            "Something the size of a kidney was not counted as one, for the overview shows none there: look at it.",
        ),
        Flag("fused_kidneys", _W, "The kidneys are joined; volumes are given without sides."),
        Flag("pelvic_kidney", _W, "A kidney lies in the pelvis (ectopic or transplanted)."),
        Flag("side_uncertain", _C, "The side of a kidney could not be determined."),
        Flag("kidney_cut_by_scan", _C, "A kidney reaches the edge of the scan: its volume is a lower bound."),
        Flag("kidney_small", _W, "A kidney is unusually small."),
        Flag("kidney_large", _W, "A kidney is unusually large."),
        Flag("undivided_parenchyma", _W, "Cortex and medulla were not divided; only parenchyma is given."),
        Flag(
            "cyst_or_mass_by_hu",
            _W,
            "Cyst and mass were told apart by HU and homogeneity alone: a hyperdense cyst counts as a mass.",
        ),
        Flag(
            "cyst_or_mass_suspected",
            _I,
            "Something at a kidney may be a cyst or a mass: look at it, or segment again with cysts and masses shown.",
        ),
        Flag(
            "cyst_or_mass_by_network",
            _W,
            "A network told cyst from mass on one scan and may err either way, most with hyperdense cysts: look at each.",
        ),
        Flag("cysts_in_kidney", _I, "This model does not tell cysts: they are part of the parenchyma."),
        Flag("crossed_ectopia", _W, "Two kidneys lie on the same side; the lower one is given without a side."),
        # Ultrasound.
        Flag("us_demonstration_model", _C, "DEMONSTRATION ONLY: this model has seen synthetic pictures and no patient."),
        Flag("us_not_calibrated", _W, "The picture is not calibrated: lengths and areas are in pixels."),
        Flag("us_view_not_found", _I, "No edge of the scanner's view was found: the whole picture was searched."),
        Flag("us_several_regions", _W, "The picture shows several views side by side; the largest was used."),
        Flag("us_second_region", _W, "A second region looked like kidney; the largest was kept."),
        Flag("us_kidney_cut_by_view", _W, "The kidney reaches the edge of the view: its length and area are lower bounds."),
    )
}
# fmt: on


def join_flags(keys: Iterable[str]) -> str:
    """Keys as written in ``volumes.csv``: each once, in the order of the table, joined by ``;``.

    Raises:
        KeyError: for a key that is not in `FLAGS`.
    """
    wanted = set(keys)
    unknown = wanted - FLAGS.keys()
    if unknown:
        raise KeyError(f"flags must be keys of FLAGS, got {sorted(unknown)}")
    return ";".join(key for key in FLAGS if key in wanted)
