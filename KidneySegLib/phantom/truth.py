"""The truth of a phantom: label maps by majority, volumes by exact shares, and the flags that should be raised."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from KidneySegLib.labels import Side, Structure, label_id

FloatArray = npt.NDArray[np.float32]

#: Keys of `render.Rendering.fractions` are ``<side>_<part>``; cortex is a part of parenchyma.
PARTS = ("parenchyma", "cortex", "cyst", "mass")

#: Cortex less than this above medulla is called hardly distinguishable (the phase check's own threshold).
LOW_CONTRAST_HU = 40.0
#: Geometry beyond these is flagged; the flags' sentences state the same numbers.
THICK_SLICE_MM, COARSE_PIXEL_MM = 5.0, 1.5


def majority_labels(fractions: Mapping[str, FloatArray], shape: tuple[int, ...]) -> npt.NDArray[np.uint8]:
    """Label ids of voxels from the share of each that its structures fill.

    A voxel belongs to the kidney if parenchyma, cysts and masses of all sides fill at least half of it. It then takes
    the structure that fills most of it, of the side that fills most of it; parenchyma is cortex where cortex fills at
    least half of the parenchyma.

    Args:
        fractions: ``<side>_<part>`` (parts: parenchyma, cortex, cyst, mass) to arrays of shares 0..1; may be empty.
        shape: of the arrays.

    Returns:
        uint8 ids of `labels.LABELS`; zeros where no fractions are given.

    Raises:
        ValueError: for an unknown key or another shape.
    """
    check_keys(fractions)
    labels = np.zeros(shape, np.uint8)
    total = np.zeros(shape, np.float32)
    for key, share in fractions.items():
        if share.shape != shape:
            raise ValueError(f"fractions[{key!r}] must have shape {shape}, got {share.shape}")
        if not key.endswith("_cortex"):
            total += share
    inside = total >= 0.5
    if not inside.any():
        return labels
    best = np.zeros(int(inside.sum()), np.float32)
    ids = np.zeros(best.shape, np.uint8)
    for side in Side:
        for part, structure in (("parenchyma", None), ("cyst", Structure.CYST), ("mass", Structure.MASS)):
            key = f"{side.value}_{part}"
            if key not in fractions:
                continue
            filled = fractions[key][inside]
            wins = filled > best
            best[wins] = filled[wins]
            if structure is not None:
                ids[wins] = label_id(structure, side)
                continue
            cortex = fractions.get(f"{side.value}_cortex")
            is_cortex = np.zeros(filled.shape, bool) if cortex is None else cortex[inside] >= 0.5 * filled
            ids[wins & is_cortex] = label_id(Structure.CORTEX, side)
            ids[wins & ~is_cortex] = label_id(Structure.MEDULLA, side)
    labels[inside] = ids
    return labels


def check_keys(fractions: Mapping[str, FloatArray]) -> None:
    """Raise ValueError for a key that is not ``<side>_<part>``."""
    known = {f"{side.value}_{part}" for side in Side for part in PARTS}
    if unknown := set(fractions) - known:
        raise ValueError(f"fractions must have keys of {sorted(known)}, got {sorted(unknown)}")


@dataclass(frozen=True)
class KidneyTruth:
    """Exact volumes of one side, as far as the scan reaches.

    Attributes:
        side: right, left or unsided.
        parenchyma_ml, cortex_ml, cyst_ml, mass_ml: from shares, not from counted voxels.
        voxel_parenchyma_ml, voxel_cortex_ml: from the label map, for comparison.
        cut_by_scan: whether the side's structures reach the first or last slice.
    """

    side: str
    parenchyma_ml: float
    cortex_ml: float
    cyst_ml: float
    mass_ml: float
    voxel_parenchyma_ml: float
    voxel_cortex_ml: float
    cut_by_scan: bool

    @property
    def medulla_ml(self) -> float:
        return self.parenchyma_ml - self.cortex_ml


def kidney_truths(
    volumes_ml: Mapping[str, float], labels: npt.NDArray[np.uint8], voxel_ml: float
) -> tuple[KidneyTruth, ...]:
    """The sides that are in a scan.

    Args:
        volumes_ml: exact volumes by key of the fractions.
        labels: label map (z, y, x).
        voxel_ml: volume of a voxel.
    """
    counts = np.bincount(labels.ravel(), minlength=16)
    ends = np.unique(np.concatenate([labels[0].ravel(), labels[-1].ravel()])) if labels.size else np.zeros(0, int)
    truths = []
    for side in Side:
        ids = {structure: label_id(structure, side) for structure in Structure}
        volume = {part: float(volumes_ml.get(f"{side.value}_{part}", 0.0)) for part in PARTS}
        if volume["parenchyma"] <= 0 and not any(counts[i] for i in ids.values()):
            continue
        cortex = counts[ids[Structure.CORTEX]] * voxel_ml
        truths.append(
            KidneyTruth(
                side=side.value,
                parenchyma_ml=volume["parenchyma"],
                cortex_ml=volume["cortex"],
                cyst_ml=volume["cyst"],
                mass_ml=volume["mass"],
                voxel_parenchyma_ml=float(cortex + counts[ids[Structure.MEDULLA]] * voxel_ml),
                voxel_cortex_ml=float(cortex),
                cut_by_scan=bool(np.isin(ends, list(ids.values())).any()),
            )
        )
    return tuple(truths)


def expected_flags(
    kidneys: tuple[KidneyTruth, ...],
    *,
    phase: str,
    contrast_hu: float,
    slice_thickness_mm: float,
    pixel_mm: float,
    clipped: bool,
    scene_flags: tuple[str, ...] = (),
) -> tuple[str, ...]:
    """Keys of `flags.FLAGS` that follow from what was made, in the table's order.

    Args:
        kidneys: the sides in the scan.
        phase: unenhanced, arterial, nephrographic or excretory.
        contrast_hu: cortex minus medulla, the least of the kidneys.
        slice_thickness_mm, pixel_mm: of the scan.
        clipped: whether the HU range was cut.
        scene_flags: what the scene itself knows (fused kidneys, a pelvic kidney).
    """
    from KidneySegLib.flags import FLAGS

    raised = set(scene_flags) & set(FLAGS)
    if phase != "arterial":
        raised.add(f"phase_{phase}")
    elif contrast_hu < LOW_CONTRAST_HU:
        raised.add("low_corticomedullary_contrast")
    if slice_thickness_mm > THICK_SLICE_MM:
        raised.add("slices_thick_for_cortex")
    if pixel_mm > COARSE_PIXEL_MM:
        raised.add("pixels_coarse_for_cortex")
    if clipped:
        raised.add("hu_clipped")
    if any(kidney.cut_by_scan for kidney in kidneys):
        raised.add("kidney_cut_by_scan")
    if not kidneys:
        raised.add("no_kidney")
    return tuple(key for key in FLAGS if key in raised)
