"""From kidneys with sides to the measurement table."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from KidneySegLib.errors import InputError
from KidneySegLib.flags import join_flags
from KidneySegLib.labels import LABELS, PARENCHYMA, Side, Structure, label_id
from KidneySegLib.measurement.attenuation import hu_sum
from KidneySegLib.measurement.clinical import ClinicalMeasures, Patient, clinical_measures
from KidneySegLib.measurement.ellipsoid import diameters_mm, ellipsoid_ml
from KidneySegLib.measurement.length import largest_diameter_mm, max_length_mm
from KidneySegLib.measurement.table import MeasurementTable, Row
from KidneySegLib.measurement.thickness import cortex_distances_mm, weighted_median
from KidneySegLib.postprocessing.case_flags import label_flags
from KidneySegLib.postprocessing.grid import Points, VoxelGrid, bounding_box, offset_in
from KidneySegLib.progress import Progress

if TYPE_CHECKING:
    import SimpleITK as sitk

BOTH = "both"
#: What every model finds. Cysts and masses count as measured (0 mL too) only where the model knows them or they are
#: there.
DEFAULT_STRUCTURES = (Structure.CORTEX, Structure.MEDULLA)


@dataclass(frozen=True)
class _Kidney:
    """Sums over the voxels of one side, from which its row and the row of both are made."""

    volumes_ml: dict[Structure, float]
    cortex_hu: tuple[float, int]
    medulla_hu: tuple[float, int]
    cyst_hu: tuple[float, int]
    mass_hu: tuple[float, int]
    cyst_diameter_mm: float | None
    mass_diameter_mm: float | None
    length_mm: float | None
    thickness: tuple[Points, Points]
    ellipsoid_ml: float | None = None


def measure(
    labels: sitk.Image,
    image: sitk.Image,
    *,
    case_id: str = "",
    patient: Any = None,
    flags: Iterable[str | tuple[Side | None, str]] = (),
    model: str = "",
    source: str = "automatic",
    structures: Iterable[Structure] = DEFAULT_STRUCTURES,
    progress: Progress | None = None,
) -> MeasurementTable:
    """Measure each kidney of a label map.

    Volumes are voxel counts times the volume of a voxel. Length is the maximal Feret diameter of parenchyma
    (`length`), not given for fused kidneys. Cortical thickness is the area-weighted median over the outer surface
    (`thickness`). HU are means over eroded masks (`attenuation`). The largest diameter of cysts, and of masses, is the
    maximal Feret diameter of any one of them. A kidney with undivided parenchyma has no cortex and medulla cells.
    Where cysts can be told, ``total_kidney_ml`` is parenchyma and cysts together (masses stand apart), also by the
    patient's height, and ``ellipsoid_ml`` the estimate from three diameters (`ellipsoid`), for ADPKD; for both kidneys
    it is their sum. ``split_percent`` is a kidney's share of all parenchyma. Each row carries
    its kidney's flags and those of the case; ``both`` carries all.

    Args:
        labels: ids 1-15 on the scan's grid or a part of it.
        image: the whole scan, in HU.
        case_id: first column.
        patient: `Patient`, `KidneySegLib.ct.scan.PatientData` or None: for indexed volumes and eGFR.
        flags: keys raised earlier, for the case, or (side, key). Those that labels raise by themselves are added.
        model: name of the model.
        source: ``automatic`` or ``corrected``.
        structures: what the model can find; cysts and masses that it cannot find are empty cells, not 0.
        progress: told per kidney; looked at for cancelling.

    Returns:
        Rows of the kidneys that are there, and ``both`` (all cells empty where there is no kidney).

    Raises:
        InputError: if labels do not lie on the scan's grid, or hold ids outside the table of labels.
    """
    import SimpleITK as sitk

    progress = progress or Progress()
    progress.report("measure", 0.0)
    known = _as_pairs(flags)
    whole, grid = VoxelGrid.of(image), VoxelGrid.of(labels)
    offset = offset_in(grid, whole)
    if offset is None:
        raise InputError("The label map does not lie on the grid of the scan. Give a label map made on this scan.")
    values = sitk.GetArrayViewFromImage(labels)
    scan = sitk.GetArrayViewFromImage(image)
    box = bounding_box(values)
    kidneys: dict[Side, _Kidney] = {}
    if box is not None:
        _check_ids(values[box])
        for n, side in enumerate(Side):
            progress.report("measure", n / len(Side))
            fused = side is Side.UNSIDED and any(key == "fused_kidneys" for _, key in known)
            kidney = _measure_side(side, values, box, scan, offset, grid, with_length=not fused)
            if kidney is not None:
                kidneys[side] = kidney
    known += label_flags(labels, image)
    clinical = clinical_measures(patient if isinstance(patient, Patient) else Patient.of(patient))
    table = _make_table(kidneys, known, clinical, set(structures))
    rows = tuple(replace(row, case_id=case_id, model=model, source=source) for row in table)
    progress.report("measure", 1.0)
    return MeasurementTable(rows, clinical.notes)


def _check_ids(values: NDArray[Any]) -> None:
    known = {0, *(label.id for label in LABELS)}
    unknown = sorted({int(v) for plane in values for v in np.unique(plane)} - known)
    if unknown:
        raise InputError(
            f"The label map holds the ids {', '.join(map(str, unknown))}, but ids are 1 to {len(LABELS)}. "
            "Say with --reference-labels whose label map it is."
        )


def _measure_side(
    side: Side,
    values: NDArray[Any],
    within: tuple[slice, ...],
    scan: NDArray[Any],
    offset_xyz: tuple[int, int, int],
    grid: VoxelGrid,
    *,
    with_length: bool,
) -> _Kidney | None:
    is_own = np.zeros(256, dtype=np.bool_)
    is_own[[label.id for label in LABELS if label.side is side]] = True
    inner = bounding_box(is_own[values[within]])
    if inner is None:
        return None
    box = tuple(slice(b.start + a.start, b.start + a.stop) for a, b in zip(inner, within, strict=True))
    # A copy of one kidney's box: a hundredth of a scan.
    own = values[box]
    in_scan = tuple(slice(s.start + o, s.stop + o) for s, o in zip(box, offset_xyz[::-1], strict=True))
    hu = scan[in_scan]
    part = grid.part(tuple(s.start for s in box), tuple(s.stop for s in box))
    masks = {structure: own == label_id(structure, side) for structure in Structure}
    counts = {structure: int(np.count_nonzero(mask)) for structure, mask in masks.items()}
    spacing = grid.spacing_mm[::-1]
    cortex, medulla = masks[Structure.CORTEX], masks[Structure.MEDULLA]
    divided = counts[Structure.UNDIVIDED] == 0
    nothing = np.zeros(0)
    parenchyma = cortex | medulla | masks[Structure.UNDIVIDED]
    diameters = diameters_mm(parenchyma | masks[Structure.CYST], part) if with_length else None
    return _Kidney(
        volumes_ml={structure: n * grid.voxel_mm3 / 1000 for structure, n in counts.items()},
        cortex_hu=hu_sum(hu, cortex, spacing) if divided else (0.0, 0),
        medulla_hu=hu_sum(hu, medulla, spacing) if divided else (0.0, 0),
        cyst_hu=hu_sum(hu, masks[Structure.CYST], spacing),
        mass_hu=hu_sum(hu, masks[Structure.MASS], spacing),
        cyst_diameter_mm=largest_diameter_mm(masks[Structure.CYST], part),
        mass_diameter_mm=largest_diameter_mm(masks[Structure.MASS], part),
        length_mm=max_length_mm(parenchyma, part) if with_length else None,
        thickness=cortex_distances_mm(cortex, medulla, part) if divided else (nothing, nothing),
        ellipsoid_ml=ellipsoid_ml(*diameters) if diameters is not None else None,
    )


def _as_pairs(flags: Iterable[str | tuple[Side | None, str]]) -> list[tuple[Side | None, str]]:
    return [(None, item) if isinstance(item, str) else item for item in flags]


def _make_table(
    kidneys: dict[Side, _Kidney],
    flags: list[tuple[Side | None, str]],
    clinical: ClinicalMeasures,
    structures: set[Structure],
) -> list[Row]:
    found = structures | {s for k in kidneys.values() for s, ml in k.volumes_ml.items() if ml > 0}
    total = sum(_parenchyma_ml(kidney) for kidney in kidneys.values())
    rows = []
    for side, kidney in kidneys.items():
        share = 100 * (_parenchyma_ml(kidney) / total) if total > 0 else None
        keys = [key for flag_side, key in flags if flag_side in (side, None)]
        rows.append(
            replace(_row(side.value, [kidney], keys, clinical, found), split_percent=share, length_mm=kidney.length_mm)
        )
    both = _row(BOTH, list(kidneys.values()), [key for _, key in flags], clinical, found)
    rows.append(
        replace(
            both,
            egfr_ckd_epi_2021=clinical.egfr_2021,
            egfr_ckd_epi_2009=clinical.egfr_2009,
            kdigo_stage=clinical.kdigo_stage or "",
        )
    )
    return rows


def _row(side: str, kidneys: list[_Kidney], flags: list[str], clinical: ClinicalMeasures, found: set[Structure]) -> Row:
    """A row of one or several kidneys together, without case, split and length."""
    joined = join_flags(flags)
    row = Row("", side, flags=tuple(joined.split(";")) if joined else (), bsa_mosteller_m2=clinical.bsa_m2)
    if not kidneys:
        return row
    ml = {structure: sum(kidney.volumes_ml[structure] for kidney in kidneys) for structure in Structure}
    parenchyma = sum(ml[structure] for structure in PARENCHYMA)
    divided = ml[Structure.UNDIVIDED] == 0
    cortex = ml[Structure.CORTEX] if divided else None
    medulla = ml[Structure.MEDULLA] if divided else None
    thickness = [np.concatenate(parts) for parts in zip(*(kidney.thickness for kidney in kidneys), strict=True)]
    sizes = {"m2": clinical.bsa_m2, "m": clinical.height_m, "kg": clinical.weight_kg}
    volumes = {"parenchyma": parenchyma, "cortex": cortex, "medulla": medulla}
    indexed: dict[str, Any] = {
        f"{name}_ml_per_{unit}": volume / size
        for unit, size in sizes.items()
        for name, volume in volumes.items()
        if size is not None and volume is not None
    }
    if Structure.CYST in found:
        indexed |= _with_cysts(kidneys, parenchyma + ml[Structure.CYST], clinical)
    return replace(
        row,
        parenchyma_ml=parenchyma,
        cortex_ml=cortex,
        medulla_ml=medulla,
        cortex_fraction=cortex / parenchyma if cortex is not None and parenchyma > 0 else None,
        cyst_ml=ml[Structure.CYST] if Structure.CYST in found else None,
        mass_ml=ml[Structure.MASS] if Structure.MASS in found else None,
        cortical_thickness_mm=weighted_median(thickness[0], thickness[1]) if divided else None,
        cortex_hu_mean=_mean([kidney.cortex_hu for kidney in kidneys]) if divided else None,
        medulla_hu_mean=_mean([kidney.medulla_hu for kidney in kidneys]) if divided else None,
        cyst_largest_diameter_mm=_largest([kidney.cyst_diameter_mm for kidney in kidneys]),
        cyst_hu_mean=_mean([kidney.cyst_hu for kidney in kidneys]),
        mass_largest_diameter_mm=_largest([kidney.mass_diameter_mm for kidney in kidneys]),
        mass_hu_mean=_mean([kidney.mass_hu for kidney in kidneys]),
        **indexed,
    )


def _with_cysts(kidneys: list[_Kidney], total_ml: float, clinical: ClinicalMeasures) -> dict[str, float | None]:
    """What polycystic kidneys are judged by; no ellipsoid where one of the kidneys has no length (fused)."""
    estimates = [kidney.ellipsoid_ml for kidney in kidneys if kidney.ellipsoid_ml is not None]
    return {
        "total_kidney_ml": total_ml,
        "total_kidney_ml_per_m": total_ml / clinical.height_m if clinical.height_m is not None else None,
        "ellipsoid_ml": sum(estimates) if len(estimates) == len(kidneys) else None,
    }


def _parenchyma_ml(kidney: _Kidney) -> float:
    return sum(kidney.volumes_ml[structure] for structure in PARENCHYMA)


def _mean(sums: list[tuple[float, int]]) -> float | None:
    voxels = sum(n for _, n in sums)
    return sum(total for total, _ in sums) / voxels if voxels else None


def _largest(diameters_mm: list[float | None]) -> float | None:
    return max((d for d in diameters_mm if d is not None), default=None)
