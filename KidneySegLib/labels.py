"""The one table of label ids: keys, names, colours, terminology and sides.

Every map of a result holds these ids. "Medulla" is all parenchyma that is not cortex; parenchyma is derived
(cortex + medulla + undivided), so cortex can never leave it. Sinus fat, pelvis, vessels, cysts and stones are
background.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Side(str, Enum):
    """Side of the patient's body, never of the picture."""

    RIGHT = "right"
    LEFT = "left"
    UNSIDED = "unsided"


class Structure(str, Enum):
    CORTEX = "cortex"
    MEDULLA = "medulla"
    CYST = "cyst"
    MASS = "mass"
    UNDIVIDED = "undivided"


@dataclass(frozen=True)
class Code:
    """A coded concept as DICOM writes it: value, coding scheme, meaning."""

    value: str
    scheme: str
    meaning: str


# SNOMED CT codes as published by DICOM PS3.16 (CID 7151, 7154, 244) and, for the cortex, CodeX RT / UMLS C0022655.
# No published source was found for a SNOMED CT code of the renal medulla, so it carries a private code.
KIDNEY = Code("64033007", "SCT", "Kidney")
CORTEX_OF_KIDNEY = Code("50403003", "SCT", "Cortex of kidney")
MEDULLA_OF_KIDNEY = Code("renal-medulla", "99KIDNEYSEG", "Renal parenchyma other than cortex")
UNDIVIDED_PARENCHYMA = Code("91772007", "SCT", "Parenchyma")
CYST = Code("367643001", "SCT", "Cyst")
MASS = Code("4147007", "SCT", "Mass")
SIDE_CODES = {
    Side.RIGHT: Code("24028007", "SCT", "Right"),
    Side.LEFT: Code("7771000", "SCT", "Left"),
}
ANATOMICAL_STRUCTURE = Code("91723000", "SCT", "Anatomical Structure")
MORPHOLOGICALLY_ABNORMAL_STRUCTURE = Code("49755003", "SCT", "Morphologically Altered Structure")


@dataclass(frozen=True)
class Label:
    """One row of the table.

    Attributes:
        id: voxel value in a result's label map.
        key: stable machine name, ``right_cortex``.
        name: English name that a person reads.
        structure: what it is.
        side: which kidney it belongs to.
        colour: red, green, blue in 0-255.
        category: DICOM segmented property category.
        type: DICOM segmented property type.
        region: anatomic region where the type itself is not a part of the kidney, else None.
    """

    id: int
    key: str
    name: str
    structure: Structure
    side: Side
    colour: tuple[int, int, int]
    category: Code
    type: Code
    region: Code | None = None


_SIDE_NAMES = {Side.RIGHT: "Right", Side.LEFT: "Left", Side.UNSIDED: "Unsided"}
_IDS: dict[tuple[Structure, Side], int] = {
    (Structure.CORTEX, Side.RIGHT): 1,
    (Structure.MEDULLA, Side.RIGHT): 2,
    (Structure.CORTEX, Side.LEFT): 3,
    (Structure.MEDULLA, Side.LEFT): 4,
    (Structure.CYST, Side.RIGHT): 5,
    (Structure.CYST, Side.LEFT): 6,
    (Structure.MASS, Side.RIGHT): 7,
    (Structure.MASS, Side.LEFT): 8,
    (Structure.CORTEX, Side.UNSIDED): 9,
    (Structure.MEDULLA, Side.UNSIDED): 10,
    (Structure.CYST, Side.UNSIDED): 11,
    (Structure.MASS, Side.UNSIDED): 12,
    (Structure.UNDIVIDED, Side.RIGHT): 13,
    (Structure.UNDIVIDED, Side.LEFT): 14,
    (Structure.UNDIVIDED, Side.UNSIDED): 15,
}
# One hue a structure (a colour-blind safe set), lighter on the left kidney, so that a swapped side is seen.
_COLOURS: dict[Structure, dict[Side, tuple[int, int, int]]] = {
    Structure.CORTEX: {Side.RIGHT: (213, 94, 0), Side.LEFT: (240, 150, 80), Side.UNSIDED: (226, 122, 40)},
    Structure.MEDULLA: {Side.RIGHT: (0, 114, 178), Side.LEFT: (86, 180, 233), Side.UNSIDED: (43, 147, 205)},
    Structure.CYST: {Side.RIGHT: (0, 158, 115), Side.LEFT: (90, 200, 170), Side.UNSIDED: (45, 179, 142)},
    Structure.MASS: {Side.RIGHT: (204, 121, 167), Side.LEFT: (230, 170, 205), Side.UNSIDED: (217, 145, 186)},
    Structure.UNDIVIDED: {Side.RIGHT: (200, 170, 0), Side.LEFT: (240, 228, 66), Side.UNSIDED: (220, 199, 33)},
}
_STRUCTURE_NAMES = {
    Structure.CORTEX: "renal cortex",
    Structure.MEDULLA: "renal medulla",
    Structure.CYST: "renal cyst",
    Structure.MASS: "renal mass",
    Structure.UNDIVIDED: "renal parenchyma (undivided)",
}
_TYPES: dict[Structure, tuple[Code, Code, Code | None]] = {
    Structure.CORTEX: (ANATOMICAL_STRUCTURE, CORTEX_OF_KIDNEY, None),
    Structure.MEDULLA: (ANATOMICAL_STRUCTURE, MEDULLA_OF_KIDNEY, None),
    Structure.UNDIVIDED: (ANATOMICAL_STRUCTURE, UNDIVIDED_PARENCHYMA, KIDNEY),
    Structure.CYST: (MORPHOLOGICALLY_ABNORMAL_STRUCTURE, CYST, KIDNEY),
    Structure.MASS: (MORPHOLOGICALLY_ABNORMAL_STRUCTURE, MASS, KIDNEY),
}


def _make_label(structure: Structure, side: Side, id: int) -> Label:
    category, type_, region = _TYPES[structure]
    return Label(
        id=id,
        key=f"{side.value}_{structure.value}",
        name=f"{_SIDE_NAMES[side]} {_STRUCTURE_NAMES[structure]}",
        structure=structure,
        side=side,
        colour=_COLOURS[structure][side],
        category=category,
        type=type_,
        region=region,
    )


#: All labels, ordered by id; background (0) is not one of them.
LABELS: tuple[Label, ...] = tuple(
    _make_label(structure, side, id) for (structure, side), id in sorted(_IDS.items(), key=lambda item: item[1])
)
LABEL_BY_ID: dict[int, Label] = {label.id: label for label in LABELS}
LABEL_BY_KEY: dict[str, Label] = {label.key: label for label in LABELS}

#: Structures that make up parenchyma.
PARENCHYMA = (Structure.CORTEX, Structure.MEDULLA, Structure.UNDIVIDED)


def label_id(structure: Structure, side: Side) -> int:
    """The voxel value of a structure on a side."""
    return _IDS[structure, side]


def parenchyma_ids(side: Side) -> tuple[int, ...]:
    """Voxel values whose union is the parenchyma of one side."""
    return tuple(_IDS[structure, side] for structure in PARENCHYMA)


class TrainingLabel(int, Enum):
    """Values of a training label map, which has no sides.

    A training set without cortex labels uses ``MEDULLA`` for all parenchyma and says so in its dataset.json.
    """

    BACKGROUND = 0
    MEDULLA = 1
    CORTEX = 2
    CYST = 3
    MASS = 4


#: Structure of a result for each value of a training label map.
STRUCTURE_OF_TRAINING_LABEL = {
    TrainingLabel.MEDULLA: Structure.MEDULLA,
    TrainingLabel.CORTEX: Structure.CORTEX,
    TrainingLabel.CYST: Structure.CYST,
    TrainingLabel.MASS: Structure.MASS,
}


#: What a network's label map holds, beside training labels, where it cannot tell cyst from mass. Post-processing makes
#: it one of the two; a result never holds it.
ABNORMALITY_LABEL = 5


class OverviewLabel(int, Enum):
    """Values of the localiser's coarse map of the whole scan: kidneys and the landmarks that tell sides and phase."""

    BACKGROUND = 0
    KIDNEY = 1
    SPINE = 2
    AORTA = 3
    LIVER = 4
    SPLEEN = 5
