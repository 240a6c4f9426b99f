"""What is scored: structures as sets of label ids, and which of them two label schemes can both tell."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from KidneySegLib.errors import InputError
from KidneySegLib.labels import LABELS, PARENCHYMA, Side, Structure


@dataclass(frozen=True)
class Target:
    """One structure that is scored.

    Attributes:
        key: stable name in files, ``right_parenchyma``.
        name: English name.
        structures: whose union it is.
        side: of the patient, or None for all sides together.
    """

    key: str
    name: str
    structures: tuple[Structure, ...]
    side: Side | None = None

    @property
    def ids(self) -> tuple[int, ...]:
        """Voxel values of `labels.LABELS` that belong to it."""
        return tuple(
            label.id
            for label in LABELS
            if label.structure in self.structures and (self.side is None or label.side is self.side)
        )


PARENCHYMA_TARGET = Target("parenchyma", "Parenchyma", PARENCHYMA)
CORTEX_TARGET = Target("cortex", "Cortex", (Structure.CORTEX,))
_MEDULLA = Target("medulla", "Medulla", (Structure.MEDULLA,))
_CYST = Target("cyst", "Cysts", (Structure.CYST,))
_MASS = Target("mass", "Masses", (Structure.MASS,))
_ABNORMALITY = Target("abnormality", "Abnormalities (cysts and masses)", (Structure.CYST, Structure.MASS))

#: KiTS' hierarchical evaluation classes: kidney and masses, masses (tumour and cyst), tumour.
HIERARCHICAL: tuple[Target, ...] = (
    Target("kidney_and_masses", "Kidney and masses (KiTS)", (*PARENCHYMA, Structure.CYST, Structure.MASS)),
    Target("masses", "Masses: tumour and cyst (KiTS)", (Structure.CYST, Structure.MASS)),
    Target("tumor", "Tumour (KiTS)", (Structure.MASS,)),
)
#: Surface Dice tolerances in mm of KiTS21 and KiTS23 (neheller/kits23), by key of `HIERARCHICAL`.
HIERARCHICAL_TOLERANCES_MM = {
    "kidney_and_masses": 1.0330772532390826,
    "masses": 1.1328796488598762,
    "tumor": 1.1498198361434828,
}

#: What a scheme of `measurement.SCHEMES` can tell besides parenchyma.
_TOLD: dict[str, frozenset[str]] = {
    "kidneyseg": frozenset({"cortex", "medulla", "cyst", "mass", "abnormality", "sides"}),
    "training": frozenset({"cortex", "medulla", "cyst", "mass", "abnormality"}),
    "sides": frozenset({"sides"}),
    "kits": frozenset({"cyst", "mass", "abnormality"}),
    "abnormality": frozenset({"abnormality"}),
}


def targets_of(prediction_scheme: str, reference_scheme: str, *, hierarchical: bool = False) -> tuple[Target, ...]:
    """Structures that both schemes can tell, parenchyma first.

    Args:
        prediction_scheme, reference_scheme: keys of `measurement.SCHEMES`.
        hierarchical: add KiTS' three classes.

    Raises:
        InputError: for an unknown scheme, or hierarchical classes where a scheme cannot tell cyst from tumour.
    """
    for scheme in (prediction_scheme, reference_scheme):
        if scheme not in _TOLD:
            raise InputError(f"The label scheme must be one of {', '.join(_TOLD)}, got {scheme}.")
    told = _TOLD[prediction_scheme] & _TOLD[reference_scheme]
    whole = [target for target in (CORTEX_TARGET, _MEDULLA, _CYST, _MASS) if target.key in told]
    if "abnormality" in told and "mass" not in told:
        whole.append(_ABNORMALITY)
    targets = [PARENCHYMA_TARGET, *whole]
    if "sides" in told:
        for target in (PARENCHYMA_TARGET, CORTEX_TARGET, _MEDULLA):
            if target in targets:
                targets += [_on_side(target, side) for side in (Side.RIGHT, Side.LEFT)]
    if hierarchical:
        if not {"cyst", "mass"} <= told:
            raise InputError(
                "The hierarchical classes need cysts and masses apart, but the labels "
                f"{prediction_scheme} and {reference_scheme} cannot both tell them. Leave the option out."
            )
        targets += HIERARCHICAL
    return tuple(targets)


def not_told(prediction_scheme: str, reference_scheme: str) -> dict[str, str]:
    """Structures that only one of two schemes can tell, each with the reason why it is not scored."""
    reasons = {}
    for scheme, other, whose in (
        (prediction_scheme, reference_scheme, "references"),
        (reference_scheme, prediction_scheme, "predictions"),
    ):
        for key in sorted(_TOLD[scheme] - _TOLD[other] - {"abnormality"}):
            reasons[key] = f"the {whose}' labels ({other}) do not tell it"
    return reasons


def ids_of(structures: Iterable[Structure], sides: Iterable[Side] = tuple(Side)) -> tuple[int, ...]:
    """Voxel values of some structures on some sides."""
    wanted, where = set(structures), set(sides)
    return tuple(label.id for label in LABELS if label.structure in wanted and label.side in where)


def _on_side(target: Target, side: Side) -> Target:
    return Target(
        f"{side.value}_{target.key}", f"{side.value.capitalize()} {target.name.lower()}", target.structures, side
    )
