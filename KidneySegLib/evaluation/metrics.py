"""The table of metrics: name, unit, formula, implementation; every output is made from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from KidneySegLib.evaluation.surface import IMPLEMENTATION as SURFACE
from KidneySegLib.evaluation.targets import HIERARCHICAL_TOLERANCES_MM

COUNTING = "KidneySegLib.evaluation.overlap (exact voxel counts, numpy)"
#: mm; surface Dice is given at each.
DEFAULT_TOLERANCES_MM = (1.0, 2.0)

#: How masks without a voxel are treated; stands in every output.
EMPTY_RULE = (
    "Both masks empty: no metric is defined (empty cell, in no mean; both volumes are 0). One empty: Dice, Jaccard and "
    "surface Dice are 0; distances are undefined, and so is precision without a prediction or recall and volume error "
    "in % without a reference. Undefined values are empty cells, left out of means and counted beside them. The "
    "hierarchical classes follow KiTS instead: both empty gives Dice 1 and surface Dice 1."
)


@dataclass(frozen=True)
class Metric:
    """One row of the table.

    Attributes:
        key: column name.
        name: as a person reads it.
        unit: ``""`` for a share of 1.
        decimals: that are written.
        formula: what is computed.
        implementation: by which code.
    """

    key: str
    name: str
    unit: str
    decimals: int
    formula: str
    implementation: str = COUNTING


def surface_dice_key(tolerance_mm: float) -> str:
    """Column name of surface Dice at a tolerance: ``surface_dice_1mm``."""
    return f"surface_dice_{tolerance_mm:g}mm"


_VOLUMES = (
    Metric("reference_ml", "Reference volume", "mL", 3, "voxels of the reference x volume of a voxel"),
    Metric("prediction_ml", "Predicted volume", "mL", 3, "voxels of the prediction x volume of a voxel"),
    Metric("volume_error_ml", "Volume error", "mL", 3, "predicted - reference volume"),
    Metric("volume_error_percent", "Volume error", "%", 2, "100 x (predicted - reference) / reference volume"),
    Metric("abs_volume_error_percent", "Absolute volume error", "%", 2, "size of the volume error in %"),
)
_OVERLAP = (
    Metric("dice", "Dice", "", 5, "2 TP / (2 TP + FP + FN)"),
    Metric("jaccard", "Jaccard", "", 5, "TP / (TP + FP + FN)"),
    Metric("precision", "Precision", "", 5, "TP / (TP + FP)"),
    Metric("recall", "Recall", "", 5, "TP / (TP + FN)"),
    Metric("accuracy", "Accuracy", "", 6, "(TP + TN) / voxels of the scan; says little, for nearly all is background"),
)
_DISTANCES = (
    Metric("hd95_mm", "HD95", "mm", 3, "larger of the two directed 95th percentiles of surface distances", SURFACE),
    Metric("assd_mm", "ASSD", "mm", 3, "mean of the surface distances of both surfaces, pooled", SURFACE),
)


def metrics(
    tolerances_mm: Sequence[float] = DEFAULT_TOLERANCES_MM, *, hierarchical: bool = False
) -> tuple[Metric, ...]:
    """All metrics in the order of their columns.

    Args:
        tolerances_mm: of surface Dice.
        hierarchical: with surface Dice at KiTS' own tolerances.
    """
    surface = tuple(
        Metric(
            surface_dice_key(tolerance),
            f"Surface Dice at {tolerance:g} mm",
            "",
            5,
            f"share of both surfaces within {tolerance:g} mm of the other",
            SURFACE,
        )
        for tolerance in tolerances_mm
    )
    kits: tuple[Metric, ...] = ()
    if hierarchical:
        stated = ", ".join(f"{key} {mm:.4f} mm" for key, mm in HIERARCHICAL_TOLERANCES_MM.items())
        kits = (
            Metric(
                "surface_dice_kits",
                "Surface Dice (KiTS)",
                "",
                5,
                f"surface Dice at KiTS' tolerances ({stated}); KiTS itself weights surfaces by area (surface-distance)",
                SURFACE,
            ),
        )
    return (*_OVERLAP, *_DISTANCES, *surface, *kits, *_VOLUMES)
