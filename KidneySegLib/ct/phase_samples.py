"""Robust HU of the structures that tell the contrast phase: medians of eroded masks."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from KidneySegLib.labels import LABELS, PARENCHYMA, OverviewLabel, Structure

if TYPE_CHECKING:
    import SimpleITK as sitk

#: How far masks are eroded, so that voxels shared with fat or another tissue do not count.
_ERODE_MM = 1.0
#: Fewer voxels than this say nothing; a mask that erosion makes smaller is used as it is.
_MIN_VOXELS = 30
#: Width of the sinus that the parenchyma surrounds.
_SINUS_MM = 12.0
#: Grid on which sinus and coarse samples are taken: averages out noise.
_COARSE_MM = 2.5
#: Sinus fat lies below, urine without contrast between the two.
_FAT_BELOW_HU = -20.0
_URINE_BELOW_HU = 60.0
_EXCRETED_ABOVE_BLOOD_HU = 50.0
_BRIGHT_PERCENTILE = 95.0


@dataclass(frozen=True)
class HuSamples:
    """Typical HU of each structure; None where it was not seen.

    Attributes:
        aorta: blood in the aorta.
        kidney: all parenchyma.
        cortex, medulla: renal cortex, and the rest of the parenchyma.
        collecting: renal pelvis and calyces, a guess.
    """

    aorta: float | None = None
    kidney: float | None = None
    cortex: float | None = None
    medulla: float | None = None
    collecting: float | None = None

    @property
    def corticomedullary(self) -> float | None:
        """Cortex less medulla."""
        return None if self.cortex is None or self.medulla is None else self.cortex - self.medulla

    def with_aorta(self, aorta: float | None) -> HuSamples:
        return replace(self, aorta=aorta)

    def or_else(self, other: HuSamples) -> HuSamples:
        """These samples, with those of another source where one is missing.

        Cortex and medulla go together: one source's cortex is not compared with another's medulla.
        """
        divided = self if self.cortex is not None and self.medulla is not None else other
        return HuSamples(
            aorta=other.aorta if self.aorta is None else self.aorta,
            kidney=other.kidney if self.kidney is None else self.kidney,
            cortex=divided.cortex,
            medulla=divided.medulla,
            collecting=other.collecting if self.collecting is None else self.collecting,
        )


def sample_labels(image: sitk.Image, labels: sitk.Image, aorta_hu: float | None = None) -> HuSamples:
    """HU of a result's structures.

    Args:
        image: scan in HU.
        labels: result ids 1 to 15 on any part of the image's grid.
        aorta_hu: HU of blood, if known: only urine with contrast is brighter.

    Returns:
        Samples without aorta; all None where the map is empty.
    """
    import SimpleITK as sitk

    box = _bounding_box(sitk.GetArrayViewFromImage(labels), _margin(labels.GetSpacing(), 2 * _SINUS_MM))
    if box is None:
        return HuSamples()
    part = labels[tuple(reversed(box))]
    hu = sitk.GetArrayFromImage(_on_grid(image, part)).astype(np.float32, copy=False)
    ids = sitk.GetArrayViewFromImage(part)
    spacing_mm = part.GetSpacing()[::-1]
    cortex = np.isin(ids, _ids(Structure.CORTEX))
    medulla = np.isin(ids, _ids(Structure.MEDULLA))
    parenchyma = np.isin(ids, _ids(*PARENCHYMA))
    cortex_hu = _median(hu, cortex, spacing_mm)
    return HuSamples(
        kidney=_median(hu, parenchyma, spacing_mm),
        cortex=cortex_hu,
        medulla=_median(hu, medulla, spacing_mm),
        collecting=_collecting_hu(hu, ids, parenchyma, spacing_mm, max(aorta_hu or 0.0, cortex_hu or 0.0)),
    )


def sample_overview(image: sitk.Image, overview: sitk.Image) -> HuSamples:
    """HU of the localiser's aorta and kidneys.

    Cortex and medulla are not guessed from a coarse map: the spread of HU inside a whole kidney is as wide in a
    portal venous scan as in a corticomedullary one.

    Args:
        image: scan in HU.
        overview: ids of `OverviewLabel` on a coarse grid of its own.
    """
    import SimpleITK as sitk

    ids = sitk.GetArrayViewFromImage(overview)
    aorta_hu = None
    box = _bounding_box(ids == OverviewLabel.AORTA, (1, 1, 1))
    if box is not None:
        part = overview[tuple(reversed(box))]
        hu = sitk.GetArrayFromImage(_on_grid(image, part)).astype(np.float32, copy=False)
        mask = sitk.GetArrayViewFromImage(part) == OverviewLabel.AORTA
        aorta_hu = _median(hu, mask, (_ERODE_MM,) * 3)
    box = _bounding_box(ids == OverviewLabel.KIDNEY, (1, 1, 1))
    if box is None:
        return HuSamples(aorta=aorta_hu)
    fine = _finer_grid(overview[tuple(reversed(box))])
    mask = sitk.GetArrayViewFromImage(fine) == OverviewLabel.KIDNEY
    hu = sitk.GetArrayFromImage(_on_grid(_averaged(image, fine), fine)).astype(np.float32, copy=False)
    # Voxels of a coarse mask reach into perirenal and sinus fat.
    return HuSamples(aorta=aorta_hu, kidney=_median(hu, mask & (hu > 0), (_ERODE_MM,) * 3))


def _ids(*structures: Structure) -> list[int]:
    return [label.id for label in LABELS if label.structure in structures]


def _margin(spacing_xyz: tuple[float, ...], margin_mm: float) -> tuple[int, ...]:
    return tuple(int(np.ceil(margin_mm / mm)) for mm in reversed(spacing_xyz))


def _bounding_box(mask: NDArray[Any], margin: tuple[int, ...]) -> tuple[slice, ...] | None:
    """Slices (z, y, x) round all non-zero voxels with a margin in voxels; None if there are none."""
    box = []
    for axis, extra in enumerate(margin):
        hit = np.flatnonzero(mask.any(axis=tuple(other for other in range(mask.ndim) if other != axis)))
        if not hit.size:
            return None
        box.append(slice(max(int(hit[0]) - extra, 0), min(int(hit[-1]) + 1 + extra, mask.shape[axis])))
    return tuple(box)


def _on_grid(image: sitk.Image, grid: sitk.Image) -> sitk.Image:
    """The image's HU at the voxels of a grid (linear; exact where the grid is part of the image's own)."""
    import SimpleITK as sitk

    return sitk.Resample(image, grid, sitk.Transform(3, sitk.sitkIdentity), sitk.sitkLinear, -1024.0, sitk.sitkFloat32)


def _averaged(image: sitk.Image, grid: sitk.Image) -> sitk.Image:
    """The part of an image that a grid covers, averaged to about `_COARSE_MM` against noise."""
    import SimpleITK as sitk

    last = np.array(grid.GetSize()) - 1.0
    points = [grid.TransformContinuousIndexToPhysicalPoint((last * corner).tolist()) for corner in np.ndindex(2, 2, 2)]
    corners = [image.TransformPhysicalPointToContinuousIndex(point) for point in points]
    low = np.clip(np.floor(np.min(corners, axis=0)).astype(int) - 2, 0, None)
    high = np.clip(np.ceil(np.max(corners, axis=0)).astype(int) + 3, 0, image.GetSize())
    if (high - low).min() < 1:
        return image
    part = image[tuple(slice(int(a), int(b)) for a, b in zip(low, high, strict=True))]
    factors = [max(1, round(_COARSE_MM / mm)) for mm in part.GetSpacing()]
    factors = [min(factor, count) for factor, count in zip(factors, part.GetSize(), strict=True)]
    return sitk.BinShrink(sitk.Cast(part, sitk.sitkFloat32), factors)


def _finer_grid(part: sitk.Image) -> sitk.Image:
    """A coarse label map on a grid of `_COARSE_MM`."""
    import SimpleITK as sitk

    size = [max(1, round(n * mm / _COARSE_MM)) for n, mm in zip(part.GetSize(), part.GetSpacing(), strict=True)]
    return sitk.Resample(
        part, size, sitk.Transform(3, sitk.sitkIdentity), sitk.sitkNearestNeighbor, part.GetOrigin(),
        (_COARSE_MM,) * 3, part.GetDirection(), 0, part.GetPixelID(),
    )  # fmt: skip


def _eroded(mask: NDArray[np.bool_], spacing_mm: tuple[float, ...]) -> NDArray[np.bool_]:
    """A mask less `_ERODE_MM`, along those axes that are fine enough for it."""
    from scipy import ndimage

    result = mask
    for axis, mm in enumerate(spacing_mm):
        steps = round(_ERODE_MM / mm)
        if steps:
            shape = [1, 1, 1]
            shape[axis] = 2 * steps + 1
            result = ndimage.binary_erosion(result, np.ones(shape, dtype=bool))
    return result


def _median(hu: NDArray[np.float32], mask: NDArray[np.bool_], spacing_mm: tuple[float, ...]) -> float | None:
    """Median HU of an eroded mask (of the mask itself if little is left); None for a mask of almost nothing."""
    inside = _eroded(mask, spacing_mm)
    if np.count_nonzero(inside) < _MIN_VOXELS:
        inside = mask
    if np.count_nonzero(inside) < _MIN_VOXELS:
        return None
    return float(np.median(hu[inside]))


def _collecting_hu(
    hu: NDArray[np.float32],
    ids: NDArray[Any],
    parenchyma: NDArray[np.bool_],
    spacing_mm: tuple[float, ...],
    blood_hu: float,
) -> float | None:
    """HU of urine in the sinus, the cavity that parenchyma surrounds.

    Vessels lie there too. Only excreted contrast is brighter than blood, so a sinus whose bright part is brighter
    holds contrast; else urine is what is neither fat nor enhanced.
    """
    from scipy import ndimage

    steps = tuple(slice(None, None, max(1, round(_COARSE_MM / mm))) for mm in spacing_mm)
    coarse_mm = [mm * step.step for mm, step in zip(spacing_mm, steps, strict=True)]
    solid = parenchyma[steps]
    if not solid.any():
        return None
    near = ndimage.distance_transform_edt(~solid, sampling=coarse_mm) <= _SINUS_MM
    closed = ndimage.distance_transform_edt(np.pad(near, 1), sampling=coarse_mm)[1:-1, 1:-1, 1:-1] > _SINUS_MM
    sinus = closed & (ids[steps] == 0) & ~ndimage.binary_dilation(solid)
    values = hu[steps][sinus]
    values = values[values > _FAT_BELOW_HU]
    if values.size < _MIN_VOXELS:
        return None
    bright = float(np.percentile(values, _BRIGHT_PERCENTILE))
    if bright > blood_hu + _EXCRETED_ABOVE_BLOOD_HU:
        return float(np.median(values[values > blood_hu]))
    urine = values[values < _URINE_BELOW_HU]
    return float(np.median(urine)) if urine.size >= _MIN_VOXELS else None
