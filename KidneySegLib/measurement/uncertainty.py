"""How far a measurement can be trusted: +- mL of each kidney and a traffic light, from the network's own passes.

The method is ours. Two things are looked at, for parenchyma and for cortex: how undecided the mean probability is (the
sum of p (1 - p), which lies along the border, and the Dice that the probabilities themselves expect of their mask),
and how far mirrored passes disagree. What they are worth is not assumed: a bundle carries a `Calibration` that was
fitted to phantoms which its training never saw (``python -m KidneySegLib.training.calibrate``).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from KidneySegLib.errors import ModelError
from KidneySegLib.labels import LABELS, PARENCHYMA, Side, Structure

if TYPE_CHECKING:
    import SimpleITK as sitk

    from KidneySegLib.inference.evidence import Evidence
    from KidneySegLib.measurement.table import MeasurementTable

LIGHTS = GREEN, YELLOW, RED = "green", "yellow", "red"
#: What the expected Dice is a linear function of, on the logit scale, besides a constant.
FEATURES = ("expected_dice", "pass_dice", "lesion_share", "size")
#: Parenchyma of a usual kidney, from which ``size`` is counted (logarithm of the ratio).
TYPICAL_ML = 150.0
#: The scan shows too little difference between cortex and medulla.
WEAK_CONTRAST_FLAGS = (
    "phase_unenhanced",
    "phase_nephrographic",
    "phase_excretory",
    "low_corticomedullary_contrast",
)
#: With one of these flags a case is at best yellow (a person has to look), or red.
YELLOW_FLAGS = frozenset({"kidney_cut_by_scan", "kidney_not_counted", "phase_uncertain", *WEAK_CONTRAST_FLAGS})
RED_FLAGS = frozenset({"no_kidney", "side_uncertain"})
#: Dice values are kept this far from 0 and 1 before their logit is taken.
_CLIP = 1e-3
#: Under these, a probability says nothing about the kidney: the network's noise floor far away from it.
_FLOOR = 0.02


@dataclass(frozen=True)
class Signs:
    """What the passes say about one kidney. Volumes are in mL.

    Attributes:
        parenchyma_ml: of the final mask, sampled on the network's grid.
        lesion_ml: cysts and masses of the final map.
        expected_dice: 2 sum(p m) / (sum p + sum m) of the mean probability p and the final parenchyma mask m.
        pass_dice: the least Dice of any mirrored pass's mask with the plain pass's.
        border_ml: sum of p (1 - p) over the kidney and its surroundings.
        pass_spread_ml: largest less smallest volume of the passes.
        cortex_ml, cortex_border_ml, cortex_pass_spread_ml: the same of cortex; NaN where it is not divided.
    """

    parenchyma_ml: float
    lesion_ml: float
    expected_dice: float
    pass_dice: float
    border_ml: float
    pass_spread_ml: float
    cortex_ml: float = math.nan
    cortex_border_ml: float = math.nan
    cortex_pass_spread_ml: float = math.nan


@dataclass(frozen=True)
class Calibration:
    """What signs are worth, as fitted to held-out cases.

    Attributes:
        dice: weights of a constant and of `FEATURES` for the logit of a kidney's parenchyma Dice.
        plus_minus: for ``parenchyma``, ``cortex`` and ``medulla``, the factors of border_ml and of pass_spread_ml whose
            sum is the half width, in mL, of an interval that held the true volume in 95 % of the kidneys.
        green: expected Dice from which a kidney is green.
        red: expected Dice below which a kidney is red.
        cases: of the calibration.
    """

    dice: tuple[float, ...]
    plus_minus: Mapping[str, tuple[float, float]]
    green: float
    red: float
    cases: int


@dataclass(frozen=True)
class Uncertainty:
    """What is said of one kidney, or of all of a case together.

    Attributes:
        dice: the Dice that is to be expected of its parenchyma, 0..1.
        light: ``green``, ``yellow`` or ``red``.
        parenchyma_ml, cortex_ml, medulla_ml: half widths of 95 % intervals; None where not measured.
    """

    dice: float
    light: str
    parenchyma_ml: float
    cortex_ml: float | None
    medulla_ml: float | None


def read_calibration(content: object, where: str) -> Calibration:
    """The calibration of a bundle's metrics.

    Raises:
        ModelError: if it is not one.
    """
    try:
        assert isinstance(content, dict)
        read = Calibration(
            tuple(float(v) for v in content["dice"]),
            {k: (float(a), float(b)) for k, (a, b) in content["plus_minus"].items()},
            float(content["green"]),
            float(content["red"]),
            int(content["cases"]),
        )
        assert len(read.dice) == 1 + len(FEATURES)
        assert set(read.plus_minus) == {"parenchyma", "cortex", "medulla"}
        numbers = (*read.dice, read.green, read.red, *(v for pair in read.plus_minus.values() for v in pair))
        assert all(math.isfinite(v) for v in numbers)
    except (AssertionError, KeyError, TypeError, ValueError) as error:
        message = f"{where}: metrics.uncertainty is not a calibration ({error}). Import the model again."
        raise ModelError(message) from error
    return read


def write_calibration(calibration: Calibration) -> dict[str, Any]:
    """A calibration as a bundle's metrics hold it."""
    content = asdict(calibration)
    return {
        **content,
        "dice": list(calibration.dice),
        "plus_minus": {name: list(pair) for name, pair in calibration.plus_minus.items()},
    }


def find_signs(labels: sitk.Image, evidence: Sequence[Evidence]) -> dict[Side, Signs]:
    """The signs of each kidney.

    Args:
        labels: final ids 1-15, on the scan's grid or a part of it.
        evidence: of all regions. A kidney that reaches into several is summed over them.

    Returns:
        One entry a side that the labels hold parenchyma of and that lies in a region; empty without evidence.
    """
    sums: dict[Side, _Sums] = {}
    for part in evidence:
        ids = _on_grid_of(part, labels)
        owner = _nearest_side(ids, part.grid.spacing_mm)
        for number, side in enumerate(Side, start=1):
            if not (owner == number).any():
                continue
            one = _sums(part, ids, owner == number)
            sums[side] = sums[side] + one if side in sums else one
    return {side: total.signs() for side, total in sums.items()}


def judge(signs: Mapping[Side, Signs], calibration: Calibration) -> dict[Side | None, Uncertainty]:
    """What the signs mean; the key None is all kidneys together: volumes' errors add up, the worst light counts."""
    if not signs:
        return {}
    judged: dict[Side | None, Uncertainty] = {}
    for side, sign in signs.items():
        dice = expected_dice(sign, calibration.dice)
        light = GREEN if dice >= calibration.green else RED if dice < calibration.red else YELLOW
        widths = {name: half_width_ml(sign, name, calibration) for name in calibration.plus_minus}
        parenchyma = widths["parenchyma"]
        assert parenchyma is not None
        judged[side] = Uncertainty(dice, light, parenchyma, widths["cortex"], widths["medulla"])
    kidneys = list(judged.values())
    weights = np.array([max(sign.parenchyma_ml, 1e-6) for sign in signs.values()])
    judged[None] = Uncertainty(
        float(np.average([k.dice for k in kidneys], weights=weights)),
        max((k.light for k in kidneys), key=LIGHTS.index),
        sum(k.parenchyma_ml for k in kidneys),
        _total([k.cortex_ml for k in kidneys]),
        _total([k.medulla_ml for k in kidneys]),
    )
    return judged


def features(signs: Signs) -> tuple[float, ...]:
    """`FEATURES` of a kidney, after a leading 1 for the constant."""
    share = signs.lesion_ml / max(signs.lesion_ml + signs.parenchyma_ml, 1e-6)
    size = math.log(max(signs.parenchyma_ml, 1.0) / TYPICAL_ML)
    return (1.0, logit(signs.expected_dice), logit(signs.pass_dice), share, size)


def logit(value: float) -> float:
    """log(v / (1 - v)), for values kept away from 0 and 1."""
    clipped = min(max(value, _CLIP), 1 - _CLIP)
    return math.log(clipped / (1 - clipped))


def expected_dice(signs: Signs, weights: Sequence[float]) -> float:
    """The Dice to expect of a kidney's parenchyma."""
    total = sum(w * f for w, f in zip(weights, features(signs), strict=True))
    return 1 / (1 + math.exp(-min(max(total, -50.0), 50.0)))


def half_width_ml(signs: Signs, structure: str, calibration: Calibration) -> float | None:
    """Half width of the interval of a volume; None where it was not measured."""
    border, spread = spreads_ml(signs, structure)
    if math.isnan(border):
        return None
    a, b = calibration.plus_minus[structure]
    return a * border + b * spread


def spreads_ml(signs: Signs, structure: str) -> tuple[float, float]:
    """(border_ml, pass_spread_ml) of a structure; medulla has those of parenchyma and cortex, which both bound it."""
    cortex = signs.cortex_border_ml, signs.cortex_pass_spread_ml
    if structure == "cortex":
        return cortex
    if structure == "medulla":
        return math.hypot(signs.border_ml, cortex[0]), math.hypot(signs.pass_spread_ml, cortex[1])
    return signs.border_ml, signs.pass_spread_ml


def add_uncertainty(table: MeasurementTable, judged: Mapping[Side | None, Uncertainty]) -> MeasurementTable:
    """The table with +- mL and lights in its rows. A row that nothing was said about is red: it cannot be trusted.

    Args:
        table: rows of the sides and ``both``.
        judged: what `judge` gave, empty where no kidney was found.
    """
    by_name = {"both" if side is None else side.value: said for side, said in judged.items()}
    rows = []
    for row in table.rows:
        said = by_name.get(row.side)
        rows.append(
            replace(
                row,
                parenchyma_plus_minus_ml=said.parenchyma_ml if said and row.parenchyma_ml is not None else None,
                cortex_plus_minus_ml=said.cortex_ml if said and row.cortex_ml is not None else None,
                medulla_plus_minus_ml=said.medulla_ml if said and row.medulla_ml is not None else None,
                traffic_light=light_with_flags(said.light if said else RED, row.flags),
            )
        )
    return replace(table, rows=tuple(rows))


def light_with_flags(light: str, flags: Iterable[str]) -> str:
    """The light of a row that carries some flags: never better than they allow."""
    raised = set(flags)
    least = RED if raised & RED_FLAGS else YELLOW if raised & YELLOW_FLAGS else GREEN
    return max(light, least, key=LIGHTS.index)


def _total(values: list[float | None]) -> float | None:
    known = [v for v in values if v is not None]
    return sum(known) if len(known) == len(values) else None


@dataclass(frozen=True)
class _Sums:
    """Sums over the voxels of one kidney and its surroundings, in mL; the passes one by one."""

    mask: float
    lesion: float
    p: float
    p_in_mask: float
    border: float
    pass_ml: NDArray[np.float64]
    shared_ml: NDArray[np.float64]
    cortex_mask: float
    cortex_border: float
    cortex_pass_ml: NDArray[np.float64]

    def __add__(self, other: _Sums) -> _Sums:
        return _Sums(**{name: getattr(self, name) + getattr(other, name) for name in self.__dataclass_fields__})

    def signs(self) -> Signs:
        total = self.p + self.mask
        plain, others = self.pass_ml[0], self.pass_ml[1:]
        agreement = 2 * self.shared_ml[1:] / np.maximum(plain + others, 1e-9)
        return Signs(
            self.mask,
            self.lesion,
            2 * self.p_in_mask / total if total > 0 else 0.0,
            float(agreement.min(initial=1.0)),
            self.border,
            float(np.ptp(self.pass_ml)),
            self.cortex_mask,
            self.cortex_border,
            float(np.ptp(self.cortex_pass_ml)) if self.cortex_pass_ml.size else math.nan,
        )


def _sums(part: Evidence, ids: NDArray[np.uint8], own: NDArray[np.bool_]) -> _Sums:
    from KidneySegLib.inference.evidence import FULL_PROBABILITY

    ml = math.prod(part.grid.spacing_mm) / 1000
    passes = part.passes[:, :, own].astype(np.float32) / FULL_PROBABILITY
    mean = passes.mean(axis=0)
    mean[mean < _FLOOR] = 0
    mask = np.isin(ids[own], _ids(PARENCHYMA))
    said = passes[:, 0] >= 0.5
    divided = passes.shape[1] > 1 and not np.isin(ids[own], _ids((Structure.UNDIVIDED,))).any()
    cortex = mean[1] if divided else np.zeros(0, np.float32)
    return _Sums(
        mask=float(mask.sum()) * ml,
        lesion=float(np.isin(ids[own], _ids((Structure.CYST, Structure.MASS))).sum()) * ml,
        p=float(mean[0].sum()) * ml,
        p_in_mask=float(mean[0][mask].sum()) * ml,
        border=float((mean[0] * (1 - mean[0])).sum()) * ml,
        pass_ml=said.sum(axis=1) * ml,
        shared_ml=(said & said[:1]).sum(axis=1) * ml,
        cortex_mask=float(np.isin(ids[own], _ids((Structure.CORTEX,))).sum()) * ml if divided else math.nan,
        cortex_border=float((cortex * (1 - cortex)).sum()) * ml if divided else math.nan,
        cortex_pass_ml=(passes[:, 1] >= 0.5).sum(axis=1) * ml if divided else np.full(len(passes), math.nan),
    )


def _ids(structures: Sequence[Structure]) -> list[int]:
    return [label.id for label in LABELS if label.structure in structures]


def _on_grid_of(part: Evidence, labels: sitk.Image) -> NDArray[np.uint8]:
    """The ids at the nearest voxel of ``labels`` to each voxel of a region, 0 outside."""
    import SimpleITK as sitk

    sampled = sitk.Resample(labels, part.region(), sitk.Transform(3, sitk.sitkIdentity), sitk.sitkNearestNeighbor, 0)
    return np.asarray(sitk.GetArrayFromImage(sampled), np.uint8)


def _nearest_side(ids: NDArray[np.uint8], spacing_mm: Sequence[float]) -> NDArray[np.uint8]:
    """For each voxel 1 + the number of the side (in the order of `Side`) whose kidney is nearest; 0 without any."""
    table = np.zeros(256, np.uint8)
    for number, side in enumerate(Side, start=1):
        table[[label.id for label in LABELS if label.side is side]] = number
    sides = table[ids]
    present = np.unique(sides[sides > 0])
    if present.size <= 1:
        return np.full(ids.shape, present[0] if present.size else 0, np.uint8)
    from scipy import ndimage

    nearest = ndimage.distance_transform_edt(sides == 0, spacing_mm, return_distances=False, return_indices=True)
    owner: NDArray[np.uint8] = sides[tuple(nearest)]
    return owner
